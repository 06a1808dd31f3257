"""The package's own files, as importlib.resources.files() names them, without its import: that
takes 0.015 s, at the start of every command.
"""

from pathlib import Path

ROOT = Path(__file__).parent


def files(package: str) -> Path:
    """The folder of a package of mmtwin ("mmtwin.kernel")."""
    return ROOT.joinpath(*package.split(".")[1:])

"""mmtwin: an executable twin of Linux memory management.

    from mmtwin import Machine, open_recording
    from mmtwin.replay import replay

`Machine` boots a twin and is driven by hand, `open_recording` reads what a real kernel did,
`replay` drives the one with the other. Each is imported when it is first asked for.

The modules of the kernel floor are compiled. With `MMTWIN_PURE=1` in the environment their `.py`
files run as they stand, over the same bytes: for pdb, and for the tests, which run both ways.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmtwin.machine import Machine
    from mmtwin.recordings import RecordingError, open_recording

__version__ = "0.1.0"
__all__ = ["Machine", "RecordingError", "open_recording"]

PLACES = {
    "Machine": "mmtwin.machine",
    "RecordingError": "mmtwin.recordings",
    "open_recording": "mmtwin.recordings",
}


def __getattr__(name: str) -> object:
    if name not in PLACES:
        raise AttributeError(f"module 'mmtwin' has no attribute {name!r}")
    return getattr(import_module(PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PLACES])


def _prefer_sources(folder: str) -> None:
    """Makes imports below a folder see its `.py` files only, compiled modules beside them not."""
    import sys
    from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader

    def hook(path: str) -> FileFinder:
        if path != folder and not path.startswith(folder + os.sep):
            raise ImportError
        return FileFinder(path, (SourceFileLoader, SOURCE_SUFFIXES))

    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()


if os.environ.get("MMTWIN_PURE"):
    _prefer_sources(os.path.dirname(os.path.abspath(__file__)))

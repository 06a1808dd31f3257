"""Options and output that commands share."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mmtwin.cli.errors import UserError, input_errors

if TYPE_CHECKING:
    from rich.console import Console

    from mmtwin.recordings import Recording

SCHEMA = 1
LATER: list[Callable[[], None]] = []  # what is to be done once the answer is printed
INPUTS = (
    "an mmtwin recording, a lab data set (packed or unpacked), an ftrace text, or the output "
    "of `perf script`"
)


def add_recording(parser: argparse.ArgumentParser, default: bool = False) -> None:
    """Adds the RECORDING argument; with `default` it may be left out."""
    text = INPUTS + ("; default: the one that comes with mmtwin" if default else "")
    parser.add_argument("recording", nargs="?" if default else None, help=text)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Adds --json."""
    parser.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")


def source_of(path: str | None) -> str:
    """The path of a recording; None, and the name of the one that comes with mmtwin, are that."""
    from mmtwin.recordings import default_recording_path

    shipped = default_recording_path()
    if path is None or (path == shipped.name and not os.path.exists(path)):
        return str(shipped)
    return path


@contextmanager
def opened(
    path: str | None, opening: "Callable[[], Recording] | None" = None
) -> Iterator["Recording"]:
    """The recording at a path, closed at the end; its errors become UserError.

    None, and the name of the recording that comes with mmtwin (x86_64-6.1), stand for that one.
    `opening` opens it, where that has begun already.
    """
    from mmtwin.recordings import open_recording

    with input_errors("a recording is " + INPUTS):
        recording = opening() if opening else open_recording(source_of(path))
    with input_errors(), recording:
        yield recording


def add_picture(parser: argparse.ArgumentParser) -> None:
    """Adds -o."""
    parser.add_argument(
        "-o", dest="output", metavar="FILE", help="where to (default: standard output)"
    )


def write_picture(path: str | None, picture: str | bytes) -> int:
    """Writes a picture beside its place, then renames it; the exit status."""
    if path is None:
        sys.stdout.write(picture if isinstance(picture, str) else picture.decode())
        return 0
    part = f"{path}.part"
    with input_errors("-o FILE names a file that can be written"):
        try:
            with open(part, "wb") as file:
                file.write(picture.encode() if isinstance(picture, str) else picture)
            os.replace(part, path)
        except OSError:
            with suppress(OSError):
                os.unlink(part)
            raise
    return 0


def print_json(figures: Mapping[str, Any]) -> None:
    """Prints one JSON object, `schema` first."""
    json.dump({"schema": SCHEMA, **figures}, sys.stdout, indent=1)
    sys.stdout.write("\n")


def console() -> "Console":
    """Standard output, coloured where it is a terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def positive(text: str) -> int:
    """A count of at least one, for argparse. Raises ArgumentTypeError for anything else."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: it takes a number from 1 on")
    return int(text)


def boot_options(text: str) -> dict[str, str]:
    """`{"slub_debug": "FZPU", "nopti": ""}` of `--append 'slub_debug=FZPU nopti'`; dashes in names
    are underscores, as the kernel takes them (parameq()).
    """
    words = (option.partition("=") for option in text.split())
    return {name.replace("-", "_"): value for name, _, value in words}


def switches_of(settings: Iterable[str]) -> dict[str, str]:
    """`{"CONFIG_LOCKDEP": "y"}` of `--set LOCKDEP=y`. Raises UserError for other forms."""
    found = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UserError(f"--set {text!r}", "it takes SWITCH=VALUE: NODES_SHIFT=6, NUMA=n")
        found["CONFIG_" + name.removeprefix("CONFIG_")] = value
    return found

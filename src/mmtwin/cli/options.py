"""Options and output that commands share."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmtwin.cli.errors import input_errors

if TYPE_CHECKING:
    from rich.console import Console

    from mmtwin.recordings import Recording

SCHEMA = 1
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


@contextmanager
def opened(path: str | None) -> Iterator["Recording"]:
    """The recording at a path, closed at the end; its errors become UserError.

    None, and the name of the recording that comes with mmtwin (x86_64-6.1), stand for that one.
    """
    from mmtwin.recordings import default_recording_path, open_recording

    shipped = default_recording_path()
    if path == shipped.name and not os.path.exists(path):
        path = str(shipped)
    with input_errors("a recording is " + INPUTS):
        recording = open_recording(path)
    with input_errors(), recording:
        yield recording


def print_json(figures: Mapping[str, Any]) -> None:
    """Prints one JSON object, `schema` first."""
    json.dump({"schema": SCHEMA, **figures}, sys.stdout, indent=1)
    sys.stdout.write("\n")


def console() -> "Console":
    """Standard output, coloured where it is a terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)

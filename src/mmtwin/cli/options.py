"""Options and output that commands share."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn

from mmtwin.cli.errors import UserError, input_errors

if TYPE_CHECKING:
    from rich.console import Console

    from mmtwin.recordings import Recording

SCHEMA = 1
MOST_ORDER = 10  # MAX_ORDER
NUMBER = re.compile("[0-9]{1,9}")
SWITCH = re.compile("[A-Z][A-Z0-9_]*")  # of the kernel's configuration
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


def check_picture_name(path: str | None, endings: tuple[str, ...] = (".svg",)) -> None:
    """Whether a picture's file is named as what it holds; a device or a pipe has any name.

    Raises UserError that names the endings.
    """
    if path is None or path.endswith(endings):
        return
    if not os.path.exists(path) or os.path.isfile(path):
        raise UserError(f"-o {path}", f"the name ends with {' or '.join(endings)}")


def write_picture(path: str | None, picture: str | bytes) -> int:
    """Writes a picture beside its place, then renames it; the exit status. A device or a pipe is
    written to as it is.
    """
    if path is None:
        sys.stdout.write(picture if isinstance(picture, str) else picture.decode())
        return 0
    place = os.path.realpath(path)
    apart = not os.path.exists(place) or os.path.isfile(place)
    part = f"{place}.part" if apart else place
    with input_errors("-o FILE names a file that can be written"):
        try:
            with open(part, "wb") as file:
                file.write(picture.encode() if isinstance(picture, str) else picture)
            if apart:
                os.replace(part, place)
        except OSError:
            if apart:
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

    def gone() -> NoReturn:
        raise BrokenPipeError  # main() knows what to do; rich would exit with 1

    made = Console(highlight=False, soft_wrap=False)
    made.on_broken_pipe = gone  # type: ignore[method-assign]
    return made


def positive(text: str) -> int:
    """A count of at least one, for argparse. Raises ArgumentTypeError for anything else."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: it takes a number from 1 on")
    return int(text)


def boot_options(text: str) -> dict[str, str]:
    """`{"slub_debug": "FZPU", "nopti": ""}` of `--append 'slub_debug=FZPU nopti'`; dashes in names
    are underscores, as the kernel takes them (parameq()).

    Raises UserError for a name that is nearly one that mmtwin reads, and for a value that such an
    option does not take; of other names standard error says that they change nothing.
    """
    words = (option.partition("=") for option in text.split())
    found = {name.replace("-", "_"): value for name, _, value in words}
    for name, value in found.items():
        check_option(name, value)
    return found


def check_option(name: str, value: str) -> None:
    """Whether a boot option does something, and takes its value."""
    from difflib import get_close_matches

    from mmtwin.versions.options import BOOLEANS, NUMBERS, READ, SWITCHES

    if name.startswith("sysctl.vm."):
        sysctls_of([f"{name.removeprefix('sysctl.')}={value}"])
    elif name not in READ:
        near = get_close_matches(name, READ, 2, 0.8)
        if near:
            raise UserError(f"--append {name}: no such option", f"nearest: {', '.join(near)}")
        what = "no option of the page allocator, SLUB, KASAN or kmemleak"
        print(f"mmtwin: --append {name} changes nothing here: {what}", file=sys.stderr)
    elif name in SWITCHES and value not in BOOLEANS:
        raise UserError(f"--append {name}={value}", "it takes 0 or 1")
    elif name.endswith(NUMBERS) and not NUMBER.fullmatch(value):
        raise UserError(f"--append {name}={value}", "it takes a number")
    elif name.endswith("_order") and int(value) > MOST_ORDER:
        raise UserError(f"--append {name}={value}", f"orders are 0 to {MOST_ORDER}")


def settings_of(texts: Iterable[str]) -> dict[str, Any]:
    """`{"LOCKDEP": True}` of `--set LOCKDEP=y`, as Machine.boot() takes switches;
    `{"sysctl": {"vm.overcommit_memory": 2}}` of `--set vm.overcommit_memory=2`.
    """
    known = {"y": True, "n": False}
    given = list(texts)
    files = [text for text in given if text.startswith("vm.")]
    switches = [text for text in given if not text.startswith("vm.")]
    found: dict[str, Any] = {
        name.removeprefix("CONFIG_"): known.get(value, value)
        for name, value in switches_of(switches).items()
    }
    return found | ({"sysctl": sysctls_of(files)} if files else {})


def sysctls_of(texts: Iterable[str]) -> dict[str, int]:
    """`{"vm.overcommit_memory": 2}` of `--set vm.overcommit_memory=2`. Raises UserError."""
    from mmtwin.machine.sysctl import checked

    pairs = [text.partition("=") for text in texts]
    try:
        return checked({name: value for name, _, value in pairs})
    except ValueError as error:
        what, _, can = str(error).rpartition("; ") if "; " in str(error) else (str(error), "", "")
        raise UserError(f"--set {what}", can or "files of /proc/sys/vm") from None


def switches_of(settings: Iterable[str]) -> dict[str, str]:
    """`{"CONFIG_LOCKDEP": "y"}` of `--set LOCKDEP=y`. Raises UserError for other forms, and for a
    name that is nearly one that mmtwin reads.
    """
    found = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not SWITCH.fullmatch(name):
            raise UserError(
                f"--set {text!r}", "it takes SWITCH=VALUE, in capitals: NODES_SHIFT=6, NUMA=n"
            )
        name = name.removeprefix("CONFIG_")
        check_switch(name)
        found["CONFIG_" + name] = value
    return found


def check_switch(name: str) -> None:
    """Whether a switch does something: as check_option()."""
    from difflib import get_close_matches

    from mmtwin.versions.switches import READ_SWITCHES

    if name in READ_SWITCHES:
        return
    near = get_close_matches(name, READ_SWITCHES, 2, 0.8)
    if near:
        what = f"--set {name}: mmtwin reads no such switch"
        raise UserError(what, f"nearest: {', '.join(near)}")
    print(f"mmtwin: --set {name} changes nothing here: mmtwin does not read it", file=sys.stderr)

"""Says what a page is, and reads its struct page by that use.

RECORDING@MARK is a recording at an instant as `mmtwin at` takes it; without it a machine of
--profile is booted.
"""

import argparse
from typing import TYPE_CHECKING

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.options import add_json, opened, print_json
from mmtwin.cli.progress import progress_bar

if TYPE_CHECKING:
    from mmtwin.machine import Machine

DEFAULT = "arm64-5.13"
EXAMPLES = """\
examples:
  mmtwin explain page 'x86_64-6.1@SNAP end' 0x4321   of the recording that comes with mmtwin
  mmtwin explain page 'FOLDER@1.25' 12345 --json
  mmtwin explain page 0x41800 --profile arm64-5.13   of a machine just booted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("words", nargs="+", metavar="[RECORDING@MARK] PFN", help="which page")
    parser.add_argument("--profile", metavar="PROFILE", help=f"(default: {DEFAULT})")
    parser.add_argument("--memory", metavar="SIZE", help="RAM to boot with (default: 4G)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.explain.page import explain_page, lines_of

    if len(arguments.words) > 2:
        raise UserError("more than RECORDING@MARK and PFN", "see `mmtwin explain page --help`")
    *where, number = arguments.words
    try:
        pfn = int(number, 0)
    except ValueError:
        raise UserError(f"no page frame number: {number!r}", "as 0x4321 or 17185") from None
    machine = machine_of(arguments, where[0] if where else None)
    with input_errors("`mmtwin boot --json` says where memory lies"):
        found = explain_page(machine, pfn)
    if arguments.json:
        print_json({"page": found})
    else:
        print("\n".join(lines_of(found)))
    return 0


def machine_of(arguments: argparse.Namespace, where: str | None) -> "Machine":
    """The machine that the page is of."""
    from mmtwin.machine import Machine

    if where is None:
        with input_errors("`mmtwin boot --list` prints the profiles"):
            return Machine.boot(arguments.profile or DEFAULT, memory=arguments.memory or "4G")
    path, at, mark = where.rpartition("@")
    if not at:
        raise UserError(f"{where!r} has no @MARK", "as 'FOLDER@SNAP end' or FOLDER@1.25")
    if arguments.profile or arguments.memory:
        raise UserError("--profile and --memory with a recording", "a recording has its own")
    with opened(path) as recording, progress_bar("replaying"):
        return Machine.at(recording, mark)

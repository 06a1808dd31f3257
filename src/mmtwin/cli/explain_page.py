"""Says what a page is, and reads its struct page by that use.

RECORDING@MARK is a recording at an instant as `mmtwin at` takes it, RECORDING alone at its end;
without it a machine of --profile is booted.
"""

import argparse

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.machines import add_booted, machine_of
from mmtwin.cli.options import add_json, print_json

EXAMPLES = """\
examples:
  mmtwin explain page 'x86_64-6.1@SNAP end' 0x4321   of the recording that comes with mmtwin
  mmtwin explain page 'FOLDER@1.25' 12345 --json
  mmtwin explain page 0x41800 --profile arm64-5.13   of a machine just booted"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("words", nargs="+", metavar="[RECORDING@MARK] PFN", help="which page")
    add_booted(parser)
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

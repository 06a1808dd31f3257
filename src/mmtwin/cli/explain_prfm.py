"""Explains a prefetch operation of arm64, and the inline assembly of the kernel's prefetch()."""

import argparse

from mmtwin.cli.errors import input_errors
from mmtwin.cli.options import add_json, print_json

EXAMPLES = """\
examples:
  mmtwin explain prfm pldl1keep
  mmtwin explain prfm pstl1strm --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("operation", nargs="?", default="pldl1keep", help="(default: pldl1keep)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.explain.prfm import explain_prfm, lines_of

    with input_errors():
        found = explain_prfm(arguments.operation)
    if arguments.json:
        print_json({"prfm": found})
    else:
        print("\n".join(lines_of(found)))
    return 0

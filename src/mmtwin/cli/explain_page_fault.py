"""Walks through one page fault of a process in the twin.

KIND is one of:
  write       a write to new anonymous memory          text       a read of the program's code
  read        a read of it: the shared zeroes          data       a write to the program's data
  zero-write  a write to what was only read            stack      a write below the stack: it grows
  cow         a write to what a fork shares            nothing    where nothing is mapped
  reuse       the same, the other process gone         forbidden  a write to the program's code
  missed      a read of a file's page not in memory    shared     a write to a shared file
  huge        a write that gets a huge page
"""

import argparse
from difflib import get_close_matches

from mmtwin.cli.errors import UserError
from mmtwin.cli.machines import DEFAULT, machine_errors
from mmtwin.cli.options import add_json, print_json

EXAMPLES = """\
examples:
  mmtwin explain page-fault write
  mmtwin explain page-fault cow --profile x86_64-6.12"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("kind", nargs="?", default="write", metavar="KIND", help="(write)")
    parser.add_argument("--profile", default=DEFAULT, metavar="PROFILE", help=f"({DEFAULT})")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.explain.fault_cases import CASES, machine_for, walk_fault
    from mmtwin.explain.walk import json_of, lines_of

    if arguments.kind not in CASES:
        near = get_close_matches(arguments.kind, CASES, 2, 0.5) or list(CASES)
        raise UserError(f"no kind of fault {arguments.kind!r}", f"there are: {', '.join(near)}")
    with machine_errors():
        machine = machine_for(arguments.kind, arguments.profile)
        found = walk_fault(machine, arguments.kind)
    if arguments.json:
        print_json({"walk": json_of(found)})
    else:
        print("\n".join(lines_of(found)))
    return 0

"""Walks through one vmalloc(): addresses, pages, page tables."""

import argparse

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.explain_kmalloc import add_machine, machine_of, show
from mmtwin.cli.options import add_json

EXAMPLES = """\
examples:
  mmtwin explain vmalloc 100000
  mmtwin explain vmalloc 100000 --profile x86_64-6.12"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("size", type=int, metavar="SIZE", help="bytes")
    add_machine(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    if arguments.size < 0:
        raise UserError(f"{arguments.size} bytes", "a size is 0 or more")
    if "@" in arguments.state:
        raise UserError(
            "vmalloc at an instant of a recording: where its areas lay is not kept in the state",
            "--profile boots a machine; addresses of a recording's areas: `mmtwin replay`",
        )
    with input_errors():
        machine = machine_of(arguments, 64, "GFP_KERNEL")
        return show(arguments, machine, "vmalloc", size=arguments.size)

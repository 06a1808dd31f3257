"""Walks through one vmalloc(): addresses, pages, page tables."""

import argparse

from mmtwin.cli.errors import UserError
from mmtwin.cli.explain_kmalloc import add_machine, machine_of, show
from mmtwin.cli.machines import machine_errors, size_of
from mmtwin.cli.options import add_json

EXAMPLES = """\
examples:
  mmtwin explain vmalloc 100000
  mmtwin explain vmalloc 100000 --profile x86_64-6.12"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("size", type=size_of, metavar="SIZE", help="bytes")
    add_machine(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    if "@" in arguments.state:
        raise UserError(
            "vmalloc at an instant of a recording: where its areas lay is not kept in the state",
            "--profile boots a machine; addresses of a recording's areas: `mmtwin replay`",
        )
    with machine_errors():
        machine = machine_of(arguments, 64, "GFP_KERNEL")
        return show(arguments, machine, "vmalloc", size=arguments.size)

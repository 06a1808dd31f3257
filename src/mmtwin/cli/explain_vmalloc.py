"""Walks through one vmalloc(): addresses, pages, page tables."""

import argparse

from mmtwin.cli.explain_kmalloc import add_machine, show_call
from mmtwin.cli.machines import size_of
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
    return show_call(arguments, "vmalloc", size=arguments.size)

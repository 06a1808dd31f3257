"""Walks through one kvmalloc(): a kmalloc() is tried first, then vmalloc()."""

import argparse

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.explain_kmalloc import add_machine, machine_of, show
from mmtwin.cli.options import add_json

EXAMPLES = """\
examples:
  mmtwin explain kvmalloc 100
  mmtwin explain kvmalloc 100000000              larger than any block: vmalloc"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("size", type=int, metavar="SIZE", help="bytes")
    parser.add_argument("gfp", nargs="?", default="GFP_KERNEL", metavar="GFP", help="(GFP_KERNEL)")
    add_machine(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    if arguments.size < 0:
        raise UserError(f"{arguments.size} bytes", "a size is 0 or more")
    with input_errors("GFP is names joined by |, as GFP_KERNEL|__GFP_ZERO, or a number"):
        machine = machine_of(arguments, 64, arguments.gfp)
        return show(arguments, machine, "kvmalloc", size=arguments.size, gfp=arguments.gfp)

"""Walks through one kvmalloc(): a kmalloc() is tried first, then vmalloc()."""

import argparse

from mmtwin.cli.explain_kmalloc import add_machine, show_call
from mmtwin.cli.machines import size_of
from mmtwin.cli.options import add_json

EXAMPLES = """\
examples:
  mmtwin explain kvmalloc 100
  mmtwin explain kvmalloc 100000000              larger than any block: vmalloc"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("size", type=size_of, metavar="SIZE", help="bytes")
    parser.add_argument("gfp", nargs="?", default="GFP_KERNEL", metavar="GFP", help="(GFP_KERNEL)")
    add_machine(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    return show_call(arguments, "kvmalloc", size=arguments.size, gfp=arguments.gfp)

"""Walks through one alloc_pages(): per-CPU lists, free lists, splits, fallbacks, watermarks."""

import argparse

from mmtwin.cli.errors import UserError
from mmtwin.cli.explain_kmalloc import add_machine, show_call
from mmtwin.cli.options import add_json

EXAMPLES = """\
examples:
  mmtwin explain alloc_pages 0
  mmtwin explain alloc_pages 3 GFP_USER --profile x86_64-6.12
  mmtwin explain alloc_pages 9 'GFP_KERNEL|__GFP_DMA32'"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("order", type=int, metavar="ORDER", help="2^ORDER pages")
    parser.add_argument("gfp", nargs="?", default="GFP_KERNEL", metavar="GFP", help="(GFP_KERNEL)")
    add_machine(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    if arguments.order < 0:
        raise UserError(f"order {arguments.order}", "an order is 0 or more")
    return show_call(arguments, "alloc_pages", order=arguments.order, gfp=arguments.gfp)

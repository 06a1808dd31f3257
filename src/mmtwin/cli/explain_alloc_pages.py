"""Walks through one alloc_pages(): per-CPU lists, free lists, splits, fallbacks, watermarks."""

import argparse

from mmtwin.cli.explain_free_pages import add_locked, check_order
from mmtwin.cli.explain_kmalloc import SMALL, add_machine, machine_of, show
from mmtwin.cli.machines import machine_errors
from mmtwin.cli.options import add_json

EXAMPLES = """\
examples:
  mmtwin explain alloc_pages 0
  mmtwin explain alloc_pages 3 GFP_USER --profile x86_64-6.12
  mmtwin explain alloc_pages 9 'GFP_KERNEL|__GFP_DMA32'
  mmtwin explain alloc_pages 0 --locked --profile x86_64-6.12"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("order", type=int, metavar="ORDER", help="2^ORDER pages")
    parser.add_argument("gfp", nargs="?", default="GFP_KERNEL", metavar="GFP", help="(GFP_KERNEL)")
    add_locked(parser)
    add_machine(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.machine.page_situations import lock_lists

    check_order(arguments.order)
    with machine_errors():
        machine = machine_of(arguments, SMALL, arguments.gfp)
        if arguments.locked:
            lock_lists(machine)
        order, gfp = arguments.order, arguments.gfp
        return show(arguments, machine, "alloc_pages", order=order, gfp=gfp)

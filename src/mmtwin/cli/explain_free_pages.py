"""Walks through one __free_pages(): the CPU's page lists, when they drain, what passes them by.

The block is one that alloc_pages() gave just before. --full: the CPU's lists hold as many pages as
they may. --locked: the call interrupts who has the lists' lock (6.0 and later). --block: the type
that its pageblock has by then: highatomic, which a high-order atomic request reserved, or isolate,
of memory that is to be taken away.
"""

import argparse

from mmtwin.cli.errors import UserError
from mmtwin.cli.explain_kmalloc import SMALL, add_machine, machine_of, show
from mmtwin.cli.machines import machine_errors
from mmtwin.cli.options import add_json

EXAMPLES = """\
examples:
  mmtwin explain free_pages 0
  mmtwin explain free_pages 0 --full                the lists drain: free_pcppages_bulk()
  mmtwin explain free_pages 5                       too large for the lists
  mmtwin explain free_pages 0 --locked --profile x86_64-6.12
  mmtwin explain free_pages 0 --block isolate --profile x86_64-6.1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("order", type=int, metavar="ORDER", help="2^ORDER pages")
    parser.add_argument("gfp", nargs="?", default="GFP_KERNEL", metavar="GFP", help="(GFP_KERNEL)")
    parser.add_argument("--full", action="store_true", help="the CPU's lists are full")
    add_locked(parser)
    parser.add_argument(
        "--block", choices=("highatomic", "isolate"), help="what its pageblock has become"
    )
    add_machine(parser)
    add_json(parser)


def add_locked(parser: argparse.ArgumentParser) -> None:
    """Adds --locked."""
    parser.add_argument("--locked", action="store_true", help="the CPU's page lists are in use")


def check_order(order: int) -> None:
    """Raises UserError for an order below 0."""
    if order < 0:
        raise UserError(f"order {order}", "an order is 0 or more")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.machine.page_situations import change_block, fill_lists, lock_lists

    check_order(arguments.order)
    with machine_errors():
        machine = machine_of(arguments, SMALL, arguments.gfp)
        page = machine.alloc_pages(arguments.order, arguments.gfp)
        if page is None:
            largest = int(machine.mm.nr_orders) - 1
            raise UserError(f"no block of order {arguments.order} to free",
                            f"the largest is {largest}, if so much memory is free")  # fmt: skip
        if arguments.block:
            change_block(machine, page, arguments.block)
        if arguments.full:
            fill_lists(machine, page)
        if arguments.locked:
            lock_lists(machine)
        return show(arguments, machine, "free_pages", pfn=page.pfn, order=arguments.order)

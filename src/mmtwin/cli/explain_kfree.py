"""Walks through one kfree(): where the object goes.

The object is one that kmalloc() gave just before, in the state of --state (`mmtwin explain kmalloc
--help` lists them); with --remote another CPU frees it.
"""

import argparse

from mmtwin.cli.errors import UserError
from mmtwin.cli.explain_kmalloc import add_machine, machine_of, show
from mmtwin.cli.machines import machine_errors, size_of
from mmtwin.cli.options import add_json

LIMITS = "`mmtwin explain limits --try` shows the largest"
EXAMPLES = """\
examples:
  mmtwin explain kfree 100                   an object of 100 bytes: the fast path
  mmtwin explain kfree 100 --remote          freed by another CPU: the slow path
  mmtwin explain kfree 20000                 a large kmalloc
  mmtwin explain kfree 0                     ZERO_SIZE_PTR"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("size", type=size_of, metavar="SIZE", help="bytes of the object")
    parser.add_argument("--remote", action="store_true", help="another CPU frees it")
    parser.add_argument("--full", action="store_true", help="its slab is full and no CPU's")
    add_machine(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.machine.situations import used_up

    own = arguments.cpu
    arguments.cpu = max(own, 1) if arguments.remote else own  # so many CPUs are booted
    with machine_errors():
        machine = machine_of(arguments, arguments.size, "GFP_KERNEL")
        machine.cpu = own
        address = machine.kmalloc(arguments.size)
        if not address:
            raise UserError(f"kmalloc gives no object of {arguments.size} bytes", LIMITS)
        if arguments.full:
            cache = machine.kmalloc_cache(arguments.size)
            used_up(machine, cache)
            machine.kmem_cache_alloc(cache)
        if arguments.remote:
            machine.cpu = own + 1 if own == 0 else 0
        return show(arguments, machine, "kfree", address=address)

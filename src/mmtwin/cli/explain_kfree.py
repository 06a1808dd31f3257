"""Walks through one kfree(): where the object goes.

The object is one that kmalloc() gave just before, or kmem_cache_alloc() of the CACHE, in the state
of --state (`mmtwin explain kmalloc --help` lists them); with --remote another CPU frees it. With
--append slub_debug=FZPU it is checked: --twice, --overrun are what the checks find.
"""

import argparse
from typing import TYPE_CHECKING

from mmtwin.cli.errors import UserError
from mmtwin.cli.explain_kmalloc import SMALL, add_machine, machine_of, show
from mmtwin.cli.machines import machine_errors, size_of
from mmtwin.cli.options import add_json

if TYPE_CHECKING:
    from mmtwin.machine import Machine

LIMITS = "`mmtwin explain limits --try` shows the largest"
EXAMPLES = """\
examples:
  mmtwin explain kfree 100                   an object of 100 bytes: the fast path
  mmtwin explain kfree 100 --remote          freed by another CPU: the slow path
  mmtwin explain kfree 100 --last            the last object of a slab that the node can spare
  mmtwin explain kfree maple_node --profile x86_64-6.18
  mmtwin explain kfree 100 --state other-node --node 1
  mmtwin explain kfree 100 --append slub_debug=FZPU --twice
  mmtwin explain kfree 20000                 a large kmalloc
  mmtwin explain kfree 0                     ZERO_SIZE_PTR"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("size", metavar="SIZE|CACHE", help="bytes of the object, or its cache")
    parser.add_argument("--remote", action="store_true", help="another CPU frees it")
    parser.add_argument("--last", action="store_true", help="the last object of a spare slab")
    parser.add_argument("--node", type=int, default=-1, metavar="N", help="where its slab lies")
    parser.add_argument("--full", action="store_true", help="its slab is full and no CPU's")
    wrong = parser.add_mutually_exclusive_group()
    wrong.add_argument("--twice", action="store_true", help="it was freed before")
    wrong.add_argument("--overrun", action="store_true", help="a byte behind it was written")
    add_machine(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    own = arguments.cpu
    arguments.cpu = max(own, 1) if arguments.remote else own  # so many CPUs are booted
    name = None if arguments.size[:1] in "-0123456789" else arguments.size
    try:
        size = SMALL if name else size_of(arguments.size)
    except argparse.ArgumentTypeError as error:
        raise UserError(f"argument SIZE: {error}", "see `mmtwin explain kfree --help`") from None
    with machine_errors():
        machine = machine_of(arguments, size, "GFP_KERNEL", name)
        machine.cpu = own
        if arguments.node >= int(machine.mm.nr_nodes):
            last = int(machine.mm.nr_nodes) - 1
            raise UserError(f"--node {arguments.node}", f"the machine has nodes 0 to {last}")
        address = object_of(machine, size, name, arguments)
        if not address:
            raise UserError(f"kmalloc gives no object of {size} bytes", LIMITS)
        if arguments.twice:
            machine.kfree(address)
        elif arguments.overrun:
            overrun(machine, address)
        if arguments.remote:
            machine.cpu = own + 1 if own == 0 else 0
        return show(arguments, machine, "kfree", address=address)


def object_of(
    machine: "Machine", size: int, name: str | None, arguments: argparse.Namespace
) -> int:
    """The object to free."""
    from mmtwin.machine.situations import fill_slab, is_debug, last_of_slab, used_up

    if not name and not (arguments.last or arguments.full):
        return machine.kmalloc_node(size, node=arguments.node)
    cache = machine.cache(name) if name else machine.kmalloc_cache(size)
    if arguments.last:
        return last_of_slab(machine, cache, arguments.node)
    address = machine.kmem_cache_alloc(cache, node=arguments.node)
    if arguments.full and (arguments.node >= 0 or is_debug(machine, cache)):
        fill_slab(machine, cache, address, arguments.node)
    elif arguments.full:
        used_up(machine, cache)
        machine.kmem_cache_alloc(cache)
    return address


def overrun(machine: "Machine", address: int) -> None:
    """Writes the byte behind an object."""
    from mmtwin.machine.situations import need_checks

    slab = machine.page(machine.page(machine.virt_to_pfn(address)).head).slab
    if slab is None:
        raise UserError("--overrun: a large kmalloc has nothing behind it", "SIZE of at most 8192")
    cache = machine.cache(slab["cache"])
    need_checks(machine, cache)
    machine.write(address + cache.object_size, b"x")

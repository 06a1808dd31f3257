"""Walks through one kmem_cache_alloc(), as `mmtwin explain kmalloc` does with its states."""

import argparse

from mmtwin.cli.explain_kmalloc import add_machine, machine_of, show
from mmtwin.cli.machines import machine_errors
from mmtwin.cli.options import add_json

EXAMPLES = """\
examples:
  mmtwin explain kmem_cache_alloc dentry
  mmtwin explain kmem_cache_alloc maple_node --profile x86_64-6.18 --state warm"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("cache", metavar="CACHE", help="as in /proc/slabinfo")
    parser.add_argument("gfp", nargs="?", default="GFP_KERNEL", metavar="GFP", help="(GFP_KERNEL)")
    add_machine(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    with machine_errors():
        machine = machine_of(arguments, 0, arguments.gfp, arguments.cache)
        cache = machine.cache(arguments.cache).name
        return show(arguments, machine, "kmem_cache_alloc", cache=cache, gfp=arguments.gfp)

"""Draws a slab's bytes: objects, the order of its free list, padding, what is left over."""

import argparse

from mmtwin.cli.errors import input_errors
from mmtwin.cli.explain_cache import add_cache_options, asked_for
from mmtwin.cli.options import add_picture, check_picture_name, write_picture

EXAMPLES = """\
examples:
  mmtwin draw slab kmalloc-192 --profile x86_64-6.1 -o slab.svg
  mmtwin draw slab 700 --align 64 --profile x86_64-6.12 -o slab.svg
  mmtwin draw slab dentry --append slub_debug=FZPU -o slab.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("cache", metavar="NAME|SIZE", help="a cache, or bytes of an object")
    add_cache_options(parser)
    parser.add_argument(
        "--live", type=int, default=3, metavar="N", help="objects in use (default: 3)"
    )
    add_picture(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.draw.slab_picture import slab_svg
    from mmtwin.explain.cache import explain_cache
    from mmtwin.machine import Machine
    from mmtwin.machine.slab_view import new_slab

    check_picture_name(arguments.output)
    asked, facts = asked_for(arguments)
    with input_errors("`mmtwin explain cache` says what a slab holds"):
        align = explain_cache(asked, facts, arguments.cpus).figures["align"]
        machine = Machine.boot(facts, memory="256M", cpus=arguments.cpus)
        slab = new_slab(machine, asked.name, asked.object_size, align, asked.flags, asked.ctor,
                        asked.freeptr_offset, arguments.live)  # fmt: skip
    return write_picture(arguments.output, slab_svg(slab))

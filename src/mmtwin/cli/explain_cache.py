"""Says why a slab cache's size, order and number of objects are what they are."""

import argparse
from typing import TYPE_CHECKING

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.machines import DEFAULT, machine_errors
from mmtwin.cli.options import add_json, boot_options, print_json

if TYPE_CHECKING:
    from mmtwin.explain.cache import Asked, Explained
    from mmtwin.versions.profiles import Profile

MOST_CPUS = 8192  # CONFIG_NR_CPUS at most
LARGEST_ALIGN = 1 << 22  # KMALLOC_MAX_SIZE of the most kernels
MOST_ORDER = 10  # MAX_ORDER
ALLOCATORS = ("slub", "slab", "slab-bufctl")
EXAMPLES = """\
examples:
  mmtwin explain cache kmalloc-128
  mmtwin explain cache kmalloc-192 --profile x86_64-6.12 --cpus 8
  mmtwin explain cache dentry --append slub_debug=FZPU
  mmtwin explain cache 700 --align 64          objects of your own
  mmtwin explain cache 40 --flags TYPESAFE_BY_RCU --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("cache", metavar="NAME|SIZE", help="a cache, or bytes of an object")
    add_cache_options(parser)
    parser.add_argument(
        "--allocator", choices=ALLOCATORS, default="slub",
        help="slab: of kernels up to 6.7 that were built with it; slab-bufctl: before 3.13",
    )  # fmt: skip
    parser.add_argument("--word", type=int, choices=(4, 8), default=8, help="bytes, for slab")
    parser.add_argument("--early", action="store_true", help="slab: made before kmalloc works")
    parser.add_argument(
        "--slab-max-order", type=int, default=1, metavar="N",
        help="slab: 1; 0 on a machine with 32 MiB or less",
    )  # fmt: skip
    add_json(parser)


def add_cache_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that describe a cache and its machine."""
    parser.add_argument("--profile", default=DEFAULT, metavar="PROFILE", help=f"({DEFAULT})")
    parser.add_argument("--cpus", type=int, default=1, metavar="N", help="CPUs (default: 1)")
    parser.add_argument("--align", type=int, metavar="BYTES", help="of objects of that SIZE")
    parser.add_argument("--flags", default="", metavar="FLAGS", help="HWCACHE_ALIGN|PANIC")
    parser.add_argument("--ctor", action="store_true", help="objects have a constructor")
    parser.add_argument(
        "--append", default="", metavar="OPTIONS", help="boot options: 'slub_debug=FZPU'"
    )


def asked_for(arguments: argparse.Namespace) -> "tuple[Asked, Profile]":
    """The cache and the profile that the command line names."""
    from mmtwin.explain.cache import Asked, find_cache, parse_flags
    from mmtwin.versions.profiles import profile

    with machine_errors():
        facts = profile(arguments.profile).with_cmdline(**boot_options(arguments.append))
    if not 1 <= arguments.cpus <= MOST_CPUS:
        raise UserError(f"--cpus {arguments.cpus}", f"a machine has 1 to {MOST_CPUS}")
    align = arguments.align
    if align is not None and (not 0 < align <= LARGEST_ALIGN or align & (align - 1)):
        near = nearest_power(align)
        raise UserError(f"--align {align}", f"an alignment is a power of two: nearest is {near}")
    align = align or 0
    with input_errors("sizes are bytes; caches have the names of /proc/slabinfo"):
        flags = parse_flags(arguments.flags)
        if arguments.cache.isdecimal():
            size = int(arguments.cache)
            return Asked(f"objects of {size} bytes", size, align, flags, arguments.ctor), facts
        asked = find_cache(arguments.cache, facts)
    asked.flags |= flags
    asked.align = align or asked.align
    asked.ctor |= arguments.ctor
    return asked, facts


def nearest_power(number: int) -> int:
    """The power of two that is nearest to a number, of those that an alignment can be."""
    powers = [1 << shift for shift in range(LARGEST_ALIGN.bit_length())]
    return min(powers, key=lambda power: abs(power - number))


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.explain.cache import explain_cache, explain_slab_allocator, parse_flags

    asked, facts = asked_for(arguments)
    if arguments.allocator != "slub":
        if not 0 <= arguments.slab_max_order <= MOST_ORDER:
            raise UserError(
                f"--slab-max-order {arguments.slab_max_order}", f"it is 0 to {MOST_ORDER}"
            )
        if not arguments.cache.isdecimal():
            raise UserError("--allocator slab takes a size", "as /proc/slabinfo's <objsize>")
        reclaimable = bool(asked.flags & parse_flags("RECLAIM_ACCOUNT"))
        with input_errors():
            found = explain_slab_allocator(
                asked.object_size, asked.align, facts.page_size, reclaimable, arguments.early,
                arguments.allocator == "slab-bufctl", arguments.word,
                arguments.slab_max_order,
            )  # fmt: skip
        return show(arguments, found)
    with input_errors("the largest kmalloc is what `mmtwin boot --json` says"):
        found = explain_cache(asked, facts, arguments.cpus)
    return show(arguments, found)


def show(arguments: argparse.Namespace, found: "Explained") -> int:
    """Prints what was found; the exit status."""
    from mmtwin.explain.cache import json_of, lines_of

    if arguments.json:
        print_json({"cache": json_of(found)})
    else:
        print("\n".join(lines_of(found)))
    return 0

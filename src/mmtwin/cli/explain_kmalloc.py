"""Walks through one kmalloc(): the path that this very call takes in the kernel, with the values.

--state says what the CPU has at hand, so that every branch can be seen:
  fresh         just booted
  warm          one object was given out before: the fast path
  empty         the CPU's objects are used up: a new slab
  refilled      used up, then another CPU freed objects to its slab
  cpu-partial   used up, with a slab on the CPU's partial list
  node-partial  no slab, but one on the node's partial list
  node-partials the same, with so many that the CPU keeps more of them
  spare-sheaf   an empty main sheaf, a full spare one (releases and caches that have sheaves)
  barn          no object in the CPU's sheaves, a full sheaf in the node's barn
  low-memory    used up, and free memory below the low watermark
  no-memory     used up, and no free page
  overwritten   the object that comes next was written after its free (with slub_debug=FZPU)
  one-left      one free object in the cache's only slab (with slub_debug=FZPU)
  other-node    two nodes, the CPU's slab on node 0 (with --node 1)
  RECORDING@MARK  a recording's machine at a marker, as `mmtwin at` takes it
"""

import argparse
import os
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.machines import DEFAULT, machine_errors, recorded, size_of, split_mark
from mmtwin.cli.options import add_json, boot_options, print_json, settings_of, source_of

if TYPE_CHECKING:
    from mmtwin.machine import Machine

NO_AREAS = (
    "vmalloc there: where the recording's areas lay is not known at that instant",
    "it is where it has vmallocinfo snapshots or vmalloc events, at other marks than DUMP",
)
MEMORY = "128M"
SMALL = 64  # bytes: the cache that a state is made with where the call has none
EXAMPLES = """\
examples:
  mmtwin explain kmalloc 100
  mmtwin explain kmalloc 100 GFP_KERNEL --state warm
  mmtwin explain kmalloc 100 --state cpu-partial --profile x86_64-6.12
  mmtwin explain kmalloc 20000 GFP_ATOMIC --runtime
  mmtwin explain kmalloc 64 --state other-node --node 1 --profile x86_64-6.1
  mmtwin explain kmalloc 100 --append slub_debug=FZPU --state overwritten"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_call(parser)
    add_json(parser)


def add_call(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that describe a kmalloc() and its machine."""
    parser.add_argument("size", type=size_of, metavar="SIZE", help="bytes")
    parser.add_argument("gfp", nargs="?", default="GFP_KERNEL", metavar="GFP", help="(GFP_KERNEL)")
    known = parser.add_mutually_exclusive_group()
    known.add_argument("--constant", action="store_true", help="the compiler knows SIZE (default)")
    known.add_argument("--runtime", action="store_true", help="SIZE is known at run time only")
    parser.add_argument("--node", type=int, default=-1, metavar="N", help="kmalloc_node()")
    add_machine(parser)


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say on what machine a call is made."""
    parser.add_argument("--profile", metavar="PROFILE", help=f"(default: {DEFAULT})")
    parser.add_argument("--state", default="fresh", metavar="STATE", help="(default: fresh)")
    parser.add_argument("--cpu", type=int, default=0, metavar="N", help="who calls (default: 0)")
    parser.add_argument("--memory", metavar="SIZE", help=f"RAM (default: {MEMORY})")
    parser.add_argument(
        "--append", default="", metavar="OPTIONS", help="boot options: init_on_alloc=0"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SWITCH=VALUE",
        help="a switch of the kernel's configuration: SLUB_CPU_PARTIAL=n",
    )  # fmt: skip


def is_recording(state: str) -> bool:
    """Whether a --state is a recording's, RECORDING@MARK or RECORDING."""
    if "@" in state:
        return True
    from mmtwin.machine.situations import SITUATIONS

    return state not in SITUATIONS and os.path.exists(source_of(state))


def machine_of(
    arguments: argparse.Namespace, size: int, gfp: str, cache: str | None = None,
    areas: bool = False,
) -> "Machine":
    """The machine of the command line, in the state asked for; `areas`: with those of vmalloc."""
    if is_recording(arguments.state):
        path, mark = split_mark(arguments.state)
        for option in ("profile", "set", "append", "memory"):
            if getattr(arguments, option):
                raise UserError(f"--{option} with a recording", "it has its own kernel and memory")
        machine = recorded(path, mark, areas)
    else:
        machine = booted(arguments, size, gfp, cache)
    if not 0 <= arguments.cpu < machine.mm.nr_cpus:
        last = int(machine.mm.nr_cpus) - 1
        raise UserError(f"--cpu {arguments.cpu}", f"the machine has CPUs 0 to {last}")
    machine.cpu = arguments.cpu
    return machine


def booted(
    arguments: argparse.Namespace, size: int, gfp: str, cache: str | None
) -> "Machine":
    """A machine booted and brought into a situation."""
    from mmtwin.machine import Machine
    from mmtwin.machine.boot import MOST_CPUS
    from mmtwin.machine.situations import SITUATIONS

    if arguments.state not in SITUATIONS:
        near = get_close_matches(arguments.state, SITUATIONS, 2, 0.6)
        known = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(SITUATIONS)}"
        raise UserError(f"no state and no file {arguments.state!r}", f"{known}; or RECORDING@MARK")
    situation = SITUATIONS[arguments.state]
    if not 0 <= arguments.cpu < MOST_CPUS:
        raise UserError(f"--cpu {arguments.cpu}", f"a machine has CPUs 0 to {MOST_CPUS - 1}")
    with machine_errors():
        machine = Machine.boot(
            arguments.profile or DEFAULT, memory=arguments.memory or MEMORY,
            cpus=max(situation.cpus, arguments.cpu + 1), nodes=situation.nodes,
            cmdline=boot_options(arguments.append), **settings_of(arguments.set),
        )  # fmt: skip
    if arguments.state != "fresh":
        with input_errors("states are about slab caches: SIZE of at most two pages"):
            situation.make(
                machine, machine.cache(cache) if cache else machine.kmalloc_cache(size, gfp)
            )
    return machine


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    entry, machine, asked = call_of(arguments)
    return show(arguments, machine, entry, **asked)


def call_of(arguments: argparse.Namespace) -> "tuple[str, Machine, dict[str, Any]]":
    """The call that the command line asks for: its entry, the machine, its arguments."""
    entry = "kmalloc" if arguments.node < 0 else "kmalloc_node"
    if entry == "kmalloc_node" and arguments.runtime:
        raise UserError("--node with --runtime", "kmalloc_node is shown with a constant size")
    with machine_errors():
        machine = machine_of(arguments, arguments.size, arguments.gfp)
        asked = {"size": arguments.size, "gfp": arguments.gfp, "constant": not arguments.runtime}
        if arguments.node >= 0:
            nodes = machine.mm.nr_nodes
            if arguments.node >= nodes:
                raise UserError(f"--node {arguments.node}", f"the machine has {nodes}, from 0")
            asked["node"] = arguments.node
    return entry, machine, asked


def show_call(arguments: argparse.Namespace, entry: str, **asked: Any) -> int:
    """Makes a call that takes no object's size from a state, and prints the walk."""
    with machine_errors():
        areas = entry in ("vmalloc", "kvmalloc")
        machine = machine_of(arguments, SMALL, asked.get("gfp", "GFP_KERNEL"), areas=areas)
        return show(arguments, machine, entry, **asked)


def show(arguments: argparse.Namespace, machine: "Machine", entry: str, **asked: Any) -> int:
    """Makes the call and prints the walk; the exit status."""
    from mmtwin.explain.walk import json_of, lines_of, walk

    with machine_errors():
        found = walk(machine, entry, **asked)
    if is_recording(arguments.state) and machine.areas is None and machine.mm.vmalloc is not None:
        raise UserError(*NO_AREAS)
    if arguments.json:
        print_json({"walk": json_of(found)})
    else:
        print("\n".join(lines_of(found)))
    return 0

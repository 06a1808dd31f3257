"""Shows what kernels are built with: orders, kmalloc's limits, sizes of kernel stacks.

Without --profile: every release and page size in one table. --try asks the twin itself for the
largest kmalloc and for one byte more.
"""

import argparse
from typing import Any

from mmtwin.cli.machines import machine_errors
from mmtwin.cli.options import add_json, print_json

EXAMPLES = """\
examples:
  mmtwin explain limits
  mmtwin explain limits --profile arm64-5.13 --try    the deck's 4 MB
  mmtwin explain limits --json"""
LEAST_MEMORY = 64 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--profile", metavar="PROFILE", help="one machine: arm64-5.13")
    parser.add_argument("--try", dest="tried", action="store_true", help="ask the twin")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.explain.limits import limits_figures, limits_lines, one_machine_lines
    from mmtwin.versions.profiles import profile, profile_names

    names = [arguments.profile] if arguments.profile else profile_names()
    with machine_errors():
        figures = [limits_figures(profile(name)) for name in names]
    lines = one_machine_lines(figures[0]) if arguments.profile else limits_lines(figures)
    if arguments.tried:
        lines += [tried(name, each, bool(arguments.profile))
                  for name, each in zip(names, figures, strict=True)]  # fmt: skip
    if arguments.json:
        print_json({"limits": figures})
    else:
        print("\n".join(lines))
    return 0


def tried(name: str, figures: dict[str, Any], alone: bool) -> str:
    """What the twin of a profile says to the largest kmalloc, and to one byte more."""
    from mmtwin.explain.limits import tried_line
    from mmtwin.machine import Machine

    machine = Machine.boot(name, memory=max(LEAST_MEMORY, 8 * figures["kmalloc_max_size"]))
    line = tried_line(figures, lambda size: int(machine.kmalloc(size)))
    return line if alone else f"{name}:{line}"

"""Draws a map of physical memory: every page by its use, and how free memory is cut up.

RECORDING@MARK is a recording at an instant as `mmtwin at` takes it; without it a machine of
--profile is booted.
"""

import argparse
import os
from typing import TYPE_CHECKING

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.options import opened, write_picture
from mmtwin.cli.progress import progress_bar

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM

DEFAULT = "arm64-5.13"
EXAMPLES = """\
examples:
  mmtwin draw memory 'x86_64-6.1@SNAP end' -o memory.svg    the recording that comes with mmtwin
  mmtwin draw memory 'FOLDER@1.25' -o memory.png            a dot a page, no legend
  mmtwin draw memory --profile x86_64-6.12 --memory 4G -o memory.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("input", nargs="?", metavar="RECORDING@MARK", help="a recording's instant")
    parser.add_argument("--profile", metavar="PROFILE", help=f"(default: {DEFAULT})")
    parser.add_argument("--memory", metavar="SIZE", help="RAM to boot with (default: 4G)")
    parser.add_argument("-o", dest="output", metavar="FILE", help="FILE.svg or FILE.png (stdout)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.draw.memory_picture import memory_png, memory_svg
    from mmtwin.machine.page_map import page_map

    if arguments.output and not arguments.output.endswith((".svg", ".png")):
        raise UserError(f"-o {arguments.output}", "the name ends with .svg or .png")
    mm, title = machine_of(arguments)
    pages = page_map(mm)
    if arguments.output and arguments.output.endswith(".png"):
        return write_picture(arguments.output, memory_png(pages))
    return write_picture(arguments.output, memory_svg(pages, title))


def machine_of(arguments: argparse.Namespace) -> "tuple[MM, str]":
    """The machine that is asked for, and what to call it."""
    if not arguments.input:
        from mmtwin.machine import Machine

        name = arguments.profile or DEFAULT
        with input_errors("`mmtwin boot --list` prints the profiles"):
            machine = Machine.boot(name, memory=arguments.memory or "4G")
        return machine.mm, f"Memory of {name}, just booted"
    from mmtwin.replay.moments import find_moment, state_at

    path, at, mark = arguments.input.rpartition("@")
    if not at:
        raise UserError(f"{arguments.input!r} has no @MARK", "as 'FOLDER@SNAP end' or FOLDER@1.25")
    if arguments.profile or arguments.memory:
        raise UserError("--profile and --memory with a recording", "a recording has its own")
    with opened(path) as recording, progress_bar("replaying") as progress:
        moment = find_moment(recording, mark)
        mm, _ = state_at(recording, moment, "follow", "auto", progress)
    return mm, f"Memory of {os.path.basename(path.rstrip('/'))} at {mark}"

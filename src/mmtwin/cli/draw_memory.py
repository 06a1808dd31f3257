"""Draws a map of physical memory: every page by its use, and how free memory is cut up.

RECORDING@MARK is a recording at an instant as `mmtwin at` takes it, RECORDING alone at its end;
without it a machine of --profile is booted.
"""

import argparse
import os

from mmtwin.cli.machines import DEFAULT, END, add_booted, machine_of, split_mark
from mmtwin.cli.options import check_picture_name, write_picture

EXAMPLES = """\
examples:
  mmtwin draw memory 'x86_64-6.1@SNAP end' -o memory.svg    the recording that comes with mmtwin
  mmtwin draw memory 'FOLDER@1.25' -o memory.png            a dot a page, no legend
  mmtwin draw memory --profile x86_64-6.12 --memory 4G -o memory.svg"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("input", nargs="?", metavar="RECORDING@MARK", help="a recording's instant")
    add_booted(parser)
    parser.add_argument("-o", dest="output", metavar="FILE", help="FILE.svg or FILE.png (stdout)")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.draw.memory_picture import memory_png, memory_svg
    from mmtwin.machine.page_map import page_map

    check_picture_name(arguments.output, (".svg", ".png"))
    pages = page_map(machine_of(arguments, arguments.input).mm)
    if arguments.output and arguments.output.endswith(".png"):
        return write_picture(arguments.output, memory_png(pages))
    if arguments.input:
        path, mark = split_mark(arguments.input)
        when = "its end" if mark == END else mark
        title = f"Memory of {os.path.basename(path.rstrip('/'))} at {when}"
    else:
        title = f"Memory of {arguments.profile or DEFAULT}, just booted"
    return write_picture(arguments.output, memory_svg(pages, title))

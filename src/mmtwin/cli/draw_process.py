"""Draws the virtual memory map of a process: text, data, bss, heap, mappings, stack.

Of a process of this machine (--pid), or of a saved /proc/PID/smaps or maps.
"""

import argparse
from collections.abc import Mapping
from typing import NamedTuple

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.options import add_picture, write_picture
from mmtwin.procfs.maps import MapsArea

EXAMPLES = """\
examples:
  mmtwin draw process --pid 1234 -o map.svg          a process of this machine
  mmtwin draw process --pid 1234 --scale -o map.svg  heights as the sizes are
  mmtwin draw process smaps.txt -o map.svg           a saved /proc/PID/smaps or maps"""


class Source(NamedTuple):
    """What is drawn: `resident_kb` by an area's first address, None where nobody knows it;
    `program`: the path of what runs, "" for the file mapped lowest.
    """

    title: str
    words: str
    areas: list[MapsArea]
    resident_kb: Mapping[int, int] | None
    program: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("input", metavar="INPUT", nargs="?", help="a saved smaps or maps")
    parser.add_argument("--pid", metavar="PID", help="a process of this machine")
    parser.add_argument(
        "--scale", action="store_true", help="heights as the sizes are, but for wide gaps"
    )
    add_picture(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.draw.process_areas import picture_areas
    from mmtwin.draw.process_picture import process_svg

    source = source_of(arguments)
    shown = picture_areas(source.areas, source.resident_kb, source.program)
    with input_errors():
        picture = process_svg(shown, source.title, source.words, to_scale=arguments.scale)
    return write_picture(arguments.output, picture)


def source_of(arguments: argparse.Namespace) -> Source:
    """Where the areas come from. Raises UserError unless the command line names one place."""
    if bool(arguments.pid) == bool(arguments.input):
        raise UserError("give either INPUT or --pid PID", "see `mmtwin draw process --help`")
    return of_pid(arguments.pid) if arguments.pid else of_text(arguments.input)


def of_pid(pid: str) -> Source:
    """A process of this machine."""
    from mmtwin.cli.live import live_process

    process = live_process(pid)
    with input_errors():
        areas = process.areas
    title = f"{process.comm} ({process.pid})"
    return Source(title, "a process of this machine", areas, process.resident_kb or None)


def of_text(path: str) -> Source:
    """A saved maps or smaps."""
    from mmtwin.procfs import maps, smaps

    with input_errors("INPUT is a text that /proc/PID/smaps or maps printed"):
        with open(path, "rb") as file:
            text = file.read()
        if b"\nSize: " not in text:
            return Source(path, "/proc/PID/maps", maps.parse(text), None)
        areas = smaps.parse(text)
    resident = {each.area.start: each.sizes.get("Rss", 0) for each in areas}
    return Source(path, "/proc/PID/smaps", [each.area for each in areas], resident)

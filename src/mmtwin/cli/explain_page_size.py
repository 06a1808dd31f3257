"""Shows page sizes, how they are chosen, and what struct page costs for any RAM.

Without --kernel: every release. The size of struct page is that of the release's configuration as
Debian ships it; --btf reads it from a kernel's type information.
"""

import argparse
from dataclasses import asdict

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.options import add_json, print_json

EXAMPLES = """\
examples:
  mmtwin explain page-size                              4 GiB, the deck's sum
  mmtwin explain page-size --memory 256G --kernel 6.12
  mmtwin explain page-size --btf /sys/kernel/btf/vmlinux"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("--memory", metavar="SIZE", default="4G", help="RAM (default: 4G)")
    parser.add_argument("--kernel", metavar="RELEASE", help="as `uname -r` prints it")
    parser.add_argument("--btf", metavar="FILE", help="type information with struct page")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.explain.limits import deck_line, page_size_lines, page_sizes
    from mmtwin.machine.memory_map import parse_memory
    from mmtwin.versions.releases import RELEASES, nearest_release
    from mmtwin.versions.uname import kernel_name

    with input_errors("--memory takes a size: 512M, 4G, 1T"):
        memory = parse_memory(arguments.memory)
    with input_errors():
        releases: tuple[str, ...] = RELEASES
        if arguments.kernel:
            releases = (nearest_release(kernel_name(arguments.kernel, (5, 10)).release),)
        sizes = page_sizes(memory, releases, struct_page_of(arguments.btf))
    figures = [asdict(each) | {"pages": each.pages, "cost": each.cost} for each in sizes]
    if arguments.json:
        print_json({"sizes": figures})
    else:
        print("\n".join([*page_size_lines(sizes), deck_line(sizes[0])]))
    return 0


def struct_page_of(path: str | None) -> int | None:
    """The bytes of struct page by a kernel's type information."""
    if path is None:
        return None
    from pathlib import Path

    from mmtwin.recordings.btf import read_btf

    with input_errors("BTF is a file like /sys/kernel/btf/vmlinux"):
        found = read_btf(Path(path)).structure("page")
        if found is None:
            raise UserError(f"{path}: no struct page", "BTF is that of a kernel: vmlinux")
        return found.size

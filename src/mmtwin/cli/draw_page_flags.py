"""Draws where page->flags keeps what: a given configuration or word, or the layouts that exist.

Without WORD and --set: the layouts of the deck, each with a configuration that has it.
"""

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.explain_page_flags import NUMBER, arch_of, config_of, pfn_of, shown_config
from mmtwin.cli.options import add_picture, check_picture_name, write_picture

if TYPE_CHECKING:
    from mmtwin.draw.page_flags_picture import Bar

EXAMPLES = """\
examples:
  mmtwin draw page-flags -o layouts.svg
  mmtwin draw page-flags --kernel 6.12 --arch arm64 --set NODES_SHIFT=4 -o arm64.svg
  mmtwin draw page-flags 0x17ffffc0010200 --kernel 5.12 -o word.svg"""
DEFAULT_KERNEL = "5.13"
ZONES = {"CONFIG_ZONE_DMA": "y", "CONFIG_ZONE_DMA32": "y"}
SPARSE = {"CONFIG_SPARSEMEM": "y"}
VMEMMAP = {**SPARSE, "CONFIG_SPARSEMEM_VMEMMAP": "y"}
# (what the kernel's comment calls it, architecture, configuration)
LAYOUTS = (
    ("no sparsemem, or vmemmap", "x86_64", {**ZONES, **VMEMMAP, "CONFIG_NODES_SHIFT": "10"}),
    ("… and space for last_cpupid", "x86_64", {
        **ZONES, **VMEMMAP, "CONFIG_NODES_SHIFT": "10", "CONFIG_NUMA_BALANCING": "y",
        "CONFIG_NR_CPUS": "8192", "CONFIG_ZONE_DEVICE": "y"}),
    ("classic sparse with space for node", "x86_64", {
        **ZONES, **SPARSE, "CONFIG_NODES_SHIFT": "10"}),
    ("… and space for last_cpupid", "x86_64", {
        **ZONES, **SPARSE, "CONFIG_NODES_SHIFT": "3", "CONFIG_NUMA_BALANCING": "y",
        "CONFIG_NR_CPUS": "8"}),
    ("classic sparse, no space for node", "arm", {
        **SPARSE, "CONFIG_ARM_LPAE": "y", "CONFIG_HIGHMEM": "y", "CONFIG_NODES_SHIFT": "4"}),
    ("32 bits, no sparsemem", "i386", {"CONFIG_ZONE_DMA": "y", "CONFIG_HIGHMEM": "y"}),
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("word", metavar="WORD", nargs="?", help="a word: 0x17ffffc0010200")
    parser.add_argument("--kernel", metavar="RELEASE", help=f"default: {DEFAULT_KERNEL}")
    parser.add_argument("--arch", metavar="ARCH", help="default: x86_64")
    parser.add_argument("--pfn", metavar="PFN", help="the page's number: it tells zones apart")
    parser.add_argument(
        "--set", "--config", action="append", default=[], metavar="SWITCH=VALUE",
        help="a switch of the kernel's configuration: NODES_SHIFT=6",
    )  # fmt: skip
    add_picture(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.draw.page_flags_picture import page_flags_svg
    from mmtwin.versions.uname import kernel_name

    check_picture_name(arguments.output)
    with input_errors():
        kernel = kernel_name(arguments.kernel or DEFAULT_KERNEL)
        given = config_of(arguments)
        if arguments.word or given or arguments.arch:
            bars = [one_bar(arguments, given)]
        else:
            bars = list(all_bars(kernel.readings[0]))
        return write_picture(
            arguments.output, page_flags_svg(f"page->flags of Linux {kernel.release}", bars)
        )


def one_bar(arguments: argparse.Namespace, given: Mapping[str, str]) -> "Bar":
    """The layout of a word, or of a configuration; what that leaves open is the likeliest."""
    from mmtwin.draw.page_flags_picture import Bar
    from mmtwin.explain.page_flags import Evidence, read_page_flags
    from mmtwin.versions.uname import kernel_name

    if arguments.word and not NUMBER.fullmatch(arguments.word):
        raise UserError(f"{arguments.word!r} is no number", "a word is one: 0x17ffffc0010200")
    value = int(arguments.word, 0) if arguments.word else None
    kernel = kernel_name(arguments.kernel or DEFAULT_KERNEL)
    arch = arch_of(arguments)
    found = read_page_flags(value or 0, kernel, arch, given, Evidence(pfn_of(arguments)))
    title = arch if value is None else f"{value:#x}, {arch}: {found.text or 'nothing'}"
    config = {name: number for name, number in shown_config(found).items()
              if number != "n" and not name.startswith(("ZONE", "SPARSE"))}  # fmt: skip
    about = " ".join(f"{name}={number}" for name, number in config.items())
    return Bar(title, about if len(title) < 60 else "", found.layout, value)


def all_bars(release: str) -> Iterator["Bar"]:
    """The layouts of the deck in a release."""
    from mmtwin.draw.page_flags_picture import Bar
    from mmtwin.versions.page_flag_layout import page_flag_layout

    for title, arch, config in LAYOUTS:
        switches = {"CONFIG_MEMORY_FAILURE": "y", **config}
        told = [f"{name.removeprefix('CONFIG_')}={value}" for name, value in config.items()
                if value != "y"]  # fmt: skip
        yield Bar(title, " ".join([arch, *told]), page_flag_layout(release, arch, switches))

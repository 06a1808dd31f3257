"""Shows a structure's layout: offsets, sizes, holes, cache lines, nested unions.

struct page, folio, slab and ptdesc are known for every release, architecture and configuration;
any structure of a kernel is read from its type information (BTF).
"""

import argparse
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.options import add_json, print_json, switches_of

if TYPE_CHECKING:
    from mmtwin.recordings.btf import Btf
    from mmtwin.versions.c_layout import Structure

THIS_MACHINE = "/sys/kernel/btf/vmlinux"
EXAMPLES = """\
examples:
  mmtwin explain struct page                           the deck's: arm64, Linux 5.13
  mmtwin explain struct page --view tail --kernel 5.13
  mmtwin explain struct slab --kernel 6.12 --arch x86_64
  mmtwin explain struct kmem_cache                     as this machine's kernel has it
  mmtwin explain struct zone --btf FOLDER/static/btf_vmlinux --expand"""
# Bytes of a pointer.
WORDS = {"x86_64": 8, "arm64": 8, "i386": 4, "arm": 4}
DEFAULT_KERNEL = "5.13"
DEFAULT_ARCH = "arm64"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("name", metavar="NAME", help="of the structure or union: page, kmem_cache")
    parser.add_argument("--view", metavar="VIEW", help="struct page as one use has it: " + views())
    parser.add_argument(
        "--kernel", metavar="RELEASE", help=f"as 6.1.0-50-amd64 (default: {DEFAULT_KERNEL})"
    )
    parser.add_argument("--arch", metavar="ARCH", help=f"{', '.join(WORDS)} ({DEFAULT_ARCH})")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SWITCH=VALUE",
        help="a switch of the kernel's configuration: MEMCG=n",
    )  # fmt: skip
    parser.add_argument("--btf", metavar="FILE", help=f"type information ({THIS_MACHINE})")
    parser.add_argument("--expand", action="store_true", help="write named structures out, too")
    add_json(parser)


def views() -> str:
    """The names of the views."""
    from mmtwin.explain.structures import view_names

    return ", ".join(view_names())


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.explain.structures import json_of, lines_of, view_of
    from mmtwin.versions.struct_page import DECLARATIONS

    name = arguments.name.removeprefix("struct ").removeprefix("union ")
    btf = None
    if name in DECLARATIONS and not arguments.btf:
        structure, what = declared(arguments, name)
    else:
        for option in ("kernel", "arch", "view"):
            if getattr(arguments, option):
                raise UserError(
                    f"--{option} goes with struct {', '.join(DECLARATIONS)}",
                    "for other structures give that kernel's type information: --btf FILE",
                )
        btf, structure = from_btf(arguments, name)
        what = f"from {arguments.btf or THIS_MACHINE}"
    if arguments.view and structure.name == "page":
        with input_errors():
            structure = view_of(structure, arguments.view)
    if arguments.json:
        print_json({"from": what, "structure": json_of(structure)})
        return 0
    with input_errors():
        lines = list(lines_of(structure, btf.expanded if btf and arguments.expand else None))
    print("\n".join([what, *lines]))
    return 0


def declared(arguments: argparse.Namespace, name: str) -> "tuple[Structure, str]":
    """The layout of struct page or its like, and of what kernel it is."""
    from mmtwin.explain.structures import own_structure, view_names
    from mmtwin.versions.profiles import debian_config
    from mmtwin.versions.releases import numbers
    from mmtwin.versions.struct_page import SINCE, structure
    from mmtwin.versions.uname import kernel_name

    arch = arguments.arch or DEFAULT_ARCH
    if arch not in WORDS:
        raise UserError(f"no architecture {arch!r}", f"there are: {', '.join(WORDS)}")
    if arguments.view and arguments.view not in view_names():
        raise UserError(f"no view {arguments.view!r}", f"there are: {views()}")
    kernel = arguments.kernel or DEFAULT_KERNEL
    with input_errors("--kernel takes a release: 6.1, 6.1.176, 6.1.0-50-amd64"):
        kernel_name(kernel, (5, 10))
        config = dict(debian_config(kernel, "x86_64" if arch in ("x86_64", "i386") else "arm64",
                                    4096))  # fmt: skip
        config["CONFIG_ARCH_WANT_HUGE_PMD_SHARE"] = "y"
        config.update(switches_of(arguments.set))
        own = own_structure(arguments.view or "")
        if own and numbers(kernel)[:2] >= numbers(SINCE[own])[:2]:
            name = own
        found = structure(name, kernel, WORDS[arch], config)
    what = f"Linux {kernel}, {arch}" + (f", view {arguments.view}" if arguments.view else "")
    if name != arguments.name:
        what += f": since {SINCE[name]} struct {name}, which lies over the page"
    return found, what


def from_btf(arguments: argparse.Namespace, name: str) -> "tuple[Btf, Structure]":
    """A structure of the type information that is asked for, and all of that."""
    from mmtwin.recordings.btf import read_btf

    path = Path(arguments.btf or THIS_MACHINE)
    if path.is_dir():
        path = path / "static" / "btf_vmlinux"
    remedy = "BTF is a file like /sys/kernel/btf/vmlinux, or a recording's static/btf_vmlinux"
    with input_errors(remedy):
        btf = read_btf(path)
        structure = btf.structure(name)
        if structure is None:
            near = get_close_matches(name, btf.names(), 3, 0.6)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            raise UserError(f"{path}: no structure {name!r}{hint}", "names are case-sensitive")
    return btf, structure

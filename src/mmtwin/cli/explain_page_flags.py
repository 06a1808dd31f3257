"""Explains a page->flags word: flags and fields as dump_page() prints them.

WORD is a number, or names of flags (`lru|head`). Without WORD, or with a file in its place, whole
page dumps of a log are read. What the kernel's configuration decides and nobody says (the widths
of node, zone and lastcpupid) is inferred from the word; --set and --pfn say it.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.options import add_json, print_json, switches_of

if TYPE_CHECKING:
    from mmtwin.explain.page_dump import PageDump
    from mmtwin.explain.page_flags import PageFlags

EXAMPLES = """\
examples:
  mmtwin explain page-flags 0x17ffffc0010200 --kernel 5.12
  mmtwin explain page-flags 0x17ffffc0000040 --kernel 6.16.3 --pfn 0x2125c0
  mmtwin explain page-flags 0xa80000010200 --kernel 6.5 --set SPARSEMEM_VMEMMAP=n
  dmesg | mmtwin explain page-flags               every page dump of a log
  mmtwin explain page-flags --kpageflags 0x1000000400 --kernel 6.1"""
DEFAULT_ARCH = "x86_64"
# What Kconfig takes: NODES_SHIFT (0: no NUMA), NR_CPUS of the largest architecture.
RANGES = {"CONFIG_NODES_SHIFT": (0, 10), "CONFIG_NR_CPUS": (1, 8192)}
PFN_BITS = 52  # of 64-bit physical addresses and pages of 4 KiB
NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|\d+")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("word", metavar="WORD", nargs="?", help="0x17ffffc0010200, or a file")
    parser.add_argument(
        "--kernel", metavar="RELEASE", help="as `uname -r` or a log prints it: 6.1.0-50-amd64"
    )
    parser.add_argument("--arch", metavar="ARCH", help=f"x86_64, arm64, arm … ({DEFAULT_ARCH})")
    parser.add_argument("--pfn", metavar="PFN", help="the page's number: it tells zones apart")
    parser.add_argument(
        "--set", "--config", action="append", default=[], metavar="SWITCH=VALUE",
        help="a switch of the kernel's configuration: NODES_SHIFT=6",
    )  # fmt: skip
    parser.add_argument(
        "--kpageflags", action="store_true", help="WORD is an entry of /proc/kpageflags"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    with input_errors():
        if arguments.kpageflags:
            figures, lines = kpageflags(arguments)
        elif arguments.word and NUMBER.fullmatch(arguments.word):
            figures, lines = of_word(arguments, int(arguments.word, 0))
        elif arguments.word and not Path(arguments.word).exists() and arguments.word != "-":
            figures, lines = of_word(arguments, word_of_names(arguments))
        else:
            figures, lines = of_log(arguments)
    if arguments.json:
        print_json(figures)
    else:
        print("\n".join(lines))
    return 0


def kpageflags(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """What an entry of /proc/kpageflags says, as figures and in words."""
    from mmtwin.versions.page_flags import kpf_bits

    if not arguments.word or not NUMBER.fullmatch(arguments.word):
        raise UserError("--kpageflags takes a number", "an entry is a u64: 0x1000000400")
    value = int(arguments.word, 0)
    if value >> 64:
        raise UserError(
            f"{value:#x} is wider than an entry of /proc/kpageflags: 64 bits",
            f"at most {(1 << 64) - 1:#x}",
        )
    release = release_of(arguments)
    bits = kpf_bits(release)
    names = [name for name, bit in bits.items() if value >> bit & 1]
    rest = value & ~sum(1 << bit for bit in bits.values())
    text = "|".join([*names, hex(rest)] if rest else names)
    figures = {"release": release, "value": f"{value:#x}", "text": text}
    return figures, [f"{value:#x} in /proc/kpageflags of Linux {release}: {text or '(nothing)'}"]


def word_of_names(arguments: argparse.Namespace) -> int:
    """The word of `lru|head`. Raises UserError for a name that the release does not have."""
    from difflib import get_close_matches

    from mmtwin.versions.page_flags import page_flag_bits

    release = release_of(arguments)
    bits = page_flag_bits(release, arch_of(arguments), {
        "CONFIG_MEMORY_FAILURE": "y", "CONFIG_PAGE_IDLE_FLAG": "y", **config_of(arguments),
    })  # fmt: skip
    value = 0
    for part in arguments.word.split("|"):
        name = "PG_" + part.strip().removeprefix("PG_")
        if name not in bits:
            near = get_close_matches(name, bits, 3, 0.5)
            hint = f"; nearest: {', '.join(near)}" if near else "; and no such file"
            raise UserError(f"Linux {release} has no page flag {part.strip()!r}{hint}")
        value |= 1 << bits[name]
    return value


def release_of(arguments: argparse.Namespace) -> str:
    """The release of --kernel, else the newest."""
    from mmtwin.versions.uname import NEWEST, kernel_name

    if arguments.kernel:
        return kernel_name(arguments.kernel).readings[0]
    return f"{NEWEST[0]}.{NEWEST[1]}"


def arch_of(arguments: argparse.Namespace) -> str:
    """The architecture asked for. Raises UserError for unknown ones."""
    from difflib import get_close_matches

    from mmtwin.versions.page_flag_layout import ALIASES, SECTIONS

    arch = ALIASES.get(arguments.arch or DEFAULT_ARCH, arguments.arch or DEFAULT_ARCH)
    if arch not in SECTIONS:
        near = get_close_matches(arch, [*SECTIONS, *ALIASES], 3, 0.4)
        known = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(SECTIONS)}"
        raise UserError(f"no architecture {arch!r}", known)
    return arch


def of_word(arguments: argparse.Namespace, value: int) -> tuple[dict[str, Any], list[str]]:
    """What a word says, as figures and in words."""
    from mmtwin.explain.page_flags import Evidence, read_page_flags, readings
    from mmtwin.versions.uname import kernel_name

    given, arch = config_of(arguments), arch_of(arguments)
    evidence = Evidence(pfn_of(arguments))
    if arguments.kernel is not None:
        found = read_page_flags(value, kernel_name(arguments.kernel), arch, given, evidence)
        return {"kernel": arguments.kernel, **figures_of(found)}, lines_of(found)
    runs = readings(value, arch, given, evidence)
    lines = []
    for first, last, each in runs:
        span = first if first == last else f"{first} to {last}"
        lines.append(f"{span:<14} {each.text or '(nothing)'}")
    figures = [{"from": first, "to": last, **figures_of(each)} for first, last, each in runs]
    newest = runs[-1][2]
    return {"text": newest.text, "readings": figures}, [*lines, *lines_of(newest)]


def config_of(arguments: argparse.Namespace) -> dict[str, str]:
    """The switches of --set. Raises UserError for numbers that Kconfig does not take."""
    given = switches_of(arguments.set)
    for symbol, (least, most) in RANGES.items():
        text = given.get(symbol, str(most))
        if not text.isdecimal() or not least <= int(text) <= most:
            name = symbol.removeprefix("CONFIG_")
            raise UserError(f"--set {name}={text}", f"{name} is a number from {least} to {most}")
    return given


def pfn_of(arguments: argparse.Namespace) -> int | None:
    """--pfn as a number."""
    if arguments.pfn is None:
        return None
    if not NUMBER.fullmatch(arguments.pfn):
        raise UserError(f"--pfn {arguments.pfn!r}", "it takes a number: 0x2125c0")
    pfn = int(arguments.pfn, 0)
    if pfn >> PFN_BITS:
        raise UserError(f"--pfn {arguments.pfn}", f"a pfn has at most {PFN_BITS} bits")
    return pfn


def of_log(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """What every page dump of a file or of standard input says."""
    from mmtwin.explain.page_dump import read_dumps

    if arguments.word in (None, "-"):
        text = "" if sys.stdin.isatty() else sys.stdin.read()
        if not text.strip():
            raise UserError(
                "no WORD, and no page dump on standard input",
                "such are 0x17ffffc0010200, 'lru|head', a file, or dmesg's lines",
            )
    else:
        text = Path(arguments.word).read_text(errors="replace")
    dumps, kernel = read_dumps(text)
    kernel = arguments.kernel or kernel
    if kernel is None:
        raise UserError("the log does not say which kernel printed it", "add --kernel RELEASE")
    given = config_of(arguments)
    read = [of_dump(arguments, dump, kernel, given) for dump in dumps]
    lines = [line for _, lines in read for line in (*lines, "")]
    figures = [figures for figures, _ in read]
    return {"kernel": kernel, "text": figures[0]["text"], "dumps": figures}, lines[:-1]


def of_dump(
    arguments: argparse.Namespace, dump: "PageDump", kernel: str, given: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """One dump."""
    from mmtwin.explain.page_flags import Evidence, read_dump
    from mmtwin.versions.page_flags import page_type_names
    from mmtwin.versions.uname import kernel_name

    pfn = pfn_of(arguments)
    evidence = Evidence(dump.pfn if pfn is None else pfn, dump.printed, dump.tagged)
    arch = arch_of(arguments) if arguments.arch else None
    found = read_dump(dump.flags or 0, kernel_name(kernel), arch, dump.word_bits, given, evidence)
    lines, figures = lines_of(found), figures_of(found)
    figures |= {**dump.items, "reason": dump.reason, "kind": dump.kind}
    if dump.order is not None:
        figures["order"] = dump.order
    if dump.page_type is not None:
        value = dump.page_type << 24 if dump.page_type < 256 else dump.page_type
        types = page_type_names(value, found.release)
        figures["page_type"] = {"value": f"{dump.page_type:#x}", "names": types}
        lines.append(f"  page_type   {dump.page_type:#x}: {', '.join(types) or 'none'}")
    if dump.items:
        about = [f"{name} {value}" for name, value in dump.items.items()]
        about += [f"order {dump.order}"] if dump.order is not None else []
        lines.append(f"  page        {', '.join(about)}")
    if dump.printed is not None and dump.printed != found.text:
        figures["printed"] = dump.printed
        lines.append(f"  printed     {dump.printed}: another configuration, or another release")
    if dump.reason:
        lines.append(f"  because     {dump.reason}")
    return figures, lines


def figures_of(found: "PageFlags") -> dict[str, Any]:
    """What --json prints of a word."""
    layout = found.layout
    return {
        "release": found.release,
        "arch": found.arch,
        "value": f"{found.value:#x}",
        "text": found.text,
        "flags": [{"name": name.removeprefix("PG_"), "bit": bit}
                  for name, bit in layout.flags.items() if found.value >> bit & 1],
        "fields": layout.numbers(found.value),
        "layout": [{"name": name, "first": first, "bits": bits}
                   for name, first, bits in layout.fields],
        "zones": list(layout.zones),
        "config": shown_config(found),
    }  # fmt: skip


def shown_config(found: "PageFlags") -> dict[str, str]:
    """The switches that decide about the fields."""
    wanted = ("NODES_SHIFT", "NR_CPUS", "NUMA_BALANCING", "ZONE_", "HIGHMEM", "SPARSEMEM", "KASAN")
    names = {name for name, _, _ in found.layout.fields}
    return {symbol.removeprefix("CONFIG_"): value for symbol, value in found.config.items()
            if symbol.removeprefix("CONFIG_").startswith(wanted)
            and (symbol != "CONFIG_NR_CPUS" or "lastcpupid" in names)}  # fmt: skip


def lines_of(found: "PageFlags") -> list[str]:
    """A word in words."""
    layout = found.layout
    flags = [f"{name.removeprefix('PG_')} ({bit})" for name, bit in layout.flags.items()
             if found.value >> bit & 1]  # fmt: skip
    fields = []
    for name, number in layout.numbers(found.value).items():
        shown = f"{number:#x}" if name in ("lastcpupid", "kasantag") else str(number)
        if name == "zone" and number < len(layout.zones):
            shown += f" ({layout.zones[number]})"
        fields.append(f"{name} {shown}")
    widths = [f"{name.upper()} {bits}" for name, _, bits in layout.fields]
    unused = layout.lowest - len(layout.flags)
    widths += [f"unused {unused}"] if unused else []
    config = " ".join(f"{name}={value}" for name, value in shown_config(found).items()
                      if value not in ("n", "0"))  # fmt: skip
    return [
        f"{found.value:#x} in Linux {found.release}, {found.arch}: {found.text or '(nothing)'}",
        f"  flags       {', '.join(flags) or 'none'}",
        f"  fields      {', '.join(fields) or 'none'}",
        f"  layout      | {' | '.join(widths)} | FLAGS {len(layout.flags)} |",
        f"  configured  {config or 'without zones, nodes and sparsemem'}",
    ]

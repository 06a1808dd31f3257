"""Reads the /proc texts of a snapshot that a machine's state can be made from.

Only what the machine needs; procfs/, a floor above, prints and parses the texts in full.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

ZONE = re.compile(r"^Node (\d+), zone +(\S+)$", re.M)
NUMBER_LINE = re.compile(r"^ +([a-z_]+)[: ] *(-?\d+)$", re.M)
PROTECTION = re.compile(r"protection: \(([\d, ]*)\)")
PAGESET = ("count", "high", "batch", "high_min", "high_max")
FREE_ROW = re.compile(r"^Node +(\d+), zone +(\S+), type +(\S+)((?: +>?\d+)+) *$", re.M)
BLOCK_ROW = re.compile(r"^Node (\d+), zone +(\S+)((?: +\d+)+) *$", re.M)


@dataclass
class ZoneText:
    """One zone of /proc/zoneinfo. Pages, but for `batch`, `high` ... of each CPU in `pagesets`."""

    node: int
    name: str
    numbers: dict[str, int]
    protection: list[int] = field(default_factory=list)
    pagesets: list[dict[str, int]] = field(default_factory=list)


@dataclass
class PageTypes:
    """/proc/pagetypeinfo: rows by (node, zone name)."""

    pageblock_order: int
    migratetypes: list[str]
    free: dict[tuple[int, str], dict[str, list[int]]]
    blocks: dict[tuple[int, str], dict[str, int]]


def parse_zoneinfo(text: str) -> list[ZoneText]:
    """The zones of /proc/zoneinfo in its order. Raises ValueError if there is none."""
    zones = []
    starts = list(ZONE.finditer(text))
    for index, found in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(text)
        zones.append(parse_zone(int(found[1]), found[2], text[found.end():end]))
    if not zones:
        raise ValueError("zoneinfo names no zone")
    return zones


def parse_zone(node: int, name: str, body: str) -> ZoneText:
    """One zone's lines."""
    head, _, sets = body.partition("  pagesets")
    # per-node lines come first and share names with no zone line but are not the zone's
    head = head[head.find("  pages free"):]
    numbers = {key: int(value) for key, value in NUMBER_LINE.findall(head.replace("pages ", " "))}
    zone = ZoneText(node, name, numbers)
    found = PROTECTION.search(head)
    if found:
        zone.protection = [int(word) for word in found[1].split(",")]
    for part in sets.split("cpu:")[1:]:
        found_numbers = {key: int(value) for key, value in NUMBER_LINE.findall(part)}
        # behind the last CPU come lines of the zone: node_unreclaimable, start_pfn ...
        numbers.update({k: v for k, v in found_numbers.items() if k not in PAGESET})
        zone.pagesets.append({k: v for k, v in found_numbers.items() if k in PAGESET})
    return zone


def parse_pagetypeinfo(text: str) -> PageTypes:
    """/proc/pagetypeinfo. A count that the kernel cut off (`>100000`) reads as the number named.

    Raises ValueError if the text is none.
    """
    order = re.search(r"^Page block order: (\d+)", text, re.M)
    if not order:
        raise ValueError("pagetypeinfo says no page block order")
    free: dict[tuple[int, str], dict[str, list[int]]] = {}
    for node, zone, kind, counts in FREE_ROW.findall(text):
        row = [int(word.lstrip(">")) for word in counts.split()]
        free.setdefault((int(node), zone), {})[kind] = row
    blocks: dict[tuple[int, str], dict[str, int]] = {}
    header = re.search(r"^Number of blocks type (.*)$", text, re.M)
    names = header[1].split() if header else []
    tail = text[header.end():] if header else ""
    for node, zone, counts in BLOCK_ROW.findall(tail):
        words = counts.split()
        if len(words) == len(names):
            by_name = {name: int(word) for name, word in zip(names, words, strict=True)}
            blocks.setdefault((int(node), zone), by_name)
    return PageTypes(int(order[1]), names, free, blocks)


def parse_buddyinfo(text: str) -> dict[tuple[int, str], list[int]]:
    """/proc/buddyinfo: free blocks by order, by (node, zone name)."""
    return {(int(node), zone): [int(word) for word in counts.split()]
            for node, zone, counts in BLOCK_ROW.findall(text)}


@dataclass
class SlabText:
    """A line of /proc/slabinfo; `objects_per_slab` objects of `size` bytes in `pages` pages."""

    name: str
    active: int
    objects: int
    size: int
    objects_per_slab: int
    pages: int
    slabs: int


def parse_slabinfo(text: str) -> list[SlabText]:
    """/proc/slabinfo (2.1), its caches in its order. Raises ValueError for a line that is none."""
    caches = []
    for line in text.splitlines():
        if not line or line.startswith(("slabinfo", "#")):
            continue
        words = line.split()
        try:
            active, objects, size, per_slab, pages = (int(word) for word in words[1:6])
            slabs = int(words[words.index("slabdata") + 2])
        except (ValueError, IndexError):
            raise ValueError(f"not a line of slabinfo: {line[:60]!r}") from None
        caches.append(SlabText(words[0], active, objects, size, per_slab, pages, slabs))
    return caches


def parse_config(text: str) -> dict[str, str]:
    """A kernel's .config: `{"CONFIG_NUMA": "y"}`; what is not set is left out."""
    switches = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name.startswith("CONFIG_"):
            switches[name] = value.strip().strip('"')
    return switches


def parse_cmdline(text: str) -> dict[str, str]:
    """A kernel's command line: `{"slub_debug": "FZPU", "nokaslr": ""}`; the last one counts."""
    options = {}
    for word in text.split():
        name, _, value = word.partition("=")
        options[name] = value
    return options


def parse_release(version: str) -> str:
    """The release in the text of /proc/version, with the sublevel: `"6.1.176"`.

    Debian's `uname -r` says 6.1.0; the sublevel stands behind `Debian`.
    """
    said = re.findall(r" Debian (\d+\.\d+\.\d+)", version)
    found = re.search(r"(?:Linux version )?(\d+\.\d+(?:\.\d+)?)", version)
    if not found:
        raise ValueError(f"no kernel release in {version[:60]!r}")
    same_line = said and said[-1].split(".")[:2] == found[1].split(".")[:2]
    return str(said[-1] if same_line else found[1])


def cache_attributes(text: str) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """A recording's sys_kernel_slab: ({cache: {attribute: value}}, {alias: cache})."""
    caches: dict[str, dict[str, str]] = {}
    aliases: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split(" ", 2)
        if len(words) < 3:
            continue
        name, attribute, value = words
        if attribute == "@link":
            aliases[name] = value
        else:
            caches.setdefault(name, {})[attribute] = value
    return caches, aliases


def sizes(attributes: Mapping[str, str], name: str) -> int:
    """A numeric attribute; what follows a blank or `(` is the kernel's detail and dropped."""
    return int(re.split(r"[ (]", attributes[name], maxsplit=1)[0])

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
# What no kernel exceeds: pfns (52-bit addresses), pages on a CPU's lists, nodes (MAX_NUMNODES),
# orders of 2^N pages, objects in a slab (MAX_OBJS_PER_PAGE), bytes of an object.
MOST_PAGES, MOST_LISTED, MOST_NODES = 1 << 40, 1 << 31, 1024
MOST_ORDER, MOST_OBJECTS, MOST_BYTES = 20, 32767, 1 << 31
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
    """The zones of /proc/zoneinfo in its order. Raises ValueError if there is none, or one whose
    numbers no machine has.
    """
    zones = []
    starts = list(ZONE.finditer(text))
    for index, found in enumerate(starts):
        end = starts[index + 1].start() if index + 1 < len(starts) else len(text)
        zone = parse_zone(int(found[1]), found[2], text[found.end():end])
        check_zone(zone, 1 + text.count("\n", 0, found.start()))
        zones.append(zone)
    if not any(zone.numbers["spanned"] for zone in zones):
        raise ValueError("zoneinfo shows no zone with pages")
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


def check_zone(zone: ZoneText, line: int) -> None:
    """Raises ValueError for a zone, which begins in a line of zoneinfo, that cannot be."""
    where = f"line {line}: node {zone.node}, zone {zone.name}"
    if zone.node >= MOST_NODES:
        raise ValueError(f"line {line}: no machine has a node {zone.node}")
    for name in ("min", "low", "high", "spanned", "present", "managed"):
        if name not in zone.numbers:
            raise ValueError(f"{where} ends before `{name}`")
    said = zone.numbers
    if said["spanned"] and "start_pfn" not in said:
        raise ValueError(f"{where} ends before `start_pfn`")
    if said["spanned"] and not all({"high", "batch"} <= cpu.keys() for cpu in zone.pagesets):
        raise ValueError(f"{where} ends inside a CPU's pageset")
    wrong = [name for name, value in said.items() if not 0 <= value < MOST_PAGES]
    wrong += [name for cpu in zone.pagesets for name in cpu if not 0 <= cpu[name] < MOST_LISTED]
    if wrong and said["spanned"]:
        raise ValueError(f"{where}: `{wrong[0]}` cannot be that")
    if not said["spanned"] >= said["present"] >= said["managed"]:
        raise ValueError(f"{where}: spanned, present and managed contradict each other")


def parse_pagetypeinfo(text: str) -> PageTypes:
    """/proc/pagetypeinfo. A count that the kernel cut off (`>100000`) reads as the number named.

    Raises ValueError if the text is none.
    """
    order = re.search(r"^Page block order: (\d+)", text, re.M)
    if not order or int(order[1]) > MOST_ORDER:
        raise ValueError("line 1: no `Page block order: N`")
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
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith(("slabinfo", "#")):
            continue
        words = line.split()
        try:
            active, objects, size, per_slab, pages = (int(word) for word in words[1:6])
            slabs = int(words[words.index("slabdata") + 2])
        except (ValueError, IndexError):
            raise ValueError(f"line {number}: not a line of slabinfo: {line[:60]!r}") from None
        if not (
            0 <= active <= objects < MOST_PAGES and 0 <= slabs < MOST_PAGES
            and 0 < pages <= 1 << MOST_ORDER and 0 < per_slab <= MOST_OBJECTS
            and 0 < size <= MOST_BYTES
        ):  # fmt: skip
            raise ValueError(f"line {number}: {words[0]!r:.40} cannot have such numbers")
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

"""/proc/zoneinfo: each zone's sizes, watermarks and counters (mm/vmstat.c, zoneinfo_show_print).

Which counters there are, and in which order, differs from version to version: a parsed zone keeps
them by name in the order of the text, and prints them in that order.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mmtwin.kernel.constants import WMARK_HIGH, WMARK_LOW, WMARK_MIN, WMARK_PROMO
from mmtwin.kernel.mmzone_init import stat_threshold
from mmtwin.procfs.counters import node_stats, numa_counters, with_base, zone_counters
from mmtwin.procfs.state import ZonePlace, mm_of, pageblocks, populated, profile_of, zone_places
from mmtwin.procfs.text import Lines, shortened
from mmtwin.versions.proc_items import NODE, NUMA, PAGESET, ZONE, ZONE_PAGES, ZONE_TAIL, names

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM

FILE = "zoneinfo"
PROTECTION = "        protection: ("
PER_NODE = "  per-node stats"
PAGES = "  pages "
PAGESETS = "  pagesets"
CPU = "    cpu: "
THRESHOLD = "  vm stats threshold: "
WATERMARKS = {"min": WMARK_MIN, "low": WMARK_LOW, "high": WMARK_HIGH, "promo": WMARK_PROMO}


@dataclass(frozen=True)
class Pageset:
    """A CPU's part of a zone.

    `values`: `count`, `high`, `batch` (pages), from 6.14 on `high_min` and `high_max`.
    `threshold`: how far its counters may drift before they are added up; None without SMP.
    """

    cpu: int
    values: dict[str, int]
    threshold: int | None = None

    def __str__(self) -> str:
        """The lines as the kernel prints them."""
        width = max((len(name) for name in self.values), default=0) + 2
        text = f"{CPU}{self.cpu}\n"
        for name, value in self.values.items():
            text += f"{'':14}{name + ':':<{width}}{value}\n"
        if self.threshold is not None:
            text += f"{THRESHOLD}{self.threshold}\n"
        return text


@dataclass(frozen=True)
class ZoneInfo:
    """A zone.

    `node_stats`: the node's counters, with its first populated zone only, else None. `pages`:
    `free`, `min`, `low`, `high`, `spanned`, `present`, `managed` and what else the version has
    (`boost`, `promo`, `cma`), in pages. `protection`: lowmem_reserve by zone type, in pages.
    The others are empty in a zone without pages: `stats`: its counters; `pagesets`; `tail`:
    `node_unreclaimable`, `start_pfn`, from 7.x on `reserved_highatomic` and `free_highatomic`.
    """

    node: int
    zone: str
    pages: dict[str, int]
    protection: tuple[int, ...]
    node_stats: dict[str, int] | None = None
    stats: dict[str, int] = field(default_factory=dict)
    pagesets: tuple[Pageset, ...] = ()
    tail: dict[str, int] = field(default_factory=dict)

    @property
    def populated(self) -> bool:
        """Whether the zone has pages (populated_zone)."""
        return self.pages.get("present", 0) > 0

    def __str__(self) -> str:
        """The lines as the kernel prints them."""
        text = f"Node {self.node}, zone {self.zone:>8}\n"
        if self.node_stats is not None:
            text += PER_NODE + "\n" + counters(self.node_stats)
        for name, value in self.pages.items():
            label = "  pages free" if name == "free" else f"{'':8}{name}"
            text += f"{label:<16} {value}\n"
        text += PROTECTION + ", ".join(str(pages) for pages in self.protection) + ")\n"
        if not self.tail:
            return text
        text += counters(self.stats) + PAGESETS + "\n"
        text += "".join(str(pageset) for pageset in self.pagesets)
        return text + "".join(f"  {name + ':':<20} {value}\n" for name, value in self.tail.items())


def counters(stats: dict[str, int]) -> str:
    """The lines of vmstat counters."""
    return "".join(f"      {name:<12} {value}\n" for name, value in stats.items())


def parse(text: str | bytes) -> list[ZoneInfo]:
    """The zones of a /proc/zoneinfo text. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    zones = []
    while lines.peek() is not None:
        zones.append(parse_zone(lines))
    return zones


def parse_zone(lines: Lines) -> ZoneInfo:
    """One zone, from 'Node N, zone NAME' on."""
    line = lines.take("a zone")
    words = line.split()
    if len(words) != 4 or words[0] != "Node" or words[1][-1] != "," or words[2] != "zone":
        lines.fail(f"no 'Node N, zone NAME': {shortened(line)}")
    node = lines.unsigned(words[1][:-1], "node number")
    node_stats = None
    if lines.peek() == PER_NODE:
        lines.take(PER_NODE)
        node_stats = parse_counters(lines)
    zone = ZoneInfo(node, words[3], parse_pages(lines), parse_protection(lines), node_stats)
    if (lines.peek() or "Node").startswith("Node"):
        return zone
    stats = parse_counters(lines)
    if lines.take("the pagesets") != PAGESETS:
        lines.fail("'  pagesets' expected")
    pagesets = parse_pagesets(lines)
    tail = {}
    while (lines.peek() or "Node").startswith("  "):
        name, value = colon(lines)
        tail[name] = value
    if not tail:
        lines.fail("a zone ends without its start_pfn")
    return replace(zone, stats=stats, pagesets=pagesets, tail=tail)


def parse_counters(lines: Lines) -> dict[str, int]:
    """Lines of six spaces, name and value."""
    stats: dict[str, int] = {}
    while (lines.peek() or "").startswith("      ") and not (lines.peek() or "")[6:7].isspace():
        line = lines.take("a counter")
        words = line.split()
        if len(words) != 2:
            lines.fail(f"no counter: {shortened(line)}")
        stats[words[0]] = lines.unsigned(words[1], "counter")
    return stats


def parse_pages(lines: Lines) -> dict[str, int]:
    """'pages free' and the lines below it, up to protection."""
    line = lines.take("'pages free'")
    if not line.startswith(PAGES):
        lines.fail(f"'  pages free' expected: {shortened(line)}")
    pages: dict[str, int] = {}
    words = line[len(PAGES) :].split()
    while True:
        if len(words) != 2:
            lines.fail("a name and a number of pages expected")
        pages[words[0]] = lines.unsigned(words[1], "number of pages")
        if (lines.peek() or PROTECTION).startswith(PROTECTION):
            return pages
        words = lines.take("a number of pages").split()


def parse_protection(lines: Lines) -> tuple[int, ...]:
    """'protection: (a, b, ...)'."""
    line = lines.take("'protection'")
    if not line.startswith(PROTECTION) or not line.endswith(")"):
        lines.fail(f"no 'protection: (...)': {shortened(line)}")
    values = line[len(PROTECTION) : -1].split(", ")
    return tuple(lines.signed(value, "number of pages") for value in values)


def parse_pagesets(lines: Lines) -> tuple[Pageset, ...]:
    """The CPUs' parts of a zone."""
    pagesets = []
    while (lines.peek() or "").startswith(CPU):
        _, cpu = colon(lines)
        values: dict[str, int] = {}
        while (lines.peek() or "").startswith("          "):
            name, value = colon(lines)
            values[name] = value
        threshold = None
        if (lines.peek() or "").startswith(THRESHOLD):
            _, threshold = colon(lines)
        pagesets.append(Pageset(cpu, values, threshold))
    return tuple(pagesets)


def colon(lines: Lines) -> tuple[str, int]:
    """A 'name: value' line."""
    line = lines.take("'name: value'")
    name, found, value = line.partition(":")
    if not found:
        lines.fail(f"no 'name: value': {shortened(line)}")
    return name.strip(), lines.signed(value.strip(), "number")


def format_zoneinfo(zones: list[ZoneInfo]) -> str:
    """The text of the file."""
    return "".join(str(zone) for zone in zones)


def show(machine: Any, base: list[ZoneInfo] | None = None) -> list[ZoneInfo]:
    """The twin's zones: a `Machine` or its MM.

    `base`: the kernel's own text at the moment where the twin began: what the twin does not
    hold is printed as it was there, else as 0.
    """
    mm = mm_of(machine)
    before = {(zone.node, zone.zone): zone for zone in base or ()}
    places = zone_places(mm)
    first = {place.node: place.number for place in reversed(populated(mm))}
    zones = []
    for place in places:
        of_node = place.number == first.get(place.node)
        zones.append(show_zone(mm, place, of_node, before.get((place.node, place.name))))
    return zones


def show_zone(mm: MM, place: ZonePlace, of_node: bool, base: ZoneInfo | None) -> ZoneInfo:
    """One zone; `of_node`: with its node's counters."""
    profile = profile_of(mm)
    record = mm.view("zone")[place.number]
    sizes = zone_sizes(mm, place.number)
    pages = {name: sizes[name] for name in names(ZONE_PAGES, profile)}
    reserves = record["lowmem_reserve"]
    protection = tuple(int(reserves[number]) for _, number in profile.zones)
    node_values = None
    if of_node:
        start = base.node_stats if base else None
        of_start = start or names(NODE, profile)
        node_values = with_base(of_start, node_stats(mm, place.node, start), {}, start)
    if not sizes["present"]:
        return ZoneInfo(place.node, place.name, pages, protection, node_values)
    start = base.stats if base else None
    stats = with_base(
        start or names(ZONE + NUMA, profile),
        zone_counters(mm, place.number),
        numa_counters(mm, place.number),
        start,
    )
    pagesets = tuple(show_pageset(mm, place.number, cpu) for cpu in range(mm.nr_cpus))
    last = {
        "node_unreclaimable": 0,
        "start_pfn": int(record["start_pfn"]),
        "reserved_highatomic": int(record["nr_reserved_highatomic"]),
        "free_highatomic": int(record["nr_free_highatomic"]),
    }
    tail = {name: last[name] for name in names(ZONE_TAIL, profile)}
    return ZoneInfo(place.node, place.name, pages, protection, node_values, stats, pagesets, tail)


def zone_sizes(mm: MM, zone: int) -> dict[str, int]:
    """A zone's sizes and watermarks in pages; the marks hold the boost, as wmark_pages()."""
    record = mm.view("zone")[zone]
    boost = int(record["watermark_boost"])
    sizes = {
        "free": int(record["nr_free_pages"]),
        "boost": boost,
        "spanned": int(record["spanned_pages"]),
        "present": int(record["present_pages"]),
        "managed": int(record["managed_pages"]),
        "cma": 0,
    }
    for name, mark in WATERMARKS.items():
        sizes[name] = int(record["watermark"][mark]) + boost
    if mm.migrate_cma >= 0 and sizes["present"]:
        sizes["cma"] = int(pageblocks(mm, zone)[mm.migrate_cma]) << mm.pageblock_order
    return sizes


def show_pageset(mm: MM, zone: int, cpu: int) -> Pageset:
    """A CPU's part of a zone."""
    record = mm.view("pcp")[zone * mm.nr_cpus + cpu]
    values = {name: int(record[name]) for name in names(PAGESET, profile_of(mm))}
    return Pageset(cpu, values, stat_threshold(mm, zone, mm.nr_cpus))

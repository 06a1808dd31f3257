"""A recording's zones in the twin: sizes, watermarks and reserves as /proc/zoneinfo shows them.

They are taken, not computed: a kernel computes reserves and pcp sizes at moments of boot when
fewer pages were managed than later (before the initrd and the init sections are freed).
"""

from collections.abc import Sequence

from mmtwin.kernel.constants import (
    USE_KERNEL,
    WMARK_HIGH,
    WMARK_LOW,
    WMARK_MIN,
    WMARK_PROMO,
    PG_hole,
)
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mmzone_init import (
    build_zonelists,
    free_area_init,
    free_area_init_empty,
    per_cpu_pages_init,
    refresh_zone_stat_thresholds,
    setup_per_cpu_pageset,
)
from mmtwin.machine.texts import ZoneText
from mmtwin.versions.profiles import Profile

MARKS = {"min": WMARK_MIN, "low": WMARK_LOW, "high": WMARK_HIGH, "promo": WMARK_PROMO}


def zone_ranges(zones: Sequence[ZoneText]) -> list[tuple[int, int]]:
    """(first pfn, pfn behind the last) of every zone that has pages."""
    ranges = []
    for zone in zones:
        if zone.numbers.get("spanned"):
            start = zone.numbers["start_pfn"]
            ranges.append((start, start + zone.numbers["spanned"]))
    if not ranges:
        raise ValueError("zoneinfo shows no zone with pages")
    return ranges


def zone_number(mm: MM, profile: Profile, zone: ZoneText) -> int:
    """The number of a zone in mm.zone."""
    types = dict(profile.zones)
    if zone.name not in types:
        raise ValueError(f"{profile.name} has no zone {zone.name!r}")
    return int(zone.node * mm.nr_zone_types + types[zone.name])


def init_pages(mm: MM, ranges: Sequence[tuple[int, int]]) -> None:
    """mem_map of a machine whose every page is taken: on no list, in no cache, holes marked."""
    page = mm.view("page")[: mm.max_pfn]
    page["next"] = -1
    page["prev"] = -1
    page["cache"] = -1
    page["flags"] = PG_hole
    for start, end in ranges:
        part = page[start:end]
        part["flags"] = 0
        part["users"] = USE_KERNEL
        part["refcount"] = 1


def init_zones(mm: MM, profile: Profile, zones: Sequence[ZoneText]) -> dict[tuple[int, str], int]:
    """Makes every zone of a recording's zoneinfo with empty lists; {(node, name): number}."""
    init_pages(mm, zone_ranges(zones))
    numbers = {}
    for zone in zones:
        if not zone.numbers.get("spanned"):
            continue
        number = zone_number(mm, profile, zone)
        said = zone.numbers
        place = number % mm.nr_zone_types
        free_area_init(
            mm, zone.node, place, said["start_pfn"], said["spanned"], said["present"],
            said["managed"],
        )
        numbers[zone.node, zone.name] = number
    free_area_init_empty(mm)
    for zone in zones:
        set_zone(mm, profile, zone)
    per_cpu_pages_init(mm)
    build_zonelists(mm)
    setup_per_cpu_pageset(mm)
    for zone in zones:
        set_pagesets(mm, profile, zone)
    refresh_zone_stat_thresholds(mm)
    return numbers


def set_zone(mm: MM, profile: Profile, zone: ZoneText) -> None:
    """Watermarks, boost and reserves of one zone; reserves at the twin's own places."""
    record = mm.view("zone")[zone_number(mm, profile, zone)]
    said = zone.numbers
    for name, mark in MARKS.items():
        record["watermark"][mark] = said.get(name, 0)
    if "promo" not in said:  # not shown before 6.7: as far above high as high is above low
        record["watermark"][WMARK_PROMO] = 2 * said.get("high", 0) - said.get("low", 0)
    boost = said.get("boost", 0)
    # the marks in zoneinfo have the boost in them; the twin keeps it apart
    record["watermark"] -= boost
    record["watermark_boost"] = boost
    for (_, number), pages in zip(profile.zones, zone.protection, strict=False):
        record["lowmem_reserve"][number] = pages
    record["nr_reserved_highatomic"] = said.get("reserved_highatomic", 0)


def set_pagesets(mm: MM, profile: Profile, zone: ZoneText) -> None:
    """high, batch and limits of each CPU's lists of a zone, as far as zoneinfo shows them."""
    if not zone.pagesets:
        return
    number = zone_number(mm, profile, zone)
    record = mm.view("zone")[number]
    for cpu, said in enumerate(zone.pagesets[: mm.nr_cpus]):
        pcp = mm.view("pcp")[number * mm.nr_cpus + cpu]
        pcp["high"] = said["high"]
        pcp["batch"] = record["pageset_batch"] = said["batch"]
        for name in ("high_min", "high_max"):
            if name in said:
                pcp[name] = record[f"pageset_{name}"] = said[name]
    if not mm.view("has")[0].pcp_auto_tune:
        high = zone.pagesets[0]["high"]
        record["pageset_high_min"] = record["pageset_high_max"] = high
        pcps = mm.view("pcp")[number * mm.nr_cpus : (number + 1) * mm.nr_cpus]
        pcps["high_min"] = pcps["high_max"] = pcps["high"]

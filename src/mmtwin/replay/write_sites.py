"""Writes to /proc/sys and /sys: who allocates their buffers, and what the former changed that
later snapshots show.
"""

import itertools
import re
from typing import Any

from mmtwin.kernel.mm import MM
from mmtwin.machine.recorded import profile_of, zones_at
from mmtwin.machine.texts import ZoneText
from mmtwin.machine.zones import zone_number
from mmtwin.recordings.annotate import Annotated

# What is written to /proc/sys is copied first: since 32927393dc1c (5.8).
WRITERS = re.compile(r"proc_sys_call_handler(\.\w+)*")
# ... to /sys too (kernfs_fop_write() before it took an iterator)
KERNFS_WRITERS = re.compile(r"kernfs_fop_write(_iter)?(\.\w+)*")
MARKS = ("min", "low", "high")
# (least and most bytes of the buffer, number of the zone, three watermarks, pcp->high; -1: as is)
Setting = tuple[int, int, int, int, int, int, int]


def write_sites(annotated: Annotated) -> list[int]:
    """Call sites of the kmalloc of a write's buffer, by the recording's symbols."""
    return sites_in(annotated, WRITERS)


def kernfs_sites(annotated: Annotated) -> list[int]:
    """The same of writes to a kernfs: /sys."""
    return sites_in(annotated, KERNFS_WRITERS)


def sites_in(annotated: Annotated, functions: re.Pattern[str]) -> list[int]:
    """Call sites that lie in functions of these names."""
    sites = {int(site["call_site"]) for site in annotated.sites.records()}
    names = {site: annotated.recording.symbols.find(site) for site in sites}
    return sorted(site for site, found in names.items() if found and functions.fullmatch(found[0]))


def settings_of(recording: Any, mm: MM, start: str) -> list[Setting]:
    """What vm.min_free_kbytes and vm.percpu_pagelist_high_fraction were set to between the
    snapshots from `start` on: no event names the values, zoneinfo shows what came of them.
    """
    texts = [marker.text for marker in recording.markers]
    names = [
        name for name, snapshot in recording.snapshots.items()
        if "zoneinfo" in snapshot and f"SNAPB {name}/zoneinfo" in texts
    ]  # fmt: skip
    names.sort(key=lambda name: texts.index(f"SNAPB {name}/zoneinfo"))
    settings: list[Setting] = []
    if start not in names:
        return settings
    names = names[names.index(start) :]
    for name, following in itertools.pairwise(names):
        before, after = zones_at(recording, name), zones_at(recording, following)
        settings += changes(recording, mm, before, after)
    return settings


def changes(
    recording: Any, mm: MM, before: list[ZoneText], after: list[ZoneText]
) -> list[Setting]:
    """The settings between two snapshots' zoneinfo: setup_per_zone_wmarks() first, which sizes the
    per-CPU lists too (74f44822097c, 5.14), then percpu_pagelist_high_fraction.
    """
    profile, has = profile_of(recording), mm.view("has")[0]
    if [zone.name for zone in before] != [zone.name for zone in after]:
        return []
    marks = [[zone.numbers.get(mark, 0) for mark in MARKS] for zone in after]
    changed = marks != [[zone.numbers.get(mark, 0) for mark in MARKS] for zone in before]
    kbytes = sum(mark[0] for mark in marks) << (mm.page_shift - 10)
    found: list[Setting] = []
    fractions: list[Setting] = []
    for zone, mark in zip(after, marks, strict=True):
        if not zone.pagesets:
            continue
        number = zone_number(mm, profile, zone)
        high, least = zone.pagesets[0]["high"], zone.pagesets[0]["batch"] << 2
        ruled = -1
        if has.pcp_high_from_watermark:
            cpus = int((mm.view("cpu_node") == zone.node).sum()) or mm.nr_cpus
            ruled = max(mark[1] // cpus, least)
        if changed:
            most = kbytes + (len(after) << (mm.page_shift - 10))
            low, last = len(str(kbytes)) + 2, len(str(most)) + 2  # a newline and the NUL too
            found.append((low, last, number, mark[0], mark[1], mark[2], ruled))
        if has.pcp_high_from_watermark and not has.pcp_auto_tune and high not in (ruled, least):
            digits = len(str(zone.numbers["managed"] // max(high, 1)))
            fractions.append((digits + 2, digits + 2, number, -1, -1, -1, high))
    return found + fractions

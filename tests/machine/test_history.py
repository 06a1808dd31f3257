"""The state before the first event, from made-up events and from the shipped recording."""

from typing import Any

import numpy as np

from mmtwin.kernel.page_alloc_check import validate
from mmtwin.machine.history import UNSEEN, WAS_FREE, WAS_USED, History
from mmtwin.machine.proc_pages import KPF_BUDDY, KPF_RESERVED, KPF_SLAB, has_flag
from mmtwin.machine.recorded import (
    layout_of_recording,
    machine_at_boot,
    machine_at_proc,
    zones_at,
)
from mmtwin.machine.truth_pages import pcp_lists
from mmtwin.machine.zones import zone_number
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.event import CONSTANTS, EVENT

BASE = 0xFFFF888000000000


def events(*rows: tuple[str, int, int, int]) -> np.ndarray:
    """(kind, address or pfn, order, cache) as event records."""
    table = np.zeros(len(rows), dtype=EVENT)
    for place, (kind, address, order, cache) in enumerate(rows):
        table[place]["kind"] = CONSTANTS[f"KIND_{kind}"]
        table[place]["address"] = address
        table[place]["order"] = order
        table[place]["cache"] = cache
    return table


def history(*rows: tuple[str, int, int, int], at_once: bool = True) -> History:
    made = History(64, BASE, 12, CONSTANTS, ["filp", "dentry"])
    table = events(*rows)
    for part in [table] if at_once else [table[i : i + 1] for i in range(len(table))]:
        made.add(part)
    return made


def object_in(pfn: int, offset: int = 0) -> int:
    return BASE + (pfn << 12) + offset


ROWS = (
    ("MM_PAGE_ALLOC", 8, 1, -1),
    ("KMEM_CACHE_ALLOC", object_in(8), 0, 0),
    ("MM_PAGE_FREE", 16, 0, -1),
    ("MM_PAGE_ALLOC", 16, 0, -1),
    ("KMEM_CACHE_ALLOC", object_in(16), 0, 0),
    ("KMEM_CACHE_FREE", object_in(20, 256), 0, 1),
    ("KMEM_CACHE_ALLOC", object_in(20, 512), 0, 1),
    ("KMEM_CACHE_ALLOC", object_in(20, 256), 0, 1),
    ("MM_PAGE_FREE", 24, 2, -1),
)


def test_first_events_decide_in_one_block_or_many() -> None:
    for at_once in (True, False):
        found = history(*ROWS, at_once=at_once)
        assert [found.first[pfn] for pfn in (8, 9, 10)] == [WAS_FREE, WAS_FREE, UNSEEN]
        assert [found.first[pfn] for pfn in (16, 20, 27)] == [WAS_USED, UNSEEN, WAS_USED]
        # objects of slabs that were there: only those on page 20
        assert found.live == {object_in(20, 256): True, object_in(20, 512): False}


def test_flags_at_boot() -> None:
    flags = np.zeros(64, dtype=np.uint64)
    flags[30] = 1 << KPF_BUDDY
    flags[31] = 1 << KPF_RESERVED
    flags[20] = 1 << KPF_SLAB
    boot = history(*ROWS).boot_flags(flags)
    free = has_flag(boot, KPF_BUDDY)
    assert list(np.flatnonzero(free)) == [8, 9, 30]
    assert has_flag(boot, KPF_SLAB)[20]
    assert boot[31] == 1 << KPF_RESERVED
    found = history(*ROWS)
    heads = found.boot_slabs(flags)
    assert heads == [(20, 1)]
    assert found.hints(heads).cache_of == {20: "dentry"}


def test_a_failed_allocation_is_no_page() -> None:
    found = history(("MM_PAGE_ALLOC", (1 << 64) - 1, 0, -1), ("MM_PAGE_ALLOC", 0, 3, -1))
    assert not found.first.any()


def test_the_recorded_machine_at_boot_is_valid(recording: Any) -> None:
    annotated = Annotated(recording)
    layout = layout_of_recording(recording, page_offset=annotated.page_offset)
    made = History(
        layout.max_pfn, layout.page_offset, layout.page_shift, CONSTANTS, annotated.names
    )
    stop = recording.marker("SNAPB start/kpageflags").index
    for block in annotated.blocks():
        made.add(block.events[: min(block.ready, max(stop - block.first, 0))])
    mm = machine_at_boot(recording, made, layout)
    assert validate(mm) == []
    zones = mm.view("zone")
    assert 0 < zones["nr_free_pages"].sum() < zones["managed_pages"].sum()
    assert 100 < mm.view("cache_node")["nr_slabs"].sum() < 1000


def test_pages_on_per_cpu_lists_are_told_by_later_events(recording: Any) -> None:
    annotated = Annotated(recording)
    layout = layout_of_recording(recording, page_offset=annotated.page_offset)
    made = History(
        layout.max_pfn, layout.page_offset, layout.page_shift, CONSTANTS, annotated.names
    )
    start = recording.marker("SNAPB start/kpageflags").index
    for block in annotated.blocks():
        made.add(block.events[min(max(start - block.first, 0), block.ready) : block.ready])
    mm = machine_at_proc(recording, "start", layout, history=made)
    assert validate(mm) == []
    zones = {zone.name: zone for zone in zones_at(recording, "start")}
    counts = mm.view("pcp")["count"]
    for said in recording.snapshots["start"].truth["buddy"]:
        number = zone_number(mm, mm.profile, zones[said["name"]])
        shown = zones[said["name"]].pagesets[0]["count"]
        assert abs(int(counts[number]) - shown) <= 2
        # in the kernel's order, but for what changed between the truth and the snapshot
        for key, pfns in pcp_lists(mm, number, 0).items():
            theirs = said["pcp"][0]["lists"].get(key, [])
            common = set(pfns) & set(theirs)
            assert len(common) >= len(theirs) - 2
            assert [p for p in pfns if p in common] == [p for p in theirs if p in common]

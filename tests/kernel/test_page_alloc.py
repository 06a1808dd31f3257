"""The entries: zonelists and nodes, watermarks, the slow path's order of attempts, failure."""

import pytest
from page_machine import (
    GFP_ATOMIC,
    GFP_KERNEL,
    GFP_MOVABLE,
    GFP_NOWARN,
    HIGHATOMIC,
    NORMAL,
    PAGE_VERSIONS,
    fill,
    free_lists,
    machine,
    pcp_lists,
    pcp_of,
    pcp_size,
)

from mmtwin.kernel.constants import (
    __GFP_DMA,
    __GFP_DMA32,
    __GFP_MEMALLOC,
    __GFP_NOFAIL,
    __GFP_NOMEMALLOC,
    __GFP_NORETRY,
    __GFP_THISNODE,
    COMPLAINT_PAGE_ALLOC,
    MIGRATE_MOVABLE,
    ZONE_DMA32,
    ZSTAT_NUMA_FOREIGN,
    ZSTAT_NUMA_HIT,
    ZSTAT_NUMA_LOCAL,
    ZSTAT_NUMA_MISS,
    PG_pfmemalloc,
)
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mmzone import first_zone, gfp_zone, migratetype_is_mergeable
from mmtwin.kernel.page_alloc import (
    alloc_pages,
    alloc_pages_exact,
    free_pages,
    gfp_migratetype,
)
from mmtwin.kernel.page_alloc_check import validate
from mmtwin.kernel.page_alloc_state import take_free_page
from mmtwin.kernel.trace import read_steps


def test_flags_choose_zone_and_migratetype() -> None:
    mm = machine()
    zones = [gfp_zone(mm, gfp) for gfp in (GFP_KERNEL, __GFP_DMA, __GFP_DMA32, GFP_MOVABLE, 2)]
    assert zones == [2, 0, 1, 4, 3]
    types = [gfp_migratetype(mm, gfp) for gfp in (GFP_KERNEL, GFP_MOVABLE, GFP_KERNEL | 0x10)]
    assert types == [0, 1, 2]
    assert migratetype_is_mergeable(MIGRATE_MOVABLE) and not migratetype_is_mergeable(HIGHATOMIC)
    without = machine(zone_dma=0, zone_dma32=0)
    assert gfp_zone(without, __GFP_DMA) == gfp_zone(without, __GFP_DMA32) == NORMAL


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_lower_zones_help_out_and_are_asked_for(version: str) -> None:
    mm = machine(version, 16, dma32=16)
    fill(mm, 0, 32, 4)
    assert first_zone(mm, 0, NORMAL, False) == NORMAL
    assert [alloc_pages(mm, GFP_KERNEL, 4, -1) for _ in range(2)] == [16, 0]
    free_pages(mm, 0, 4)
    free_pages(mm, 16, 4)
    assert alloc_pages(mm, GFP_KERNEL | __GFP_DMA32, 0, -1) == 0
    assert alloc_pages(mm, GFP_KERNEL | __GFP_DMA | GFP_NOWARN, 0, -1) == -1


def test_lower_zones_keep_their_reserve() -> None:
    mm = machine(pages=16, dma32=16)
    fill(mm, 0, 32, 4)
    mm.view("zone")[ZONE_DMA32]["lowmem_reserve"][NORMAL] = 12
    pages = [alloc_pages(mm, GFP_KERNEL | GFP_NOWARN, 0, -1) for _ in range(21)]
    assert sorted(pages) == [-1, 0, 1, 2, 3, *range(16, 32)]
    assert alloc_pages(mm, GFP_KERNEL | __GFP_DMA32, 0, -1) == 4


def test_pageblocks_are_not_mixed_while_a_lower_zone_has_pages() -> None:
    mm = machine(pages=16, dma32=16)
    fill(mm, 16, 8, 3, MIGRATE_MOVABLE)
    fill(mm, 0, 16, 4)
    mm.view("page")["users"][24:32] = 4
    mm.view("pageblock")[2] = MIGRATE_MOVABLE
    assert alloc_pages(mm, GFP_MOVABLE, 0, -1) == 16
    assert alloc_pages(mm, GFP_KERNEL, 2, -1) == 0  # not 20, which is movable
    assert validate(mm) == []


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_nodes_fall_back_in_their_order(version: str) -> None:
    mm = machine(version, 16, nodes=3, cpus=2)
    fill(mm, 0, 48, 4)
    mm.view("cpu_node")[1] = 1
    mm.cpu = 1
    assert [alloc_pages(mm, GFP_KERNEL, 4, -1) for _ in range(3)] == [16, 32, 0]
    stats = [mm.view("zone")[NORMAL + 5 * node]["stat"] for node in range(3)]
    assert [int(s[ZSTAT_NUMA_HIT]) for s in stats] == [0, 1, 0]
    assert [int(s[ZSTAT_NUMA_MISS]) for s in stats] == [1, 0, 1]
    assert stats[1][ZSTAT_NUMA_FOREIGN] == 2 and stats[1][ZSTAT_NUMA_LOCAL] == 1
    free_pages(mm, 0, 4)
    gfp = GFP_KERNEL | __GFP_THISNODE | GFP_NOWARN
    assert alloc_pages(mm, gfp, 0, 2) == -1 and alloc_pages(mm, gfp, 0, 0) == 0


def short(version: str, least: int, **features: int) -> MM:
    """64 free pages, of which the min watermark keeps `least`; low and high are far above."""
    mm = machine(version, 64, **features)
    fill(mm, 0, 64, 4)
    mm.view("zone")[NORMAL]["watermark"][:4] = least, 1000, 1000, 1000
    return mm


def last_free(mm: MM, gfp: int) -> int:
    """Free pages that remain when single pages run out."""
    while alloc_pages(mm, gfp | GFP_NOWARN, 0, -1) >= 0:
        pass
    assert validate(mm) == []
    return int(mm.view("zone")[NORMAL]["nr_free_pages"])


@pytest.mark.parametrize(
    ("version", "gfp", "free"),
    [
        ("5.10", GFP_KERNEL, 32),
        ("5.10", GFP_ATOMIC, 12),
        ("5.10", GFP_KERNEL | 0x20, 16),  # __GFP_HIGH
        ("5.10", 0x800, 32),  # GFP_NOWAIT: not __GFP_ATOMIC
        ("6.1.176", GFP_KERNEL, 32),
        ("6.1.176", GFP_ATOMIC, 12),
        ("6.1.176", 0x800, 32),  # no __GFP_HIGH
        ("6.12.107", 0x820, 12),
        ("6.12.107", 0x820 | __GFP_NOMEMALLOC, 16),
        ("6.12.107", GFP_KERNEL | __GFP_MEMALLOC, 0),
        ("7.3", GFP_KERNEL | __GFP_NOFAIL, 16),
        ("5.10", GFP_KERNEL | __GFP_NOFAIL, 24),
    ],
)
def test_how_deep_a_request_may_dip(version: str, gfp: int, free: int) -> None:
    assert last_free(short(version, 32), gfp) == free


def test_pages_beyond_the_watermarks_are_marked() -> None:
    mm = short("6.1.176", 64)
    pfn = alloc_pages(mm, GFP_KERNEL | __GFP_MEMALLOC, 0, -1)
    assert mm.view("page")["flags"][pfn] & PG_pfmemalloc


@pytest.mark.parametrize(("version", "unusable"), [("6.1.176", 16), ("6.12.107", 8)])
def test_the_high_atomic_reserve_is_out_of_reach(version: str, unusable: int) -> None:
    mm = machine(version, 64, block_order=4)
    fill(mm, 0, 48, 4)
    fill(mm, 48, 16, 4, HIGHATOMIC)
    take_free_page(mm, 56, 3)
    mm.view("zone")[NORMAL]["nr_reserved_highatomic"] = 16
    assert last_free(mm, GFP_KERNEL | __GFP_NORETRY) == unusable


def test_boosts_raise_the_low_watermark_but_not_for_atomic_requests() -> None:
    for version, gfp in (("5.10", GFP_ATOMIC), ("6.12.107", 0x820)):
        mm = short(version, 0)
        mm.view("zone")[NORMAL]["watermark_boost"] = 60
        assert alloc_pages(mm, gfp, 0, -1) >= 0
        assert last_free(mm, gfp) == 0
        mm = short(version, 0)
        mm.view("zone")[NORMAL]["watermark_boost"] = 60
        assert last_free(mm, GFP_KERNEL) == 60


def test_a_larger_block_must_exist_not_only_pages() -> None:
    mm = machine(pages=64)
    fill(mm, 0, 64, 4)
    for _ in range(64):
        alloc_pages(mm, GFP_KERNEL, 0, -1)
    for pfn in range(0, 64, 2):
        free_pages(mm, pfn, 0)
    mm.step_mask = (1 << 49) | (1 << 50)
    assert alloc_pages(mm, GFP_KERNEL | GFP_NOWARN, 1, -1) == -1
    names = [name for name, _, _, _ in read_steps(mm)]
    assert names[:4] == ["watermark_fail", "watermark_fail", "alloc_slowpath", "watermark_fail"]


def test_the_slow_path_drains_other_cpus_lists() -> None:
    mm = machine("6.1.176", 32, cpus=2)
    fill(mm, 0, 32, 4)
    pcp_size(mm, 16, 100)
    mm.cpu = 1
    pages = [alloc_pages(mm, GFP_KERNEL, 0, -1) for _ in range(32)]
    for pfn in pages:
        free_pages(mm, pfn, 0)
    mm.cpu = 0
    assert free_lists(mm) == {} and pcp_of(mm, cpu=1)["count"] == 32
    assert alloc_pages(mm, GFP_ATOMIC | GFP_NOWARN, 0, -1) == -1  # may not wait
    assert alloc_pages(mm, GFP_KERNEL, 3, -1) >= 0
    assert pcp_of(mm, cpu=1)["count"] == 0 and validate(mm) == []


def test_the_slow_path_gives_up_the_high_atomic_reserve() -> None:
    mm = machine("6.1.176", 32)
    fill(mm, 0, 8, 3, HIGHATOMIC)
    mm.view("zone")[NORMAL]["nr_reserved_highatomic"] = 8
    assert alloc_pages(mm, GFP_KERNEL | __GFP_NORETRY | GFP_NOWARN, 0, -1) == -1
    assert alloc_pages(mm, GFP_KERNEL, 0, -1) == 0
    assert mm.view("zone")[NORMAL]["nr_reserved_highatomic"] == 0 and validate(mm) == []


@pytest.mark.parametrize(
    ("version", "free", "listed"), [("5.10", {(4, 0): [16]}, [7, 6, 5]), ("6.1.176", None, None)]
)
def test_an_exact_number_of_pages(
    version: str, free: dict[tuple[int, int], list[int]], listed: list[int]
) -> None:
    mm = machine(version, 32, orders=5)
    fill(mm, 0, 32, 4)
    pcp_size(mm, 4, 40)
    assert alloc_pages_exact(mm, GFP_KERNEL, 5, -1) == 0
    if listed:
        assert pcp_lists(mm) == {0: listed} and free_lists(mm) == {(3, 0): [8], **free}
    else:
        assert free_lists(mm)[0, 0] == [5] and free_lists(mm)[1, 0] == [6]
    assert validate(mm) == []
    assert alloc_pages_exact(mm, GFP_KERNEL | GFP_NOWARN, 40, -1) == -1


def test_failure_is_an_answer_and_a_complaint() -> None:
    mm = machine(pages=16)
    assert alloc_pages(mm, GFP_KERNEL, 0, -1) == -1
    assert mm.complaints == [{"kind": COMPLAINT_PAGE_ALLOC, "address": GFP_KERNEL, "detail": 0}]
    assert alloc_pages(mm, GFP_KERNEL | GFP_NOWARN, 0, -1) == -1 and len(mm.complaints) == 1
    for order, node in ((-1, 0), (5, 0), (0, 3)):
        assert alloc_pages(mm, GFP_KERNEL, order, node) == -1
    assert len(mm.complaints) == 4

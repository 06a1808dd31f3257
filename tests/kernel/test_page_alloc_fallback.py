"""Fallback between migratetypes, and the high-atomic reserve, in each generation of rules."""

import pytest
from page_machine import (
    GFP_ATOMIC,
    GFP_KERNEL,
    GFP_MOVABLE,
    GFP_NOWARN,
    GFP_RECLAIMABLE,
    HIGHATOMIC,
    MOVABLE,
    NORMAL,
    PAGE_VERSIONS,
    RECLAIMABLE,
    UNMOVABLE,
    fill,
    free_list,
    free_lists,
    machine,
    pcp_size,
)

from mmtwin.kernel.constants import (
    USE_USER,
    ZSTAT_CLAIM,
    ZSTAT_FALLBACK,
)
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mmzone import get_pfnblock_migratetype, set_pageblock_migratetype
from mmtwin.kernel.page_alloc import alloc_pages, free_pages
from mmtwin.kernel.page_alloc_check import validate
from mmtwin.kernel.page_alloc_fallback import unreserve_highatomic_pageblock
from mmtwin.kernel.page_alloc_state import take_free_page
from mmtwin.kernel.trace import read_steps

OLD = ("5.10", "6.1.176")
NEW = ("6.12.107", "6.18", "7.3")


def stolen(mm: MM, gfp: int, order: int = 0) -> tuple[int, tuple[int, ...]]:
    """An allocation that must fall back: its pfn, and the fields of mm_page_alloc_extfrag."""
    mm.step_mask = 1 << 5
    pfn = alloc_pages(mm, gfp, order, -1)
    ((_, _, _, fields),) = read_steps(mm)
    assert validate(mm) == []
    return pfn, fields


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_a_free_pageblock_changes_its_type(version: str) -> None:
    mm = machine(version, 32, orders=4)
    fill(mm, 0, 32, 3, MOVABLE)
    pfn, fields = stolen(mm, GFP_KERNEL)
    assert pfn == fields[0] == 0 and fields[1:] == (0, 3, UNMOVABLE, MOVABLE, 1)
    assert [get_pfnblock_migratetype(mm, p) for p in (0, 8)] == [UNMOVABLE, MOVABLE]
    assert free_lists(mm)[1, UNMOVABLE] == [2] and free_list(mm, 3, MOVABLE) == [8, 16, 24]
    assert list(mm.view("zone")[NORMAL]["stat"][[ZSTAT_FALLBACK, ZSTAT_CLAIM]]) == [1, 1]


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_reclaimable_comes_before_movable(version: str) -> None:
    mm = machine(version, 32, orders=4)
    fill(mm, 0, 16, 3, MOVABLE)
    fill(mm, 16, 16, 3, RECLAIMABLE)
    assert stolen(mm, GFP_KERNEL)[0] == 16


def half_used(version: str, used: int, use: int, gfp: int) -> MM:
    """A movable pageblock (pages 0-7) with `used` pages in use, the rest free."""
    mm = machine(version, 16)
    fill(mm, 0, 8, 3, MOVABLE)
    pages = [alloc_pages(mm, gfp, 0, -1) for _ in range(8)]
    for pfn in pages[used:]:
        free_pages(mm, pfn, 0)
    mm.view("page")["users"][pages[:used]] = use
    return mm


@pytest.mark.parametrize("version", PAGE_VERSIONS)
@pytest.mark.parametrize(
    ("used", "use", "claimed"), [(5, USE_USER, 0), (5, 10, 1), (4, USE_USER, 1)]
)
def test_a_pageblock_is_claimed_if_half_is_free_or_alike(
    version: str, used: int, use: int, claimed: int
) -> None:
    mm = half_used(version, used, use, GFP_MOVABLE)
    _, fields = stolen(mm, GFP_KERNEL)
    assert fields[5] == claimed
    assert get_pfnblock_migratetype(mm, 0) == (UNMOVABLE if claimed else MOVABLE)


def test_before_6_15_the_rest_of_an_unclaimed_pageblock_moves_too() -> None:
    mm = half_used("6.1.176", 5, USE_USER, GFP_MOVABLE)
    pfn, _ = stolen(mm, GFP_KERNEL)
    assert pfn == 5 and free_lists(mm) == {(1, UNMOVABLE): [6]}


def test_from_6_10_to_6_14_the_rest_stays_and_the_largest_block_is_taken() -> None:
    mm = half_used("6.13", 5, USE_USER, GFP_MOVABLE)
    pfn, fields = stolen(mm, GFP_KERNEL)
    assert pfn == 6 and fields[2] == 1 and fields[5] == 0
    assert free_lists(mm) == {(0, MOVABLE): [7, 5]}


def test_since_6_15_the_rest_of_an_unclaimed_pageblock_stays() -> None:
    mm = half_used("6.12.107", 5, USE_USER, GFP_MOVABLE)
    pfn, fields = stolen(mm, GFP_KERNEL)
    assert pfn == 5 and fields[2] == 0  # the smallest block, not the largest
    assert free_lists(mm) == {(1, MOVABLE): [6]}


def test_the_decision_to_claim_may_be_an_input() -> None:
    mm = half_used("6.1.176", 5, USE_USER, GFP_MOVABLE)
    mm.claim_override = 1
    assert stolen(mm, GFP_KERNEL)[1][5] == 1 and mm.claim_override == -1


def test_movable_requests_split_the_smallest_block_of_others() -> None:
    mm = machine("6.1.176", 64, block_order=4, orders=6)
    fill(mm, 0, 64, 4, UNMOVABLE)
    for pfn in (0, 32):
        assert take_free_page(mm, pfn, 4) == 16
    free_pages(mm, 5, 0)
    free_pages(mm, 32, 1)
    take_free_page(mm, 16, 4)
    take_free_page(mm, 48, 4)
    pfn, fields = stolen(mm, GFP_MOVABLE)
    assert pfn == 5 and fields[2] == 0


@pytest.mark.parametrize("version", NEW)
def test_a_refill_steals_on_once_claiming_failed(version: str) -> None:
    mm = half_used(version, 5, USE_USER, GFP_MOVABLE)
    pcp_size(mm, 3, 100)
    mm.step_mask = 1 << 5
    alloc_pages(mm, GFP_KERNEL, 0, -1)
    assert [args[0] for _, _, _, args in read_steps(mm)] == [5, 6, 7]
    assert validate(mm) == []


@pytest.mark.parametrize("version", OLD)
def test_a_steal_boosts_the_watermarks_and_kswapd_ends_it(version: str) -> None:
    for gfp, boost in ((GFP_KERNEL & ~0x800, 8), (GFP_KERNEL, 0)):  # may it wake kswapd?
        mm = half_used(version, 5, 10, GFP_MOVABLE)
        mm.watermark_boost_factor = 15000
        zone = mm.view("zone")[NORMAL]
        zone["watermark"][:3] = 0, 0, 2
        zone["managed_pages"] = 64
        stolen(mm, gfp)
        assert zone["watermark_boost"] == boost


def test_cma_blocks_serve_movable_requests_only() -> None:
    cma = 4
    mm = machine("6.12.107", 32, types=6, cma=cma, orders=4)
    fill(mm, 0, 8, 3, UNMOVABLE)
    fill(mm, 8, 24, 3, cma)
    zone = mm.view("zone")[NORMAL]
    assert zone["nr_free_cma"] == 24
    assert alloc_pages(mm, GFP_MOVABLE, 0, -1) == 8  # most of the free pages are CMA's
    assert [alloc_pages(mm, GFP_KERNEL | GFP_NOWARN, 3, -1) for _ in range(2)] == [0, -1]
    assert zone["nr_free_cma"] == 23 and validate(mm) == []
    pages = [alloc_pages(mm, GFP_MOVABLE | GFP_NOWARN, 0, -1) for _ in range(24)]
    assert sorted(pages)[0] == -1 and zone["nr_free_pages"] == 0
    free_pages(mm, 8, 0)
    assert zone["nr_free_cma"] == 1 and validate(mm) == []


def reserve(version: str, pages: int = 1024) -> MM:
    """A machine that has just served a high-order atomic request below the low watermark."""
    mm = machine(version, pages)
    fill(mm, 0, pages, 4)
    mm.view("zone")[NORMAL]["watermark"][:3] = 0, 2000, 2000
    assert alloc_pages(mm, GFP_ATOMIC, 4, -1) == 0
    free_pages(mm, 0, 4)
    assert alloc_pages(mm, GFP_ATOMIC, 1, -1) >= 0
    return mm


@pytest.mark.parametrize("version", ["5.10", "6.1.176", "6.12.107"])
def test_high_order_atomic_requests_keep_pageblocks(version: str) -> None:
    mm = reserve(version)
    zone = mm.view("zone")[NORMAL]
    kept = int(zone["nr_reserved_highatomic"])
    assert kept >= 8 and kept == 8 * int((mm.view("pageblock") == HIGHATOMIC).sum())
    assert zone["nr_free_highatomic"] > 0 and validate(mm) == []
    while unreserve_highatomic_pageblock(mm, NORMAL, UNMOVABLE, True):
        assert validate(mm) == []
    assert zone["nr_free_highatomic"] == 0
    assert not unreserve_highatomic_pageblock(mm, NORMAL, UNMOVABLE, False)


def test_the_reserve_of_the_highest_zone_goes_first() -> None:
    mm = machine("6.12.107", 8, dma32=8)
    fill(mm, 0, 16, 3, HIGHATOMIC)
    assert alloc_pages(mm, GFP_KERNEL, 0, -1) == 8
    assert [get_pfnblock_migratetype(mm, p) for p in (0, 8)] == [HIGHATOMIC, UNMOVABLE]


def test_small_zones_have_no_reserve_since_6_8() -> None:
    assert reserve("6.1.176", 256).view("zone")[NORMAL]["nr_reserved_highatomic"] > 0
    assert reserve("6.12.107", 256).view("zone")[NORMAL]["nr_reserved_highatomic"] == 0


@pytest.mark.parametrize(("version", "first"), [("6.12.107", 16), ("7.3", 8)])
def test_the_fast_path_uses_the_reserve_since_7_3(version: str, first: int) -> None:
    mm = machine(version, 32)
    fill(mm, 8, 8, 3, HIGHATOMIC)
    fill(mm, 16, 16, 4, UNMOVABLE)
    assert alloc_pages(mm, GFP_ATOMIC, 2, -1) == first
    assert validate(mm) == []


@pytest.mark.parametrize(("version", "page"), [("5.10", -1), ("6.1.176", 8), ("6.12.107", 8)])
def test_a_single_atomic_page_may_come_from_the_reserve_at_last(version: str, page: int) -> None:
    mm = machine(version, 16)
    fill(mm, 8, 8, 3, HIGHATOMIC)
    assert alloc_pages(mm, GFP_ATOMIC | GFP_NOWARN, 0, -1) == page
    assert alloc_pages(mm, (GFP_KERNEL & ~0x400) | GFP_NOWARN | 0x80000, 0, -1) == -1


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_without_grouping_all_is_unmovable(version: str) -> None:
    mm = machine(version, 16)
    mm.page_group_by_mobility_disabled = 1
    set_pageblock_migratetype(mm, 0, MOVABLE)
    fill(mm, 0, 16, 4)
    assert alloc_pages(mm, GFP_MOVABLE, 0, -1) == 0
    assert alloc_pages(mm, GFP_RECLAIMABLE, 0, -1) == 1 and validate(mm) == []

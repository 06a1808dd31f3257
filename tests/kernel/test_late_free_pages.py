"""NR_FREE_PAGES as watermarks see it: CPUs are late to add up what they took and gave back."""

import pytest
from page_machine import (
    GFP_KERNEL,
    GFP_NOWARN,
    NORMAL,
    PAGE_VERSIONS,
    fill,
    machine,
    pcp_of,
    pcp_size,
)

from mmtwin.kernel.constants import __GFP_FS, __GFP_NORETRY, __GFP_THISNODE
from mmtwin.kernel.mm import MM
from mmtwin.kernel.page_alloc import alloc_pages, free_pages, may_oom
from mmtwin.kernel.page_alloc_buddy import fold_free_pages
from mmtwin.kernel.page_alloc_check import validate
from mmtwin.kernel.page_alloc_freelist import set_kswapd_hopeless
from mmtwin.kernel.page_alloc_pcp import refresh_cpu_vm_stats


def late(version: str = "6.1.176", cpus: int = 1, threshold: int = 4) -> MM:
    """64 free pages of a machine whose CPUs hold back up to `threshold`."""
    mm = machine(version, 64, cpus=cpus)
    fill(mm, 0, 64, 4)
    mm.view("zone")[NORMAL]["stat_threshold"] = threshold
    return mm


def behind(mm: MM) -> int:
    return int(mm.view("zone")[NORMAL]["nr_free_behind"])


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_a_cpu_adds_up_what_exceeds_the_threshold(version: str) -> None:
    mm = late(version)
    seen = []
    for _ in range(7):
        alloc_pages(mm, GFP_KERNEL, 0, -1)
        seen.append(behind(mm))
    assert seen == [-1, -2, -3, -4, 0, -1, -2]
    assert validate(mm) == []


def test_a_refill_is_one_change_before_6_10_and_one_for_each_block_since() -> None:
    held = {}
    for version in ("5.10", "6.1.176", "6.12.107"):
        mm = late(version)
        pcp_size(mm, 7, 100)
        alloc_pages(mm, GFP_KERNEL, 0, -1)
        held[version] = behind(mm)
    assert held == {"5.10": 0, "6.1.176": 0, "6.12.107": -2}


def test_each_cpu_holds_back_its_own_share() -> None:
    mm = late(cpus=2)
    for cpu, count in ((0, 3), (1, 2)):
        mm.cpu = cpu
        for _ in range(count):
            alloc_pages(mm, GFP_KERNEL, 0, -1)
    assert behind(mm) == -5 and [pcp_of(mm, cpu=n)["free_diff"] for n in (0, 1)] == [-3, -2]
    fold_free_pages(mm, 1)
    assert behind(mm) == -3 and pcp_of(mm, cpu=1)["free_diff"] == 0
    refresh_cpu_vm_stats(mm, 0)
    assert behind(mm) == 0 and validate(mm) == []


def test_a_watermark_lets_pass_what_no_cpu_has_added_up() -> None:
    mm = late()
    mm.view("zone")[NORMAL]["watermark"][:4] = 60
    taken = [alloc_pages(mm, GFP_KERNEL | GFP_NOWARN, 0, -1) for _ in range(6)]
    assert [pfn >= 0 for pfn in taken] == [True] * 5 + [False]  # 59 free pages: one below the mark
    free_pages(mm, taken[0], 0)
    free_pages(mm, taken[1], 0)
    assert behind(mm) == 2  # 61 are free, but 59 are told
    assert alloc_pages(mm, GFP_KERNEL | GFP_NOWARN, 0, -1) == -1
    fold_free_pages(mm, 0)
    assert alloc_pages(mm, GFP_KERNEL | GFP_NOWARN, 0, -1) >= 0


def test_what_does_not_add_up_is_found() -> None:
    mm = late()
    alloc_pages(mm, GFP_KERNEL, 0, -1)
    mm.view("zone")[NORMAL]["nr_free_behind"] += 1
    assert validate(mm) == [f"zone {NORMAL}: CPUs are 0 free pages behind, they hold back -1"]


def boosted(mm: MM) -> None:
    zone = mm.view("zone")[NORMAL]
    zone["watermark"][:4] = 0, 10, 20, 30
    zone["watermark_boost"] = 60
    zone["flags"] |= 1  # ZONE_BOOSTED_WATERMARK
    alloc_pages(mm, GFP_KERNEL, 0, -1)


def test_a_boost_stands_where_kswapd_has_given_up() -> None:
    boost = {}
    for hopeless in (0, 1):
        mm = late()
        mm.kswapd_hopeless = hopeless
        boosted(mm)
        boost[hopeless] = int(mm.view("zone")[NORMAL]["watermark_boost"])
    assert boost == {0: 0, 1: 60}


def test_a_boost_that_was_taken_for_ended_stands_again() -> None:
    mm = late()
    boosted(mm)
    for hopeless, boost in ((True, 60), (False, 0), (True, 60)):
        set_kswapd_hopeless(mm, NORMAL, hopeless)
        assert mm.kswapd_hopeless == hopeless
        assert mm.view("zone")[NORMAL]["watermark_boost"] == boost


def test_a_victim_of_the_oom_killer_has_half_of_the_reserve() -> None:
    mm = machine("6.1.176", 64)
    fill(mm, 0, 64, 4)
    mm.view("zone")[NORMAL]["watermark"][:4] = 32
    left = {}
    for victim in (0, 1):
        mm.oom_victim = victim
        while alloc_pages(mm, GFP_KERNEL | GFP_NOWARN, 0, -1) >= 0:
            pass
        left[victim] = int(mm.view("zone")[NORMAL]["nr_free_pages"])
    assert left == {0: 32, 1: 16}


def test_without_progress_the_oom_killer_takes_who_asks() -> None:
    mm = machine("6.1.176", 64)
    fill(mm, 0, 64, 4)
    mm.view("zone")[NORMAL]["watermark"][:4] = 62
    mm.reclaims = 0
    assert [alloc_pages(mm, GFP_KERNEL, 0, -1) >= 0 for _ in range(3)] == [True] * 3
    assert mm.oom_victim == 1
    for gfp in (GFP_KERNEL | __GFP_NORETRY, GFP_KERNEL & ~__GFP_FS):
        mm.oom_victim = 0
        assert alloc_pages(mm, gfp | GFP_NOWARN, 0, -1) == -1
        assert mm.oom_victim == 0


@pytest.mark.parametrize(("gfp", "order", "killed"), [
    (GFP_KERNEL, 0, True), (GFP_KERNEL, 3, True), (GFP_KERNEL, 4, False),
    (GFP_KERNEL | __GFP_NORETRY, 0, False), (GFP_KERNEL | __GFP_THISNODE, 0, False),
    (0x800, 0, False),
])  # fmt: skip
def test_for_which_requests_the_oom_killer_is_called(gfp: int, order: int, killed: bool) -> None:
    assert may_oom(machine("6.1.176", 64), gfp, order) == killed

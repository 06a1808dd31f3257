"""Zones at boot: zonelists, watermarks, reserves, sizes of the per-CPU lists."""

import pytest
from page_machine import NORMAL, machine, pcp_of

from mmtwin.kernel.constants import PCPF_FREE_HIGH_BATCH, ZONE_DMA32, ZONE_MOVABLE
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mmzone_init import (
    build_zonelists,
    init_per_zone_wmark_min,
    nr_pcp_lists,
    set_recommended_min_free_kbytes,
    setup_pcp_cacheinfo,
    setup_per_cpu_pageset,
    setup_per_zone_lowmem_reserve,
    setup_per_zone_wmarks,
    stat_threshold,
    totalreserve_pages,
)


def sized(version: str, normal: int, dma32: int = 16, cpus: int = 1) -> MM:
    """A machine whose zones say they manage so many pages."""
    mm = machine(version, 16, dma32=16, cpus=cpus, orders=11, block_order=9)
    mm.view("zone")[NORMAL]["managed_pages"] = normal
    mm.view("zone")[ZONE_DMA32]["managed_pages"] = dma32
    return mm


def test_min_free_kbytes_is_a_square_root_within_bounds() -> None:
    for pages, kbytes in ((53678, 1853), (20, 128), (1 << 34, 262144)):
        mm = sized("6.1.176", pages - 16)
        init_per_zone_wmark_min(mm)
        assert mm.min_free_kbytes == kbytes


def test_watermarks_of_4_gib() -> None:
    # each mark a quarter of min, or a thousandth of the zone, above the one below
    mm = sized("6.1.176", 262144, 749488)
    init_per_zone_wmark_min(mm)
    assert mm.min_free_kbytes == 8046
    assert list(mm.view("zone")[NORMAL]["watermark"]) == [521, 783, 1045, 1307]
    assert list(mm.view("zone")[ZONE_DMA32]["watermark"]) == [1489, 2238, 2987, 3736]
    assert mm.view("zone")[ZONE_DMA32]["lowmem_reserve"][NORMAL] == 1024
    assert totalreserve_pages(mm) == 1045 + 2987 + 1024


def test_movable_zones_have_a_small_watermark_of_their_own_since_6_6() -> None:
    for version, least in (("6.1.176", 0), ("6.12.107", 32)):
        mm = sized(version, 100000)
        init_per_zone_wmark_min(mm)
        assert mm.view("zone")[ZONE_MOVABLE]["watermark"][0] == least


def test_huge_pages_want_more_free_memory() -> None:
    mm = sized("6.1.176", 1000000, 700000)
    init_per_zone_wmark_min(mm)
    set_recommended_min_free_kbytes(mm)
    assert mm.min_free_kbytes == 2 * 11 * 512 * 4  # two zones


@pytest.mark.parametrize(
    ("version", "batch", "high"),
    [("5.10", 63, (378, 378)), ("6.1.176", 63, (783, 783)), ("6.12.107", 63, (783, 32768))],
)
def test_sizes_of_the_per_cpu_lists(version: str, batch: int, high: tuple[int, int]) -> None:
    mm = sized(version, 262144, 749488)
    init_per_zone_wmark_min(mm)
    setup_per_cpu_pageset(mm)
    pcp = pcp_of(mm)
    assert (pcp["batch"], pcp["high_min"], pcp["high_max"]) == (batch, *high)


def test_cpus_share_the_low_watermark() -> None:
    mm = sized("6.1.176", 262144, 749488, cpus=4)
    init_per_zone_wmark_min(mm)
    assert [pcp_of(mm, NORMAL, cpu)["high"] for cpu in range(4)] == [252] * 4  # 4 batches at least
    setup_per_cpu_pageset(mm, cpu_online=1)
    assert pcp_of(mm, ZONE_DMA32)["high"] == 2238 // 5


def test_small_zones_take_single_pages() -> None:
    for version, high in (("5.10", 0), ("6.1.176", 4)):
        mm = sized(version, 4000)
        setup_per_cpu_pageset(mm)
        assert (pcp_of(mm)["batch"], pcp_of(mm)["high"]) == (1, high)


def test_a_large_cache_lets_high_orders_stay() -> None:
    mm = sized("6.12.107", 262144)
    setup_per_cpu_pageset(mm)
    setup_pcp_cacheinfo(mm, 0, 1 << 20)
    assert pcp_of(mm)["flags"] == PCPF_FREE_HIGH_BATCH
    setup_pcp_cacheinfo(mm, 0, 1 << 16)
    assert pcp_of(mm)["flags"] == 0


@pytest.mark.parametrize(
    ("version", "lists"), [("5.10", 3), ("6.1.20", 15), ("6.1.176", 14), ("7.3", 14)]
)
def test_number_of_lists(version: str, lists: int) -> None:
    assert nr_pcp_lists(machine(version)) == lists


def test_counters_may_be_off_by_so_much() -> None:
    mm = sized("6.1.176", 48851, 3840)
    assert stat_threshold(mm, NORMAL, 1) == 4 and stat_threshold(mm, ZONE_DMA32, 1) == 2
    assert stat_threshold(mm, NORMAL, 2) == 8


def order_of_nodes(mm: MM, node: int) -> list[int]:
    """The nodes in the order in which a node's requests try them."""
    places = mm.view("zonelist")[node * 64 : node * 64 + 64]
    return [int(zone) // mm.nr_zone_types for zone in places[: list(places).index(-1)]]


def test_near_nodes_come_first_and_the_load_is_spread() -> None:
    mm = machine("6.1.176", 16, nodes=4)
    mm.view("cpu_node")[0] = 0
    assert [order_of_nodes(mm, n) for n in range(4)] == [
        [0, 1, 2, 3],
        [1, 2, 3, 0],
        [2, 3, 1, 0],
        [3, 1, 2, 0],
    ]
    near = [[10, 30, 20, 30], [30, 10, 30, 20], [20, 30, 10, 30], [30, 20, 30, 10]]
    build_zonelists(mm, near)
    assert order_of_nodes(mm, 0)[:2] == [0, 2] and order_of_nodes(mm, 3)[:2] == [3, 1]


def test_grouping_by_mobility_needs_memory() -> None:
    mm = sized("6.1.176", 100000)
    build_zonelists(mm)
    assert mm.page_group_by_mobility_disabled == 0
    mm = sized("6.1.176", 1000)
    build_zonelists(mm)
    assert mm.page_group_by_mobility_disabled == 1


def test_empty_zones_keep_nothing() -> None:
    mm = sized("6.1.176", 262144, 749488)
    setup_per_zone_wmarks(mm)
    setup_per_zone_lowmem_reserve(mm)
    assert not mm.view("zone")[0]["lowmem_reserve"].any()

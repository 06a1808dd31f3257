"""Lists set from outside, and pages taken wherever they lie."""

import pytest
from page_machine import (
    GFP_KERNEL,
    HIGHATOMIC,
    MOVABLE,
    NORMAL,
    RECLAIMABLE,
    fill,
    free_lists,
    machine,
    pcp_lists,
    pcp_of,
    pcp_size,
)

from mmtwin.kernel.constants import PG_buddy
from mmtwin.kernel.page_alloc import alloc_pages, free_pages
from mmtwin.kernel.page_alloc_check import validate
from mmtwin.kernel.page_alloc_state import (
    add_free_block,
    add_pcp_block,
    free_block_of,
    take_free_page,
)


def test_blocks_lie_where_they_are_put() -> None:
    mm = machine(pages=64)
    add_free_block(mm, 8, 2, MOVABLE, True)
    add_free_block(mm, 16, 2, MOVABLE, True)
    add_free_block(mm, 32, 2, MOVABLE, False)
    add_pcp_block(mm, NORMAL, 0, 4, 40, 1, True)
    add_pcp_block(mm, NORMAL, 0, 4, 44, 1, True)
    add_pcp_block(mm, NORMAL, 0, 2, 50, 0, False)
    assert free_lists(mm) == {(2, MOVABLE): [32, 8, 16]}
    assert pcp_lists(mm) == {4: [40, 44], 2: [50]} and pcp_of(mm)["count"] == 5
    page = mm.view("page")["migratetype"]
    assert (page[40], page[50]) == (MOVABLE, RECLAIMABLE)
    mm.view("pageblock")[7] = HIGHATOMIC  # has no list: such pages lie on the movable one
    add_pcp_block(mm, NORMAL, 0, 1, 56, 0, True)
    assert page[56] == HIGHATOMIC


@pytest.mark.parametrize("version", ["5.10", "6.1.176", "6.12.107"])
@pytest.mark.parametrize("order", range(4))
def test_any_block_can_be_taken_out_of_the_middle(version: str, order: int) -> None:
    for pfn in range(0, 32, 1 << order):
        mm = machine(version, 32)
        fill(mm, 0, 32, 4)
        assert free_block_of(mm, pfn) == pfn & ~15
        assert take_free_page(mm, pfn, order) == 1 << order
        assert take_free_page(mm, pfn, order) == 0 and free_block_of(mm, pfn) == -1
        assert validate(mm) == []
        free_pages(mm, pfn, order)
        assert mm.view("zone")[NORMAL]["nr_free_pages"] + pcp_of(mm)["count"] == 32
        assert validate(mm) == []


def test_a_block_made_of_free_parts_and_used_ones_is_taken_as_far_as_it_is_free() -> None:
    mm = machine("6.1.176", 32)
    fill(mm, 0, 32, 4)
    take_free_page(mm, 5, 0)
    assert take_free_page(mm, 4, 2) == 3 and validate(mm) == []
    assert free_lists(mm) == {(2, 0): [0], (3, 0): [8], (4, 0): [16]}


def test_pages_are_found_on_any_cpus_list() -> None:
    mm = machine("6.1.176", 64, cpus=2)
    fill(mm, 0, 64, 4)
    pcp_size(mm, 8, 100)
    mm.cpu = 1
    pfn = alloc_pages(mm, GFP_KERNEL, 2, -1)
    assert pcp_lists(mm, cpu=1) == {6: [pfn + 4]}
    mm.cpu = 0
    assert take_free_page(mm, pfn + 5, 0) == 1 and pcp_of(mm, cpu=1)["count"] == 0
    assert free_lists(mm)[0, 0] == [pfn + 4] and validate(mm) == []


def test_damage_is_seen() -> None:
    for field, value in (("order", 1), ("flags", 0), ("users", 9), ("zone", 1), ("next", 5)):
        mm = machine(pages=32)
        fill(mm, 0, 32, 4)
        mm.view("page")[field][16] = value
        assert validate(mm), field
    mm = machine(pages=32)
    fill(mm, 0, 32, 3)
    assert validate(mm) == [
        f"blocks {p} and {p + 8} of order 3 are free but not merged" for p in (0, 16)
    ]
    mm.view("zone")[NORMAL]["nr_free"][3] += 1
    mm.view("zone")[NORMAL]["nr_free_pages"] -= 1
    pcp_of(mm)["count"] = 2
    mm.view("page")["flags"][3] |= PG_buddy
    assert len(validate(mm)) == 6

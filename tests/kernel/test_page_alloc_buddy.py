"""Free lists: where blocks are split, how they merge, and to which end of a list they go."""

import pytest
from page_machine import (
    GFP_ATOMIC,
    GFP_KERNEL,
    MOVABLE,
    NORMAL,
    PAGE_VERSIONS,
    fill,
    free_list,
    free_lists,
    machine,
)

from mmtwin.kernel.constants import (
    __GFP_COMP,
    __GFP_ZERO,
    COMPLAINT_BAD_ORDER,
    COMPLAINT_BAD_PAGE,
    PG_head,
    PG_reserved,
    PG_tail,
)
from mmtwin.kernel.page_alloc import (
    alloc_pages,
    free_contig_range,
    free_pages,
    free_pages_core,
    free_pages_to_tail,
    free_unref_page_batch,
    split_page,
)
from mmtwin.kernel.page_alloc_check import validate
from mmtwin.kernel.trace import read_steps


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_a_block_is_split_from_its_upper_half_down(version: str) -> None:
    mm = machine(version, 16)
    fill(mm, 0, 16, 4)
    assert alloc_pages(mm, GFP_KERNEL, 0, -1) == 0
    assert free_lists(mm) == {(0, 0): [1], (1, 0): [2], (2, 0): [4], (3, 0): [8]}
    assert validate(mm) == []


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_frees_merge_up_to_the_highest_order(version: str) -> None:
    mm = machine(version, 32)
    fill(mm, 0, 32, 4)
    pages = [alloc_pages(mm, GFP_KERNEL, 0, -1) for _ in range(32)]
    assert sorted(pages) == list(range(32)) and free_lists(mm) == {}
    for pfn in pages:
        free_pages(mm, pfn, 0)
        assert validate(mm) == []
    assert sorted(free_list(mm, 4)) == [0, 16]  # the highest order does not merge


def test_the_smallest_block_that_does_is_taken_first_come_first() -> None:
    mm = machine(pages=64)
    fill(mm, 0, 16, 4)
    for pfn in (20, 24, 32):
        free_pages(mm, pfn, 2)
    assert free_list(mm, 2) == [32, 24, 20]
    assert alloc_pages(mm, GFP_KERNEL, 1, -1) == 32
    assert free_list(mm, 1) == [34] and free_list(mm, 4) == [0]


def test_a_block_whose_pair_may_merge_goes_to_the_tail() -> None:
    mm = machine(pages=64)
    free_pages(mm, 8, 1)
    free_pages(mm, 2, 1)
    assert free_list(mm, 1) == [2, 8]
    free_pages(mm, 12, 2)
    free_pages(mm, 20, 2)
    free_pages(mm, 22 + 2, 1)  # its pair 24-27 would merge with nothing free
    assert free_list(mm, 1) == [24, 2, 8]
    free_pages(mm, 16, 1)  # its pair 16-19 would merge with the free 20-23
    assert free_list(mm, 1) == [24, 2, 8, 16]


def test_boot_memory_and_exact_rests_go_to_the_tail() -> None:
    mm = machine(pages=64)
    managed = int(mm.view("zone")[NORMAL]["managed_pages"])
    free_pages(mm, 0, 2)
    free_pages_core(mm, 8, 2)
    free_pages_to_tail(mm, 16, 2)
    assert free_list(mm, 2) == [0, 8, 16]
    assert mm.view("zone")[NORMAL]["managed_pages"] == managed + 4


def test_a_page_reserved_at_boot_becomes_managed_when_freed() -> None:
    mm = machine(pages=16)
    mm.view("page")["flags"][3] = PG_reserved
    free_pages(mm, 3, 0)
    assert mm.view("zone")[NORMAL]["managed_pages"] == 17
    assert not mm.view("page")["flags"][3] & PG_reserved


def test_compound_pages_know_their_head_until_freed() -> None:
    mm = machine(pages=16)
    fill(mm, 0, 16, 4)
    pfn = alloc_pages(mm, GFP_KERNEL | __GFP_COMP, 2, -1)
    page = mm.view("page")
    assert page["flags"][pfn] & PG_head and page["order"][pfn] == 2
    assert all(page["flags"][pfn + n] & PG_tail for n in (1, 2, 3))
    assert list(page["compound_head"][pfn + 1 : pfn + 4]) == [pfn] * 3
    free_pages(mm, pfn, 2)
    assert not (page["flags"] & (PG_head | PG_tail)).any() and validate(mm) == []


def test_pages_are_zeroed_where_contents_are_kept() -> None:
    mm = machine(pages=16, contents=True, init_on_alloc=0)
    fill(mm, 0, 16, 4)
    mm.view("ram")[0] = 7
    assert alloc_pages(mm, GFP_KERNEL, 0, -1) == 0
    assert mm.view("ram")[0] == 7
    free_pages(mm, 0, 0)
    assert alloc_pages(mm, GFP_KERNEL | __GFP_ZERO, 0, -1) == 0
    assert mm.view("ram")[0] == 0


def test_a_second_free_is_refused_and_named() -> None:
    mm = machine(pages=16)
    fill(mm, 0, 16, 4)
    pfn = alloc_pages(mm, GFP_KERNEL, 1, -1)
    free_pages(mm, pfn, 1)
    before = free_lists(mm)
    free_pages(mm, pfn, 1)
    free_pages(mm, pfn + 1, 0)  # inside a free block
    free_pages(mm, 5, 1)  # not aligned
    free_pages(mm, 400, 0)  # outside memory
    kinds = [complaint["kind"] for complaint in mm.complaints]
    assert kinds == [COMPLAINT_BAD_PAGE] * 2 + [COMPLAINT_BAD_ORDER] * 2
    assert free_lists(mm) == before and validate(mm) == []


def test_split_pages_are_freed_one_by_one() -> None:
    mm = machine(pages=16)
    fill(mm, 0, 16, 4)
    pfn = alloc_pages(mm, GFP_KERNEL, 2, -1)
    split_page(mm, pfn, 2)
    assert list(mm.view("page")["refcount"][pfn : pfn + 4]) == [1] * 4
    for page in range(pfn, pfn + 4):
        free_pages(mm, page, 0)
    assert free_list(mm, 4) == [0]


def test_runs_of_pages_are_freed_as_blocks_with_an_event_each() -> None:
    mm = machine("7.3", pages=32)
    mm.step_mask = 1 << 1
    free_contig_range(mm, 3, 10)  # 3, 4-7, 8-11, 12
    assert [args[:2] for _, _, _, args in read_steps(mm)] == [(p, 0) for p in range(3, 13)]
    assert validate(mm) == [] and mm.view("zone")[NORMAL]["nr_free_pages"] == 10


def test_batched_frees_say_so() -> None:
    mm = machine(pages=16)
    mm.step_mask = (1 << 1) | (1 << 2)
    free_unref_page_batch(mm, 4, 0)
    assert [name for name, _, _, _ in read_steps(mm)] == ["mm_page_free", "mm_page_free_batched"]


def test_shuffled_blocks_of_the_highest_order_take_a_random_end() -> None:
    lists = set()
    for seed in range(1, 9):
        mm = machine(pages=64, shuffle=1)
        mm.random_state = seed * 0x9E3779B97F4A7C15 & (1 << 64) - 1
        for pfn in (0, 16, 32, 48):
            free_pages(mm, pfn, 4)
        lists.add(tuple(free_list(mm, 4)))
        assert validate(mm) == []
    assert len(lists) > 2 and all(sorted(blocks) == [0, 16, 32, 48] for blocks in lists)


@pytest.mark.parametrize(("version", "types"), [("5.10", [0, 1]), ("6.12.107", [0, 0])])
def test_pageblocks_of_two_types_merge_and_since_6_10_take_one(
    version: str, types: list[int]
) -> None:
    mm = machine(version, 16)
    fill(mm, 8, 8, 3, MOVABLE)
    free_pages(mm, 0, 3)
    assert free_lists(mm) == {(4, 0): [0]} and list(mm.view("pageblock")[:2]) == types
    assert validate(mm) == []


def test_events_of_an_allocation_come_in_the_kernels_order() -> None:
    mm = machine(pages=16)
    fill(mm, 0, 16, 4)
    mm.step_mask = 0x1F
    pfn = alloc_pages(mm, GFP_ATOMIC, 0, -1)
    free_pages(mm, pfn, 0)
    names = [name for name, _, _, _ in read_steps(mm)]
    assert names == [
        "mm_page_alloc_zone_locked",
        "mm_page_alloc",
        "mm_page_free",
        "mm_page_pcpu_drain",
    ]
    assert read_steps(mm)[1][3][:4] == (pfn, 0, GFP_ATOMIC, 0)

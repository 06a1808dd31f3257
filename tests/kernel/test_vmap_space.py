"""Addresses of vmalloc space: the lowest that fits, lazy frees, purges, vmap nodes."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtwin.kernel.vmalloc_validate import space_problems
from mmtwin.kernel.vmap_space import Vmap

PAGE = 4096
START, END = 0xFFFFC90000000000, 0xFFFFE8FFFFFFFFFF
RELEASES = {
    "5.10": {},
    "5.13": {"vmap_lazy_merges": 1},
    "6.1": {"vmap_lazy_merges": 1, "vmap_purge_work": 1, "vmap_exact_alignment": 1},
    "6.12": {"vmap_nodes": 1, "vmap_purge_work": 1, "vmap_exact_alignment": 1},
}
NAMES = ("vmap_lazy_merges", "vmap_nodes", "vmap_purge_work", "vmap_exact_alignment")


def space(release: str = "6.12", cpus: int = 1, end: int = END) -> Vmap:
    has = SimpleNamespace(**{name: RELEASES[release].get(name, 0) for name in NAMES})
    vmap = Vmap(START, end, 12, cpus, has)
    vmap.init_free_space()
    return vmap


def alloc(vmap: Vmap, pages: int, align: int = 1):
    return vmap.alloc(pages * PAGE, align, vmap.start, vmap.end)


def free(vmap: Vmap, area) -> bool:
    assert vmap.find_unlink(area.start) is area
    return vmap.free_noflush(area)


@pytest.mark.parametrize("release", RELEASES)
def test_areas_follow_each_other_and_come_back_after_a_purge(release: str) -> None:
    vmap = space(release)
    areas = [alloc(vmap, pages) for pages in (2, 5, 3)]
    assert [area.start - START for area in areas] == [0, 2 * PAGE, 7 * PAGE]
    free(vmap, areas[1])
    assert alloc(vmap, 1).start == START + 10 * PAGE  # not before it is purged
    assert vmap.nr_lazy == 5
    assert vmap.purge(full=False) == 1
    assert alloc(vmap, 5).start == START + 2 * PAGE
    assert space_problems(vmap) == []


def test_aligned_areas_leave_holes_that_smaller_ones_fill() -> None:
    vmap = space()
    # 6.12, stacks of 16 KiB: as x86-6.12's first areas
    first = alloc(vmap, 5, 4 * PAGE)
    second = alloc(vmap, 5, 4 * PAGE)
    assert (first.start - START, second.start - START) == (0, 8 * PAGE)
    assert alloc(vmap, 2).start == START + 5 * PAGE
    assert alloc(vmap, 2).start == START + 13 * PAGE


def test_so_much_waits_that_it_is_time() -> None:
    vmap = space("6.1")
    assert vmap.lazy_max_pages() == 8192
    assert not free(vmap, alloc(vmap, 8192))
    assert free(vmap, alloc(vmap, 1))
    assert space("6.1", cpus=3).lazy_max_pages() == 2 * 8192


def test_lazy_areas_merge_in_between_5_11_and_6_9() -> None:
    for release, count in (("5.10", 2), ("6.1", 1), ("6.12", 2)):
        vmap = space(release)
        low, high = alloc(vmap, 2), alloc(vmap, 2)
        free(vmap, low)
        free(vmap, high)
        assert len(list(vmap.lazy())) == count
        assert space_problems(vmap) == []


def test_a_full_space_is_purged_before_a_request_fails() -> None:
    vmap = space("6.1", end=START + 16 * PAGE)
    areas = [alloc(vmap, 4) for _ in range(4)]
    assert None not in areas
    assert alloc(vmap, 1) is None
    free(vmap, areas[2])
    assert alloc(vmap, 4).start == START + 8 * PAGE


def test_nodes_keep_areas_for_requests_of_their_size() -> None:
    vmap = space("6.12", cpus=4)
    areas = [alloc(vmap, 5) for _ in range(8)]
    for area in areas:
        free(vmap, area)
    vmap.purge(full=False)
    assert sum(len(pool) for node in vmap.nodes for pool in node.pool.values()) == 8
    assert vmap.nr_lazy == 0
    assert alloc(vmap, 5) is areas[7]  # the last that came to the pool
    vmap.purge(full=False)  # a quarter of the pool goes
    assert len(vmap.nodes[0].pool[5]) == 6
    vmap.purge(full=True)
    assert not any(pool for node in vmap.nodes for pool in node.pool.values())
    assert space_problems(vmap) == []


def test_bad_requests_are_named() -> None:
    vmap = space()
    for size, align in ((0, 1), (100, 1), (PAGE, 3)):
        with pytest.raises(ValueError, match="vmap area"):
            vmap.alloc(size, align, START, END)


STEP = st.tuples(st.sampled_from("aaafp"), st.integers(1, 9), st.integers(0, 4))


@given(st.sampled_from(list(RELEASES)), st.integers(1, 3), st.lists(STEP, max_size=60))
def test_against_a_set_of_pages(release: str, cpus: int, steps) -> None:
    """A naive model: a set of taken pages; without alignment the lowest run that fits is given."""
    vmap = space(release, cpus)
    vmap.nodes = vmap.nodes[:1] if cpus == 2 else vmap.nodes
    vmap.zone_size = 1 if len(vmap.nodes) == 1 else vmap.zone_size
    taken: set[int] = set()
    live, lazy = [], []
    for what, number, shift in steps:
        vmap.cpu = number % cpus
        if what == "a":
            align = 1 if shift == 0 else PAGE << (shift - 1)
            area = alloc(vmap, number, align)
            first = (area.start - START) // PAGE
            pages = range(first, first + number)
            assert area.start % align == 0
            assert taken.isdisjoint(pages)
            if align == 1 and len(vmap.nodes) == 1:
                lowest = next(
                    at for at in range(1 << 12) if taken.isdisjoint(range(at, at + number))
                )
                assert first == lowest
            taken.update(pages)
            live.append((area, pages))
        elif what == "f" and live:
            area, pages = live.pop(number % len(live))
            free(vmap, area)
            lazy.append(pages)
        elif what == "p":
            vmap.purge(full=bool(shift % 2))
            for pages in lazy:
                taken.difference_update(pages)
            lazy.clear()
        assert space_problems(vmap) == []

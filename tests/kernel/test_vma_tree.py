"""Trees of areas against a sorted list: random areas come, change and go."""

import random
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtwin.kernel.fork_mm import make_tree
from mmtwin.kernel.mm_types import mm_struct, vm_area_struct
from mmtwin.kernel.mman import ENOMEM, VM_GROWSDOWN
from mmtwin.kernel.vma_tree import mm_find_vma, vm_unmapped_area_info
from tests.kernel.page_machine import VERSIONS, machine

PAGE = 4096
LIMIT = 64  # pages
STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, LIMIT - 1), st.integers(1, 12), st.booleans()),
    max_size=60,
)


def space(version: str) -> mm_struct:
    """An address space without areas."""
    mm = mm_struct(machine(version))
    make_tree(mm)
    return mm


def gaps(areas: list[vm_area_struct], low: int, high: int) -> Iterator[tuple[int, int]]:
    """What is free between two addresses."""
    bounds = [0, *(bound for vma in areas for bound in (vma.vm_start, vma.vm_end)), 1 << 47]
    for start, end in list(pairwise(bounds))[::2]:
        if max(start, low) < min(end, high):
            yield max(start, low), min(end, high)


class Model:
    """The areas as a sorted list, beside the tree."""

    def __init__(self, version: str) -> None:
        self.mm = space(version)
        self.areas: list[vm_area_struct] = []

    def step(self, what: int, place: int, pages: int, flag: bool) -> None:
        """One change, told by numbers."""
        if what <= 1:
            self.link(place * PAGE, pages * PAGE)
        elif what == 2:
            self.erase(place * PAGE, (place + pages) * PAGE)
        elif self.areas:
            change = {3: self.unlink, 4: self.move, 5: self.split_or_join}[what]
            change(place % len(self.areas), pages, flag)

    def link(self, start: int, length: int) -> None:
        """A new area, where there is room."""
        end = start + length
        if all(vma.vm_end <= start or end <= vma.vm_start for vma in self.areas):
            vma = vm_area_struct(self.mm, start, end, 0, start // PAGE)
            self.mm.tree.link(vma)
            self.areas = sorted([*self.areas, vma], key=lambda vma: vma.vm_start)

    def erase(self, start: int, end: int) -> None:
        """Whole areas go."""
        start = min([v.vm_start for v in self.areas if v.vm_end > start], default=start)
        end = max([v.vm_end for v in self.areas if v.vm_start < end], default=end)
        gone = [v for v in self.areas if start <= v.vm_start and v.vm_end <= end]
        if start < end:
            assert self.mm.tree.erase(start, end) == gone
        self.areas = [v for v in self.areas if v not in gone]

    def unlink(self, place: int, _pages: int, _flag: bool) -> None:
        """An area goes."""
        self.mm.tree.unlink(self.areas.pop(place))

    def move(self, place: int, pages: int, at_start: bool) -> None:
        """One of an area's ends moves, as far as there is room."""
        vma = self.areas[place]
        before = self.areas[place - 1].vm_end if place else PAGE
        after = self.areas[place + 1].vm_start if place + 1 < len(self.areas) else LIMIT * PAGE
        start, end = vma.vm_start, vma.vm_end
        if at_start:
            start = max(before, min(end - PAGE, start + (pages - 6) * PAGE))
        else:
            end = min(max(after, end), max(start + PAGE, end + (pages - 6) * PAGE))
        self.mm.tree.adjust(vma, start, end, vma.vm_pgoff + (start - vma.vm_start) // PAGE)

    def split_or_join(self, place: int, pages: int, split: bool) -> None:
        """An area becomes two, or takes the next one's place, or some of it."""
        vma, tree = self.areas[place], self.mm.tree
        if split:
            middle = vma.vm_start + pages * PAGE
            if middle < vma.vm_end:
                new = vm_area_struct(self.mm, middle, vma.vm_end, 0, vma.vm_pgoff + pages)
                tree.adjust(vma, vma.vm_start, middle, vma.vm_pgoff, insert=new)
                self.areas.insert(place + 1, new)
        elif place + 1 < len(self.areas) and self.areas[place + 1].vm_start == vma.vm_end:
            following = self.areas[place + 1]
            middle = vma.vm_start + pages * PAGE
            if middle < following.vm_end and middle != vma.vm_end:
                tree.adjust(vma, vma.vm_start, middle, vma.vm_pgoff, neighbour=following)
            else:
                end = following.vm_end
                tree.adjust(vma, vma.vm_start, end, vma.vm_pgoff, removed=[following])
                self.areas.remove(following)

    def check(self) -> None:
        """Tree and list hold the same, and find the same."""
        mm, tree = self.mm, self.mm.tree
        tree.validate()
        assert list(tree) == self.areas
        assert mm.map_count == len(self.areas)
        assert tree.first() is (self.areas[0] if self.areas else None)
        assert tree.last() is (self.areas[-1] if self.areas else None)
        for vma, following in pairwise(self.areas):
            assert tree.next(vma) is following and tree.prev(following) is vma
            assert tree.find_exact_vma(vma.vm_start, vma.vm_end) is vma
            assert tree.find_exact_vma(vma.vm_start, vma.vm_end + PAGE) is None
        for address in range(0, (LIMIT + 14) * PAGE, 3 * PAGE):
            found = next((vma for vma in self.areas if vma.vm_end > address), None)
            before = [vma for vma in self.areas if vma.vm_end <= address]
            assert tree.find_vma(address) is found is mm_find_vma(mm, address)
            inside = found if found and found.vm_start <= address else None
            assert tree.vma_lookup(address) is inside
            assert tree.find_vma_prev(address) == (found, before[-1] if before else None)

    def check_search(self, low: int, high: int, pages: int, align: int) -> None:
        """Unmapped areas are the lowest and the highest that fit, with room to align in."""
        room = pages + align - 1
        mask = (align - 1) * PAGE
        info: Any = vm_unmapped_area_info(pages * PAGE, low * PAGE, high * PAGE, mask)
        fit = [gap for gap in gaps(self.areas, low * PAGE, high * PAGE)
               if gap[1] - gap[0] >= room * PAGE]
        lowest = highest = -ENOMEM
        if fit:
            lowest = (fit[0][0] + mask) & ~mask
            highest = (fit[-1][1] - pages * PAGE) & ~mask
        assert self.mm.tree.vm_unmapped_area(info) == lowest
        info.topdown = True
        assert self.mm.tree.vm_unmapped_area(info) == highest


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_tree_is_the_list(version: str, steps: list[tuple[int, int, int, bool]]) -> None:
    model = Model(version)
    for what, place, pages, flag in steps:
        model.step(what, place, pages, flag)
        model.check()
    for low, high in ((1, LIMIT), (5, LIMIT + 20), (10, 30)):
        for pages in (1, 3, 10):
            for align in (1, 4):
                model.check_search(low, high, pages, align)


def test_vmacache_is_the_threads_own() -> None:
    mm = space("5.10")
    tree = mm.tree
    tree.link(vm_area_struct(mm, PAGE, 3 * PAGE, 0))
    for pid, hits in ((1, 1), (2, 1), (1, 2)):
        tree.switch_task(pid)
        tree.cache_hits = 0
        tree.find_vma(PAGE)
        tree.find_vma(2 * PAGE)
        assert tree.cache_hits == hits
    tree.unlink(mm.mmap)  # vmacache_invalidate()
    assert tree.find_vma(PAGE) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_fork_takes_over_what_may_be_copied(version: str) -> None:
    old, new = space(version), space(version)
    pairs: list[tuple[Any, Any]] = []
    for i in range(60):
        vma = vm_area_struct(old, (2 * i + 1) * PAGE, (2 * i + 2) * PAGE, 0)
        assert old.tree.link(vma) == 0
        copy = vm_area_struct(new, vma.vm_start, vma.vm_end, 0) if i % 5 else None
        pairs.append((vma, copy))
    assert new.tree.duplicate(old.tree, pairs) == 0
    new.tree.validate()
    assert list(new.tree) == [copy for _, copy in pairs if copy]
    new.tree.destroy()
    assert new.tree.first() is None


@pytest.mark.parametrize("version", VERSIONS)
def test_stacks_keep_their_distance(version: str) -> None:
    mm = space(version)
    mm.tree.link(vm_area_struct(mm, 600 * PAGE, 700 * PAGE, VM_GROWSDOWN))
    info: Any = vm_unmapped_area_info(PAGE, PAGE, 600 * PAGE, topdown=True)
    assert mm.tree.vm_unmapped_area(info) == (600 - 256 - 1) * PAGE
    info = vm_unmapped_area_info(PAGE, 400 * PAGE, 800 * PAGE)
    assert mm.tree.vm_unmapped_area(info) == 700 * PAGE
    mm.tree.mmap_min_addr = 16 * PAGE
    info = vm_unmapped_area_info(340 * PAGE, PAGE, 600 * PAGE, topdown=True)
    refuses = version in ("6.12.107", "6.18", "7.3")
    assert mm.tree.vm_unmapped_area(info) == (-ENOMEM if refuses else 4 * PAGE)


@pytest.mark.parametrize("version", VERSIONS)
def test_searches_stay_logarithmic(version: str) -> None:
    mm = space(version)
    order = list(range(4096))
    random.Random(1).shuffle(order)
    for i in order:
        mm.tree.link(vm_area_struct(mm, (2 * i + 1) * PAGE, (2 * i + 2) * PAGE, 0))
    for i in order[:200]:
        before = mm.tree.visits
        mm.tree.find_vma(2 * i * PAGE)
        assert mm.tree.visits - before <= 24
    before = mm.tree.visits
    info: Any = vm_unmapped_area_info(3 * PAGE, PAGE, 1 << 40, topdown=False)
    assert mm.tree.vm_unmapped_area(info) == 8192 * PAGE
    assert mm.tree.visits - before <= 24


@pytest.mark.parametrize("version", VERSIONS)
def test_all_areas_go_at_exit(version: str) -> None:
    mm = space(version)
    areas = [vm_area_struct(mm, i * PAGE, (i + 1) * PAGE, 0) for i in range(1, 200)]
    for vma in areas:
        mm.tree.link(vma)
    assert mm.tree.erase(0, (1 << 64) - 1) == areas
    assert mm.map_count == 0 and list(mm.tree) == []
    mm.tree.validate()

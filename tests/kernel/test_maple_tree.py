"""Maple trees against a sorted list of ranges: random stores, and every search after them."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtwin.kernel.maple_store import MapleStore
from mmtwin.kernel.maple_tree import ULONG_MAX
from mmtwin.kernel.maple_validate import validate_maple_tree
from mmtwin.kernel.mman import EBUSY
from tests.kernel.maple_shapes import ALLOC_RANGE, FLAGS, IN_RCU, digests, lines
from tests.kernel.page_machine import machine

SHAPES = json.loads(Path(__file__).with_name("data").joinpath("maple_shapes.json").read_text())
VERSIONS = ("6.1", "6.6", "6.12", "6.18", "7.3")
Range = tuple[int, int, Any]


def tree_of(version: str, alloc_range: bool = True, in_rcu: bool = True) -> MapleStore:
    """An empty tree."""
    return MapleStore(machine(version), alloc_range=alloc_range, in_rcu=in_rcu)


class Model:
    """Ranges with entries as a sorted list, beside the tree."""

    def __init__(self, tree: MapleStore) -> None:
        self.tree = tree
        self.ranges: list[Range] = []

    def store(self, index: int, last: int, entry: object) -> None:
        """Stores a range in both."""
        ranges = []
        for start, end, old in self.ranges:
            if end < index or last < start:
                ranges.append((start, end, old))
                continue
            if start < index:
                ranges.append((start, index - 1, old))
            if last < end:
                ranges.append((last + 1, end, old))
        if entry is not None:
            ranges.append((index, last, entry))
        self.ranges = sorted(ranges, key=lambda found: found[0])
        self.tree.store(index, last, entry)

    def check(self) -> None:
        """The tree is well formed and holds the same."""
        validate_maple_tree(self.tree)
        assert [found for found in self.tree.entries() if found[2] is not None] == self.ranges

    def check_finds(self, index: int) -> None:
        """Walks find the same."""
        after = [entry for _, end, entry in self.ranges if end >= index]
        before = [entry for start, _, entry in self.ranges if start <= index]
        at = [entry for start, end, entry in self.ranges if start <= index <= end]
        assert self.tree.find(index) is (after[0] if after else None)
        assert self.tree.find_before(index) is (before[-1] if before else None)
        assert self.tree.load(index) is (at[0] if at else None)

    def check_areas(self, low: int, high: int, size: int) -> None:
        """Gaps are the lowest and the highest that are large enough."""
        ends = [-1, *(end for _, end, _ in self.ranges)]
        starts = [*(start for start, _, _ in self.ranges), ULONG_MAX + 1]
        gaps = [
            (max(end + 1, low), min(start - 1, high))
            for end, start in zip(ends, starts, strict=True)
        ]
        fit = [gap for gap in gaps if gap[1] - gap[0] + 1 >= size]
        lowest = fit[0][0] if fit else -EBUSY
        highest = fit[-1][1] - size + 1 if fit else -EBUSY
        assert self.tree.mas_empty_area(low, high, size) == lowest
        assert self.tree.mas_empty_area_rev(low, high, size) == highest


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), alloc_range=st.booleans(), in_rcu=st.booleans())
def test_tree_is_the_list(version: str, seed: int, alloc_range: bool, in_rcu: bool) -> None:
    draw = random.Random(seed)
    model = Model(tree_of(version, alloc_range, in_rcu))
    top, longest = 1 << draw.choice((10, 17, 20)), draw.choice((3, 200, 20000))
    for step in range(200):
        index = draw.randrange(top)
        length = draw.randrange(longest) if draw.random() < 0.15 else draw.randrange(9)
        last = ULONG_MAX if draw.random() < 0.01 else index + length
        if model.ranges and draw.random() < 0.3:
            index, last, _ = draw.choice(model.ranges)
        entry = None if draw.random() < (0.2 if step < 140 else 0.8) else (step,)
        if draw.random() < 0.5:
            assert model.tree.preallocate(index, last, entry) == 0
        model.store(index, last, entry)
        if step % 8:
            continue
        model.check()
        model.check_finds(draw.randrange(top))
        if alloc_range:
            low = draw.randrange(top)
            high = low + draw.randrange(top)
            model.check_areas(low, high, draw.randrange(1, high - low + 2))
    model.check()
    model.tree.destroy()
    assert model.tree.alloc.allocated == model.tree.alloc.freed


@pytest.mark.parametrize("version", SHAPES)
@pytest.mark.parametrize("seed", range(len(FLAGS)))
def test_nodes_are_the_kernels(version: str, seed: int) -> None:
    # what lib/maple_tree.c itself makes of the same stores: see maple_shapes.py
    flags = FLAGS[seed]
    tree = tree_of(version, bool(flags & ALLOC_RANGE), bool(flags & IN_RCU))
    assert digests(lines(tree, seed)) == SHAPES[version][str(seed)]


@pytest.mark.parametrize("version", VERSIONS)
def test_kinds_of_stores_leave_a_well_formed_tree(version: str) -> None:
    # ranges beside each other, holes in them, then everything but the ends
    model = Model(tree_of(version))
    for i in range(400):
        model.store(i * 10, i * 10 + (9 if i % 3 else 5), (i,))
    model.check()
    assert model.tree.height == 3
    for i in range(0, 400, 7):
        model.store(i * 10 + 2, i * 10 + 3, None)
    model.check()
    model.store(15, 3900, (400,))
    model.check()
    assert model.tree.height <= 2
    model.store(0, ULONG_MAX, None)
    model.check()
    assert model.tree.root is None and model.tree.height == 0


@pytest.mark.parametrize("entries", [1, 5, 15, 16, 17, 30, 47, 200, 1000])
def test_a_bulk_of_entries_in_order(entries: int) -> None:
    # dup_mmap() before 6.8; the last leaf is filled up from the one before
    tree = tree_of("6.1", in_rcu=False)
    assert tree.expect(entries)
    for i in range(entries):
        tree.mas_store(i * 4096, i * 4096 + 2047, (i,))
    tree.mas_destroy()
    validate_maple_tree(tree)
    assert [entry for _, _, entry in tree.entries() if entry] == [(i,) for i in range(entries)]
    assert tree.alloc.total == 0


@pytest.mark.parametrize("version", ["6.8", "6.12", "7.3"])
def test_a_duplicate_has_the_same_shape(version: str) -> None:
    old, new = tree_of(version), tree_of(version)
    for i in range(300):
        old.store(i * 7, i * 7 + 3, (i,))
    new.duplicate(old)
    validate_maple_tree(new)
    assert list(new.entries()) == list(old.entries())
    assert new.height == old.height


@pytest.mark.parametrize(("version", "counts"), [
    ("6.1", [1, 4, 4, 4, 7]),  # the worst case: one and three for each level
    ("6.6", [1, 1, 1, 1, 5]),
    ("6.12", [1, 1, 1, 1, 5]),
    ("6.18", [1, 1, 1, 1, 3]),  # the root has room
])
def test_what_a_store_asks_for(version: str, counts: list[int]) -> None:
    tree = tree_of(version)
    asked = []

    def store(index: int, last: int, entry: object) -> None:
        before = tree.alloc.allocated
        tree.preallocate(index, last, entry)
        asked.append(tree.alloc.allocated - before)
        tree.store(index, last, entry)

    store(10, 19, (1,))
    store(30, 39, (2,))  # one leaf in place of another
    store(15, 19, None)  # a bound moves
    store(50, 59, (3,))
    for i in range(6, 20):
        tree.store(i * 10, i * 10 + 4, (i,))
    leaf = tree.leaf_of(2**40)
    assert tree.height == 2
    last = 300
    while leaf.end + 2 < 16:
        tree.store(last, last + 4, (last,))
        last += 10
        leaf = tree.leaf_of(2**40)
    store(last, last + 4, (last,))  # a split
    assert asked == counts

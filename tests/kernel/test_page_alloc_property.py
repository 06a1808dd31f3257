"""The page allocator against a naive model, against every short sequence, and against itself."""

import os
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)
from page_machine import (
    GFP_ATOMIC,
    GFP_KERNEL,
    GFP_MOVABLE,
    GFP_NOWARN,
    GFP_RECLAIMABLE,
    NORMAL,
    PAGE_VERSIONS,
    checksum,
    fill,
    free_lists,
    machine,
    pcp_lists,
    pcp_of,
    pcp_size,
)

import mmtwin.kernel.mm
from mmtwin.kernel.constants import __GFP_COMP
from mmtwin.kernel.mm import MM
from mmtwin.kernel.page_alloc import (
    alloc_pages,
    alloc_pages_bulk,
    free_contig_range,
    free_pages,
    free_pages_to_tail,
    free_unref_page_batch,
)
from mmtwin.kernel.page_alloc_check import validate
from mmtwin.kernel.page_alloc_pcp import drain_all_pages, drain_pages, refresh_cpu_vm_stats
from mmtwin.kernel.page_alloc_state import take_free_page

COMPILED = not (mmtwin.kernel.mm.__file__ or "").endswith(".py")
LONG = bool(os.environ.get("MMTWIN_LONG"))
PAGES = 64
KINDS = (GFP_KERNEL, GFP_MOVABLE, GFP_RECLAIMABLE, GFP_ATOMIC, GFP_KERNEL | __GFP_COMP)


class Pages(RuleBasedStateMachine):
    """Allocations and frees on two CPUs; the naive model is a set of pages in use."""

    blocks = Bundle("blocks")

    @initialize(
        version=st.sampled_from(PAGE_VERSIONS), batch=st.integers(1, 6), high=st.integers(0, 20)
    )
    def boot(self, version: str, batch: int, high: int) -> None:
        self.mm = machine(version, PAGES, block_order=3, cpus=2)
        self.mm.watermark_boost_factor = 15000
        fill(self.mm, 0, PAGES, 4)
        pcp_size(self.mm, batch, high, high + 10)
        self.used: set[int] = set()

    def has_room(self, order: int) -> bool:
        """Whether some aligned block of the order is free, were all lists drained."""
        starts = range(0, PAGES, 1 << order)
        return any(self.used.isdisjoint(range(p, p + (1 << order))) for p in starts)

    def take(self, pfn: int, order: int) -> None:
        """The model's half of an allocation."""
        block = set(range(pfn, pfn + (1 << order)))
        assert pfn % (1 << order) == 0 and block <= set(range(PAGES))
        assert self.used.isdisjoint(block), "given out twice"
        self.used |= block

    @rule(
        target=blocks,
        order=st.integers(0, 4),
        kind=st.sampled_from(KINDS),
        cpu=st.integers(0, 1),
    )
    def alloc(self, order: int, kind: int, cpu: int) -> Any:
        self.mm.cpu = cpu
        pfn = alloc_pages(self.mm, kind | GFP_NOWARN, order, -1)
        if pfn < 0:
            waits = kind in (GFP_KERNEL, GFP_MOVABLE) and order <= 3
            assert not (waits and self.has_room(order)), "failed with a free block"
            return multiple()
        self.take(pfn, order)
        return pfn, order

    @rule(
        block=consumes(blocks),
        cpu=st.integers(0, 1),
        free=st.sampled_from((free_pages, free_unref_page_batch, free_pages_to_tail)),
    )
    def free(self, block: tuple[int, int], cpu: int, free: Any) -> None:
        self.mm.cpu = cpu
        free(self.mm, *block)
        self.used -= set(range(block[0], block[0] + (1 << block[1])))

    @rule(block=consumes(blocks))
    def free_as_a_run(self, block: tuple[int, int]) -> None:
        free_contig_range(self.mm, block[0], 1 << block[1])
        self.used -= set(range(block[0], block[0] + (1 << block[1])))

    @rule(target=blocks, count=st.integers(1, 12))
    def bulk(self, count: int) -> Any:
        taken = alloc_pages_bulk(self.mm, GFP_KERNEL | GFP_NOWARN, -1, count)
        pages = [int(pfn) for pfn in self.mm.view("bulk_page")[:taken]]
        for pfn in pages:
            self.take(pfn, 0)
        return multiple(*((pfn, 0) for pfn in pages))

    @rule(cpu=st.integers(0, 1), what=st.sampled_from((drain_pages, refresh_cpu_vm_stats)))
    def background(self, cpu: int, what: Any) -> None:
        what(self.mm, cpu)

    @rule(target=blocks, pfn=st.integers(0, PAGES - 1))
    def take_exactly(self, pfn: int) -> Any:
        free = pfn not in self.used
        assert take_free_page(self.mm, pfn, 0) == free
        if not free:
            return multiple()
        self.take(pfn, 0)
        return pfn, 0

    @rule(block=blocks)
    def free_of_a_free_page_is_refused(self, block: tuple[int, int]) -> None:
        pages = [pfn for pfn in range(PAGES) if pfn not in self.used]
        if pages:
            said = len(self.mm.complaints)
            free_pages(self.mm, pages[block[0] % len(pages)], 0)
            assert len(self.mm.complaints) == said + 1

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "mm"):
            return
        assert validate(self.mm) == []
        free = self.mm.view("zone")[NORMAL]["nr_free_pages"] + self.mm.view("pcp")["count"].sum()
        assert free == PAGES - len(self.used)


EXAMPLES, STEPS = (5000, 200) if LONG else (200, 50) if COMPILED else (25, 30)
TestPages = Pages.TestCase
TestPages.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize=not LONG,
    suppress_health_check=list(HealthCheck),
)


class Walk:
    """Every sequence of operations on a 16-page zone; a state is walked from once."""

    ALLOCS = ((GFP_KERNEL, 0), (GFP_MOVABLE, 0), (GFP_KERNEL, 1), (GFP_MOVABLE, 2))

    def __init__(self, version: str) -> None:
        self.mm = machine(version, 16, block_order=2)
        fill(self.mm, 0, 16, 4)
        pcp_size(self.mm, 2, 3, 5)
        self.seen: set[Any] = set()

    def save(self) -> list[Any]:
        """A copy of the state."""
        page = self.mm.view("page")[: self.mm.next_head].copy()
        return [page, *(self.mm.view(name).copy() for name in ("zone", "pcp", "pageblock"))]

    def load(self, state: list[Any]) -> None:
        """Makes a copy the state again."""
        self.mm.view("page")[: self.mm.next_head] = state[0]
        for name, array in zip(("zone", "pcp", "pageblock"), state[1:], strict=True):
            self.mm.view(name)[:] = array

    def key(self, live: tuple[tuple[int, int], ...]) -> Any:
        """What a state is, without counters that only count."""
        zone, pcp = self.mm.view("zone")[NORMAL], pcp_of(self.mm)
        numbers = [int(pcp[f]) for f in ("high", "flags", "alloc_factor", "free_count")]
        lists = (str(free_lists(self.mm)), str(pcp_lists(self.mm)))
        return (*lists, self.mm.view("pageblock").tobytes(), *numbers, int(zone["flags"]), live)

    def steps(self, live: tuple[tuple[int, int], ...]) -> list[tuple[Any, ...]]:
        """The operations that a state allows."""
        return [*self.ALLOCS, *(("free", block) for block in live), ("drain",)]

    def apply(self, step: tuple[Any, ...], live: tuple[tuple[int, int], ...]) -> Any:
        """Does an operation; the blocks in use after it."""
        if step[0] == "drain":
            drain_all_pages(self.mm)
        elif step[0] == "free":
            free_pages(self.mm, *step[1])
            return tuple(block for block in live if block != step[1])
        else:
            pfn = alloc_pages(self.mm, step[0] | GFP_NOWARN, step[1], -1)
            return live if pfn < 0 else tuple(sorted((*live, (pfn, step[1]))))
        return live

    def walk(self, depth: int) -> int:
        """Walks all sequences of `depth` operations; how many states there are."""
        frontier = [(self.save(), ())]
        for level in range(1, depth + 1):
            following = []
            for state, live in frontier:
                for step in self.steps(live):
                    self.load(state)
                    after = self.apply(step, live)
                    key = self.key(after)
                    if key not in self.seen:
                        self.seen.add(key)
                        assert validate(self.mm) == [], (step, after)
                        if level < depth:
                            following.append((self.save(), after))
            frontier = following
        return len(self.seen)


@pytest.mark.parametrize("version", ["5.10", "6.1.176", "6.12.107"])
def test_no_sequence_of_operations_breaks_an_invariant(version: str) -> None:
    depth = 7 if LONG else 3 if not COMPILED else 5 if version == "6.1.176" else 4
    assert Walk(version).walk(depth) > 20


def script(version: str, count: int) -> str:
    """The checksum of the state after a pseudo-random script, the same for ever."""
    mm: MM = machine(version, 256, block_order=5, orders=8, cpus=2, dma32=64)
    fill(mm, 0, 320, 6)
    pcp_size(mm, 7, 30, 60)
    mm.watermark_boost_factor = 15000
    mm.view("zone")["watermark"][[1, 2], :3] = (4, 8, 12)
    live: list[tuple[int, int]] = []
    number = np.uint64(1)
    for _ in range(count):
        number = np.uint64((int(number) * 6364136223846793005 + 1442695040888963407) % (1 << 64))
        choice, draw = int(number >> np.uint64(60)), int(number >> np.uint64(20)) & 0xFFFFFF
        mm.cpu = draw & 1
        if choice < 8:
            order = (0, 0, 0, 0, 1, 1, 2, 3)[draw >> 4 & 7]
            pfn = alloc_pages(mm, KINDS[draw >> 8 & 3] | GFP_NOWARN, order, -1)
            live += [(int(pfn), order)] if pfn >= 0 else []
        elif choice < 15 and live:
            free_pages(mm, *live.pop(draw % len(live)))
        elif draw % 7 == 0:
            drain_pages(mm, mm.cpu)
        else:
            refresh_cpu_vm_stats(mm, mm.cpu)
    assert validate(mm) == []
    return checksum(mm)


CHECKSUMS = {
    "5.10": "245c2c2c78692841",
    "5.13": "245c2c2c78692841",
    "5.17": "b989469fd5899ffa",
    "6.1.176": "bfde585c6eff84b8",
    "6.13": "eb36ec970997a38d",
    "6.12.107": "b0b7202416222583",
    "6.18": "c6e38f79639419a8",
    "7.3": "a19a11e419c018af",
}


@pytest.mark.parametrize("version", PAGE_VERSIONS)
def test_the_same_script_gives_the_same_bytes_in_every_run(version: str) -> None:
    assert script(version, 3000) == CHECKSUMS[version]

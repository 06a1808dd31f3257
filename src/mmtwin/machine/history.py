"""What events tell of the time before them: at the trace's begin, or at a snapshot.

A page whose first event is an allocation was free then; one whose first event is a free was in
use. Free pages that are in no free block were on a per-CPU list. What no event names is as
kpageflags shows it. The same holds for objects of slabs that were there already.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.machine.proc_pages import (
    KPF_BUDDY,
    KPF_NOPAGE,
    KPF_RESERVED,
    KPF_SLAB,
    Flags,
    has_flag,
)
from mmtwin.machine.proc_slab import SlabHints, slab_heads
from mmtwin.machine.texts import SlabText

NEVER = 1 << 62
UNSEEN, WAS_FREE, WAS_USED = 0, 1, 2
# Kinds of events (recordings/event.pxd) by what they say of a page or an object.
TAKES_PAGE = ("KIND_MM_PAGE_ALLOC", "KIND_MM_PAGE_ALLOC_ZONE_LOCKED")
GIVES_PAGE = ("KIND_MM_PAGE_FREE", "KIND_MM_PAGE_FREE_BATCHED", "KIND_MM_PAGE_PCPU_DRAIN")
TAKES_OBJECT = ("KIND_KMALLOC", "KIND_KMEM_CACHE_ALLOC")
GIVES_OBJECT = ("KIND_KFREE", "KIND_KMEM_CACHE_FREE")
Events = npt.NDArray[Any]


class History:
    """Goes over events from an instant on and keeps what they tell of that instant.

    `nr_pages`: pfns are below it; `page_offset`, `page_shift`: of the machine; `kinds`: numbers of
    the kinds of events (`{"KIND_KFREE": 4, ...}`); `names`: caches by the events' `cache`.
    Memory depends on the pages and on the objects in slabs older than the trace.
    """

    def __init__(
        self, nr_pages: int, page_offset: int, page_shift: int, kinds: Mapping[str, int],
        names: Sequence[str],
    ) -> None:
        self.nr_pages = nr_pages
        self.page_offset = page_offset
        self.page_shift = page_shift
        self.names = names
        self.seen = 0
        self.first = np.zeros(nr_pages, dtype=np.uint8)
        self.first_event = np.full(nr_pages, NEVER, dtype=np.int64)
        self.first_kind = np.zeros(nr_pages, dtype=np.uint8)
        self.first_cpu = np.zeros(nr_pages, dtype=np.uint16)
        self.first_type = np.zeros(nr_pages, dtype=np.int8)
        self.order = np.zeros(nr_pages, dtype=np.uint8)
        self.cache = np.full(nr_pages, -1, dtype=np.int32)
        self.oldest_cache = np.full(nr_pages, -1, dtype=np.int32)
        self.live: dict[int, bool] = {}
        self._alloc, self._drain = kinds["KIND_MM_PAGE_ALLOC"], kinds["KIND_MM_PAGE_PCPU_DRAIN"]
        self._takes_page = [kinds[name] for name in TAKES_PAGE]
        self._page = [kinds[name] for name in TAKES_PAGE + GIVES_PAGE]
        self._takes_object = [kinds[name] for name in TAKES_OBJECT]
        self._object = [kinds[name] for name in TAKES_OBJECT + GIVES_OBJECT]

    def add(self, events: Events) -> None:
        """The next events, in their order: records with `kind`, `address`, `order`, `cache`."""
        for wanted, add in ((self._page, self._add_pages), (self._object, self._add_objects)):
            places = np.flatnonzero(np.isin(events["kind"], wanted))
            add(events[places], places + self.seen)
        self.seen += len(events)

    def _add_pages(self, events: Events, numbers: npt.NDArray[np.int64]) -> None:
        pfns = events["address"].astype(np.int64)
        # a failed allocation has no page
        good = (pfns > 0) & (pfns < self.nr_pages)
        events, pfns, numbers = events[good], pfns[good], numbers[good]
        sizes = np.left_shift(1, np.minimum(events["order"], 20).astype(np.int64))
        takes = np.isin(events["kind"], self._takes_page)
        pages = np.repeat(pfns - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        said = np.where(takes, WAS_FREE, WAS_USED)
        source = np.repeat(np.arange(len(events)), sizes)
        inside = pages < self.nr_pages
        pages, source = pages[inside], source[inside]
        unique, index = np.unique(pages, return_index=True)
        new = self.first[unique] == UNSEEN
        unique, source = unique[new], source[index[new]]
        self.first[unique] = said[source]
        self.first_event[unique] = numbers[source]
        for mine, field in ((self.order, "order"), (self.first_kind, "kind"),
                            (self.first_cpu, "cpu"), (self.first_type, "migratetype")):
            mine[unique] = events[field][source]

    def _add_objects(self, events: Events, numbers: npt.NDArray[np.int64]) -> None:
        place = (events["address"] - np.uint64(self.page_offset)) >> np.uint64(self.page_shift)
        good = (events["address"] != 0) & (place < self.nr_pages) & (events["cache"] >= 0)
        events, pfns = events[good], place[good].astype(np.int64)
        self.cache[pfns] = events["cache"]
        # a page that no event has named yet has been a slab since before the trace
        old = numbers[good] < self.first_event[pfns]
        events, pfns = events[old], pfns[old]
        unset = self.oldest_cache[pfns] < 0
        self.oldest_cache[pfns[unset][::-1]] = events["cache"][unset][::-1]
        takes = np.isin(events["kind"], self._takes_object)
        for address, taken in zip(events["address"].tolist(), takes.tolist(), strict=True):
            self.live.setdefault(address, not taken)

    def pcp_blocks(self, flags: Flags) -> list[tuple[int, int, int, int]]:
        """(pfn, order, migratetype, CPU) of the blocks on per-CPU lists, those near a head first.

        `flags`: kpageflags of the instant. On such a list was what has no flag, not even as a
        free block, and yet was allocated or drained before any other event named it. Allocations
        take a list's head, drains its tail.
        """
        count = min(len(flags), self.nr_pages)
        now = flags[:count]
        taken = (self.first_kind[:count] == self._alloc) & (self.first[:count] == WAS_FREE)
        drained = (self.first_kind[:count] == self._drain) & (self.first_event[:count] < NEVER)
        pages = np.flatnonzero((taken | drained) & (now == 0))
        orders = self.order[pages].astype(np.int64)
        heads = pages[pages >> orders << orders == pages].tolist()

        def place(pfn: int) -> tuple[bool, int]:
            late = bool(self.first_kind[pfn] == self._drain)
            event = int(self.first_event[pfn])
            return late, -event if late else event

        return [(pfn, int(self.order[pfn]), int(self.first_type[pfn]), int(self.first_cpu[pfn]))
                for pfn in sorted(heads, key=place)]

    def boot_flags(self, flags: Flags) -> Flags:
        """kpageflags as they were when tracing began, as far as free pages and slabs go.

        `flags`: those of the first snapshot; events up to it have been added.
        """
        count = min(len(flags), self.nr_pages)
        now = flags[:count]
        first = self.first[:count]
        buddy, slab = has_flag(now, KPF_BUDDY), has_flag(now, KPF_SLAB)
        absent = has_flag(now, KPF_NOPAGE) | has_flag(now, KPF_RESERVED)
        free = (first == WAS_FREE) | ((first == UNSEEN) & buddy)
        result = np.where(absent, now, np.uint64(0)).astype(np.uint64)
        result[free & ~absent] = np.uint64(1 << KPF_BUDDY)
        kept = (first == UNSEEN) & slab
        result[kept] = now[kept]
        return result

    def boot_slabs(self, flags: Flags) -> list[tuple[int, int]]:
        """(first pfn, pages) of the slabs that were there when tracing began.

        Those of the first snapshot (`flags`) that no event took, and those that an event freed.
        """
        count = min(len(flags), self.nr_pages)
        heads = [(pfn, pages) for pfn, pages in slab_heads(flags[:count])
                 if self.first[pfn] == UNSEEN]
        freed = (self.first[:count] == WAS_USED) & (self.oldest_cache[:count] >= 0)
        for pfn in np.flatnonzero(freed).tolist():
            order = int(self.order[pfn])
            head = pfn >> order << order
            if not heads or head != heads[-1][0]:
                heads.append((head, 1 << order))
        return sorted(set(heads))

    def hints(self, heads: Sequence[tuple[int, int]]) -> SlabHints:
        """The caches of those slabs, and their objects as they were."""
        cache_of = {}
        spans: set[int] = set()
        for head, pages in heads:
            numbers = self.oldest_cache[head : head + pages]
            known = numbers[numbers >= 0]
            if len(known):
                cache_of[head] = self.names[int(known[0])]
            spans.update(range(head, head + pages))
        mask = (1 << 64) - 1
        live = {
            address: state for address, state in self.live.items()
            if ((address - self.page_offset) & mask) >> self.page_shift in spans
        }
        return SlabHints(cache_of, live)

    def boot_lines(self, lines: Sequence[SlabText], flags: Flags) -> list[SlabText]:
        """slabinfo with as many slabs as each cache had when tracing began.

        From the first snapshot's counts, less the slabs that events brought and it still had.
        """
        since: dict[str, int] = {}
        count = min(len(flags), self.nr_pages)
        for pfn, pages in slab_heads(flags[:count]):
            numbers = self.cache[pfn : pfn + pages]
            known = numbers[numbers >= 0]
            if self.first[pfn] == WAS_FREE and len(known):
                name = self.names[int(known[-1])]
                since[name] = since.get(name, 0) + 1
        result = []
        for line in lines:
            slabs = max(line.slabs - since.get(line.name, 0), 0)
            objects = slabs * line.objects_per_slab
            result.append(SlabText(
                line.name, objects, objects, line.size, line.objects_per_slab, line.pages, slabs
            ))
        return result

"""The records of a maple script (maple_script.py), and what they tell of events to come: whether a
free came behind those of an interrupt.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.maple import Maple

CONSTANTS = parse_constants(files(__package__).joinpath("maple_late.pxd").read_text())
MOST, AHEAD = CONSTANTS["MOST_OBJECTS"], CONSTANTS["MOST_AHEAD"]

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64, as_u64
    from mmtwin.kernel.constants import PG_slab
    from mmtwin.kernel.ram import cache_at, cache_cpu_of, pfn_to_page, virt_to_pfn
    from mmtwin.kernel.slub_freelist import get_freepointer, set_freepointer
    from mmtwin.recordings.event import (
        KIND_KMEM_CACHE_ALLOC,
        KIND_KMEM_CACHE_FREE,
        as_events,
        event_at,
    )
    from mmtwin.recordings.sites import as_s32

    globals().update(CONSTANTS)


class Late(Maple):
    """The records of one block. `cache`: maple_node's number in the twin."""

    def __init__(self, mm, cache):
        Maple.__init__(self, mm)
        self.cache = cache
        self.scripted = 1
        self.nr = self.nr_ids = 0
        chain = self.buffers["chain"] = np.zeros(MOST, dtype=np.uint64)
        self.chain = as_u64(chain.ctypes.data, MOST)
        self.nr_ahead = self.late_free = self.block = 0
        self.freed = self.late_last = -1
        for name, size in (("last", MOST), ("ahead_at", AHEAD), ("ahead_last", AHEAD)):
            self.buffers[name] = np.zeros(size, dtype=np.uint64)
        self.last = as_u64(self.buffers["last"].ctypes.data, MOST)
        self.ahead_at = as_u64(self.buffers["ahead_at"].ctypes.data, AHEAD)
        self.ahead_last = as_u64(self.buffers["ahead_last"].ctypes.data, AHEAD)
        ahead = self.buffers["ahead_ids"] = np.zeros(AHEAD, dtype=np.int32)
        self.ahead_ids = as_s32(ahead.ctypes.data, AHEAD)

    def load(self, first, records, where):
        """Takes over the records of a block.

        `first`: number of its first event; `records`: [(number of an event, the node it names, -1
        unknown, [nodes that go with it], [where each shows itself later])], ascending; `where`:
        uint64 array, the object of each node; it goes on being written.
        """
        ids = [node for record in records for node in record[2]]
        shown = [address for record in records for address in record[3]]
        counts = [len(record[2]) for record in records]
        arrays = {
            "number": np.array([record[0] for record in records] or [0], dtype=np.int64),
            "own": np.array([record[1] for record in records] or [0], dtype=np.int32),
            "count": np.array(counts or [0], dtype=np.int32),
            "place": np.cumsum([0, *counts], dtype=np.int64),
            "ids": np.array(ids or [0], dtype=np.int32),
            "shown": np.array(shown or [0], dtype=np.uint64),
            "items": np.zeros(max(counts, default=0) + 1, dtype=np.uint64),
            "where": where,
        }
        self.buffers.update(arrays)
        at = {name: array.ctypes.data for name, array in arrays.items()}
        self.first = first
        self.nr = len(records)
        self.number = as_s64(at["number"], len(arrays["number"]))
        self.own = as_s32(at["own"], len(arrays["own"]))
        self.count = as_s32(at["count"], len(arrays["count"]))
        self.place = as_s64(at["place"], len(arrays["place"]))
        self.ids = as_s32(at["ids"], len(arrays["ids"]))
        self.shown = as_u64(at["shown"], len(arrays["shown"]))
        self.items = as_u64(at["items"], len(arrays["items"]))
        self.where = as_u64(at["where"], len(where))
        self.nr_ids = len(where)

    def look(self, address, start, available):
        """The events that are carried out next."""
        if address != self.block:
            self.late_free = 0
        self.block = address
        self.events = as_events(address, available)
        self.available = available

    def _record(self, number):
        """The record of an event, -1 if it has none."""
        number += self.first
        low = 0
        high = self.nr
        while low < high:
            middle = (low + high) // 2
            if self.number[middle] < number:
                low = middle + 1
            else:
                high = middle
        return low if low < self.nr and self.number[low] == number else -1

    def _slab_of(self, address):
        """The pfn of the slab of nodes that an address lies in, -1 for none."""
        s = cache_at(self.mm, self.cache)
        pfn = virt_to_pfn(self.mm, address)
        if pfn < 0 or pfn >= self.mm.max_pfn:
            return -1
        pfn = pfn >> s.oo_order << s.oo_order
        return pfn if self.has_slab(pfn) else -1

    def has_slab(self, pfn):
        """Whether the twin has a slab of nodes at a page."""
        page = pfn_to_page(self.mm, pfn)
        return page.flags & PG_slab != 0 and page.cache == self.cache

    def _frees_into(self, slab, number, until):
        """Whether one of the events `number` to `until` frees a node of a slab."""
        for i in range(number, until):
            event = event_at(self.events, i)
            if event.kind == KIND_KMEM_CACHE_FREE and self._slab_of(event.address) == slab:
                return True
        return False

    def _look_behind(self, number):
        """Whether an interrupt came right behind the event of a free and frees nodes as well:
        kmem_cache_free() writes its event first (mm/slab.h, 6.1), so they may go before it.
        """
        if self.late_free and number <= self.late_last:
            return
        event = event_at(self.events, number)
        self.late_free = 0
        if event.flags & INTERRUPT:
            return
        for i in range(number + 1, self.available):
            behind = event_at(self.events, i)
            if behind.cpu != event.cpu:
                continue
            if behind.pid != event.pid or behind.flags & INTERRUPT == 0:
                return
            if behind.kind == KIND_KMEM_CACHE_FREE and self._slab_of(behind.address) >= 0:
                self.late_free = event.address
                self.late_last = i

    def compare(self):
        """Nothing is guessed, but for a free that an interrupt came into: at its end that free is
        put behind those of the interrupt, if later ones tell so.
        """
        if self.late_free == 0 or self.freed != self.late_last:
            return
        s = cache_at(self.mm, self.cache)
        c = cache_cpu_of(self.mm, self.cache, self.mm.cpu)
        late = self.late_free
        self.late_free = 0
        before = 0
        object = c.freelist
        while object and object != late:
            before = object
            object = get_freepointer(self.mm, s, object)
        if object == 0 or before == 0 or not self._came_late(late):
            return
        set_freepointer(self.mm, s, before, get_freepointer(self.mm, s, late))
        set_freepointer(self.mm, s, late, c.freelist)
        c.freelist = late

    def _came_late(self, late):
        """Whether an object of the CPU's free list was freed last of all: of the silent nodes that
        requests take next, later frees show some. `chain`: the list as it is, its first object
        last; `last`: with `late` before all.
        """
        count = 0
        object = cache_cpu_of(self.mm, self.cache, self.mm.cpu).freelist
        while object and count < MOST_OBJECTS // 2:
            count += 1
            object = get_freepointer(self.mm, cache_at(self.mm, self.cache), object)
        place = count
        before = count - 1
        object = cache_cpu_of(self.mm, self.cache, self.mm.cpu).freelist
        while place:
            place -= 1
            self.chain[place] = object
            if object == late:
                self.last[count - 1] = late
            else:
                before -= 1
                self.last[before] = object
            object = get_freepointer(self.mm, cache_at(self.mm, self.cache), object)
        self.nr_ahead = 0
        for i in range(self.late_last + 1, self.available):
            event = event_at(self.events, i)
            if event.cpu != self.mm.cpu or self._slab_of(event.address) < 0:
                continue
            if event.kind == KIND_KMEM_CACHE_FREE:
                count = self._free_ahead(i, count)
            elif event.kind == KIND_KMEM_CACHE_ALLOC:
                told = self._take_ahead(i, count)
                if told:
                    return told > 0
                r = self._record(i)
                count -= 1 + (self.count[r] if r >= 0 else 0)
            if not 0 < count < MOST_OBJECTS // 2:
                return False
        return False

    def _free_ahead(self, number, count):
        """A free to come puts its nodes on both lists, those of the CPU's slab; how many objects
        those then have.
        """
        slab = cache_cpu_of(self.mm, self.cache, self.mm.cpu).slab
        r = self._record(number)
        for k in range(self.count[r] if r >= 0 else 0):
            node = self.ids[self.place[r] + k]
            mine = last = self.where[node]
            for n in range(self.nr_ahead):
                if self.ahead_ids[n] == node:
                    mine = self.ahead_at[n]
                    last = self.ahead_last[n]
            if mine and last and self._slab_of(mine) == slab:
                self.chain[count] = mine
                self.last[count] = last
                count += 1
        address = event_at(self.events, number).address
        if self._slab_of(address) == slab:
            self.chain[count] = address
            self.last[count] = address
            count += 1
        return count

    def _take_ahead(self, number, count):
        """What a request to come tells: 1 that the free came late, -1 that it did not, 0 neither;
        -1 as well where it takes more than there is.
        """
        r = self._record(number)
        if r < 0 or count < 1 + self.count[r]:
            return -1
        for k in range(1 + self.count[r]):
            count -= 1
            if self.nr_ahead == MOST_AHEAD:
                return -1
            self.ahead_ids[self.nr_ahead] = self.ids[self.place[r] + k - 1] if k else self.own[r]
            self.ahead_at[self.nr_ahead] = self.chain[count]
            self.ahead_last[self.nr_ahead] = self.last[count]
            self.nr_ahead += 1
            shown = self.shown[self.place[r] + k - 1] if k else 0
            if shown and self.chain[count] != self.last[count]:
                return 1 if shown == self.last[count] else -1
        return 0

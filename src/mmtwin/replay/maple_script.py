"""The silent nodes of maple trees, as the twin's own trees ask for them and give them back.

Where a recording tells of processes, nothing has to be inferred: process_demands.py runs them a
little ahead and writes down, by the number of the event that names one node, which silent ones go
with it. Nodes have numbers of their own there; which object each is shows here.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.maple_late import CONSTANTS as LATE_CONSTANTS
from mmtwin.replay.maple_late import Late

CONSTANTS = parse_constants(files(__package__).joinpath("maple_script.pxd").read_text())
MOST, TASKS = LATE_CONSTANTS["MOST_OBJECTS"], CONSTANTS["MOST_LATE"]
NODES = CONSTANTS["MOST_SILENT"]

if not cython.compiled:
    from mmtwin.kernel.casts import as_u8, as_u64
    from mmtwin.kernel.ram import cache_at, cache_cpu_of, page_address, pfn_to_page, virt_to_pfn
    from mmtwin.kernel.slub import __kmem_cache_free_bulk as free_bulk
    from mmtwin.kernel.slub import kmem_cache_alloc_node
    from mmtwin.kernel.slub_freelist import get_freepointer, set_freepointer
    from mmtwin.kernel.slub_resync import next_object, object_state
    from mmtwin.recordings.event import (
        KIND_KMEM_CACHE_ALLOC,
        KIND_MM_PAGE_ALLOC,
        KIND_MM_PAGE_ALLOC_ZONE_LOCKED,
        event_at,
    )
    from mmtwin.recordings.sites import as_s32

    globals().update(CONSTANTS)
    globals().update(LATE_CONSTANTS)


class Script(Late):
    """What is written down of one block. `cache`: maple_node's number in the twin."""

    def __init__(self, mm, cache):
        Late.__init__(self, mm, cache)
        self.deferred = 0
        self.asked = self.unforeseen = self.renamed = self.unknown = 0
        fresh = self.buffers["fresh"] = np.zeros(mm.max_pfn, dtype=np.uint8)
        self.fresh = as_u8(fresh.ctypes.data, len(fresh))
        ranks = self.buffers["ranks"] = np.zeros(MOST, dtype=np.int32)
        self.ranks = as_s32(ranks.ctypes.data, MOST)
        late = self.buffers["late"] = np.zeros(TASKS * (1 + NODES), dtype=np.int32)
        self.late = as_s32(late.ctypes.data, len(late))
        gfps = self.buffers["late_gfp"] = np.zeros(TASKS, dtype=np.uint64)
        self.late_gfp = as_u64(gfps.ctypes.data, TASKS)
        others = self.buffers["late_other"] = np.zeros(TASKS, dtype=np.uint8)
        self.late_other = as_u8(others.ctypes.data, TASKS)
        self.nr_late = 0
        self.switched = False
        self.other = -1
        self.first = 0

    def _is_at(self, node, address):
        """An event shows which object a node is: what was taken for it was another."""
        if node < 0 or self.where[node] == address:
            return
        if self.where[node]:
            self.renamed += 1
            for other in range(self.nr_ids):
                if self.where[other] == address:
                    self.where[other] = self.where[node]
        self.where[node] = address

    def _object(self, pfn, address, turn):
        """The object so many places behind another in the order of a new slab's list
        (shuffle_freelist()); the ranks must be known.
        """
        s = cache_at(self.mm, self.cache)
        base = page_address(self.mm, pfn) + s.red_left_pad
        place = self.ranks[(address - base) // s.size] + turn
        return base + self.mm.random_seq[s.random_seq + place % s.oo_objects]

    def _turn(self, pfn, mine, address):
        """An event is the first to name an object of a slab made for silent nodes: where that one
        begins was drawn at random, so it is turned until the twin's object is the kernel's.
        """
        s = cache_at(self.mm, self.cache)
        self.fresh[pfn] = 0
        if mine == address or s.random_seq < 0 or s.oo_objects > MOST_OBJECTS:
            return
        for place in range(s.oo_objects):
            self.ranks[self.mm.random_seq[s.random_seq + place] // s.size] = place
        base = page_address(self.mm, pfn) + s.red_left_pad
        turn = self.ranks[(address - base) // s.size] - self.ranks[(mine - base) // s.size]
        turn += s.oo_objects
        page = pfn_to_page(self.mm, pfn)
        page.freelist = self._turn_list(pfn, page.freelist, turn)
        for cpu in range(self.mm.nr_cpus):
            c = cache_cpu_of(self.mm, self.cache, cpu)
            if c.slab == pfn:
                c.freelist = self._turn_list(pfn, c.freelist, turn)
        for node in range(self.nr_ids):
            if self.where[node] and self._slab_of(self.where[node]) == pfn:
                self.where[node] = self._object(pfn, self.where[node], turn)

    def _turn_list(self, pfn, object, turn):
        """A free list of a slab that is turned: its first object."""
        s = cache_at(self.mm, self.cache)
        count = 0
        while object and count < MOST_OBJECTS:
            self.chain[count] = self._object(pfn, object, turn)
            object = get_freepointer(self.mm, s, object)
            count += 1
        following = 0
        while count:
            count -= 1
            set_freepointer(self.mm, s, self.chain[count], following)
            following = self.chain[count]
        return following

    def can_wait(self, number, until):
        """Whether a node taken after an interrupt, of events `number` to `until`, is the same as
        before it: it frees none into the CPU's slab.
        """
        slab = cache_cpu_of(self.mm, self.cache, self.mm.cpu).slab
        return not self._frees_into(slab, number, until)

    def expect(self, address, gfp):
        """A node is about to be given out, at an address."""
        mine = next_object(self.mm, self.cache, gfp, -1)
        if mine:
            self._see(mine, address)

    def _see(self, mine, address):
        """An event names the twin's object: as another one of the same new slab, perhaps."""
        pfn = self._slab_of(address)
        if pfn >= 0 and self.fresh[pfn] and self._slab_of(mine) == pfn:
            self._turn(pfn, mine, address)

    def allocated(self, number, gfp):
        """A node was given out: takes those that go with it (kmem_cache_alloc_bulk())."""
        self.asked += 1
        event = event_at(self.events, number)
        r = self._record(number)
        if r < 0:
            self.unforeseen += 1
            return
        self._is_at(self.own[r], event.address)
        self.record = r
        self.next = 0
        self.gfp = gfp
        self.other = -1
        self._take(self._is_interrupted(number, event.pid), event.pid)

    def _is_interrupted(self, number, pid):
        """Whether an interrupt came right behind the event of a named node, and what it freed may
        have been there for the silent ones: not if they needed a new slab. Or another task ran
        then and took a node, event `other`.
        """
        number += 1
        if number >= self.available:
            return False
        interrupt = event_at(self.events, number).flags & INTERRUPT
        if event_at(self.events, number).pid == pid and interrupt == 0:
            return False
        self.behind = number
        while number < self.available:
            event = event_at(self.events, number)
            self.until = number
            if event.flags & INTERRUPT == 0:
                if event.pid == pid:
                    break
                if self.other < 0 and event.kind == KIND_KMEM_CACHE_ALLOC:
                    if self._slab_of(event.address) >= 0:
                        self.other = number
            number += 1
        if self.other >= 0:
            return True
        if interrupt == 0:
            return False
        if number >= self.available:
            return True
        return event.kind != KIND_MM_PAGE_ALLOC_ZONE_LOCKED and event.kind != KIND_MM_PAGE_ALLOC

    def _take(self, interrupted, pid):
        """kmem_cache_alloc_bulk(): of the silent nodes those that are not there yet.

        It keeps interrupts off but while it gets another slab. `interrupted`: one came before the
        next event of task `pid`.
        """
        r = self.record
        self.deferred = 0
        while self.next < self.count[r]:
            if interrupted and self._comes_later() and self._put_off(pid):
                self.deferred = 1
                break
            self._take_one(self.ids[self.place[r] + self.next], self.gfp)
            self.next += 1
        self.mm.next_freelist_start = -1

    def _take_one(self, number, gfp):
        """One silent node."""
        self.mm.next_freelist_start = 0
        node = kmem_cache_alloc_node(self.mm, self.cache, gfp, -1)
        self.where[number] = node
        if node == 0:
            return
        self.taken += 1
        if self.mm.next_freelist_start < 0:  # it was used: there is a new slab
            self.fresh[self._slab_of(node)] = 1

    def _put_off(self, pid):
        """The nodes left are taken when the task goes on; whether there is room to keep them."""
        count = self.count[self.record] - self.next
        if self.nr_late == MOST_LATE or count > MOST_SILENT:
            return False
        first = MOST_LATE + self.nr_late * MOST_SILENT
        for k in range(MOST_SILENT):
            self.late[first + k] = -1
        for k in range(count):
            self.late[first + k] = self.ids[self.place[self.record] + self.next + k]
        self.late[self.nr_late] = pid
        self.late_gfp[self.nr_late] = self.gfp
        self.late_other[self.nr_late] = self.switched
        self.nr_late += 1
        return True

    def goes_on(self, event):
        """Which of the tasks that wait an event shows to have gone on, -1 for none."""
        for k in range(self.nr_late):
            if event.pid != self.late[k]:
                if not self.late_other[k]:
                    return k
            elif event.flags & INTERRUPT == 0:
                return k
        return -1

    def _comes_later(self):
        """Whether the interrupt came before the next node was taken. The recording does not say:
        it is read off where that node, or one behind it, shows itself; or which one another task
        then got: preemption is off in kmem_cache_alloc_bulk() (slub_get_cpu_ptr()).
        """
        mine = next_object(self.mm, self.cache, self.gfp, -1)
        slab = self._slab_of(mine) if mine else -1
        self.switched = False
        if self.other >= 0 and self.next == 0 and slab >= 0:
            if not self._frees_into(slab, self.behind, self.other):
                self.switched = event_at(self.events, self.other).address == mine
                return self.switched
        first = self.place[self.record] + self.next
        if cache_cpu_of(self.mm, self.cache, self.mm.cpu).freelist:
            return self.shown[first] != 0 and self._slab_of(self.shown[first]) != slab
        if slab < 0 or self._frees_into(slab, self.behind, self.until):
            return slab < 0 or self.shown[first] != mine
        for place in range(first, self.place[self.record] + self.count[self.record]):
            if self.shown[place]:
                return self._slab_of(self.shown[place]) != slab
        return self._next_slab() != slab

    def _next_slab(self):
        """The slab that the next node comes from that is taken by name, -1 unknown."""
        for r in range(self.record + 1, self.nr):
            number = self.number[r] - self.first
            if number >= self.available:
                break
            event = event_at(self.events, number)
            if event.kind == KIND_KMEM_CACHE_ALLOC:
                return self._slab_of(event.address)
        return -1

    def go_on(self, event):
        """An event shows that a task runs again, or that its interrupt is over: it takes what it
        was about to take. Whether others still wait.
        """
        k = self.goes_on(event)
        first = MOST_LATE + k * MOST_SILENT
        for n in range(MOST_SILENT):
            if self.late[first + n] >= 0:
                self._take_one(self.late[first + n], self.late_gfp[k])
        self.mm.next_freelist_start = -1
        self.nr_late -= 1
        last = MOST_LATE + self.nr_late * MOST_SILENT
        self.late[k] = self.late[self.nr_late]
        self.late_gfp[k] = self.late_gfp[self.nr_late]
        self.late_other[k] = self.late_other[self.nr_late]
        for n in range(MOST_SILENT):
            self.late[first + n] = self.late[last + n]
        return self.nr_late > 0

    def freeing(self, number):
        """A node is about to be freed: gives back those that go before it
        (kmem_cache_free_bulk()).
        """
        r = self._record(number)
        address = event_at(self.events, number).address
        self.freed = number
        self._look_behind(number)
        if r < 0:
            return
        if self.own[r] >= 0 and self.where[self.own[r]]:
            self._see(self.where[self.own[r]], address)
        self._is_at(self.own[r], address)
        n = 0
        for k in range(self.count[r]):
            node = self.where[self.ids[self.place[r] + k]]
            self.where[self.ids[self.place[r] + k]] = 0
            if node == 0 or object_state(self.mm, self.cache, node) != 1:
                self.unknown += 1
            else:
                self.items[n] = node
                n += 1
        if self.own[r] >= 0:
            self.where[self.own[r]] = 0
        if n:
            free_bulk(self.mm, self.cache, self.items, n)
            self.given += n

    def page(self, number):
        """A slab may have moved to the page that an event names: its nodes with it."""
        event = event_at(self.events, number)
        if not self.has_slab(event.address):
            return
        s = cache_at(self.mm, self.cache)
        size = 1 << (self.mm.page_shift + s.oo_order)
        for node in range(self.nr_ids):
            if self.where[node] and self._slab_of(self.where[node]) < 0:
                old = virt_to_pfn(self.mm, self.where[node]) >> s.oo_order << s.oo_order
                self.fresh[event.address] |= self.fresh[old]
                self.where[node] &= size - 1
                self.where[node] += page_address(self.mm, event.address)

    def adopt(self):
        """Nothing is guessed."""
        self.stale = False

"""Maple nodes by number, what lies ahead of each, and the guesses that a replay carries along."""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import PG_slab as SLAB_FLAG
from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.maple_ahead import CONSTANTS as AHEAD_CONSTANTS
from mmtwin.replay.maple_ahead import Ahead
from mmtwin.replay.maple_alike import factors
from mmtwin.replay.maple_guess import CONSTANTS as GUESS_CONSTANTS
from mmtwin.replay.maple_guess import STRUCTS
from mmtwin.replay.maple_source import Source

CONSTANTS = parse_constants(files(__package__).joinpath("maple_nodes.pxd").read_text())
PLACES = GUESS_CONSTANTS

if not cython.compiled:
    import ctypes

    from mmtwin.kernel.casts import as_s64, as_u8, as_u64
    from mmtwin.kernel.constants import PG_partial, PG_slab
    from mmtwin.kernel.page_alloc import free_pages
    from mmtwin.kernel.ram import cache_at, cache_cpu_of, page_address, pfn_to_page, virt_to_pfn
    from mmtwin.kernel.slub_defs import TO_TAIL
    from mmtwin.kernel.slub_freelist import get_freepointer, kmem_cache_debug, set_freepointer
    from mmtwin.kernel.slub_partial import add_partial, remove_partial
    from mmtwin.recordings.sites import as_s32
    from mmtwin.replay.maple_alike import hash_of
    from mmtwin.replay.maple_guess import (
        as_guesses,
        as_shape,
        bit_of,
        copy_guess,
        guess_at,
        node_is_free,
    )
    from mmtwin.replay.resync import adopt_slab, vacate

    globals().update(GUESS_CONSTANTS)
    globals().update(AHEAD_CONSTANTS)
    globals().update(CONSTANTS)

    def as_nodes(address, count):
        """The numbers at an address."""
        return (ctypes.c_uint16 * count).from_address(address)

    def nodes_at(nodes, place):
        """The array from one of its places on."""
        rest = len(nodes) - place
        return (ctypes.c_uint16 * rest).from_address(ctypes.addressof(nodes) + 2 * place)


class Nodes(Source):
    """The silent nodes of one replay.

    `cache`: maple_node's number in the twin, -1 if the kernel has no such silent nodes; `names`:
    numbers of maple_node, vm_area_struct and mm_struct in the recording's names; `ranges`:
    [(first, last, WHAT_*)], the call sites of functions, addresses of text.
    """

    def __init__(self, mm, cache=-1, names=(-1, -1, -1), ranges=()):
        self.mm = mm
        self.cache = cache if ranges and mm.nr_cpus <= PLACES["GUESS_CPUS"] else -1
        self.ahead = Ahead(names, ranges)
        self.buffers = {}
        self.nr_cpus = mm.nr_cpus
        self.stale = self.scripted = self.deferred = self.ahead_of_spare = False
        self.taken = self.given = self.amended = 0
        self.nr_current = self.nr_coming = self.selections = 0
        if self.cache >= 0:
            self._reserve()
            self.begin()

    def _reserve(self):
        guess = np.dtype(STRUCTS["guess_t"])
        buffers = self.buffers
        buffers["guesses"] = np.zeros(CONSTANTS["GUESSES"], dtype=guess)
        buffers["shape"] = np.zeros(1, dtype=np.dtype(STRUCTS["shape_t"]))
        buffers["shape"]["factor"] = factors()
        buffers["fate"] = np.full(PLACES["GUESS_OBJECTS"], -1, dtype=np.int32)
        buffers["loose"] = np.zeros(PLACES["GUESS_OBJECTS"], dtype=np.int32)
        buffers["pages"] = np.zeros(PLACES["GUESS_SLABS"], dtype=np.int64)
        buffers["slab_at"] = np.zeros(self.mm.max_pfn, dtype=np.int32)
        for name in ("current", "coming"):
            buffers[name] = np.zeros(CONSTANTS["GUESSES"], dtype=np.int32)
        buffers["made"] = np.zeros(PLACES["GUESS_SLABS"], dtype=np.int32)
        buffers["used"] = np.zeros(PLACES["GUESS_SLOTS"] + 1, dtype=np.int32)
        buffers["hashes"] = np.zeros(CONSTANTS["GUESSES"], dtype=np.int64)
        buffers["alike"] = np.zeros(CONSTANTS["ALIKE"], dtype=np.int64)
        buffers["busy"] = np.zeros(CONSTANTS["GUESSES"], dtype=np.uint8)
        buffers["used_up"] = np.zeros(PLACES["GUESS_SLOTS"] + 1, dtype=np.uint16)
        buffers["rest"] = np.zeros(PLACES["GUESS_SLOTS"] + 1, dtype=np.uint16)
        buffers["costs"] = np.zeros(CONSTANTS["ROOM_SINGLE"], dtype=np.int64)
        buffers["items"] = np.zeros(PLACES["GUESS_SLOTS"] + 1, dtype=np.uint64)
        at = {name: array.ctypes.data for name, array in buffers.items()}
        self.guesses = as_guesses(at["guesses"], len(buffers["guesses"]))
        self.shape = as_shape(at["shape"])
        self.fate = as_s32(at["fate"], len(buffers["fate"]))
        self.loose = as_s32(at["loose"], len(buffers["loose"]))
        self.pages = as_s64(at["pages"], len(buffers["pages"]))
        self.slab_at = as_s32(at["slab_at"], len(buffers["slab_at"]))
        self.current = as_s32(at["current"], len(buffers["current"]))
        self.coming = as_s32(at["coming"], len(buffers["coming"]))
        self.made = as_s32(at["made"], len(buffers["made"]))
        self.used = as_s32(at["used"], len(buffers["used"]))
        self.hashes = as_s64(at["hashes"], len(buffers["hashes"]))
        self.alike = as_s64(at["alike"], len(buffers["alike"]))
        self.busy = as_u8(at["busy"], len(buffers["busy"]))
        self.costs = as_s64(at["costs"], len(buffers["costs"]))
        self.used_up = as_nodes(at["used_up"], len(buffers["used_up"]))
        self.rest = as_nodes(at["rest"], len(buffers["rest"]))
        self.items = as_u64(at["items"], len(buffers["items"]))

    def off(self):
        """Ends the guessing: nodes are predicted like other objects from now on."""
        self.cache = -1

    def begin(self):
        """Takes the cache's free lists over from the twin: the first guess."""
        mm = self.mm
        s = cache_at(mm, self.cache)
        shape = self.shape
        shape.objects = s.oo_objects
        shape.single = mm.has.debug_alloc_single and kmem_cache_debug(s)
        self.beam = BEAM_SINGLE if shape.single else BEAM
        self.room = ROOM_SINGLE if shape.single else ROOM
        if mm.has.slub_cpu_partial and not shape.single:
            shape.partial_slabs = s.cpu_partial_slabs
        shape.min_partial = s.min_partial
        known = mm.has.cpu_partial_counts_slabs and not s.sheaf_capacity
        if s.oo_objects > GUESS_SLOTS or not known:
            self.cache = -1
            return
        for rank in range(s.oo_objects):
            place = mm.random_seq[s.random_seq + rank] // s.size if s.random_seq >= 0 else rank
            shape.order[rank] = place
            shape.rank[place] = rank
        g = guess_at(self.guesses, 0)
        self.buffers["guesses"][0] = np.zeros(1, dtype=self.buffers["guesses"].dtype)[0]
        lists = ("head", "link", "cpu_slab", "cpu_free", "cpu_partial", "node_first")
        for name in (*lists, "round_first", "late", "late_under"):
            self.buffers["guesses"][name][0] = PLACES["NO_NODE"]
        view = mm.view("page")[: mm.max_pfn]
        slabs = np.flatnonzero((view["flags"] & SLAB_FLAG != 0) & (view["cache"] == self.cache))
        for pfn in slabs.tolist():
            slab = self._slab_number(pfn)
            if slab < 0:
                return
            page = pfn_to_page(mm, pfn)
            g.head[slab] = self._read_chain(g, page.freelist)
            g.free[slab] = page.objects - page.inuse
            g.place[slab] = SLAB_FULL
            self.made[slab] = 1
        self._begin_lists(slabs.tolist())
        for node in range(shape.nr_slabs * shape.objects):
            if not node_is_free(shape, g, node):
                self.loose[node] = 1
        self.busy[0] = 1
        self.current[0] = 0
        self.nr_current = 1

    def _begin_lists(self, slabs):
        """Where each slab is."""
        mm = self.mm
        g = guess_at(self.guesses, 0)
        for cpu in range(mm.nr_cpus):
            c = cache_cpu_of(mm, self.cache, cpu)
            if c.slab >= 0:
                slab = self._slab_number(c.slab)
                g.cpu_slab[cpu] = slab
                g.place[slab] = CPU_SLAB + cpu
                g.cpu_free[cpu] = self._read_chain(g, c.freelist)
            last = NO_NODE
            pfn = c.partial
            while pfn >= 0:
                slab = self._slab_number(pfn)
                g.place[slab] = CPU_PARTIAL + cpu
                if last == NO_NODE:
                    g.cpu_partial[cpu] = slab
                else:
                    g.link[last] = slab
                last = slab
                pfn = pfn_to_page(mm, pfn).next
        # The node's list is read through its slabs: the first is the one that no other follows.
        partial = [pfn for pfn in slabs if pfn_to_page(mm, pfn).flags & PG_partial]
        following = {pfn: pfn_to_page(mm, pfn).next for pfn in partial}
        first = set(partial) - set(following.values())
        last = NO_NODE
        pfn = first.pop() if first else -1
        while pfn in following:
            slab = self._slab_number(pfn)
            g.place[slab] = SLAB_ON_NODE
            g.nr_node += 1
            if last == NO_NODE:
                g.node_first = slab
            else:
                g.link[last] = slab
            last = slab
            pfn = following[pfn]

    def _read_chain(self, g, entry):
        s = cache_at(self.mm, self.cache)
        head = NO_NODE
        last = NO_NODE
        while entry:
            node = self._node(entry)
            if last == NO_NODE:
                head = node
            else:
                g.next[last] = node
            g.next[node] = NO_NODE
            g.bits[node // self.shape.objects] |= bit_of(node % self.shape.objects)
            last = node
            entry = get_freepointer(self.mm, s, entry)
        return head

    def look(self, address, start, available):
        """Looks ahead in a block of events, where it is a new one."""
        if self.cache >= 0 and self.ahead.look(address, start, available):
            self.near = 0
            self.nr_loose = 0
            for i in range(self.nr_current):
                guess_at(self.guesses, self.current[i]).late_request = 0  # a moment of the last
            for slab in range(self.shape.nr_slabs):
                self._refresh(slab)
            for node in range(self.shape.nr_slabs * self.shape.objects):
                if self.loose[node] and self._when(node) < self.ahead.nr_moments:
                    self.nr_loose += 1

    def _slab_number(self, pfn):
        """A number for a slab; -1 if there is no such page, or none left: the guessing ends."""
        if not 0 <= pfn < self.mm.max_pfn:
            return -1
        if self.slab_at[pfn]:
            return self.slab_at[pfn] - 1
        slab = self.shape.nr_slabs
        if slab < GUESS_SLABS and (slab + 1) * self.shape.objects <= GUESS_OBJECTS:
            self.shape.nr_slabs += 1
        else:
            for slab in range(self.shape.nr_slabs):
                k = 0
                for i in range(self.nr_current):
                    if guess_at(self.guesses, self.current[i]).place[slab] != SLAB_ABSENT:
                        k += 1
                if k == 0:
                    break
            else:
                self.cache = -1
                return -1
            self.slab_at[self.pages[slab]] = 0
        self.slab_at[pfn] = slab + 1
        self.made[slab] = 0
        self.pages[slab] = pfn
        self._refresh(slab)
        return slab

    def _refresh(self, slab):
        """Looks up the next free of a slab's nodes."""
        for i in range(self.shape.objects):
            m = -1
            if self.ahead.nr_moments:
                m = self.ahead.next_free(self._address(slab * self.shape.objects + i))
                while m >= 0 and self.ahead.moments[m].number < self.ahead.done:
                    m = self.ahead.moments[m].next - 1
            self.fate[slab * self.shape.objects + i] = m

    def _node(self, address):
        """The number of a node; NO_NODE if no slab can be there."""
        s = cache_at(self.mm, self.cache)
        pfn = virt_to_pfn(self.mm, address)
        if pfn < 0 or pfn >= self.mm.max_pfn:
            return NO_NODE
        pfn = pfn >> s.oo_order << s.oo_order
        slab = self._slab_number(pfn)
        if slab < 0:
            return NO_NODE
        place = (address - page_address(self.mm, pfn) - s.red_left_pad) // s.size
        return slab * self.shape.objects + place if place < self.shape.objects else NO_NODE

    def _address(self, node):
        s = cache_at(self.mm, self.cache)
        place = node % self.shape.objects
        pfn = self.pages[node // self.shape.objects]
        return page_address(self.mm, pfn) + s.red_left_pad + place * s.size

    def _branch(self, i, cost):
        """A copy of a guess that costs so much more, -1 if it is hopeless or there is no room."""
        if guess_at(self.guesses, i).cost + cost > self.limit:
            return -1
        for k in range(GUESSES):
            if not self.busy[k]:
                self.busy[k] = 1
                copy_guess(self.shape, guess_at(self.guesses, k), guess_at(self.guesses, i))
                guess_at(self.guesses, k).cost += cost
                self.branched = 1
                return k
        return -1

    def _emit(self, i):
        """A guess goes on."""
        self.coming[self.nr_coming] = i
        self.nr_coming += 1
        cost = guess_at(self.guesses, i).cost
        if cost + MARGIN < self.limit:
            self.limit = cost + MARGIN
        # The costs of the best so far, ascending: what costs more than the last is hopeless.
        k = self.nr_costs if self.nr_costs < self.room else self.room - 1
        if self.nr_costs < self.room:
            self.nr_costs += 1
        elif cost >= self.costs[self.room - 1]:
            return
        while k and self.costs[k - 1] > cost:
            self.costs[k] = self.costs[k - 1]
            k -= 1
        self.costs[k] = cost
        if self.nr_costs == self.room and self.costs[self.room - 1] < self.limit:
            self.limit = self.costs[self.room - 1]

    def _select(self):
        """Keeps the best guesses, each once, best first."""
        if not self.nr_coming:
            self._start_over()
            return
        kept = 0
        if self.branched:
            self.selections += 1
        for i in range(self.nr_coming):
            mine = self.coming[i]
            if guess_at(self.guesses, mine).cost > self.limit:  # better ones came after it
                self.busy[mine] = 0
                continue
            if self.branched:
                k = self._alike(i, kept)
                if k >= 0:
                    # Of two alike the cheaper goes on, under the name of the better lineage.
                    best = guess_at(self.guesses, mine).cost
                    if best < guess_at(self.guesses, self.current[k]).cost:
                        guess_at(self.guesses, self.current[k]).cost = best
                    self.busy[mine] = 0
                    continue
            self.current[kept] = mine
            kept += 1
        for i in range(1, kept):
            mine = self.current[i]
            best = guess_at(self.guesses, mine).cost
            place = i
            while place and guess_at(self.guesses, self.current[place - 1]).cost > best:
                self.current[place] = self.current[place - 1]
                place -= 1
            self.current[place] = mine
        lowest = guess_at(self.guesses, self.current[0]).cost
        self.nr_current = 0
        for i in range(kept):
            g = guess_at(self.guesses, self.current[i])
            g.cost -= lowest
            if i < self.beam and g.cost < MARGIN:
                self.nr_current += 1
            else:
                self.busy[self.current[i]] = 0

    def _alike(self, i, kept):
        """The place among those kept of a guess like the one that came i-th, -1 if there is none:
        it will be kept at `kept`.
        """
        g = guess_at(self.guesses, self.coming[i])
        hash = hash_of(self.shape, g, self.cpu, self.nr_cpus) >> 1
        place = hash & (ALIKE - 1)
        # An entry: the number of the selection it was made in, and a place among those kept.
        while self.alike[place] // GUESSES == self.selections:
            k = self.alike[place] % GUESSES
            if self.hashes[k] == hash:
                return k
            place = (place + 1) & (ALIKE - 1)
        self.alike[place] = self.selections * GUESSES + kept
        self.hashes[kept] = hash
        return -1

    def _start_over(self):
        """Every guess proved impossible: the one that was best goes on alone, as it is."""
        g = guess_at(self.guesses, self.current[0])
        for k in range(GUESSES):
            self.busy[k] = 0
        self.busy[self.current[0]] = 1
        g.cost = 0
        g.was_best = 1
        g.amended = 1
        g.nr_taken = 0
        g.nr_given = 0
        g.late = NO_NODE
        g.late_under = NO_NODE
        g.late_request = g.late_parts = 0
        g.late_from = 0
        for k in range(GUESS_ROUNDS):
            g.round_first[k] = NO_NODE
        self.nr_current = 1

    def _when(self, node):
        """When RCU frees a node: a moment, behind the last if it is not freed next by RCU."""
        f = self.fate[node] if node != NO_NODE else -1
        return f if f >= 0 and self.ahead.moments[f].what == WHAT_LATER else self.ahead.nr_moments

    def adopt(self):
        """Writes the best guess's free lists into the twin."""
        if self.cache < 0:
            return
        g = guess_at(self.guesses, self.current[0])
        self.stale = False
        self.amended += 1
        for slab in range(self.shape.nr_slabs):
            if g.place[slab] != SLAB_ABSENT and self._is_there(slab):
                self.made[slab] = 1
            elif g.place[slab] != SLAB_ABSENT and self.made[slab]:
                order = cache_at(self.mm, self.cache).oo_order
                adopt_slab(self.mm, self.cache, self.pages[slab], order, GFP_NODES)
            if g.place[slab] != SLAB_ABSENT and self._is_there(slab):
                page = pfn_to_page(self.mm, self.pages[slab])
                if page.flags & PG_partial:
                    remove_partial(self.mm, self.cache, self.pages[slab])
                page.freelist = self._write_chain(g, g.head[slab])
                page.inuse = self.shape.objects - g.free[slab]
                page.frozen = g.place[slab] >= CPU_PARTIAL
        for cpu in range(self.nr_cpus):
            self._end_unknown(g, cpu)
            c = cache_cpu_of(self.mm, self.cache, cpu)
            c.slab = -1
            c.freelist = 0
            c.partial = -1
            slab = g.cpu_slab[cpu]
            if slab != NO_NODE and self._is_there(slab):
                c.slab = self.pages[slab]
                c.freelist = self._write_chain(g, g.cpu_free[cpu])
            self._write_partial(g, cpu)
        entry = g.node_first
        while entry != NO_NODE:
            if self._is_there(entry):
                add_partial(self.mm, self.cache, self.pages[entry], TO_TAIL)
            entry = g.link[entry]

    def _end_unknown(self, g, cpu):
        """Slabs of a CPU that the best guess does not have were made wrongly: they end."""
        c = cache_cpu_of(self.mm, self.cache, cpu)
        pfn = c.slab
        c.slab = -1
        c.freelist = 0
        while pfn >= 0 or c.partial >= 0:
            if pfn < 0:
                pfn = c.partial
                c.partial = pfn_to_page(self.mm, pfn).next
            if not self.slab_at[pfn] or g.place[self.slab_at[pfn] - 1] == SLAB_ABSENT:
                order = pfn_to_page(self.mm, pfn).order
                vacate(self.mm, pfn, order)
                free_pages(self.mm, pfn, order)
            pfn = -1

    def _write_partial(self, g, cpu):
        """A CPU's partial list, last first: each slab counts those behind it."""
        c = cache_cpu_of(self.mm, self.cache, cpu)
        count = 0
        entry = g.cpu_partial[cpu]
        while entry != NO_NODE:
            count += 1
            entry = g.link[entry]
        slabs = 0
        while count:
            count -= 1
            entry = g.cpu_partial[cpu]
            for _ in range(count):
                entry = g.link[entry]
            if not self._is_there(entry):
                continue
            page = pfn_to_page(self.mm, self.pages[entry])
            slabs += 1
            page.slabs = slabs
            page.next = c.partial
            c.partial = self.pages[entry]

    def _is_there(self, slab):
        """Whether the twin has a slab."""
        page = pfn_to_page(self.mm, self.pages[slab])
        return page.flags & PG_slab != 0 and page.cache == self.cache

    def _write_chain(self, g, head):
        """Writes a free list; its first object."""
        s = cache_at(self.mm, self.cache)
        if head == NO_NODE:
            return 0
        first = self._address(head)
        entry = head
        before = 0
        while entry != NO_NODE:
            node = self._address(entry)
            if before:
                set_freepointer(self.mm, s, before, node)
            before = node
            entry = g.next[entry]
        set_freepointer(self.mm, s, before, 0)
        return first

"""What lies ahead of maple trees: the frees of each node, the requests and the end of each task.

A node's next free tells whether it was used: one that RCU frees or that goes with its tree was in
a tree, one that mas_destroy() gives back was not. Only demands are looked at (frees, and what is
asked for), and where slabs' pages come in; never which object an allocation returned.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs
from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS

TEXT = files(__package__).joinpath("maple_ahead.pxd").read_text()
STRUCTS = parse_structs(TEXT)
CONSTANTS = parse_constants(TEXT)

if not cython.compiled:
    import ctypes

    from mmtwin.recordings.event import as_events, event_at
    from mmtwin.recordings.sites import as_s32

    globals().update(CONSTANTS)
    globals().update(EVENT_CONSTANTS)

    def as_moments(address, count):
        """The records at an address."""
        return (STRUCTS["moment_t"] * count).from_address(address)

    def as_spots(address, count):
        """The records at an address."""
        return (STRUCTS["spot_t"] * count).from_address(address)

    def as_ranges(address, count):
        """The records at an address."""
        return (STRUCTS["range_t"] * count).from_address(address)

    def moment_at(moments, place):
        """One record of an array."""
        return moments[place]

    def clear_moment(moment):
        """Writes zeros."""
        ctypes.memset(ctypes.addressof(moment), 0, ctypes.sizeof(moment))

    def spread(key):
        """A hash of a key: its high bits are good."""
        return (key * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 20


class Ahead:
    """The moments of one block of events.

    `names`: numbers of maple_node, vm_area_struct and mm_struct in the recording's names;
    `ranges`: [(first, last, WHAT_*)], the call sites of functions, addresses of text.
    """

    def __init__(self, names, ranges):
        self.buffers = {"ranges": np.zeros(MAPLE_RANGES, dtype=np.dtype(STRUCTS["range_t"]))}
        for place, found in enumerate(ranges[:MAPLE_RANGES]):
            self.buffers["ranges"][place] = found
        self.name, self.areas, self.mms = names
        self.nr_ranges = min(len(ranges), MAPLE_RANGES)
        self.ranges = as_ranges(self.buffers["ranges"].ctypes.data, MAPLE_RANGES)
        self.seen = set()
        self.areas_of = {}
        self.block = 0
        self.block_size = 0
        self.start = 0
        self.nr_moments = 0
        self.mask = 0
        self.now = 0
        self.done = -1
        if not cython.compiled:
            self.later = [0] * 64
            self.freed = [0] * 64
        for cpu in range(64):
            self.freed[cpu] = 0

    def look(self, address, start, available):
        """Takes in events `start` to `available` of a block, once; whether they are new.

        Of the same block later events follow; another one may lie where the last did, and begins
        anew.
        """
        same = address == self.block and available == self.block_size and start > self.start
        self.start = start
        if same:
            return False
        self._leave_block()
        self.block = address
        self.block_size = available
        places = self.buffers.get("places")
        if places is None or len(places) < available:
            places = self.buffers["places"] = np.zeros(available, dtype=np.int32)
        self.places = as_s32(places.ctypes.data, available)
        count = self._find(address, start, available)
        if "moments" not in self.buffers or len(self.buffers["moments"]) <= count:
            self.buffers["moments"] = np.zeros(count + 1, dtype=np.dtype(STRUCTS["moment_t"]))
        moments = self.buffers["moments"]
        moments[count] = 0
        self.moments = as_moments(moments.ctypes.data, count + 1)
        self.nr_moments = count
        self.now = 0
        self._take_spots(max(self.mask + 1, LEAST_SPOTS))
        while count:
            count = self._fill(address, available, count)
            if count:
                self._grow()
        self._forward()
        self._name_children(moments[: self.nr_moments])
        for pid, areas in self.areas_of.items():
            spot = self._spot(self.tasks, pid + 1)
            if self.tasks[spot].key:
                self.tasks[spot].areas = areas + 1
        self._count_areas()
        return True

    def _take_spots(self, size):
        """Empty tables of so many spots."""
        for name in ("nodes", "tasks"):
            if name not in self.buffers or len(self.buffers[name]) < size:
                self.buffers[name] = np.zeros(size, dtype=np.dtype(STRUCTS["spot_t"]))
            self.buffers[name].view(np.uint8)[:] = 0
        self.nodes = as_spots(self.buffers["nodes"].ctypes.data, size)
        self.tasks = as_spots(self.buffers["tasks"].ctypes.data, size)
        self.mask = size - 1
        self.nr_nodes = 0
        self.nr_tasks = 0

    def _grow(self):
        """Tables of twice the size with the same spots."""
        kept = [self.buffers.pop(name) for name in ("nodes", "tasks")]
        self._take_spots(2 * (self.mask + 1))
        self.nr_nodes = self._keep(kept[0], self.nodes, self.buffers["nodes"])
        self.nr_tasks = self._keep(kept[1], self.tasks, self.buffers["tasks"])

    def _keep(self, old, spots, table):
        """Puts what an old table had into a new one, `spots` its records; how many."""
        used = old[old["key"] != 0]
        for spot in used:
            table[self._spot(spots, int(spot["key"]))] = spot
        return len(used)

    def _name_children(self, moments):
        """Which task each fork made: numbers rise, so the next new one that shows itself later."""
        what = np.ascontiguousarray(moments["what"])
        own = np.flatnonzero((what <= WHAT_ROOT) & (what != WHAT_LATER))
        pids, first = np.unique(moments["pid"][own], return_index=True)
        numbers = moments["number"][own[first]]
        began = dict(zip(pids.tolist(), numbers.tolist(), strict=True))
        new = [pid for pid in pids.tolist() if pid not in self.seen]
        forks = np.flatnonzero(moments["child"] == 0)
        place = 0
        for m, number in zip(forks.tolist(), moments["number"][forks].tolist(), strict=True):
            while place < len(new) and began[new[place]] <= number:
                place += 1
            if place < len(new):
                moments["child"][m] = new[place]
                place += 1

    def _leave_block(self):
        """Keeps what the next block has to know: the tasks that showed themselves."""
        moments = self.buffers.get("moments")
        if moments is not None:
            moments = moments[: self.nr_moments]
            what = np.ascontiguousarray(moments["what"])
            own = (what <= WHAT_ROOT) & (what != WHAT_LATER) & (moments["number"] <= self.done)
            self.seen.update(np.unique(moments["pid"][own]).tolist())
            counted = np.flatnonzero((moments["number"] <= self.done) & (moments["areas"] >= 0))
            pids, last = np.unique(moments["pid"][counted[::-1]], return_index=True)
            areas = moments["areas"][counted[::-1][last]]
            self.areas_of.update(zip(pids.tolist(), areas.tolist(), strict=True))
        self.done = -1

    def _find(self, address, start, available):
        """Notes which events are moments; how many."""
        events = as_events(address, available)
        count = 0
        for i in range(start, available):
            event = event_at(events, i)
            if event.cache == self.name or event.cache == self.areas or event.cache == self.mms:
                if self.what(event) != WHAT_NONE:
                    self.places[count] = i
                    count += 1
        return count

    def _fill(self, address, available, place):
        """Writes the moments before one, last first, each with the next of its node and of its
        task. Ends where a table is half full: the moments before are still to be written.
        """
        events = as_events(address, available)
        while place and 2 * self.nr_nodes <= self.mask and 2 * self.nr_tasks <= self.mask:
            place -= 1
            event = event_at(events, self.places[place])
            moment = moment_at(self.moments, place)
            clear_moment(moment)
            moment.address = event.address
            moment.number = self.places[place]
            moment.pid = event.pid
            moment.what = self.what(event)
            moment.cpu = event.cpu & 63
            moment.child = -1
            moment.since = -1
            if moment.what < WHAT_PAGE:
                self._link(moment, place)
            if moment.what == WHAT_LATER and event.flags & INTERRUPT:
                moment.since = self._cut_off(events, self.places[place])
                moment.ends = 1
            if moment.what == WHAT_ALLOC:
                moment.yields = self._yields(events, self.places[place], available)
            if place + 1 < self.nr_moments:
                after = moment_at(self.moments, place + 1)
                if after.since >= 0 and after.since == moment.since:
                    moment.ends = 0
                elif after.since == moment.number:
                    moment.cut = 1
        return place

    def _yields(self, events, number, available):
        """Whether another task runs behind the event of a request that may sleep, before the
        silent nodes are taken: might_alloc() of kmem_cache_alloc_bulk() gives way (6.1,
        CONFIG_PREEMPT_VOLUNTARY) if that was due. If it was not, it may have become so since.
        """
        event = event_at(events, number)
        for i in range(number + 1, available):
            following = event_at(events, i)
            if following.cpu != event.cpu:
                continue
            if following.pid != event.pid:
                return YIELDS if self._is_due(events, number) else MAY_YIELD
            if following.flags & INTERRUPT == 0:
                return 0
        return 0

    def _is_due(self, events, number):
        """Whether another task was to run when an event was written: its flags tell, which
        trace_event_buffer_lock_reserve() takes first, or an interrupt that came after that.
        """
        event = event_at(events, number)
        if event.flags & RESCHED:
            return True
        before = event_at(events, number - 1 if number else 0)
        if before.cpu != event.cpu or before.pid != event.pid:
            return False
        return before.flags & INTERRUPT != 0 and before.flags & RESCHED != 0

    def _cut_off(self, events, number):
        """The number of the task's event before an interrupt's, -1 if that is too far away."""
        event = event_at(events, number)
        for i in range(number - 1, max(number - MOST_EVENTS, -1), -1):
            before = event_at(events, i)
            if before.cpu == event.cpu and before.flags & INTERRUPT == 0:
                return i if before.pid == event.pid else -1
        return -1

    def _link(self, moment, place):
        """Links a moment with those behind it."""
        if moment.what <= WHAT_ROOT:
            spot = self._spot(self.nodes, moment.address)
            moment.next = self.nodes[spot].moment
            if moment.what >= WHAT_SPARE:
                self.nr_nodes += not self.nodes[spot].key
                self.nodes[spot].key = moment.address
                self.nodes[spot].moment = place + 1
        if moment.what == WHAT_LATER:
            return
        spot = self._spot(self.tasks, moment.pid + 1)
        self.nr_tasks += not self.tasks[spot].key
        self.tasks[spot].key = moment.pid + 1
        moment.follows = self.tasks[spot].moment
        moment.exit = self.tasks[spot].exit
        self.tasks[spot].moment = place + 1
        m = moment.follows - 1
        if moment.what == WHAT_ROOT:
            self.tasks[spot].exit = place + 1
        elif moment.what == WHAT_MM and m >= 0 and self.moments[m].what == WHAT_ALLOC:
            self.moments[m].child = 0
        elif moment.what == WHAT_COPY or moment.what == WHAT_AREA:
            if m >= 0 and self.moments[m].what <= WHAT_NOWAIT:
                self.moments[m].purpose = FOR_AREA
        elif moment.what == WHAT_ALLOC:
            for _ in range(LOOK):
                if m < 0 or m == moment.next - 1:
                    break
                if self.moments[m].what == WHAT_NOWAIT and self.moments[m].detached:
                    moment.purpose = FOR_UNMAP
                    break
                m = self.moments[m].follows - 1
        elif moment.what == WHAT_NOWAIT:
            while m >= 0 and (
                self.moments[m].what == WHAT_SPARE or self.moments[m].what == WHAT_AREA_FREE
            ):
                m = self.moments[m].follows - 1
            if m >= 0 and m == moment.next - 1 and self.moments[m].what == WHAT_ROOT:
                if not self.moments[m].follows:
                    return  # exit_mmap()'s: the task does nothing more, as far as one can see
                self.moments[m].detached = 1
                moment.detached = 1
                self.tasks[spot].exit = self.moments[m].exit  # who comes before need not pass it

    def _forward(self):
        """Numbers the nodes that RCU frees, by CPU: in the order in which they were replaced."""
        for cpu in range(64):
            self.later[cpu] = self.freed[cpu]
        for m in range(self.nr_moments):
            moment = moment_at(self.moments, m)
            if moment.what == WHAT_LATER:
                moment.later = self.later[moment.cpu]
                self.later[moment.cpu] += 1

    def _count_areas(self):
        """How many areas each task has: a fork copies them all (dup_mmap()), exec begins anew."""
        for m in range(self.nr_moments):
            moment = moment_at(self.moments, m)
            moment.areas = -1
            if moment.what >= WHAT_PAGE or moment.what == WHAT_LATER:
                continue
            spot = self._spot(self.tasks, moment.pid + 1)
            if moment.what == WHAT_ALLOC and moment.child >= 0:
                self.tasks[spot].areas = 1
                if moment.child > 0:
                    child = self._spot(self.tasks, moment.child + 1)
                    self.tasks[child].areas = self.copies(m) + 1
            elif moment.what == WHAT_EXEC:
                self.tasks[spot].areas = 1
                self.tasks[spot].leaving = 1
            elif moment.what == WHAT_SPARE:
                self.tasks[spot].leaving = 0
            elif self.tasks[spot].areas:
                if moment.what == WHAT_COPY or moment.what == WHAT_AREA:
                    self.tasks[spot].areas += 1
                elif moment.what == WHAT_AREA_FREE and not self.tasks[spot].leaving:
                    if self.tasks[spot].areas > 1:
                        self.tasks[spot].areas -= 1
            moment.areas = self.tasks[spot].areas - 1

    def copies(self, m):
        """How many areas a fork copies behind its request for nodes."""
        copies = 0
        m = self.moments[m].follows - 1
        while m >= 0 and self.moments[m].what == WHAT_COPY:
            copies += 1
            m = self.moments[m].follows - 1
        return copies

    def what(self, event):
        """What an event tells of maple trees: WHAT_*."""
        if event.kind == KIND_KMEM_CACHE_ALLOC:
            what = self._what_at(event.call_site)
            if event.cache == self.mms:
                return what if what == WHAT_MM or what == WHAT_EXEC else WHAT_NONE
            if event.cache == self.areas:
                return what if what == WHAT_COPY or what == WHAT_AREA else WHAT_NONE
            if what != WHAT_ALLOC:
                return WHAT_NONE
            return WHAT_ALLOC if event.gfp & BLOCKING else WHAT_NOWAIT
        if event.cache == self.areas and event.kind == KIND_KMEM_CACHE_FREE:
            return WHAT_AREA_FREE
        if event.cache != self.name:
            return WHAT_NONE
        if event.kind == KIND_KMEM_CACHE_FREE:
            what = self._what_at(event.call_site)
            return what if what == WHAT_SPARE or what == WHAT_ROOT else WHAT_LATER
        if event.kind == KIND_MM_PAGE_ALLOC and ROLE_SLAB <= event.role & ROLE_BITS <= ROLE_SILENT:
            return WHAT_PAGE
        if event.kind == KIND_MM_PAGE_FREE and event.role & ROLE_BITS == ROLE_SLAB:
            return WHAT_PAGE_FREE
        return WHAT_NONE

    def _what_at(self, call_site):
        for i in range(self.nr_ranges):
            if self.ranges[i].first <= call_site <= self.ranges[i].last:
                return self.ranges[i].what
        return WHAT_NONE

    def _spot(self, spots, key):
        place = spread(key) & self.mask
        while spots[place].key != 0 and spots[place].key != key:
            place = (place + 1) & self.mask
        return place

    def moment_of(self, number):
        """The moment of an event, -1 if it has none."""
        low = 0
        high = self.nr_moments
        if self.now < high and self.moments[self.now].number <= number:
            low = self.now
            if low + 8 < high and self.moments[low + 8].number > number:
                high = low + 8
        while low < high:
            middle = (low + high) // 2
            if self.moments[middle].number < number:
                low = middle + 1
            else:
                high = middle
        if low < self.nr_moments and self.moments[low].number == number:
            self.now = low
            return low
        return -1

    def next_free(self, address):
        """The first free of a node in the block, -1 if it has none."""
        place = self._spot(self.nodes, address)
        return self.nodes[place].moment - 1 if self.nodes[place].key == address else -1

    def after_interrupt(self, m):
        """The interrupted task's next moment, where it goes on at once; -1 if it does not."""
        moment = moment_at(self.moments, m)
        for k in range(m + 1, self.nr_moments):
            after = moment_at(self.moments, k)
            if after.number > moment.number + MOST_EVENTS:
                return -1
            if after.cpu == moment.cpu and after.what != WHAT_LATER:
                return k if after.pid == moment.pid else -1
        return -1

    def is_early(self, m):
        """Whether a request is carried out ahead of frees in an interrupt, which came between it
        and its event.
        """
        before = moment_at(self.moments, m - 1 if m else 0)
        return m > 0 and before.what == WHAT_LATER and before.number > self.done

    def passed(self, m):
        """A moment has been carried out."""
        moment = moment_at(self.moments, m)
        if moment.number > self.done:
            self.done = moment.number
        if moment.what == WHAT_LATER and self.freed[moment.cpu] <= moment.later:
            self.freed[moment.cpu] = moment.later + 1

    def exit_after(self, m):
        """The moment at which the mm of a moment's task ends, behind the last if it does not."""
        m = self.moments[m].exit - 1
        while m >= 0 and self.moments[m].detached:
            m = self.moments[m].exit - 1
        return m if m >= 0 else self.nr_moments

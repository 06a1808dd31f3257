"""Demands told from responses: fills `role`, `cache` and `ahead` of a recording's events.

A `mm_page_alloc` can be what somebody asked for, or what SLUB did to make a slab. The objects
tell: a page that kmem events name objects of is a slab, and it was taken for the first object that
the same task gets after it. So an event's role is known a little later than the event; `Annotator`
works in one pass over a sliding window.
"""

import ctypes

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs
from mmtwin.package_files import files

TEXT = files(__package__).joinpath("roles.pxd").read_text()
STRUCTS = parse_structs(TEXT)
CONSTANTS = parse_constants(TEXT)

if not cython.compiled:
    from mmtwin.kernel.casts import as_u64
    from mmtwin.recordings.event import (
        EXTRA_NESTED,
        EXTRA_PCP_LOCKED,
        KIND_KFREE,
        KIND_KMALLOC,
        KIND_KMEM_CACHE_ALLOC,
        KIND_KMEM_CACHE_FREE,
        KIND_MM_PAGE_ALLOC,
        KIND_MM_PAGE_ALLOC_EXTFRAG,
        KIND_MM_PAGE_ALLOC_ZONE_LOCKED,
        KIND_MM_PAGE_FREE,
        KIND_MM_PAGE_FREE_BATCHED,
        KIND_MM_PAGE_PCPU_DRAIN,
        ROLE_DEMAND,
        ROLE_DONE,
        ROLE_LARGE_KMALLOC,
        ROLE_RESPONSE,
        ROLE_SILENT,
        ROLE_SLAB,
        as_events,
        block_is_within,
        event_at,
    )
    from mmtwin.recordings.sites import page_of

    WAITING = CONSTANTS["WAITING"]
    LAST_PLACE = CONSTANTS["LAST_PLACE"]
    WINDOW = CONSTANTS["WINDOW"]
    INTERRUPT = CONSTANTS["INTERRUPT"]
    GFP_HIGHMEM = CONSTANTS["GFP_HIGHMEM"]

    def as_uses(address, count):
        """The records at an address, for the uncompiled run."""
        return (STRUCTS["use_t"] * count).from_address(address)

    CONTEXTS = CONSTANTS["CONTEXTS"]
    SUMS = CONSTANTS["SUMS"]
    globals().update({name: n for name, n in CONSTANTS.items() if name.startswith("SUM_")})

    def as_sums(address, count):
        """Signed 64-bit numbers at an address, for the uncompiled run."""
        return (ctypes.c_int64 * count).from_address(address)

    def as_tasks(address, count):
        """The records at an address, for the uncompiled run."""
        return (STRUCTS["task_t"] * count).from_address(address)

    def task_at(tasks, cpu, flags):
        """What runs on a CPU in the context that an event's flags tell."""
        return tasks[cpu * CONTEXTS + (flags >> 3 & 3)]

    def use_at(uses, pfn):
        """One record of the array."""
        return uses[pfn]

    def waiting_at(waiting, place):
        """One record of the array."""
        return waiting[place]

    def as_pending(address, count):
        """The records at an address, for the uncompiled run."""
        return (STRUCTS["pending_t"] * count).from_address(address)

    def pending_at(pending, cpu):
        """One record of the array."""
        return pending[cpu]

    def as_waiting(address, count):
        """The records at an address, for the uncompiled run."""
        return (STRUCTS["waiting_t"] * count).from_address(address)




class Annotator:
    """Fills in the roles of events, chunk after chunk.

    `sites`: a settled SiteTable; `large`: KMALLOC_MAX_CACHE_SIZE in bytes; `vector_sites`: call
    sites of the kmalloc of a slab's vector of cgroups.
    """

    def __init__(self, sites, nr_cpus, large, vector_sites=()):
        use = np.zeros(sites.nr_pages + 1, dtype=np.dtype(STRUCTS["use_t"]))
        use["cache"] = -1
        waiting = np.zeros(max(nr_cpus, 1) * WAITING, dtype=np.dtype(STRUCTS["waiting_t"]))
        tasks = np.zeros(max(nr_cpus, 1) * CONTEXTS, dtype=np.dtype(STRUCTS["task_t"]))
        sums = np.zeros(SUMS, dtype=np.int64)
        pending = np.zeros(max(nr_cpus, 1), dtype=np.dtype(STRUCTS["pending_t"]))
        pending["idle_pid"] = -1
        vectors = np.array([*vector_sites, 0], dtype=np.uint64)
        self._buffers = {
            "use": use, "waiting": waiting, "tasks": tasks, "sums": sums, "pending": pending,
            "vectors": vectors,
        }  # fmt: skip
        self.vector_site = as_u64(vectors.ctypes.data, len(vectors))
        self.nr_vector_sites = len(vector_sites)
        self.pending = as_pending(pending.ctypes.data, len(pending))
        self.sums = as_sums(sums.ctypes.data, SUMS)
        self.tasks = as_tasks(tasks.ctypes.data, len(tasks))
        self.sites = sites
        self.use = as_uses(use.ctypes.data, len(use))
        self.waiting = as_waiting(waiting.ctypes.data, len(waiting))
        self.nr_pages = sites.nr_pages
        self.nr_cpus = nr_cpus
        self.large = large

    def page_sums(self):
        """How many blocks were taken and given back and how often one migratetype took from
        another, as a numpy array by SUM_* of roles.pxd; it goes on changing.
        """
        return self._buffers["sums"]

    def know_pages(self, pages):
        """Takes in which pages are slabs now: {pfn: number of the cache in names}, of every page
        of them.
        """
        use = self._buffers["use"]
        for pfn, cache in pages.items():
            if 0 <= pfn < self.nr_pages:
                use["role"][pfn] = ROLE_SLAB
                use["cache"][pfn] = cache

    def annotate(self, address, start, count, first):
        """Goes over events `start` to `count` of the array at an address; `first`: number of its
        event 0.

        Answers are written into any event of the array, also those before `start`.
        """
        events = as_events(address, count)
        self.events = events
        self.first = first
        for i in range(start, count):
            event = event_at(events, i)
            self._interrupts(event, first + i)
            if event.kind == KIND_KMALLOC or event.kind == KIND_KMEM_CACHE_ALLOC:
                self._object_alloc(event, first + i)
            elif event.kind == KIND_KFREE or event.kind == KIND_KMEM_CACHE_FREE:
                self._object_free(event, first + i)
            elif event.kind == KIND_MM_PAGE_ALLOC:
                self._page_alloc(event, first + i)
            elif event.kind == KIND_MM_PAGE_FREE:
                self._page_free(event, first + i)
            elif event.kind == KIND_MM_PAGE_FREE_BATCHED:
                self._page_free_batched(event, first + i)
            elif (
                event.kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED
                or event.kind == KIND_MM_PAGE_PCPU_DRAIN
                or event.kind == KIND_MM_PAGE_ALLOC_EXTFRAG
            ):
                event.role = ROLE_RESPONSE
                if event.kind == KIND_MM_PAGE_ALLOC_EXTFRAG:
                    self._steal(event)
                if event.kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED and event.cpu < self.nr_cpus:
                    task = task_at(self.tasks, event.cpu, event.flags)
                    task.zone = first + i + 1
                    task.zone_pid = event.pid

    def _interrupts(self, event, number):
        """An allocation that an interrupt's events come before may have been decided before them.

        The first of those events gets to know how far ahead it is.
        """
        if event.cpu >= self.nr_cpus:
            return
        if event.kind <= KIND_KMEM_CACHE_FREE and event.kind >= KIND_KMALLOC:
            task_at(self.tasks, event.cpu, event.flags).zone = 0
        task = task_at(self.tasks, event.cpu, 0)
        if event.flags & INTERRUPT:
            if task.burst == 0:
                task.burst = number + 1
                task.burst_pid = event.pid
            return
        burst = task.burst
        task.burst = 0
        if burst <= self.first or task.burst_pid != event.pid or number + 1 - burst > WINDOW:
            return
        start = self._event(burst - 1)
        if event.kind == KIND_KMALLOC or event.kind == KIND_KMEM_CACHE_ALLOC:
            if start.kind != KIND_MM_PAGE_FREE:
                start.ahead = number + 1 - burst
        elif self._was_locked(event, start, task.zone, burst):
            self._mark_locked(burst - 1, number)

    def _was_locked(self, event, start, zone, burst):
        """Whether an interrupt came while its CPU held the lock of its page lists.

        The first event after it is in the lock, as deep as the interrupt was: the lists were being
        filled or freed to. Or it is the page's for which they had just been filled: interrupts
        were off then, and came when the zone's lock was given back. `start`: the interrupt's first
        event; `zone`: number of the last block taken from the free lists + 1.
        """
        kind = event.kind
        if kind == KIND_MM_PAGE_FREE_BATCHED and event.preempt == 0 and burst > self.first + 1:
            # no CONFIG_PREEMPT_COUNT, where the lock would show: within free_unref_page_list()
            before = self._event(burst - 2)
            return before.kind == kind and before.pid == event.pid
        if kind in (KIND_MM_PAGE_ALLOC_ZONE_LOCKED, KIND_MM_PAGE_FREE_BATCHED):
            return 2 <= event.preempt <= start.preempt
        if event.kind != KIND_MM_PAGE_ALLOC or zone <= self.first or burst != zone + 1:
            return False
        taken = self._event(zone - 1)
        if taken.extra & 1 == 0:
            return False
        # Without CONFIG_PREEMPT_COUNT no lock shows in the count.
        return start.preempt > event.preempt or taken.preempt == event.preempt

    def _mark_locked(self, first, last):
        """Notes at each event of an interrupt that its CPU held the lock of its page lists."""
        for number in range(first, last):
            self._event(number).extra |= EXTRA_PCP_LOCKED

    def _sum(self, first, event):
        """Counts a block by its order and migratetype."""
        order = event.order & (SUM_ORDERS - 1)
        migratetype = event.migratetype if event.migratetype >= 0 else 0
        self.sums[first + order * SUM_TYPES + (migratetype & (SUM_TYPES - 1))] += 1

    def _steal(self, event):
        """Counts an allocation from another migratetype's block."""
        fallback = event.bytes_alloc & (SUM_TYPES - 1)
        self.sums[SUM_STEALS + fallback * SUM_TYPES + (event.migratetype & (SUM_TYPES - 1))] += 1
        self.sums[SUM_CLAIMS] += event.extra & 1

    def _zone_served(self, event, number):
        """The blocks that were taken from the free lists for a page: the last of them tells how
        far it is.
        """
        if event.cpu >= self.nr_cpus:
            return
        task = task_at(self.tasks, event.cpu, event.flags)
        near = task.zone > self.first and number + 1 - task.zone <= WINDOW
        if near and task.zone_pid == event.pid:
            self._event(task.zone - 1).ahead = number + 1 - task.zone
        task.zone = 0

    def _event(self, number):
        """The event of that number, if it is still in the window."""
        return event_at(self.events, number - self.first)

    def _use_of(self, pfn):
        """The record of a page's block: that of its first page."""
        return use_at(self.use, pfn - use_at(self.use, pfn).head)

    def _page_alloc(self, event, number):
        """A page is taken: nobody knows yet what for."""
        event.role = ROLE_DEMAND
        self._sum(SUM_TAKEN, event)
        self._zone_served(event, number)
        order = event.order if event.order < 20 else 0
        if not block_is_within(event.address, order, self.nr_pages):
            return
        for page in range(1 << order):
            self.use[event.address + page].head = page
            self.use[event.address + page].cache = -1
            self.use[event.address + page].role = 0
            self.use[event.address + page].demand = 0
        self.use[event.address].taken = number + 1
        self.use[event.address].order = order
        # No slab and no large kmalloc is of such pages (GFP_SLAB_BUG_MASK).
        if event.cpu < self.nr_cpus and not event.gfp & GFP_HIGHMEM:
            self._wait(event, number)

    def _wait(self, event, number):
        """A page waits for the event of the object it was taken for; too many: not the oldest."""
        pending = pending_at(self.pending, event.cpu)
        first = event.cpu * WAITING
        if pending.count == WAITING:
            pending.head += 1
        else:
            pending.count += 1
        page = waiting_at(self.waiting, first + ((pending.head + pending.count - 1) & LAST_PLACE))
        page.number = number + 1
        page.pfn = event.address
        page.pid = event.pid
        page.context = event.flags & INTERRUPT
        if page.pid == pending.idle_pid:
            pending.idle_pid = -1

    def _page_free(self, event, number):
        event.role = ROLE_DEMAND
        self._sum(SUM_FREED, event)
        if event.address >= self.nr_pages:
            return
        self._forget_block(event)
        use = self._use_of(event.address)
        if use.role != 0:
            event.role = use.role
            event.cache = use.cache
        use.role = 0
        use.cache = -1
        use.taken = 0
        use.freed = number + 1
        if event.role == ROLE_SLAB and event.cpu < self.nr_cpus:
            task = task_at(self.tasks, event.cpu, event.flags)
            if task.slab_free == 0:
                task.slab_free = number + 1

    def _forget_block(self, event):
        """Its pages may be taken one by one, without an event."""
        order = event.order if event.order < 20 else 0
        if not block_is_within(event.address, order, self.nr_pages):
            order = 0
        for page in range(1 << order):
            self.use[event.address + page].head = 0

    def _page_free_batched(self, event, number):
        """The page whose free came before, a list of them at a time, goes back only now."""
        event.role = ROLE_RESPONSE
        if event.address >= self.nr_pages:
            return
        use = use_at(self.use, event.address)
        if use.freed > self.first and number + 1 - use.freed <= WINDOW:
            self._event(use.freed - 1).ahead = number + 1 - use.freed
            event.role = ROLE_DEMAND
        use.freed = 0

    def _object_alloc(self, event, number):
        event.role = ROLE_DEMAND
        pfn = page_of(self.sites, event.address)
        if pfn >= 0 and self.use[pfn].role == ROLE_SLAB:
            event.cache = self._use_of(pfn).cache
        large = event.kind == KIND_KMALLOC and event.bytes_req > self.large
        if large and pfn >= 0 and self._use_of(pfn).role == ROLE_LARGE_KMALLOC:
            # __do_kmalloc_node() tells of it again, and who called (a0a44d9175b3, 6.11)
            event.role |= ROLE_DONE
            if self._use_of(pfn).demand > self.first:
                self._event(self._use_of(pfn).demand - 1).call_site = event.call_site
            return
        if event.cache < 0 and not large:
            event.cache = self.sites.cache_of(event)
        nested = event.kind == KIND_KMALLOC and self._is_vector(event)
        self._served(event, number, nested)
        if self.nr_vector_sites:
            self._vectors(event, number, nested)
        if pfn < 0:
            return
        use = self._use_of(pfn)
        if large:
            self._page_is(use, ROLE_LARGE_KMALLOC, -1)
        elif use.role == 0:
            self._page_is(use, ROLE_SLAB, event.cache)
            self._filled_with(use, event, number)
        elif use.cache < 0:
            use.cache = event.cache

    def _filled_with(self, use, event, number):
        """A new slab's first object is given out: pages that were taken just so for it before are
        slabs too, that went into its sheaf, though no event may ever name an object of them.
        """
        if event.cpu >= self.nr_cpus or use.demand != number + 1 or use.taken <= self.first:
            return
        taken = self._event(use.taken - 1)
        pending = pending_at(self.pending, event.cpu)
        for place in range(pending.nr_served):
            other = use_at(self.use, pending.served[place])
            if other.demand != number + 1 or other.role != 0 or other.taken <= self.first:
                continue
            before = self._event(other.taken - 1)
            if before.gfp == taken.gfp and before.order == taken.order:
                self._page_is(other, ROLE_SLAB, event.cache)

    def _object_free(self, event, number):
        event.role = ROLE_DEMAND
        if self._slab_freed(event, number):
            return
        pfn = page_of(self.sites, event.address)
        if pfn < 0:
            return
        use = self._use_of(pfn)
        if use.role == 0:
            self._page_is(use, ROLE_SLAB, event.cache)
        elif event.cache < 0 and use.role == ROLE_SLAB:
            event.cache = use.cache

    def _slab_freed(self, event, number):
        """In 5.10 kmem_cache_free() tells of itself last: slabs that it gave back come before it.
        Whether its object's own was among them: that page is no slab any more.
        """
        if event.cpu >= self.nr_cpus:
            return False
        task = task_at(self.tasks, event.cpu, event.flags)
        freed = task.slab_free
        task.slab_free = 0
        if freed <= self.first or number + 1 - freed > WINDOW:
            return False
        page = self._event(freed - 1)
        if event.kind != KIND_KMEM_CACHE_FREE or page.pid != event.pid:
            return False
        page.ahead = number + 1 - freed
        pfn = page_of(self.sites, event.address)
        if pfn < 0 or pfn >> (page.order & 15) != page.address >> (page.order & 15):
            return False
        event.cache = page.cache
        return True

    def _page_is(self, use, role, cache):
        """What a page is turns out: its own event and the one it was taken for learn it."""
        use.role = role
        use.cache = cache
        if use.taken <= self.first:
            return
        taken = self._event(use.taken - 1)
        taken.cache = cache
        taken.role = role
        if role == ROLE_SLAB:
            taken.role = ROLE_SILENT
        if use.demand > self.first and use.demand - use.taken <= WINDOW:
            demand = self._event(use.demand - 1)
            if role == ROLE_LARGE_KMALLOC or demand.cache == cache:
                taken.ahead = use.demand - use.taken
                taken.role = role

    def _is_vector(self, event):
        """Whether a kmalloc is of the vector of cgroups that a slab's objects are charged to."""
        for place in range(self.nr_vector_sites):
            if self.vector_site[place] == event.call_site:
                return True
        return False

    def _vectors(self, event, number, nested):
        """memcg_slab_post_alloc_hook(): the first charged object of a slab is taken, then the
        slab's vector allocated (964d4bd370d5, 5.9), then the object's event written. The vector's
        event gets to know how far the object's is.
        """
        if event.cpu >= self.nr_cpus:
            return
        task = task_at(self.tasks, event.cpu, event.flags)
        if nested:
            task.vector = number + 1
            return
        if task.vector > self.first and number + 1 - task.vector <= WINDOW:
            vector = self._event(task.vector - 1)
            if vector.pid == event.pid and event.flags & INTERRUPT == vector.flags & INTERRUPT:
                vector.ahead = number + 1 - task.vector
                vector.extra |= EXTRA_NESTED
                pfn = page_of(self.sites, event.address)
                use = self._use_of(pfn if pfn >= 0 else 0)
                if pfn >= 0 and use.demand == task.vector and use.taken > self.first:
                    # both lie in the slab that was made: it was made for the first of them
                    use.demand = number + 1
                    self._event(use.taken - 1).ahead = number + 1 - use.taken
        task.vector = 0

    def _served(self, event, number, nested):
        """Every page this task took since its last object was taken for this one, if for any;
        for one within another allocation only its own page, for the others were taken before.
        """
        if event.cpu >= self.nr_cpus:
            return
        pending = pending_at(self.pending, event.cpu)
        context = event.flags & INTERRUPT
        if event.pid == pending.idle_pid and context == pending.idle_context:
            return
        first = event.cpu * WAITING
        kept = 0
        pending.nr_served = 0
        own = page_of(self.sites, event.address) if nested else -1
        if own >= 0:
            own -= use_at(self.use, own).head
        for place in range(pending.count):
            at = first + ((pending.head + place) & LAST_PLACE)
            page = waiting_at(self.waiting, at)
            mine = page.pid == event.pid and page.context == context
            if mine and (not nested or page.pfn == own):
                use = use_at(self.use, page.pfn)
                if use.taken == page.number:
                    use.demand = number + 1
                pending.served[pending.nr_served] = page.pfn
                pending.nr_served += 1
            else:
                self.waiting[first + ((pending.head + kept) & LAST_PLACE)] = self.waiting[at]
                kept += 1
        pending.count = kept
        if not nested:
            pending.idle_pid = event.pid
            pending.idle_context = context

"""A recording's events as demands, in no machine's terms: what was asked, not what was answered.

A demand has an id; what gives it back names the id, not an address. So the same demands drive
twins of any page size, configuration or release. What the recorded memory manager did by itself
(slabs it took and gave back, refills, drains, pages of large kmallocs) is left out.

What no event says is found where others tell: an object that is given out again was freed unseen,
and so was what is left in a slab that goes back; a slab taken for objects that no event names is
full of them; the array of a vmalloc's pages says how many pages there are.
"""

import cython

from mmtwin.replay.demand_book import CONSTANTS, DemandBook

if not cython.compiled:
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import as_events, block_is_within, event_at, wrap64
    from mmtwin.replay.gfp_bits import moved_gfp

    globals().update(EVENT_CONSTANTS)
    globals().update(CONSTANTS)


class DemandReader(DemandBook):
    """Turns annotated events into demands, chunk after chunk; its arguments are DemandBook's."""

    def look(self, address, start, stop, available):
        """Takes in events before the start: what they gave out is known, nothing is demanded."""
        while start < stop:
            start = self.read(address, start, stop, available)
            self.nr_demands = 0

    def read(self, address, start, stop, available):
        """Reads events `start` to `stop` of the `available` ones in the array of EVENT at an
        address, as far as there is room for their demands: the number of the next event.
        """
        self._grow()
        self.objects.reserve(DEMAND_ROOM)
        with cython.nogil:
            start = self._read(address, start, stop, available)
        return start

    def _read(self, address, start, stop, available):
        events = as_events(address, available)
        self.events = events
        self.available = available
        for i in range(start, stop):
            if self.nr_demands > DEMAND_ROOM - DEMAND_SPARE:
                return i
            event = event_at(events, i)
            if event.time >= self.grace_due:
                self.grace_due = event.time + NS_GRACE_PERIOD
                self._emit(event, ASK_GRACE_PERIOD, 0)
            self._event(event, i)
        return stop

    def _event(self, event, number):
        if event.kind == KIND_KMALLOC or event.kind == KIND_KMEM_CACHE_ALLOC:
            if event.role & ROLE_DONE == 0:
                self._object_alloc(event)
        elif event.kind == KIND_KFREE or event.kind == KIND_KMEM_CACHE_FREE:
            if event.role & ROLE_DONE == 0:
                self._object_free(event)
        elif event.kind >= KIND_MM_PAGE_ALLOC and event.kind <= KIND_MM_PAGE_ALLOC_ZONE_LOCKED:
            if not block_is_within(event.address, event.order, self.nr_pages):
                self.count[DEMANDS_OUTSIDE] += 1
            else:
                self._page_event(event, number)

    def _page_event(self, event, number):
        if event.kind == KIND_MM_PAGE_ALLOC:
            if event.role & ROLE_DONE:
                return
            if event.role == ROLE_DEMAND or event.role == ROLE_NONE:
                self._page_alloc(event)
            elif event.role == ROLE_SILENT:
                self._silent_slab(event)
            elif event.role == ROLE_SLAB:
                awaited = self._awaited(event, number, False)
                if awaited.kind:
                    self._object_alloc(awaited)
                    awaited.role |= ROLE_DONE
        elif event.kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED:
            if event.ahead and number + event.ahead < self.available:
                awaited = event_at(self.events, number + event.ahead)
                if awaited.kind == KIND_MM_PAGE_ALLOC and awaited.role & ROLE_DONE == 0:
                    if block_is_within(awaited.address, awaited.order, self.nr_pages):
                        self._page_event(awaited, number + event.ahead)
                        awaited.role |= ROLE_DONE
        elif event.kind == KIND_MM_PAGE_FREE:
            if event.role == ROLE_SLAB and self.page_id[event.address] == 0:
                awaited = self._awaited(event, number, True)
                if awaited.kind and awaited.cache == event.cache:
                    self._object_free(awaited)
                    awaited.role |= ROLE_DONE
                self._slab_freed(event)
            elif event.role != ROLE_LARGE_KMALLOC and event.ahead == 0:
                self._page_free(event, event.order)
        elif event.kind == KIND_MM_PAGE_FREE_BATCHED:
            if event.role == ROLE_DEMAND:
                self._page_free(event, 0)

    def _awaited(self, event, number, free):
        """The object's event that a slab's page was taken or given back for; an event of kind 0
        (any marker) where there is none.
        """
        if event.ahead and number + event.ahead < self.available:
            awaited = event_at(self.events, number + event.ahead)
            if awaited.role & ROLE_DONE == 0:
                if free and (awaited.kind == KIND_KFREE or awaited.kind == KIND_KMEM_CACHE_FREE):
                    return awaited
                if not free and (
                    awaited.kind == KIND_KMALLOC or awaited.kind == KIND_KMEM_CACHE_ALLOC
                ):
                    return awaited
        return event_at(as_events(self.nothing, 1), 0)

    def _object_alloc(self, event):
        if event.address == 0:
            self.count[DEMANDS_FAILED] += 1
            return
        if event.address <= 16:
            return  # ZERO_SIZE_PTR
        id = self._forget_object(event.address)
        if id != 0:
            self.count[DEMANDS_UNSEEN_FREES] += 1
            self._give_back(event, id)
        if self.nr_hidden_sites and self._is_site(
            self.hidden_site, self.nr_hidden_sites, event.call_site
        ):
            self._know(event.address, SUPPRESSED, event.call_site, event.bytes_req)
            return
        task = self._task_of(event.pid)
        cache = event.cache
        if self.nr_routes:
            cache = self._route(event.call_site, cache)
        if event.kind == KIND_KMALLOC and self._is_site(
            self.bulk_site, self.nr_bulk_sites, event.call_site
        ):
            if task.forking and self.own_stacks and event.bytes_req == (
                self.stack_bytes >> self.page_shift
            ) * 8:
                task.forking = FORK_MAPS
                self._forked(event, task)
                task.hidden = 0 if self.bulk_unseen else event.bytes_req // 8
                self._know(event.address, SUPPRESSED, event.call_site, event.bytes_req)
                return
        elif task.forking and self._is_site(
            self.area_site, self.nr_area_sites, event.call_site
        ):
            task.forking = FORK_MAPS
            self._know(event.address, SUPPRESSED, event.call_site, event.bytes_req)
            return
        if task.forking and (cache == self.cred_cache or self.cred_cache < 0):  # copy_creds()
            self._forked(event, task)
        id = self._new_id()
        demand = self._emit(event, ASK_KMALLOC, id)
        demand.bytes = event.bytes_req
        demand.gfp = moved_gfp(self.bits, event.gfp)
        if 0 <= cache < self.nr_names:
            demand.cache = cache
        if event.kind == KIND_KMEM_CACHE_ALLOC:
            if demand.cache >= 0:
                demand.kind = ASK_OBJECT
            else:
                self.count[DEMANDS_UNNAMED] += 1
            if cache == self.task_cache and cache >= 0:
                self.count[DEMANDS_STACKS] += 1
                if self.own_stacks:
                    self._fork(event, id, task)
        elif self._is_site(self.bulk_site, self.nr_bulk_sites, event.call_site):
            self._area(event, id, task)
        self._know(event.address, id, event.call_site, event.bytes_req)

    def _object_free(self, event):
        if event.address <= 16:
            return
        id = self._forget_object(event.address)
        if id != 0:
            self._give_back(event, id)
        else:
            self.count[DEMANDS_FREED_UNKNOWN] += 1

    def _area(self, event, id, task):
        """The array of a vmalloc's pages: they go with it. Since 343ab8178f31 (5.13) no event
        names them (vm_area_alloc_pages()); before, each has its own.
        """
        pages = event.bytes_req // 8
        if not self.bulk_unseen:
            task.left = pages
            return
        self.count[DEMANDS_UNSEEN_AREAS] += pages
        other = self._new_id()
        demand = self._emit(event, ASK_AREA, other)
        demand.bytes = pages << self.page_shift
        demand.gfp = 0xCC0
        demand.use = FOR_VMALLOC
        self.companion[id] = other

    def _silent_slab(self, event):
        """A slab was taken for objects that no event names (bulk allocation): it is full of them.

        Where the size of its objects is not known its pages are demanded as they are.
        """
        size = self.size_of[event.cache] if 0 <= event.cache < self.nr_names else 0
        if size == 0:
            self._page_alloc(event)
            return
        count = (wrap64(1) << (self.page_shift + event.order)) // size
        first = wrap64(self.page_offset + (event.address << self.page_shift))
        for place in range(min(count, MOST_SLAB_OBJECTS)):
            id = self._forget_object(first + place * size)
            if id != 0:
                self._give_back(event, id)
            id = self._new_id()
            demand = self._emit(event, ASK_OBJECT, id)
            demand.gfp = moved_gfp(self.bits, event.gfp)
            demand.cache = event.cache
            demand.bytes = size
            self._know(first + place * size, id, 0, size)
            self.count[DEMANDS_UNSEEN_OBJECTS] += 1

    def _slab_freed(self, event):
        """SLUB gave a slab back: no object of it lives, what is still known was freed unseen."""
        size = wrap64(1) << self.page_shift
        for place in range(event.address, event.address + (1 << event.order)):
            if self.live[place] == 0:
                continue
            for word in range(size // FIRST_WORD):
                id = self._forget_object(
                    wrap64(self.page_offset + (place << self.page_shift) + word * FIRST_WORD)
                )
                if id != 0:
                    self.count[DEMANDS_UNSEEN_FREES] += 1
                    self._give_back(event, id)
            self.live[place] = 0

    # ---- pages

    def _page_alloc(self, event):
        task = self._task_of(event.pid)
        if task.hidden > 0 and event.order == 0:
            task.hidden -= 1
            self._know_pages(event, SUPPRESSED)
            return
        if task.forking and self.own_stacks and (
            wrap64(1) << (event.order + self.page_shift)
        ) == self.stack_bytes and event.order:
            task.forking = FORK_MAPS
            self._forked(event, task)
            self._know_pages(event, SUPPRESSED)
            return
        id = self._new_id()
        demand = self._emit(event, ASK_PAGES, id)
        demand.bytes = wrap64(1) << (self.page_shift + event.order)
        demand.order = event.order
        demand.gfp = moved_gfp(self.bits, event.gfp)
        if event.gfp | self.table_spare_gfp == self.table_gfp | self.table_spare_gfp:
            demand.use = FOR_TABLE
        elif demand.gfp & 8:
            demand.use = FOR_USER
        elif task.left > 0 and event.order == 0:
            demand.use = FOR_VMALLOC
            task.left -= 1
        self._know_pages(event, id)

    def _page_free(self, event, order):
        """Pages go back; a block goes when its last page does (split_page() lets them go one by
        one).
        """
        for place in range(event.address, event.address + (1 << order)):
            if self.page_id[place] != 0:
                self._leave(event, place)
            else:
                self.count[DEMANDS_FREED_UNKNOWN_PAGES] += 1
        self.live[event.address] = 0

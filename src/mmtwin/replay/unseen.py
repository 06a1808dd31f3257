"""What a replay's events do not name but others tell of: maple nodes, and the pages of a vmalloc.

`Engine` calls these where an event is about a node or a vmalloc; which nodes were taken or given
back is worked out in maple.py.
"""

from importlib.resources import files

import cython

from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.maple import Maple
from mmtwin.replay.timers import Timers

if not cython.compiled:
    from mmtwin.kernel.constants import PG_slab
    from mmtwin.kernel.page_alloc import free_contig_range
    from mmtwin.kernel.ram import pfn_to_page, virt_to_head_pfn, virt_to_pfn
    from mmtwin.kernel.slub_defs import TO_HEAD
    from mmtwin.kernel.slub_partial import add_partial
    from mmtwin.kernel.slub_slab import inc_slabs_node, new_slab
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import event_at
    from mmtwin.replay.counts import COUNTS
    from mmtwin.replay.fate import FATES
    from mmtwin.replay.mend import queue_of
    from mmtwin.replay.pages import collect, gfp_of, set_cpu
    from mmtwin.replay.queues import QUEUES, get
    from mmtwin.replay.resync import is_block, move_slab

    globals().update(COUNTS)
    globals().update(EVENT_CONSTANTS)
    globals().update(FATES)
    globals().update(QUEUES)
    globals().update(parse_constants(files(__package__).joinpath("unseen.pxd").read_text()))


class Unseen(Timers):
    """Pages and timers, and what no event names: `maple` infers the maple nodes, None for
    nothing.
    """

    def __init__(self, mm, gfp_bits, resync, bulk_sites, maple):
        Timers.__init__(self, mm, gfp_bits, resync, bulk_sites)
        self.maple = Maple(mm) if maple is None else maple
        self.waiting_pid = -1
        self.waiting_pages = 0
        self.vfree_until = -1
        self.in_row = 0
        self.interrupted = False

    def _head_pfn(self, address):
        pfn = virt_to_pfn(self.mm, address)
        return virt_to_head_pfn(self.mm, address) if 0 <= pfn < self.mm.max_pfn else -1

    def _is_slab_of(self, pfn, cache):
        if pfn < 0:
            return False
        page = pfn_to_page(self.mm, pfn)
        return page.flags & PG_slab != 0 and page.cache == cache

    def _other_nodes(self, event, gfp):
        """A maple node was asked for: those that go with it, of which no event tells."""
        self.silent = True  # nothing tells of their slabs before the pages' blocks do
        self.maple.allocated(self.demand, gfp)
        collect(self, event.cpu)
        self.silent = False
        self._adopt_nodes()
        self.interrupted |= self.maple.deferred

    def _take_nodes(self, event):
        """A task that was interrupted before it took the rest of its nodes may run again."""
        if self.maple.goes_on(event) < 0:
            return
        set_cpu(self.mm, event)
        self.silent = True
        self.interrupted = self.maple.go_on(event)
        collect(self, event.cpu)
        self.silent = False

    def _free_other_nodes(self, event):
        """A maple node is about to be freed: those that go before it."""
        self.maple.freeing(self.demand)
        collect(self, event.cpu)

    def _after_free(self):
        """A maple node was freed."""
        self.maple.compare()
        self._adopt_nodes()

    def _adopt_nodes(self):
        if self.maple.stale:
            self.maple.adopt()
            self.seen = self.mm.next_step

    def _slab_of_nodes(self, event, number):
        """A page was taken for a slab of maple nodes: the twin's is there, or it is made now."""
        set_cpu(self.mm, event)
        predicted = get(queue_of(self, event.cpu, QUEUE_TWIN_SLAB))
        if not self._is_slab_of(predicted, self.maple.cache):
            self.count[UNEXPLAINED_SILENT_SLAB] += 1
            predicted = new_slab(self.mm, self.maple.cache, gfp_of(self, event.gfp), -1)
            collect(self, event.cpu)
            if predicted >= 0:
                inc_slabs_node(self.mm, self.maple.cache, predicted)
                add_partial(self.mm, self.maple.cache, predicted, TO_HEAD)
        self._compare_page(event.address, predicted)
        if predicted >= 0 and predicted != event.address and self.resync:
            move_slab(self.mm, predicted, event.address, self._fate(predicted))
        self.seen = self.mm.next_step
        self.maple.page(number)
        self.maple.stale = True
        self._adopt_nodes()

    def _slab_of_nodes_freed(self, number):
        """A slab was given back, perhaps one of maple nodes."""
        self.maple.page(number)
        self._adopt_nodes()

    def _vmalloc(self, event):
        """The array of a vmalloc's pages was allocated: the pages come next, unless another task
        runs first; then they come when this one goes on.
        """
        pages = self._vmalloc_size(event)
        if not pages:
            return
        if self._is_to_give_way(event) and self._gives_way(event):
            self.waiting_pid = event.pid
            self.waiting_pages = pages
        else:
            self._vmalloc_pages(event.cpu, pages)

    def _is_to_give_way(self, event):
        """Whether another task shall run (TIF_NEED_RESCHED), as the event says, or an interrupt
        that came while it was being written: trace_event_buffer_lock_reserve() takes the flags
        first, and __alloc_pages_bulk() gives way in might_alloc().
        """
        if event.flags & NEED_RESCHED:
            return True
        if self.demand == 0:
            return False
        before = event_at(self.events, self.demand - 1)
        wanted = before.flags & INTERRUPT and before.flags & NEED_RESCHED
        return wanted and before.cpu == event.cpu and before.pid == event.pid

    def _gives_way(self, event):
        """Whether the next event of the CPU's tasks is another task's."""
        for i in range(self.demand + 1, self.available):
            following = event_at(self.events, i)
            if following.cpu == event.cpu and following.flags & INTERRUPT == 0:
                return following.pid != event.pid
        return False

    def _go_on(self, event):
        """The task that was about to take a vmalloc's pages runs again."""
        self.waiting_pid = -1
        set_cpu(self.mm, event)
        self._vmalloc_pages(event.cpu, self.waiting_pages)

    def _page_free(self, event, order):
        """A page is given back: at once, or with those of an area that lie beside it."""
        if event.flags & INTERRUPT and event.preempt >= LOCK_DEPTH and not self.mm.pcp_locked:
            self.mm.pcp_locked = self._lists_were_locked(event)
        if order or not self.mm.has.vfree_contig or not self._vfree_page(event):
            Timers._page_free(self, event, order)

    def _vfree_page(self, event):
        """vm_area_free_pages(): runs of adjacent pages are prepared one by one, each with its
        event, then go back as blocks (free_pages_bulk()). Whether the page is one of an area.
        """
        if self.demand > self.vfree_until:
            self.vfree_until = self._end_of_vfree(event)
            self.in_row = 0
        if self.vfree_until < 0 or not is_block(self.mm, event.address, 0):
            return False
        self.in_row += 1
        for i in range(self.demand + 1, self.vfree_until):
            following = event_at(self.events, i)
            if following.pid != event.pid or following.flags & INTERRUPT:
                continue
            if following.kind == KIND_MM_PAGE_FREE and following.address == event.address + 1:
                return True
            break
        set_cpu(self.mm, event)
        free_contig_range(self.mm, event.address + 1 - self.in_row, self.in_row)
        collect(self, event.cpu)
        self.in_row = 0
        return True

    def _end_of_vfree(self, event):
        """The number of the kvfree() of an area's array of pages that comes when its pages were
        freed, this one first; -1 if this is no page of an area.
        """
        for i in range(self.demand + 1, self.available):
            following = event_at(self.events, i)
            if following.pid != event.pid or following.flags & INTERRUPT:
                continue
            if following.kind == KIND_KFREE:
                site = self.objects.call_site_of(following.address)
                return i if site and self._is_bulk_site(site) else -1
            if following.kind == KIND_MM_PAGE_PCPU_DRAIN:
                continue
            if following.kind != KIND_MM_PAGE_FREE or following.order or following.ahead:
                return -1
        return -1

    def _lists_were_locked(self, event):
        """Whether an interrupt came while its CPU took a page from its lists: they are locked
        then, and what the interrupt frees passes them by (pcp_spin_trylock()).

        The lock shows in the count of preemption, and in what becomes of the page.
        """
        if not self.mm.has.buddy_after_pcp or event.kind != KIND_MM_PAGE_FREE:
            return False
        for i in range(self.demand + 1, self.available):
            following = event_at(self.events, i)
            if following.cpu != event.cpu or following.flags & INTERRUPT:
                continue
            if following.kind != KIND_MM_PAGE_ALLOC or following.pid != event.pid:
                return False
            if event.preempt < following.preempt + LOCK_DEPTH:
                return False
            return self.mentions.fate(self.now + 1, event.address) & FATE_USED == FATE_BUDDY
        return False

"""What a replay's events do not name but others tell of: maple nodes, and the pages of a vmalloc.

`Engine` calls these where an event is about a node or a vmalloc; which nodes were taken or given
back is worked out in maple.py.
"""

from importlib.resources import files

import cython

from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.maple import Maple
from mmtwin.replay.pages import Pages

if not cython.compiled:
    from mmtwin.kernel.constants import PG_slab
    from mmtwin.kernel.ram import pfn_to_page
    from mmtwin.kernel.slub_defs import TO_HEAD
    from mmtwin.kernel.slub_partial import add_partial
    from mmtwin.kernel.slub_slab import inc_slabs_node, new_slab
    from mmtwin.recordings.event import event_at
    from mmtwin.replay.counts import COUNTS
    from mmtwin.replay.mend import queue_of
    from mmtwin.replay.pages import collect, gfp_of, set_cpu
    from mmtwin.replay.queues import QUEUES, get
    from mmtwin.replay.resync import move_slab

    globals().update(COUNTS)
    globals().update(QUEUES)
    globals().update(parse_constants(files(__package__).joinpath("unseen.pxd").read_text()))


class Unseen(Pages):
    """Pages, and what no event names: `maple` infers the maple nodes, None for nothing."""

    def __init__(self, mm, gfp_bits, resync, bulk_sites, maple):
        Pages.__init__(self, mm, gfp_bits, resync, bulk_sites)
        self.maple = Maple(mm) if maple is None else maple
        self.waiting_pid = -1
        self.waiting_pages = 0

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

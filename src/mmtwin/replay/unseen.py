"""Objects that a replay's events do not name but its other events tell of: maple nodes.

`Engine` calls these where an event is about a node; what was taken or given back is worked out in
maple.py.
"""

import cython

from mmtwin.replay.maple import Maple
from mmtwin.replay.pages import Pages

if not cython.compiled:
    from mmtwin.kernel.constants import PG_slab
    from mmtwin.kernel.ram import pfn_to_page
    from mmtwin.kernel.slub_defs import TO_HEAD
    from mmtwin.kernel.slub_partial import add_partial
    from mmtwin.kernel.slub_slab import inc_slabs_node, new_slab
    from mmtwin.replay.counts import COUNTS
    from mmtwin.replay.queues import QUEUES, get
    from mmtwin.replay.resync import move_slab

    globals().update(COUNTS)
    globals().update(QUEUES)


class Unseen(Pages):
    """Pages, and the maple nodes: `maple` infers those that no event names, None for nothing."""

    def __init__(self, mm, gfp_bits, resync, bulk_sites, maple):
        Pages.__init__(self, mm, gfp_bits, resync, bulk_sites)
        self.maple = Maple(mm) if maple is None else maple
        self.demand = -1

    def _is_slab_of(self, pfn, cache):
        if pfn < 0:
            return False
        page = pfn_to_page(self.mm, pfn)
        return page.flags & PG_slab != 0 and page.cache == cache

    def _other_nodes(self, event, gfp):
        """A maple node was asked for: those that go with it, of which no event tells."""
        self.silent = True  # nothing tells of their slabs before the pages' blocks do
        self.maple.allocated(self.demand, gfp)
        self._collect(event.cpu)
        self.silent = False
        self._adopt_nodes()

    def _free_other_nodes(self, event):
        """A maple node is about to be freed: those that go before it."""
        self.maple.freeing(self.demand)
        self._collect(event.cpu)

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
        self._set_cpu(event)
        predicted = get(self._queue(event.cpu, QUEUE_TWIN_SLAB))
        if not self._is_slab_of(predicted, self.maple.cache):
            self.count[UNEXPLAINED_SILENT_SLAB] += 1
            predicted = new_slab(self.mm, self.maple.cache, self._gfp(event.gfp), -1)
            self._collect(event.cpu)
            if predicted >= 0:
                inc_slabs_node(self.mm, self.maple.cache, predicted)
                add_partial(self.mm, self.maple.cache, predicted, TO_HEAD)
        self._compare_page(event.address, predicted)
        if predicted >= 0 and predicted != event.address and self.resync:
            move_slab(self.mm, predicted, event.address)
        self.seen = self.mm.next_step
        self.maple.page(number)
        self.maple.stale = True
        self._adopt_nodes()

    def _slab_of_nodes_freed(self, number):
        """A slab was given back, perhaps one of maple nodes."""
        self.maple.page(number)
        self._adopt_nodes()

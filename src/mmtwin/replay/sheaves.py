"""Sheaves in a replay: what a refill takes from new slabs whose random starts no event names."""

from importlib.resources import files

import cython

from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.unseen import Unseen

if not cython.compiled:
    from mmtwin.kernel.ram import cache_at, page_address, pfn_to_page
    from mmtwin.kernel.slub_turn import is_turnable, place_of, top_of_slab, turn_slab, turned
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import event_at
    from mmtwin.replay.mend import queue_of
    from mmtwin.replay.queues import QUEUES, item_at, waiting

    globals().update(EVENT_CONSTANTS)
    globals().update(QUEUES)
    globals().update(parse_constants(files(__package__).joinpath("sheaves.pxd").read_text()))


class Sheaves(Unseen):
    """What no event names, and sheaves filled from several slabs at once."""

    def __init__(self, mm, gfp_bits, resync, bulk_sites, maple):
        Unseen.__init__(self, mm, gfp_bits, resync, bulk_sites, maple)
        mm.sheaves_unbacked = 1  # a sheaf's own kmalloc and kfree are events

    def _expect_start(self, cache, event, page):
        """Where a shuffled new slab begins was drawn at random: the recording's first object
        tells.
        """
        s = cache_at(self.mm, cache)
        if page < 0 or s.random_seq < 0:
            return
        offset = event.address - page_address(self.mm, page) - s.red_left_pad
        for place in range(s.oo_objects):
            if self.mm.random_seq[s.random_seq + place] == offset:
                self.mm.next_freelist_start = place
                return

    def _turn_slabs(self, number, cache, predicted):
        """The new slabs that the kernel took for one object, from event `number` on: the twin's
        begin where the kernel's began. Where the predicted object is then.

        A slab's start was drawn at random; of each the first object that is given out tells it.
        """
        target = number + event_at(self.events, number).ahead
        queue = queue_of(self, event_at(self.events, number).cpu, QUEUE_TWIN_SLAB)
        nth = 0
        for i in range(number, target):
            event = event_at(self.events, i)
            if event.kind != KIND_MM_PAGE_ALLOC or event.role & ROLE_BITS != ROLE_SLAB:
                continue
            if i + event.ahead != target:
                continue
            if nth >= waiting(queue):
                break
            mine = item_at(queue, nth)
            nth += 1
            if is_turnable(self.mm, cache, mine):
                predicted = self._turn_slab(event, target, cache, mine, predicted)
        return predicted

    def _turn_slab(self, event, target, cache, mine, predicted):
        """One of them: the twin's at pfn `mine`, the kernel's at the event's."""
        first = page_address(self.mm, mine)
        size = 1 << (self.mm.page_shift + pfn_to_page(self.mm, mine).order)
        object = self._first_object(page_address(self.mm, event.address), size, target)
        given = predicted if first <= predicted < first + size else 0
        top = given if given else top_of_slab(self.mm, cache, mine)
        if not object or not top:
            return predicted
        wanted = object - page_address(self.mm, event.address) + first
        place = place_of(self.mm, cache, mine, wanted)
        distance = place - place_of(self.mm, cache, mine, top)
        if place < 0 or not distance:
            return predicted
        distance += pfn_to_page(self.mm, mine).objects
        turn_slab(self.mm, cache, mine, distance)
        return turned(self.mm, cache, mine, given, distance) if given else predicted

    def _first_object(self, first, size, number):
        """The first object that is given out of `size` bytes from event `number` on, 0 if none is
        seen.
        """
        stop = number + FURTHEST if number + FURTHEST < self.available else self.available
        for i in range(number, stop):
            event = event_at(self.events, i)
            if event.kind != KIND_KMALLOC and event.kind != KIND_KMEM_CACHE_ALLOC:
                continue
            if first <= event.address < first + size:
                return event.address
        return 0

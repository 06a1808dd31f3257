"""Where the kernel has a page that the twin gave out and the kernel did not: what the recording
says of it next tells.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants

FATES = parse_constants(files(__package__).joinpath("fate.pxd").read_text())

if not cython.compiled:
    from mmtwin.kernel.casts import as_u32
    from mmtwin.kernel.page_alloc_state import free_block_of, take_free_page
    from mmtwin.kernel.ram import pfn_to_page, virt_to_pfn
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import as_events, event_at

    globals().update(EVENT_CONSTANTS)
    globals().update(FATES)


class Mentions:
    """The events of one block by the page that they are about, so that a page's next one is found
    without a search. The index is made when it is first asked for: most blocks need none.
    """

    def __init__(self, mm):
        self.mm = mm
        sizes = [(mm.max_pfn >> order) + 1 for order in range(mm.nr_orders)]
        lists = np.append(0, np.cumsum([*sizes, sizes[0]])).astype(np.uint32)
        next = np.zeros(int(lists[-1]), dtype=np.uint32)
        self._buffers = {"lists": lists, "next": next}
        self.lists = as_u32(lists.ctypes.data, len(lists))
        self.next = as_u32(next.ctypes.data, len(next))
        self.available = self.start = self.room = 0
        self.made = False
        self.aim(0, 0, 0)

    def aim(self, address, start, available):
        """The array of EVENT to be asked about, from event `start` on; the same one goes on if
        nothing of it changed.
        """
        if available > self.room:
            self._buffers["following"] = np.zeros(available, dtype=np.uint32)
            self.following = as_u32(self._buffers["following"].ctypes.data, available)
            self.room = available
        if start < self.start or available != self.available:
            self.made = False
        self.events = as_events(address, available)
        self.start = start
        self.available = available

    def _make(self):
        for place in range(self.lists[self.mm.nr_orders + 1]):
            self.next[place] = 0
        for back in range(self.available - self.start):
            i = self.available - 1 - back
            place = self._place(event_at(self.events, i))
            if place >= 0:
                self.following[i] = self.next[place]
                self.next[place] = i + 1
        self.made = True

    def _place(self, event):
        """Whose next event this one is: a place in `next`, -1 for none."""
        if event.kind < KIND_KMALLOC or event.kind > KIND_MM_PAGE_PCPU_DRAIN:
            return -1
        order = 0
        list = self.mm.nr_orders
        pfn = event.address
        if event.kind <= KIND_KMEM_CACHE_FREE:
            pfn = virt_to_pfn(self.mm, event.address) if event.address else -1
        else:
            order = event.order
            list = order
        if order >= self.mm.nr_orders or not 0 <= pfn < self.mm.max_pfn:
            return -1
        return self.lists[list] + (pfn >> order)

    def _next(self, place, first):
        """Number + 1 of the next event of a place, from event `first` on; 0 for none."""
        next = self.next[place]
        while next and next <= first:
            next = self.following[next - 1]
        self.next[place] = next
        return next

    def fate(self, first, pfn):
        """FATE_* of a page, by the next event about it, from event `first` on; of one in use with
        the order of its block * 256.

        A block taken from the free lists was on them; a page drained or given out without that was
        on a CPU's list; a page that is freed, or holds objects, was in use.
        """
        if not self.made:
            self._make()
        if not 0 <= pfn < self.mm.max_pfn:
            return FATE_UNKNOWN
        found = self._next(self.lists[self.mm.nr_orders] + pfn, first)
        for order in range(self.mm.nr_orders):
            next = self._next(self.lists[order] + (pfn >> order), first)
            if next and (found == 0 or next < found):
                found = next
        if found == 0:
            return FATE_UNKNOWN
        event = event_at(self.events, found - 1)
        if event.kind <= KIND_KMEM_CACHE_FREE:
            return FATE_USED
        if event.kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED:
            return FATE_BUDDY
        if event.kind == KIND_MM_PAGE_PCPU_DRAIN or event.kind == KIND_MM_PAGE_ALLOC:
            return FATE_LIST
        return FATE_USED | event.order << 8


def take_used(mm, events, start, available, mention, turn):
    """Takes every block out of the free lists that the kernel has in use, as the demands to come
    tell: it is freed before anything else is said of it. Returns how many blocks there were.

    Not where a vmalloc may still take it unseen. `start`: the event that is being carried out;
    `mention`: u32 by pfn, of which this call sets some to `turn`, a number not used before.
    """
    found = 0
    stop = min(available, start + FATE_WINDOW)
    for i in range(start, stop):
        event = event_at(events, i)
        if event.kind < KIND_MM_PAGE_ALLOC or event.kind > KIND_MM_PAGE_PCPU_DRAIN:
            continue
        pfn = event.address
        if event.order >= mm.nr_orders or not mm.min_pfn <= pfn <= mm.max_pfn - (1 << event.order):
            continue
        if mention[pfn] == turn:
            continue
        for place in range(1 << event.order):
            mention[pfn + place] = turn
        if event.kind != KIND_MM_PAGE_FREE or event.role != ROLE_DEMAND or i == start:
            continue
        block = free_block_of(mm, pfn)
        if block < 0:
            continue
        if pfn_to_page(mm, block).migratetype or not mm.has.vmalloc_bulk:
            found += take_free_page(mm, pfn, event.order) > 0
    return found

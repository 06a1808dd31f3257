"""Following a recording: the kernel's own answers rebuild its state, whatever the twin would have
chosen.

Where the start's lists have no known order (a start from /proc), nothing can be predicted, but
which pages are free, and in blocks of what order, follows from the events all the same: every page
that leaves or joins the free lists is named by one. The twin's merging and splitting do the rest.
"""


import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.package_files import files
from mmtwin.replay.counts import COUNTS

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64, as_u32
    from mmtwin.kernel.constants import MIGRATE_MOVABLE, MIGRATE_PCPTYPES, PG_slab
    from mmtwin.kernel.mmzone import get_pfnblock_migratetype
    from mmtwin.kernel.page_alloc import free_pages_prepare
    from mmtwin.kernel.page_alloc_buddy import free_one_page, pcp_allowed_order
    from mmtwin.kernel.page_alloc_freelist import prep_new_page
    from mmtwin.kernel.page_alloc_pcp import order_to_pindex
    from mmtwin.kernel.page_alloc_state import add_pcp_block
    from mmtwin.kernel.ram import pfn_to_page, virt_to_head_pfn, virt_to_pfn
    from mmtwin.kernel.slab_common import kmalloc_slab
    from mmtwin.kernel.slub_resync import (
        make_cpu_slab,
        put_back,
        slab_of,
        take_object,
    )
    from mmtwin.kernel.slub_slab import rcu_free_slab
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import as_events, event_at
    from mmtwin.recordings.sites import as_s32
    from mmtwin.replay.gfp_bits import moved_gfp
    from mmtwin.replay.resync import (
        adopt_slab,
        drain_page,
        is_block,
        is_inside,
        page_is_free,
        take_page,
        vacate,
    )

    globals().update(COUNTS)
    globals().update(EVENT_CONSTANTS)
    INTERRUPT = parse_constants(files(__package__).joinpath("follow.pxd").read_text())["INTERRUPT"]


class Follower:
    """Carries a recording's answers into one MM.

    `cache_of`: int32 array, the twin's cache by number in the recording's names, -1 for none;
    `gfp_bits`: 32 ints, the twin's gfp bit of each recorded bit.
    """

    def __init__(self, mm, cache_of, gfp_bits):
        count = np.zeros(COUNTS["COUNT_PLACES"], dtype=np.int64)
        cache_of = np.ascontiguousarray(cache_of, dtype=np.int32)
        bits = np.array(gfp_bits, dtype=np.uint32)
        self._buffers = {"count": count, "cache_of": cache_of, "bits": bits}
        self.mm = mm
        self.count = as_s64(count.ctypes.data, len(count))
        self.cache_of = as_s32(cache_of.ctypes.data, len(cache_of))
        self.nr_names = len(cache_of)
        self.bits = as_u32(bits.ctypes.data, len(bits))

    def run(self, address, start, stop, available):
        """Carries out events `start` to `stop` of the `available` ones in the array of EVENT at an
        address.
        """
        with cython.nogil:
            self._run(address, start, stop, available)

    def counts(self):
        """What was counted, as a numpy array by UNEXPLAINED_*; it goes on changing."""
        return self._buffers["count"]

    def _run(self, address, start, stop, available):
        events = as_events(address, available)
        self.events = events
        self.available = available
        for i in range(start, stop):
            event = event_at(events, i)
            self.now = i
            self._event(event)
        self.count[COUNT_EVENTS] += stop - start

    def _event(self, event):
        kind = event.kind
        self.mm.cpu = event.cpu if event.cpu < self.mm.nr_cpus else 0
        if kind == KIND_KMALLOC or kind == KIND_KMEM_CACHE_ALLOC:
            if event.role & ROLE_DONE == 0:
                self._object_alloc(event)
        elif kind == KIND_KFREE or kind == KIND_KMEM_CACHE_FREE:
            self._object_free(event)
        elif kind < KIND_MM_PAGE_ALLOC or kind > KIND_MM_PAGE_ALLOC_EXTFRAG:
            return
        elif is_inside(self.mm, event.address, event.order):
            self._page_event(event, kind)

    def _page_event(self, event, kind):
        if kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED:
            self._take(event)
        elif kind == KIND_MM_PAGE_ALLOC:
            self._page_alloc(event)
        elif kind == KIND_MM_PAGE_FREE:
            if event.role != ROLE_DEMAND or event.ahead == 0:
                self._page_free(event, event.order)
        elif kind == KIND_MM_PAGE_FREE_BATCHED:
            if event.role == ROLE_DEMAND:
                self._page_free(event, 0)
        elif kind == KIND_MM_PAGE_PCPU_DRAIN and not drain_page(self.mm, event.address):
            self.count[UNEXPLAINED_EXTERNAL_DRAIN] += 1

    def _take(self, event):
        """A block leaves the free lists, for a per-CPU list where its order has one."""
        if not take_page(self.mm, event.address, event.order):
            self.count[UNEXPLAINED_SILENT_PAGE_FREE] += 1
        elif pcp_allowed_order(self.mm, event.order):
            self._put_on_pcp(event, event.order, event.migratetype, True)

    def _put_on_pcp(self, event, order, migratetype, tail):
        if migratetype < 0 or migratetype >= MIGRATE_PCPTYPES:
            migratetype = MIGRATE_MOVABLE
        page = pfn_to_page(self.mm, event.address)
        pindex = order_to_pindex(self.mm, migratetype, order)
        add_pcp_block(self.mm, page.zone, self.mm.cpu, pindex, event.address, order, tail)
        page.refcount = 0

    def _page_alloc(self, event):
        pfn = event.address
        if event.role & ROLE_BITS == ROLE_SLAB or event.role & ROLE_BITS == ROLE_SILENT:
            cache = self._cache_of_slab(event)
            gfp = moved_gfp(self.bits, event.gfp)
            if cache >= 0 and adopt_slab(self.mm, cache, pfn, event.order, gfp):
                return
        if pfn_to_page(self.mm, pfn).flags & PG_slab:
            self.count[UNEXPLAINED_SLAB_KEPT] += 1
        if page_is_free(self.mm, pfn) and not take_page(self.mm, pfn, event.order):
            self.count[UNEXPLAINED_SILENT_PAGE_FREE] += 1
        vacate(self.mm, pfn, event.order)
        prep_new_page(self.mm, pfn, event.order, moved_gfp(self.bits, event.gfp), 0)

    def _page_free(self, event, order):
        pfn = event.address
        if event.role == ROLE_SLAB and rcu_free_slab(self.mm, pfn):
            return
        if page_is_free(self.mm, pfn):
            self.count[UNEXPLAINED_SILENT_PAGE_ALLOC] += 1
        if not is_block(self.mm, pfn, order):
            vacate(self.mm, pfn, order)
        if not free_pages_prepare(self.mm, pfn, order):
            return
        locked = event.flags & INTERRUPT and event.extra & EXTRA_PCP_LOCKED
        if pcp_allowed_order(self.mm, order) and not (locked and self.mm.has.buddy_after_pcp):
            self._put_on_pcp(event, order, get_pfnblock_migratetype(self.mm, pfn), False)
        else:
            free_one_page(self.mm, pfn, order, 0)

    def _cache_of(self, event):
        """The cache asked, -1 if not known: of a kmalloc that no truth names by its size."""
        if 0 <= event.cache < self.nr_names:
            return self.cache_of[event.cache]
        if event.kind != KIND_KMALLOC or event.bytes_req > 2 << self.mm.page_shift:
            return -1
        return kmalloc_slab(self.mm, event.bytes_req, moved_gfp(self.bits, event.gfp))

    def _cache_of_slab(self, event):
        """The cache that took a page for a slab: that of the object it was taken for."""
        if event.cache < 0 and event.ahead and self.now + event.ahead < self.available:
            return self._cache_of(event_at(self.events, self.now + event.ahead))
        return self._cache_of(event)

    def _object_alloc(self, event):
        cache = self._cache_of(event)
        if event.address == 0 or cache < 0:
            return
        if slab_of(self.mm, cache, event.address) < 0:
            self.count[UNEXPLAINED_UNREACHABLE] += 1
            return
        make_cpu_slab(self.mm, cache, event.address)
        if not take_object(self.mm, cache, event.address):
            self.count[UNEXPLAINED_SILENT_OBJECT_FREE] += 1

    def _object_free(self, event):
        pfn = virt_to_pfn(self.mm, event.address)
        if not 0 <= pfn < self.mm.max_pfn:
            return
        pfn = virt_to_head_pfn(self.mm, event.address)
        page = pfn_to_page(self.mm, pfn)
        if page.flags & PG_slab and not put_back(self.mm, page.cache, event.address):
            self.count[UNEXPLAINED_SILENT_OBJECT_ALLOC] += 1

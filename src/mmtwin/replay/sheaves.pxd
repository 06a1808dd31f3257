cimport cython

from mmtwin.kernel.ram cimport cache_at, cache_p, page_address, pfn_to_page
from mmtwin.kernel.slub_turn cimport is_turnable, place_of, top_of_slab, turn_slab, turned
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64, virt_t
from mmtwin.recordings.event cimport (
    KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_MM_PAGE_ALLOC, ROLE_SLAB, event_at, event_t,
)
from mmtwin.replay.mend cimport queue_of
from mmtwin.replay.queues cimport QUEUE_TWIN_SLAB, item_at, queue_t, waiting
from mmtwin.replay.unseen cimport Unseen

ctypedef event_t *event_p
ctypedef queue_t *queue_p

cdef enum:
    ROLE_BITS = 0x7f              # of event.role: without DONE
    FURTHEST = 131072             # events that are looked through for a slab's first object

cdef class Sheaves(Unseen):
    @cython.locals(s=cache_p, offset=u64, place=s64)
    cdef void _expect_start(self, s32 cache, event_t *event, pfn_t page) noexcept nogil
    @cython.locals(event=event_p, queue=queue_p, target=s64, nth=s64, i=s64, mine=pfn_t)
    cdef virt_t _turn_slabs(self, s64 number, s32 cache, virt_t predicted) noexcept nogil
    @cython.locals(
        first=virt_t, size=u64, object=virt_t, given=virt_t, top=virt_t, wanted=virt_t, place=s64,
        distance=s64)
    cdef virt_t _turn_slab(
        self, event_t *event, s64 target, s32 cache, pfn_t mine, virt_t predicted) noexcept nogil
    @cython.locals(event=event_p, i=s64, stop=s64)
    cdef virt_t _first_object(self, virt_t first, u64 size, s64 number) noexcept nogil

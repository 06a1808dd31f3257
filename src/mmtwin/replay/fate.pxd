cimport cython

from mmtwin.kernel.casts cimport as_u32
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.page_alloc_state cimport free_block_of, take_free_page
from mmtwin.kernel.ram cimport pfn_to_page, virt_to_pfn
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u32
from mmtwin.recordings.event cimport (
    KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_ALLOC,
    KIND_MM_PAGE_ALLOC_ZONE_LOCKED, KIND_MM_PAGE_FREE, KIND_MM_PAGE_FREE_BATCHED,
    KIND_MM_PAGE_PCPU_DRAIN, ROLE_DEMAND, as_events, event_at, event_t,
)

ctypedef event_t *event_p

cdef enum:
    FATE_UNKNOWN = 0
    FATE_BUDDY = 1                # on the free lists
    FATE_LIST = 2                 # on a CPU's list
    FATE_USED = 3                 # in use
    FATE_WINDOW = 16384           # events that take_used() looks at
    FATE_STEPS = 256              # events about other blocks that begin at the same page

@cython.final
cdef class Mentions:
    cdef MM mm
    cdef event_t *events
    cdef s64 start
    cdef s64 available
    cdef s64 room                 # for numbers in `following`
    cdef bint made
    # Numbers of events + 1, 0 for none: by pfn the next about a block that begins there, or about
    # an object in that page; by event the next of the same list.
    cdef u32 *blocks
    cdef u32 *objects
    cdef u32 *following
    cdef dict _buffers

    cpdef void aim(self, size_t address, s64 start, s64 available)
    @cython.locals(pfn=pfn_t, back=s64, i=s64, event=event_p)
    cdef void _make(self) noexcept nogil
    @cython.locals(next=u32, order=s32, _=s32)
    cdef u32 _block_event(self, pfn_t head, pfn_t pfn, s64 first) noexcept nogil
    @cython.locals(found=u32, next=u32, order=s32, head=pfn_t, before=pfn_t, event=event_p)
    cdef s32 fate(self, s64 first, pfn_t pfn) noexcept nogil

@cython.locals(event=event_p, i=s64, stop=s64, pfn=pfn_t, block=pfn_t, place=s64, found=s64)
cdef s64 take_used(
    MM mm, event_t *events, s64 start, s64 available, u32 *mention, u32 turn) noexcept nogil

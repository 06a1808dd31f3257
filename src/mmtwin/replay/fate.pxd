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

@cython.final
cdef class Mentions:
    cdef MM mm
    cdef event_t *events
    cdef s64 start
    cdef s64 available
    cdef s64 room                 # for numbers in `following`
    cdef bint made
    # Numbers of events + 1, 0 for none: the next about each block of each order, behind them the
    # next about an object in each page; by event, the next of the same.
    cdef u32 *next
    cdef u32 *following
    cdef u32 *lists               # by order: where its blocks begin in `next`; then the objects
    cdef dict _buffers

    cpdef void aim(self, size_t address, s64 start, s64 available)
    @cython.locals(place=s64, back=s64, i=s64)
    cdef void _make(self) noexcept nogil
    @cython.locals(order=s32, list=s32, pfn=pfn_t)
    cdef s64 _place(self, event_t *event) noexcept nogil
    @cython.locals(next=u32)
    cdef u32 _next(self, s64 place, s64 first) noexcept nogil
    @cython.locals(found=u32, next=u32, order=s32, event=event_p)
    cdef s32 fate(self, s64 first, pfn_t pfn) noexcept nogil

@cython.locals(event=event_p, i=s64, stop=s64, pfn=pfn_t, block=pfn_t, place=s64, found=s64)
cdef s64 take_used(
    MM mm, event_t *events, s64 start, s64 available, u32 *mention, u32 turn) noexcept nogil

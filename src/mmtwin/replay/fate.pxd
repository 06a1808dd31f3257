cimport cython

from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.page_alloc_state cimport free_block_of, take_free_page
from mmtwin.kernel.ram cimport pfn_to_page, virt_to_pfn
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u32
from mmtwin.recordings.event cimport (
    KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_ALLOC,
    KIND_MM_PAGE_ALLOC_ZONE_LOCKED, KIND_MM_PAGE_FREE, KIND_MM_PAGE_FREE_BATCHED,
    KIND_MM_PAGE_PCPU_DRAIN, ROLE_DEMAND, event_at, event_t,
)

ctypedef event_t *event_p

cdef enum:
    FATE_UNKNOWN = 0
    FATE_BUDDY = 1                # on the free lists
    FATE_LIST = 2                 # on a CPU's list
    FATE_USED = 3                 # in use
    FATE_WINDOW = 16384           # events that are looked at

@cython.locals(event=event_p, i=s64, stop=s64)
cdef s32 fate_of(MM mm, event_t *events, s64 start, s64 available, pfn_t pfn) noexcept nogil
@cython.locals(event=event_p, i=s64, stop=s64, pfn=pfn_t, block=pfn_t, place=s64, found=s64)
cdef s64 take_used(
    MM mm, event_t *events, s64 start, s64 available, u32 *mention, u32 turn) noexcept nogil

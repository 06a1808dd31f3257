# A new slab whose random start turns out later.
cimport cython

from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_p, page_address, page_p, pfn_to_page,
)
from mmtwin.kernel.slub_freelist cimport get_freepointer, set_freepointer
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64, virt_t

@cython.locals(s=cache_p, page=page_p)
cpdef bint is_turnable(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(s=cache_p, offset=u64, place=s64)
cpdef s64 place_of(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(s=cache_p, place=s64, start=virt_t)
cpdef virt_t turned(MM mm, s32 cache, pfn_t pfn, virt_t object, s64 distance) noexcept nogil
@cython.locals(s=cache_p, entry=virt_t, head=virt_t, object=virt_t, left=s64)
cdef virt_t turn_chain(MM mm, s32 cache, pfn_t pfn, virt_t first, s64 distance) noexcept nogil
@cython.locals(first=virt_t, size=u64, place=s64, object=virt_t)
cpdef virt_t top_of_slab(MM mm, pfn_t pfn, s64 sheaf) noexcept nogil
@cython.locals(page=page_p, c=cache_cpu_p, first=virt_t, size=u64, place=s64, object=virt_t)
cpdef void turn_slab(MM mm, s32 cache, pfn_t pfn, s64 sheaf, s64 distance) noexcept nogil

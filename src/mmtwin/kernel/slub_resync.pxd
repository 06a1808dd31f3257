# Objects taken and given back where a recorded kernel says so.
cimport cython

from mmtwin.kernel.constants cimport PG_partial, PG_slab
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_node_of, cache_node_p, cache_p, page_p, pfn_to_page,
    virt_to_head_pfn, virt_to_pfn,
)
from mmtwin.kernel.slub_defs cimport TO_HEAD, TO_TAIL
from mmtwin.kernel.slub_free cimport is_object
from mmtwin.kernel.slub_freelist cimport get_freepointer, kmem_cache_debug, set_freepointer
from mmtwin.kernel.slub_alloc cimport node_match
from mmtwin.kernel.slub_partial cimport add_partial, flush_slab, remove_partial
from mmtwin.kernel.slub_slab cimport (
    inc_slabs_node, leave_rcu_queue, numa_node_id, pfmemalloc_match,
)
from mmtwin.kernel.structs cimport gfp_t, kmem_cache_t, pfn_t, s32, s64, u32, u64, virt_t

@cython.locals(pfn=pfn_t, page=page_p)
cpdef pfn_t slab_of(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(before=virt_t, entry=virt_t)
cdef virt_t find_before(MM mm, kmem_cache_t *s, virt_t head, virt_t object) noexcept nogil
@cython.locals(cpu=s32, c=cache_cpu_p)
cdef s32 cpu_of_slab(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(page=page_p, above=page_p, c=cache_cpu_p, entry=pfn_t, cpu=s32)
cdef void leave_cpu_partial(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(s=cache_p, c=cache_cpu_p, before=virt_t, cpu=s32)
cdef bint take_from_cpu(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(s=cache_p, page=page_p, before=virt_t)
cdef bint take_from_slab(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(place=s64)
cdef s64 sheaf_index(MM mm, s64 number, virt_t object) noexcept nogil
@cython.locals(cpu=s32, c=cache_cpu_p, node=s32, number=s64)
cdef s64 find_in_sheaves(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(number=s64, place=s64)
cdef bint take_from_sheaves(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(n=cache_node_p, node=s32, before=s64, entry=s64)
cdef void leave_barn_full(MM mm, s32 cache, s64 number) noexcept nogil
@cython.locals(page=page_p)
cdef void keep_slab(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(pfn=pfn_t)
cpdef bint take_object(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(s=cache_p, c=cache_cpu_p, page=page_p, pfn=pfn_t)
cpdef bint put_back(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(s=cache_p, c=cache_cpu_p, page=page_p, pfn=pfn_t)
cpdef bint make_cpu_slab(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(s=cache_p, page=page_p, pfn=pfn_t, cpu=s32)
cpdef s32 object_state(MM mm, s32 cache, virt_t object) noexcept nogil
cdef virt_t last_of_sheaf(MM mm, s64 number) noexcept nogil
@cython.locals(c=cache_cpu_p, n=cache_node_p, pfn=pfn_t, head=pfn_t)
cpdef virt_t next_object(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(place=s64)
cdef void put_first(MM mm, s64 number, virt_t object) noexcept nogil
@cython.locals(
    c=cache_cpu_p, n=cache_node_p, place=s64, last=virt_t, main=s64, spare=bint, number=s64,
    room=bint)
cpdef void put_under(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(s=cache_p, c=cache_cpu_p)
cdef bint skip_objects(MM mm, s32 cache, virt_t object) noexcept nogil

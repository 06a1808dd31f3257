# Objects out of slabs: the CPU slab's free list and the slow path behind it.
cimport cython

from mmtwin.kernel.slub_defs cimport (
    GFP_NOWAIT, NUMA_NO_NODE, STAT_ALLOC_FASTPATH, STAT_ALLOC_NODE_MISMATCH, STAT_ALLOC_REFILL,
    STAT_ALLOC_SLAB, STAT_ALLOC_SLOWPATH, STAT_CPU_PARTIAL_ALLOC, STAT_DEACTIVATE_BYPASS,
    TO_HEAD,
)
from mmtwin.kernel.constants cimport (
    COMPLAINT_BAD_ADDRESS, COMPLAINT_OUT_OF_MEMORY, __GFP_NOWARN, __GFP_THISNODE,
)
from mmtwin.kernel.mm cimport MM, complain
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_node_of, cache_node_p, cache_p, page_p, pfn_to_page,
)
from mmtwin.kernel.slub_debug cimport alloc_debug_processing
from mmtwin.kernel.slub_freelist cimport get_freepointer, kmem_cache_debug, stat
from mmtwin.kernel.slub_meta cimport check_valid_pointer
from mmtwin.kernel.slub_partial cimport (
    add_partial, any_partial_node, deactivate_slab, flush_slab, get_partial, may_use_others,
    put_partials, remove_partial,
)
from mmtwin.kernel.slub_slab cimport (
    inc_slabs_node, new_slab, numa_node_id, page_node, pfmemalloc_match,
)
from mmtwin.kernel.structs cimport (
    gfp_t, kmem_cache_cpu_t, kmem_cache_t, pfn_t, s32, s64, u32, u64, virt_t,
)
from mmtwin.kernel.trace cimport (
    STEP_SLUB_ALLOC_FASTPATH, STEP_SLUB_ALLOC_REFILL, STEP_SLUB_ALLOC_SLAB,
    STEP_SLUB_ALLOC_SLOWPATH, STEP_SLUB_CPU_PARTIAL_ALLOC, step,
)

cdef inline bint checks_bytes(MM mm, kmem_cache_t *s) noexcept nogil:
    return mm.slub_bytes and kmem_cache_debug(s)

cdef inline bint node_match(MM mm, pfn_t pfn, s32 node) noexcept nogil:
    return node == -1 or page_node(mm, pfn) == node

@cython.locals(page=page_p, freelist=virt_t)
cdef virt_t get_freelist(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(s=cache_p, c=cache_cpu_p)
cdef virt_t load_freelist(MM mm, s32 cache, virt_t freelist) noexcept nogil
@cython.locals(c=cache_cpu_p, freelist=virt_t, pfn=pfn_t)
cdef virt_t refill_from_slab(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(c=cache_cpu_p, freelist=virt_t, pfn=pfn_t)
cdef virt_t refill_from_cpu_partial(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(page=page_p, object=virt_t)
cdef bint take_checked(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(
    s=cache_p, page=page_p, pfn=pfn_t, object=virt_t, head=pfn_t, following=pfn_t
)
cdef virt_t alloc_single_from_partial(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(s=cache_p, page=page_p, object=virt_t)
cdef virt_t alloc_single_from_new_slab(MM mm, s32 cache, pfn_t pfn) noexcept nogil
cdef bint takes_single(MM mm, kmem_cache_t *s) noexcept nogil
@cython.locals(local=s32, object=virt_t, pfn=pfn_t)
cdef virt_t new_single_object(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(s=cache_p, c=cache_cpu_p, pfn=pfn_t, freelist=virt_t)
cdef virt_t new_objects(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(object=virt_t, preferred=bint)
cdef virt_t slab_alloc_slow(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(s=cache_p, c=cache_cpu_p, object=virt_t, following=virt_t)
cdef virt_t alloc_from_slab(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(s=cache_p, c=cache_cpu_p, object=virt_t, done=s64)
cdef s64 alloc_bulk_from_slab(
    MM mm, s32 cache, gfp_t gfp, u64 *objects, s64 first, s64 count
) noexcept nogil

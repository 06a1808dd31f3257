# Many objects at once out of slabs, for kernels whose CPUs own none.
cimport cython

from mmtwin.kernel.constants cimport PG_partial
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport cache_at, cache_node_of, cache_node_p, cache_p, page_p, pfn_to_page
from mmtwin.kernel.slub_defs cimport STAT_ALLOC_SLAB, STAT_ALLOC_SLOWPATH, TO_HEAD, TO_TAIL
from mmtwin.kernel.slub_freelist cimport get_freepointer, kmem_cache_debug, stat, stat_add
from mmtwin.kernel.slub_partial cimport add_partial, any_partial_node, remove_partial
from mmtwin.kernel.slub_slab cimport (
    inc_slabs_node, new_slab, numa_node_id, pfmemalloc_match,
)
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32, u64, virt_t
from mmtwin.kernel.trace cimport STEP_SLUB_ALLOC_FROM_PARTIAL, STEP_SLUB_ALLOC_SLAB, step

@cython.locals(s=cache_p, page=page_p, done=s64, object=virt_t)
cdef s64 take_objects(
    MM mm, s32 cache, pfn_t pfn, u64 *objects, s64 first, s64 count
) noexcept nogil
@cython.locals(n=cache_node_p, page=page_p, head=pfn_t, pfn=pfn_t, following=pfn_t, done=s64)
cdef s64 refill_from_node(
    MM mm, s32 cache, s32 node, gfp_t gfp, u64 *objects, s64 first, s64 count
) noexcept nogil
@cython.locals(page=page_p, pfn=pfn_t, done=s64)
cdef s64 refill_from_new_slab(
    MM mm, s32 cache, gfp_t gfp, s32 node, u64 *objects, s64 first, s64 count
) noexcept nogil
@cython.locals(done=s64, taken=s64)
cdef s64 refill_from_new_slabs(
    MM mm, s32 cache, gfp_t gfp, u64 *objects, s64 first, s64 count, s64 slabs
) noexcept nogil
@cython.locals(done=s64, node=s32)
cdef s64 refill_from_partial(
    MM mm, s32 cache, gfp_t gfp, u64 *objects, s64 first, s64 count
) noexcept nogil
@cython.locals(done=s64)
cdef s64 refill_objects(
    MM mm, s32 cache, gfp_t gfp, u64 *objects, s64 first, s64 count
) noexcept nogil

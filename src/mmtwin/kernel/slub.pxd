# The entries of SLUB.
cimport cython

from mmtwin.kernel.slub_defs cimport NUMA_NO_NODE, SLAB_CONSISTENCY_CHECKS
from mmtwin.kernel.constants cimport (
    CHECK_KASAN, CHECK_KMEMLEAK, COMPLAINT_BAD_ADDRESS, COMPLAINT_NOT_SLAB, PG_slab,
)
from mmtwin.kernel.casts cimport as_u64
from mmtwin.kernel.kasan_hooks cimport kasan_slab_alloc, kasan_slab_free
from mmtwin.kernel.kmemleak_hook cimport kmemleak_alloc_recursive, kmemleak_free_recursive
from mmtwin.kernel.mm cimport MM, complain
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_p, is_ram, page_p, pfn_to_page, virt_to_head_pfn, virt_to_pfn,
)
from mmtwin.kernel.slub_alloc cimport alloc_bulk_from_slab
from mmtwin.kernel.slub_debug cimport free_invalid, wrong_cache
from mmtwin.kernel.slub_free cimport free_bulk_to_slab, free_to_slab, is_object
from mmtwin.kernel.slub_freelist cimport kmem_cache_debug, wipe_on_alloc, wipe_on_free
from mmtwin.kernel.slub_refill cimport refill_objects
from mmtwin.kernel.slub_sheaf cimport (
    alloc_from_pcs_bulk, alloc_object, free_object, free_to_pcs_bulk, has_sheaves,
)
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32, u64, virt_t
from mmtwin.kernel.trace cimport STEP_KMEM_CACHE_ALLOC, STEP_KMEM_CACHE_FREE, step

@cython.locals(object=virt_t, s=cache_p)
cdef virt_t slab_alloc_node(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
cdef void slab_free(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
cpdef void cache_free(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(pfn=pfn_t)
cpdef pfn_t virt_to_known_pfn(MM mm, virt_t object) noexcept nogil
@cython.locals(s=cache_p, object=virt_t)
cpdef virt_t kmem_cache_alloc_node(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
cpdef virt_t kmem_cache_alloc(MM mm, s32 cache, gfp_t gfp) noexcept nogil
@cython.locals(pfn=pfn_t, page=page_p)
cdef s32 cache_from_obj(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(pfn=pfn_t)
cpdef void kmem_cache_free(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(index=s64)
cdef s64 all_in_ram(MM mm, s32 cache, u64 *objects, s64 count) noexcept nogil
@cython.locals(done=s64, index=s64, s=cache_p)
cdef s64 __kmem_cache_alloc_bulk(
    MM mm, s32 cache, gfp_t gfp, u64 *objects, s64 count
) noexcept nogil
@cython.locals(left=s64, index=s64, object=virt_t, page=page_p)
cdef s64 not_quarantined(MM mm, u64 *objects, s64 count) noexcept nogil
@cython.locals(index=s64, pfn=pfn_t, s=cache_p)
cdef void __kmem_cache_free_bulk(MM mm, s32 cache, u64 *objects, s64 count) noexcept nogil

# Objects back into slabs.
cimport cython

from mmtwin.kernel.slub_defs cimport (
    SLAB_CONSISTENCY_CHECKS, STAT_CPU_PARTIAL_FREE, STAT_FREE_ADD_PARTIAL, STAT_FREE_FASTPATH,
    STAT_FREE_FROZEN, STAT_FREE_REMOVE_PARTIAL, STAT_FREE_SLAB, STAT_FREE_SLOWPATH, TO_TAIL,
)
from mmtwin.kernel.constants cimport (
    CHECK_KASAN, CHECK_KMEMLEAK, COMPLAINT_DOUBLE_FREE, COMPLAINT_NOT_SLAB,
    COMPLAINT_OBJECT_FREE, KFREE_ANY, KFREE_HEAD, KFREE_MARKED, PG_head, PG_large_kmalloc,
    PG_partial, PG_reserved, PG_slab, USE_FREE, USE_UNKNOWN,
)
from mmtwin.kernel.kasan_hooks cimport kasan_kfree_large
from mmtwin.kernel.kmemleak_hook cimport kmemleak_free
from mmtwin.kernel.mm cimport MM, complain
from mmtwin.kernel.page_alloc cimport free_pages
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_node_of, cache_node_p, cache_p, page_address,
    page_p, pfn_to_page,
    virt_to_head_pfn, virt_to_pfn,
)
from mmtwin.kernel.slub_debug cimport free_debug_processing
from mmtwin.kernel.slub_freelist cimport (
    get_freepointer, kmem_cache_debug, set_freepointer, stat, stat_add,
)
from mmtwin.kernel.slub_partial cimport (
    add_partial, has_cpu_partial, put_cpu_partial, remove_partial,
)
from mmtwin.kernel.slub_slab cimport discard_slab, page_node
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u32, u64, virt_t
from mmtwin.kernel.trace cimport (
    STEP_SLUB_CPU_PARTIAL_FREE, STEP_SLUB_FREE_ADD_PARTIAL, STEP_SLUB_FREE_FASTPATH,
    STEP_SLUB_FREE_FROZEN, STEP_SLUB_FREE_REMOVE_PARTIAL, STEP_SLUB_FREE_SLOWPATH, step,
)

@cython.locals(page=page_p, s=cache_p, offset=s64, within=u32)
cdef bint is_object(MM mm, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(s=cache_p, page=page_p, entry=virt_t)
cdef bint on_freelist(MM mm, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(page=page_p, large=u32)
cdef void free_large_kmalloc(MM mm, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(s=cache_p, page=page_p, n=cache_node_p, prior=virt_t, full=bint)
cdef void free_to_partial_list(
    MM mm, s32 cache, pfn_t pfn, virt_t head, virt_t tail, s32 count
) noexcept nogil
@cython.locals(s=cache_p, page=page_p, n=cache_node_p, prior=virt_t)
cdef void slab_free_slow(
    MM mm, s32 cache, pfn_t pfn, virt_t head, virt_t tail, s32 count
) noexcept nogil
@cython.locals(s=cache_p, c=cache_cpu_p, twice=bint)
cdef void free_to_slab(
    MM mm, s32 cache, pfn_t pfn, virt_t head, virt_t tail, s32 count
) noexcept nogil
@cython.locals(
    s=cache_p, object=virt_t, slab=pfn_t, head=virt_t, tail=virt_t, found=s32, lookahead=s32,
    same=s64, cache=s32, swapped=virt_t
)
cdef s64 free_detached(MM mm, u64 *objects, s64 first, s64 count, bint turned) noexcept nogil
@cython.locals(
    s=cache_p, object=virt_t, slab=pfn_t, head=virt_t, tail=virt_t, found=s32, lookahead=s32,
    skipped=s64, cache=s32
)
cdef s64 free_detached_with_holes(
    MM mm, u64 *objects, s64 first, s64 count, bint turned
) noexcept nogil
cdef void free_bulk_to_slab(MM mm, u64 *objects, s64 first, s64 count, bint turned) noexcept nogil

# Per-CPU sheaves: arrays of free objects in front of the slabs.
cimport cython

from mmtwin.kernel.constants cimport (
    CHECK_KASAN, CHECK_KMEMLEAK, PG_pfmemalloc, __GFP_ACCOUNT, __GFP_DMA, __GFP_DIRECT_RECLAIM,
    __GFP_NOMEMALLOC, __GFP_NOWARN, __GFP_RECLAIMABLE, __GFP_ZERO,
)
from mmtwin.kernel.kasan_hooks cimport kasan_kmalloc, kasan_slab_alloc, kasan_slab_free
from mmtwin.kernel.kmemleak_hook cimport kmemleak_alloc, kmemleak_free
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_node_of, cache_node_p, cache_p, page_p, pfn_to_page,
    virt_to_head_pfn,
)
from mmtwin.kernel.slab_index cimport kmalloc_slab
from mmtwin.kernel.slub_alloc cimport alloc_bulk_from_slab, alloc_from_slab, node_match
from mmtwin.kernel.slub_defs cimport (
    GFP_KERNEL, GFP_NOWAIT, MAX_EMPTY_SHEAVES, MAX_FULL_SHEAVES, SHEAF_OBJECTS, SLAB_KMALLOC,
    STAT_ALLOC_FASTPATH, STAT_ALLOC_NODE_MISMATCH, STAT_ALLOC_PCS, STAT_BARN_GET,
    STAT_BARN_GET_FAIL, STAT_BARN_PUT, STAT_BARN_PUT_FAIL, STAT_FREE_FASTPATH, STAT_FREE_PCS,
    STAT_FREE_RCU_SHEAF, STAT_FREE_RCU_SHEAF_FAIL, STAT_SHEAF_ALLOC, STAT_SHEAF_FLUSH,
    STAT_SHEAF_FREE, STAT_SHEAF_PREFILL_FAST, STAT_SHEAF_PREFILL_OVERSIZE, STAT_SHEAF_PREFILL_SLOW,
    STAT_SHEAF_REFILL, STAT_SHEAF_RETURN_FAST, STAT_SHEAF_RETURN_SLOW,
)
from mmtwin.kernel.slub_free cimport free_bulk_to_slab, free_to_slab
from mmtwin.kernel.slub_freelist cimport fill_bytes, stat, stat_add
from mmtwin.kernel.slub_refill cimport refill_objects
from mmtwin.kernel.slub_slab cimport numa_node_id, page_node
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, sheaf_t, u32, u64, virt_t
from mmtwin.kernel.trace cimport (
    STEP_KFREE, STEP_KMALLOC, STEP_SLUB_SHEAF_ALLOC, STEP_SLUB_SHEAF_FLUSH, STEP_SLUB_SHEAF_FREE,
    STEP_SLUB_SHEAF_REFILL, step,
)

ctypedef sheaf_t *sheaf_p

cdef inline sheaf_t *sheaf_at(MM mm, s64 number) noexcept nogil:
    return &mm.sheaf[number]

cdef inline bint has_sheaves(MM mm, s32 cache) noexcept nogil:
    return cache_at(mm, cache).sheaf_capacity

@cython.locals(sheaf=sheaf_p, number=s64)
cdef s64 new_sheaf(MM mm, s32 cache, u32 capacity, virt_t address) noexcept nogil
@cython.locals(s=cache_p, kmalloc=s32, size=u64, address=virt_t)
cdef s64 alloc_empty_sheaf(MM mm, s32 cache, gfp_t gfp, u32 capacity) noexcept nogil
@cython.locals(sheaf=sheaf_p, pfn=pfn_t, kmalloc=s32)
cdef void free_empty_sheaf(MM mm, s32 cache, s64 number) noexcept nogil
@cython.locals(sheaf=sheaf_p, wanted=s64, filled=s64)
cdef bint refill_sheaf(MM mm, s32 cache, s64 number, gfp_t gfp) noexcept nogil
@cython.locals(sheaf=sheaf_p)
cdef void sheaf_flush(MM mm, s32 cache, s64 number) noexcept nogil
@cython.locals(c=cache_cpu_p, sheaf=sheaf_p, batch=s64, index=s64)
cdef void sheaf_flush_main(MM mm, s32 cache) noexcept nogil
@cython.locals(sheaf=sheaf_p)
cdef void barn_put(MM mm, s32 cache, s64 number, bint full) noexcept nogil
@cython.locals(n=cache_node_p, number=s64)
cdef s64 barn_get(MM mm, s32 cache, bint full) noexcept nogil
@cython.locals(c=cache_cpu_p, number=s64)
cdef bint replace_from_barn(MM mm, s32 cache) noexcept nogil
@cython.locals(empty=s64)
cdef bint replace_empty_main(MM mm, s32 cache, gfp_t gfp, bint recurse) noexcept nogil
@cython.locals(c=cache_cpu_p, empty=s64)
cdef s64 sheaf_to_refill(MM mm, s32 cache, gfp_t gfp, bint recurse) noexcept nogil
@cython.locals(c=cache_cpu_p)
cdef void install_refilled_sheaf(MM mm, s32 cache, s64 number) noexcept nogil
@cython.locals(c=cache_cpu_p, sheaf=sheaf_p, object=virt_t)
cdef virt_t alloc_from_pcs(MM mm, s32 cache, gfp_t gfp, s32 node, bint recurse) noexcept nogil
@cython.locals(c=cache_cpu_p, sheaf=sheaf_p, done=s64, index=s64, batch=s64)
cdef s64 alloc_from_pcs_bulk(MM mm, s32 cache, u64 *objects, s64 count) noexcept nogil
@cython.locals(object=virt_t)
cdef virt_t alloc_object(MM mm, s32 cache, gfp_t gfp, s32 node, bint recurse) noexcept nogil
@cython.locals(c=cache_cpu_p, swapped=s64)
cdef void install_empty_sheaf(MM mm, s32 cache, s64 empty) noexcept nogil
@cython.locals(c=cache_cpu_p, s=cache_p, n=cache_node_p, empty=s64, swapped=s64, failed=bint)
cdef void replace_full_main(MM mm, s32 cache) noexcept nogil
@cython.locals(c=cache_cpu_p, n=cache_node_p, empty=s64, swapped=s64)
cdef bint make_room_for_bulk(MM mm, s32 cache) noexcept nogil
@cython.locals(c=cache_cpu_p, sheaf=sheaf_p)
cdef bint free_to_pcs(MM mm, s32 cache, virt_t object) noexcept nogil
cdef bint can_free_to_pcs(MM mm, pfn_t pfn) noexcept nogil
cdef void free_object(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(
    index=s64, remote=s64, sheaf=sheaf_p, c=cache_cpu_p, s=cache_p, batch=s64, pfn=pfn_t,
    swapped=u64
)
cdef void free_to_pcs_bulk(MM mm, s32 cache, u64 *objects, s64 count) noexcept nogil

# Slabs: taken from and given back to the page allocator.
cimport cython

from mmtwin.kernel.slub_defs cimport (
    GFP_CONSTRAINT_MASK, GFP_RECLAIMS, GFP_RECLAIM_MASK, GFP_SLAB_BUG_MASK,
    SLAB_CONSISTENCY_CHECKS, SLAB_TYPESAFE_BY_RCU, STAT_ORDER_FALLBACK,
)
from mmtwin.kernel.constants cimport (
    CHECK_KASAN, COMPLAINT_BAD_GFP, PG_head, PG_pfmemalloc, PG_slab, PG_tail, USE_SLAB,
    USE_UNKNOWN, __GFP_DIRECT_RECLAIM, __GFP_MEMALLOC, __GFP_NOFAIL, __GFP_NOMEMALLOC,
    __GFP_NORETRY, __GFP_NOWARN,
)
from mmtwin.kernel.kasan_hooks cimport kasan_poison_slab
from mmtwin.kernel.mm cimport MM, complain
from mmtwin.kernel.page_alloc cimport alloc_pages, free_pages
from mmtwin.kernel.ram cimport (
    cache_at, cache_node_of, cache_node_p, cache_p, page_p, pfn_to_page, zone_of,
)
from mmtwin.kernel.slub_debug cimport check_freed_slab
from mmtwin.kernel.slub_freelist cimport build_freelist, kmem_cache_debug, stat
from mmtwin.kernel.slub_meta cimport setup_slab_debug
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32, u64, virt_t
from mmtwin.kernel.trace cimport STEP_SLUB_FREE_SLAB, step

cdef inline s32 page_node(MM mm, pfn_t pfn) noexcept nogil:
    return zone_of(mm, pfn).node

cdef inline s32 numa_node_id(MM mm) noexcept nogil:
    return mm.cpu_node[mm.cpu]

cdef bint pfmemalloc_match(MM mm, pfn_t pfn, gfp_t gfp) noexcept nogil
@cython.locals(page=page_p, tail=page_p, pfn=pfn_t, number=s64)
cdef pfn_t take_override(MM mm, s32 order) noexcept nogil
cdef pfn_t alloc_slab_page(MM mm, gfp_t gfp, s32 node, s32 order) noexcept nogil
@cython.locals(s=cache_p, page=page_p, pfn=pfn_t, first_gfp=gfp_t, objects=u32, order=s32)
cdef pfn_t new_slab(MM mm, s32 cache, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(n=cache_node_p)
cdef void inc_slabs_node(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(n=cache_node_p)
cdef void dec_slabs_node(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(page=page_p, order=s32)
cdef void free_slab_page(MM mm, pfn_t pfn) noexcept nogil
cdef void free_slab(MM mm, s32 cache, pfn_t pfn) noexcept nogil
cpdef void discard_slab(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(pfn=pfn_t, freed=s64)
cpdef s64 rcu_free_slabs(MM mm, s64 count) noexcept nogil
@cython.locals(entry=pfn_t, before=pfn_t)
cdef bint leave_rcu_queue(MM mm, pfn_t pfn) noexcept nogil
cpdef bint rcu_free_slab(MM mm, pfn_t pfn) noexcept nogil

# The life of sheaves: kfree_rcu(), flushing, prefilled sheaves.
cimport cython

from mmtwin.kernel.constants cimport CHECK_KMEMLEAK, __GFP_NOMEMALLOC, __GFP_NOWARN
from mmtwin.kernel.kmemleak_hook cimport kmemleak_alloc_recursive, kmemleak_free_recursive
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_node_of, cache_node_p, cache_p,
)
from mmtwin.kernel.slub_defs cimport (
    GFP_KERNEL, GFP_NOWAIT, MAX_EMPTY_SHEAVES, MAX_FULL_SHEAVES, STAT_BARN_GET,
    STAT_BARN_GET_FAIL, STAT_BARN_PUT, STAT_BARN_PUT_FAIL, STAT_FREE_RCU_SHEAF,
    STAT_FREE_RCU_SHEAF_FAIL, STAT_SHEAF_PREFILL_FAST, STAT_SHEAF_PREFILL_OVERSIZE,
    STAT_SHEAF_PREFILL_SLOW, STAT_SHEAF_RETURN_FAST, STAT_SHEAF_RETURN_SLOW,
)
from mmtwin.kernel.slub_freelist cimport stat
from mmtwin.kernel.slub_sheaf cimport (
    alloc_empty_sheaf, barn_get, barn_put, free_empty_sheaf, refill_sheaf, sheaf_at, sheaf_flush,
    sheaf_flush_main, sheaf_p,
)
from mmtwin.kernel.slub_slab cimport numa_node_id
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32, u64, virt_t

@cython.locals(c=cache_cpu_p, s=cache_p, sheaf=sheaf_p, empty=s64)
cpdef bint kfree_rcu_sheaf(MM mm, s32 cache, virt_t object) noexcept nogil
cdef void queue_rcu_sheaf(MM mm, s64 number) noexcept nogil
@cython.locals(
    sheaf=sheaf_p, number=s64, n=cache_node_p, freed=s64, cache=s32, index=u32, flags=u32
)
cpdef s64 rcu_free_sheaves(MM mm, s64 count) noexcept nogil
@cython.locals(c=cache_cpu_p)
cpdef void flush_sheaves(MM mm, s32 cache) noexcept nogil
@cython.locals(n=cache_node_p, number=s64, following=s64, node=s32)
cpdef void barn_shrink(MM mm, s32 cache, s32 node) noexcept nogil
@cython.locals(c=cache_cpu_p, s=cache_p, cpu=s32)
cpdef bint init_sheaves(MM mm, s32 cache) noexcept nogil
@cython.locals(c=cache_cpu_p, cpu=s32)
cpdef void destroy_sheaves(MM mm, s32 cache) noexcept nogil
@cython.locals(c=cache_cpu_p, s=cache_p, sheaf=sheaf_p, number=s64)
cpdef s64 kmem_cache_prefill_sheaf(MM mm, s32 cache, gfp_t gfp, u32 size) noexcept nogil
@cython.locals(c=cache_cpu_p, s=cache_p, sheaf=sheaf_p, n=cache_node_p)
cpdef void kmem_cache_return_sheaf(MM mm, s32 cache, gfp_t gfp, s64 number) noexcept nogil
@cython.locals(sheaf=sheaf_p, s=cache_p, object=virt_t)
cpdef virt_t alloc_from_sheaf(MM mm, s64 number) noexcept nogil

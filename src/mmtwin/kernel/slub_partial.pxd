# Partial lists of nodes and CPUs, and how slabs move between them.
cimport cython

from mmtwin.kernel.slub_defs cimport (
    NUMA_NO_NODE, STAT_ALLOC_FROM_PARTIAL, STAT_CPUSLAB_FLUSH, STAT_CPU_PARTIAL_DRAIN,
    STAT_CPU_PARTIAL_NODE, STAT_DEACTIVATE_EMPTY, STAT_DEACTIVATE_FULL,
    STAT_DEACTIVATE_REMOTE_FREES, STAT_FREE_ADD_PARTIAL, STAT_FREE_SLAB, TO_HEAD, TO_TAIL,
)
from mmtwin.kernel.constants cimport PG_partial, ZONELIST_PLACES, __GFP_THISNODE
from mmtwin.kernel.lists cimport list_add, list_add_tail, list_del
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_node_of, cache_node_p, cache_p, page_p, pfn_to_page,
)
from mmtwin.kernel.slub_debug cimport sound_freelist
from mmtwin.kernel.slub_freelist cimport get_freepointer, kmem_cache_debug, set_freepointer, stat
from mmtwin.kernel.slub_slab cimport discard_slab, numa_node_id, page_node, pfmemalloc_match
from mmtwin.kernel.structs cimport gfp_t, kmem_cache_t, pfn_t, s32, s64, u32, u64, virt_t
from mmtwin.kernel.trace cimport (
    STEP_SLUB_ALLOC_FROM_PARTIAL, STEP_SLUB_CPUSLAB_FLUSH, STEP_SLUB_CPU_PARTIAL_DRAIN,
    STEP_SLUB_CPU_PARTIAL_NODE, STEP_SLUB_DEACTIVATE, step,
)

cdef inline bint has_cpu_partial(MM mm, kmem_cache_t *s) noexcept nogil:
    return mm.has.slub_cpu_partial and not s.flags & 0x210d00

@cython.locals(n=cache_node_p, page=page_p)
cdef void add_partial(MM mm, s32 cache, pfn_t pfn, s32 mode) noexcept nogil
@cython.locals(page=page_p)
cdef void remove_partial(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(s=cache_p, page=page_p, freelist=virt_t)
cdef void acquire_slab(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(
    s=cache_p, c=cache_cpu_p, page=page_p, old=page_p, freed=u32, oldest=pfn_t, full=bint,
    slabs=u32, pobjects=u32
)
cdef void put_cpu_partial(MM mm, s32 cache, pfn_t pfn, bint drain) noexcept nogil
@cython.locals(s=cache_p, page=page_p, n=cache_node_p, discard=pfn_t, following=pfn_t, slabs=s64)
cdef void put_partials(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(s=cache_p, page=page_p, following=virt_t, count=u32, last=virt_t)
cdef u32 splice_freelist(MM mm, s32 cache, pfn_t pfn, virt_t freelist) noexcept nogil
@cython.locals(s=cache_p, page=page_p, n=cache_node_p, mode=s32)
cdef void deactivate_slab(MM mm, s32 cache, pfn_t pfn, virt_t freelist) noexcept nogil
@cython.locals(c=cache_cpu_p, pfn=pfn_t, freelist=virt_t)
cdef void flush_slab(MM mm, s32 cache, s32 cpu) noexcept nogil
@cython.locals(c=cache_cpu_p, pfn=pfn_t)
cpdef void flush_cpu_slab(MM mm, s32 cache, s32 cpu) noexcept nogil
@cython.locals(
    s=cache_p, n=cache_node_p, head=pfn_t, pfn=pfn_t, following=pfn_t, first=pfn_t, objects=u32,
    slabs=u32, limit=u32, page=page_p
)
cdef pfn_t get_partial_node(MM mm, s32 cache, s32 node, gfp_t gfp) noexcept nogil
cdef bint is_enough(MM mm, kmem_cache_t *s, u32 objects, u32 slabs) noexcept nogil
@cython.locals(s=cache_p, place=s64, zone=s64, node=s32)
cdef s32 any_partial_node(MM mm, s32 cache) noexcept nogil
cdef bint may_use_others(MM mm, s32 node, gfp_t gfp) noexcept nogil
@cython.locals(pfn=pfn_t, local=s32)
cdef pfn_t get_partial(MM mm, s32 cache, s32 node, gfp_t gfp) noexcept nogil

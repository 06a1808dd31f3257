from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.structs cimport s32, s64, u16

cdef enum:
    # the kernel's tracepoints (kmem:*)
    STEP_MM_PAGE_ALLOC = 0            # pfn, order, gfp, migratetype
    STEP_MM_PAGE_FREE = 1             # pfn, order
    STEP_MM_PAGE_FREE_BATCHED = 2     # pfn
    STEP_MM_PAGE_ALLOC_ZONE_LOCKED = 3  # pfn, order, migratetype, percpu_refill
    STEP_MM_PAGE_PCPU_DRAIN = 4       # pfn, order, migratetype
    # pfn, alloc order, fallback order, alloc migratetype, fallback migratetype, change_ownership
    STEP_MM_PAGE_ALLOC_EXTFRAG = 5
    STEP_KMALLOC = 6                  # ptr, bytes_req, bytes_alloc, gfp, node, cache
    STEP_KFREE = 7                    # ptr
    STEP_KMEM_CACHE_ALLOC = 8         # ptr, bytes_req, bytes_alloc, gfp, node, cache
    STEP_KMEM_CACHE_FREE = 9          # ptr, cache
    # vmalloc:*, of 6.2 and later
    STEP_ALLOC_VMAP_AREA = 10         # addr, size, align, vstart, vend, failed
    STEP_PURGE_VMAP_AREA_LAZY = 11    # start, end, npurged
    STEP_FREE_VMAP_AREA_NOFLUSH = 12  # va_start, nr_lazy, nr_lazy_max
    STEP_RSS_STAT = 13                # mm, curr, member, size: in bytes, as the kernel has it
    # finer steps of SLUB: cache first
    STEP_SLUB_ALLOC_FASTPATH = 16     # cache, object, next object, tid
    STEP_SLUB_ALLOC_SLOWPATH = 17     # cache
    STEP_SLUB_ALLOC_REFILL = 18       # cache, slab: the CPU slab had objects freed to it
    STEP_SLUB_CPU_PARTIAL_ALLOC = 19  # cache, slab
    STEP_SLUB_ALLOC_FROM_PARTIAL = 20  # cache, slab: from the node's partial list
    STEP_SLUB_ALLOC_SLAB = 21         # cache, slab: a new one from the page allocator
    STEP_SLUB_CPUSLAB_FLUSH = 22      # cache, slab
    # cache, slab, where it went (0 empty and freed, 1 head, 2 tail, 3 full)
    STEP_SLUB_DEACTIVATE = 23
    STEP_SLUB_FREE_FASTPATH = 24      # cache, object
    STEP_SLUB_FREE_SLOWPATH = 25      # cache, object, slab
    STEP_SLUB_FREE_FROZEN = 26        # cache, object, slab
    STEP_SLUB_FREE_ADD_PARTIAL = 27   # cache, slab
    STEP_SLUB_FREE_REMOVE_PARTIAL = 28  # cache, slab
    STEP_SLUB_CPU_PARTIAL_FREE = 29   # cache, slab
    STEP_SLUB_CPU_PARTIAL_NODE = 30   # cache, slab: from the node's list to the CPU partial list
    STEP_SLUB_CPU_PARTIAL_DRAIN = 31  # cache, slabs
    STEP_SLUB_FREE_SLAB = 32          # cache, slab
    STEP_SLUB_SHEAF_ALLOC = 33        # cache, object
    STEP_SLUB_SHEAF_FREE = 34         # cache, object
    STEP_SLUB_SHEAF_REFILL = 35       # cache, objects
    STEP_SLUB_SHEAF_FLUSH = 36        # cache, objects
    # of maple trees: single nodes, and each of several at once
    STEP_MAPLE_ALLOC = 38             # node, gfp
    STEP_MAPLE_ALLOC_BULK = 39        # node, gfp
    STEP_MAPLE_FREE = 40              # node
    STEP_MAPLE_FREE_BULK = 41         # node
    STEP_MAPLE_FREE_RCU = 42          # node: after a grace period
    STEP_MAPLE_FREE_RCU_BULK = 43     # node: below the next one
    # of the page allocator
    STEP_PCP_ALLOC = 44               # pfn, order, migratetype, zone
    STEP_PCP_REFILL = 45              # zone, order, migratetype, pages taken
    STEP_PCP_FREE = 46                # pfn, order, migratetype, zone
    STEP_BUDDY_SPLIT = 47             # pfn, from order, to order
    STEP_BUDDY_MERGE = 48             # pfn, order after
    STEP_WATERMARK_FAIL = 49          # zone, order, mark, free pages
    STEP_ALLOC_SLOWPATH = 50          # order, gfp
    # of kmalloc
    STEP_KMALLOC_INDEX = 56           # size, index, type
    STEP_KMALLOC_LARGE = 57           # size, order

cdef inline bint step_on(MM mm, s32 kind) noexcept nogil:
    return (mm.step_mask >> kind) & 1

cdef inline void step(
    MM mm, s32 kind, s64 a=0, s64 b=0, s64 c=0, s64 d=0, s64 e=0, s64 f=0
) noexcept nogil:
    if (mm.step_mask >> kind) & 1:
        put_step(mm, kind, a, b, c, d, e, f)

cpdef void put_step(MM mm, s32 kind, s64 a, s64 b, s64 c, s64 d, s64 e, s64 f) noexcept nogil

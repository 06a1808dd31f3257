cimport cython

from mmtwin.kernel.casts cimport (
    as_cache_cpus, as_cache_nodes, as_caches, as_features, as_pages, as_pcps, as_s64, as_sheaves,
    as_steps, as_u8,
    as_u32, as_u64, as_zones,
)
from mmtwin.kernel.features cimport features_t
from mmtwin.kernel.structs cimport (
    kmem_cache_cpu_t, kmem_cache_node_t, kmem_cache_t, page_t, pcp_t, pfn_t, s32, s64, sheaf_t,
    step_t, u8, u32, u64,
    virt_t, zone_t,
)

@cython.final
cdef class MM:
    # arrays; the Python side sees them as numpy views: mm.view("page")
    cdef page_t *page
    cdef zone_t *zone             # by node * nr_zone_types + type
    cdef pcp_t *pcp               # by zone * nr_cpus + cpu
    cdef kmem_cache_t *cache
    cdef kmem_cache_cpu_t *cache_cpu    # by cache * nr_cpus + cpu
    cdef kmem_cache_node_t *cache_node  # by cache * nr_nodes + node
    cdef sheaf_t *sheaf
    cdef u32 *random_seq
    cdef u8 *pageblock            # migratetype by pfn >> pageblock_order
    cdef u64 *ram                 # by (address - page_offset) / 8
    cdef s64 *zonelist            # by node * 64 + place: zone number, -1 ends; see page_alloc
    cdef s64 *vm_event            # VM_EVENT_*
    cdef step_t *step
    cdef s64 *kmalloc_cache       # by KMALLOC_* type * 32 + index: cache number, -1 for none
    cdef features_t *has
    cdef s64 *bulk_page           # what the last alloc_pages_bulk() took: pfns
    cdef u8 *cpu_node             # node of each CPU
    cdef u8 *kmalloc_class        # kmalloc index by (bytes - 1) / 8, if kmalloc_classed

    cdef readonly pfn_t min_pfn
    cdef readonly pfn_t max_pfn
    cdef readonly pfn_t first_head      # entry number of the first list head
    cdef readonly pfn_t max_entries
    cdef public pfn_t next_head
    cdef readonly virt_t page_offset    # virtual address of pfn 0 (may wrap around)
    cdef readonly s32 page_shift
    cdef readonly virt_t vmalloc_start  # VMALLOC_START and its like; 0: no such space
    cdef readonly virt_t vmalloc_end
    cdef readonly virt_t modules_start
    cdef readonly virt_t modules_end
    cdef readonly s32 va_bits           # that page tables translate
    cdef readonly s32 pageblock_order
    cdef readonly s32 nr_orders         # orders 0 .. nr_orders - 1 (11 with 4K pages)
    cdef readonly s32 nr_migratetypes
    cdef readonly s32 migrate_cma       # -1 where there is none
    cdef readonly s32 migrate_isolate
    cdef readonly s32 nr_nodes
    cdef readonly s32 nr_zone_types
    cdef readonly s32 nr_zones          # nr_nodes * nr_zone_types
    cdef readonly s32 nr_cpus
    cdef readonly s32 max_caches
    cdef public s32 nr_caches           # numbers given out
    cdef readonly s64 max_sheaves
    cdef public s64 next_sheaf
    cdef public s64 free_sheaf
    cdef public s64 next_random_seq
    cdef public s32 cpu                 # the CPU that runs
    # bytes of objects and pages are kept (zeroed, poisoned), not only free pointers
    cdef public s32 contents
    cdef public u64 random_state        # of the twin's own draws
    cdef public u64 step_mask           # which STEP_* are kept: bit number = kind; 0: off
    cdef public s64 next_step           # steps written since the ring was cleared
    cdef readonly s64 ring_size         # a power of two
    cdef public s32 step_depth
    # replay: the page of the next new slab, -1 for none; see slub_slab
    cdef public s32 page_override
    # place in random_seq where the next new slab begins, -1: drawn
    cdef public s64 next_freelist_start
    # slabs that wait for a grace period, by page.next; -1 for none
    cdef public s64 rcu_slab_first
    cdef public s64 rcu_slab_last
    cdef public s64 rcu_sheaf_first     # sheaves of kfree_rcu() that wait for one, by sheaf.next
    cdef public s64 rcu_sheaf_last
    # replay: sheaves take no memory, their kmalloc is among the demands
    cdef public s32 sheaves_unbacked
    cdef public u64 random_kmalloc_seed
    cdef public s32 last_alloc_from     # who served the last alloc_pages(): ALLOC_FROM_*
    cdef public s32 rmqueue_mode        # what __rmqueue() tries first while the zone lock is held
    # replay: 1 while an interrupt runs inside a per-CPU list's lock
    cdef public s32 pcp_locked
    # replay: 1 or 0 decides the next claim of a pageblock, -1: the twin does
    cdef public s32 claim_override
    # kswapd reclaimed nothing MAX_RECLAIM_RETRIES times: nobody wakes it (c73322d098e4, 4.12)
    cdef public s32 kswapd_hopeless
    # the task that runs was chosen by the OOM killer: it may use half of the reserves
    # (tsk_is_oom_victim(), cd04ae1e2dc8, 4.14)
    cdef public s32 oom_victim
    # direct reclaim makes progress: what the per-CPU lists hold back is drained then
    # (__alloc_pages_direct_reclaim()). Else the OOM killer takes whom memory fails
    cdef public s32 reclaims
    cdef public s32 page_group_by_mobility_disabled
    cdef public s64 min_free_kbytes
    cdef public s64 watermark_scale_factor   # 1/10000
    cdef public s64 watermark_boost_factor   # 1/10000

    cdef readonly object profile        # the facts the machine was made from
    cdef public list cache_names        # by cache number
    cdef public dict cache_aliases      # names of merged caches by cache number
    cdef public list complaints         # what the kernel would have printed: dicts, see complain()
    cdef public dict policy             # swapped policies: slot -> callable, see policy.py
    cdef public size_t fallback_policy  # the slot fallback as a C function, 0: none
    cdef public s32 kmalloc_classed     # kmalloc_class holds, not kmalloc_index()'s rule
    # bytes and end of the name of each kmalloc index, where they are not the kernel's
    cdef public list kmalloc_info
    # functions that the running task is in, outermost first: symbols as a report prints them
    cdef public list frames
    cdef public object tasks            # sched.Tasks, None until a task is made
    cdef public s32 checkers            # CHECK_*: which checkers are on
    cdef public object kasan            # the checkers that are on, else None
    cdef public object kmemleak
    cdef public object commit           # memory promised to processes: a Commit, None until used
    cdef public object vmalloc          # the state of vmalloc.py, None until it is first used
    cdef public object paging           # paging.Paging, None until it is first asked for
    cdef public u64 jiffies             # the machine's clock: it goes on when it is told to
    # debug caches (slub_debug=) keep and check red zones, poison and tracks in RAM
    cdef public s32 slub_bytes
    cdef public object slub_debug       # their options and reports: a SlubDebug, else None
    cdef public u64 orig_size           # bytes asked of kmalloc, while a debug cache serves it
    cdef dict _buffers
    cdef dict _counts
    cdef dict _views

    cpdef object view(self, str name)

cdef void complain(MM mm, s32 kind, u64 address, s64 detail) noexcept with gil
cpdef void report(MM mm, s32 kind, u64 address, str text)

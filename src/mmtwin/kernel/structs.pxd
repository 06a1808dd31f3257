# The twin's records. This file is the one text of them: C reads it, and structs.py makes the same
# layout out of it with ctypes for the uncompiled run (so a field here is one plain line
# `type name` or `type name[count]`, and a struct starts with `cdef struct`).

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64
ctypedef int s32
ctypedef long long s64
# page frame number; as a list entry also the number of a list head
ctypedef long long pfn_t
ctypedef unsigned long long virt_t  # kernel virtual address
ctypedef unsigned int gfp_t

# struct page, 64 bytes. The kernel's unions overlay these differently in each version; the twin
# has one layout and versions/ knows how each kernel shows it.
cdef struct page_t:
    u32 flags                     # PG_* of mm.pxd
    u16 zone                      # number in mm.zone
    # of a free block, a compound page or a block on a pcp list (its head)
    u8 order
    u8 migratetype                # of a page on a pcp list (page->index, pcp_migratetype)
    s64 next                      # lru or slab_list; `next` alone: CPU partial list of slabs
    s64 prev
    # slab: first free object, 0 for none; user page: mapping, bit 0 PAGE_MAPPING_ANON
    u64 freelist
    u16 inuse                     # slab
    u16 objects                   # slab
    u8 frozen                     # slab
    u8 users                      # what the page is for: USE_*
    # first slab of a CPU partial list: free objects on it (before 5.16)
    u16 pobjects
    s32 cache                     # slab: number in mm.cache, -1 for none
    s32 refcount
    s32 mapcount                  # page table entries that map it; PMDs: in `slabs` of page 1
    u32 slabs                     # first slab of a CPU partial list: slabs on it
    s64 compound_head             # tail page: its head's pfn; other user page: its index

cdef struct zone_t:
    s32 node
    s32 type                      # ZONE_*
    s64 start_pfn
    s64 spanned_pages
    s64 present_pages
    s64 managed_pages
    s64 watermark[4]              # MIN, LOW, HIGH, PROMO, without the boost
    s64 watermark_boost
    s64 boost_ended               # what kswapd, as it is taken for granted, ended last
    s64 lowmem_reserve[8]         # by the highest zone type the caller may use
    s64 nr_free_pages             # NR_FREE_PAGES, with what CPUs have not added up yet
    s64 nr_free_behind            # what all of them have not
    s64 stat_threshold            # most that one of them holds back
    s64 nr_free_cma
    s64 nr_reserved_highatomic
    s64 nr_free_highatomic
    s64 free_list                 # list head of order 0, migratetype 0; the next is one further
    s64 nr_free[16]               # blocks by order
    s64 percpu_drift_mark
    s32 pageset_batch
    s32 pageset_high_min
    s32 pageset_high_max
    s32 contiguous
    s32 flags                     # ZONE_BOOSTED_WATERMARK, ...
    s32 nr_isolate_pageblock
    s64 stat[16]                  # ZSTAT_* of constants.pxd

# struct per_cpu_pages of one zone and CPU.
cdef struct pcp_t:
    s32 count                     # pages
    s32 high
    s32 high_min
    s32 high_max
    s32 batch
    s32 flags
    s32 alloc_factor
    s32 free_count                # free_factor before 6.7
    s32 expire
    s32 nr_lists
    s64 lists                     # list head of index 0
    s64 free_diff                 # vm_stat_diff[NR_FREE_PAGES]
    s64 stat[8]                   # PCPSTAT_*

cdef struct kmem_cache_t:
    u32 size
    u32 object_size
    u32 inuse                     # offset to metadata
    u32 offset                    # of the free pointer
    u32 align
    u32 red_left_pad
    u32 flags                     # SLAB_* of slub_defs.pxd
    u32 useroffset
    u32 usersize
    u32 oo_order
    u32 oo_objects
    u32 min_order
    u32 min_objects
    u32 min_partial
    u32 cpu_partial               # objects
    u32 cpu_partial_slabs
    u32 sheaf_capacity
    gfp_t allocflags
    s32 refcount
    s32 ctor                      # number of the constructor, 0 for none
    u16 dead
    u16 alive                     # the record is in use
    s32 defrag_ratio              # remote_node_defrag_ratio: 0 .. 1000
    u64 random                    # key of hardened free pointers
    s64 random_seq                # index of its first entry in mm.random_seq, -1 for none
    u64 address                   # of the kernel's struct kmem_cache, where known

cdef struct kmem_cache_cpu_t:
    u64 freelist
    u64 tid
    s64 slab                      # pfn, -1 for none
    s64 partial                   # pfn of the first slab of the CPU partial list, -1 for none
    s64 sheaf_main                # numbers in mm.sheaf, -1 for none (6.18 and later)
    s64 sheaf_spare
    s64 sheaf_rcu
    s64 stat[48]                  # STAT_* of slub_defs.pxd

cdef struct kmem_cache_node_t:
    s64 nr_partial
    s64 partial                   # list head
    s64 nr_slabs
    s64 total_objects
    s64 barn_full                 # list head of full sheaves
    s64 barn_empty
    s64 nr_full
    s64 nr_empty

cdef struct sheaf_t:
    # on a barn's list: sheaf number, -1 ends it; also of free records
    s64 next
    s64 prev
    u32 size
    u32 capacity
    s32 cache
    u16 node
    u16 pfmemalloc                # holds objects of the reserves
    # of the kernel's struct slab_sheaf (a kmalloc object), 0 if unknown
    u64 address
    u64 objects[64]

# One step or event of the twin: what a tracepoint of the kernel would say, and finer steps.
cdef struct step_t:
    u16 kind                      # STEP_* of trace.pxd
    u16 cpu
    u32 depth
    s64 args[6]

# Constants of the kernel floor: one text for C and, through constants.py, for Python.
# One `NAME = value` a line inside `cdef enum:`.

# page_t.flags. The twin's own numbers: versions/page_flags.py knows each kernel's.
cdef enum:
    PG_reserved = 0x1
    PG_buddy = 0x2                # head of a free block (PageBuddy)
    PG_head = 0x4                 # head of a compound page
    PG_tail = 0x8                 # compound_head() is another page
    PG_slab = 0x10
    PG_pcp = 0x20                 # head of a block on a per-CPU list (the twin's own mark)
    PG_pfmemalloc = 0x40
    PG_large_kmalloc = 0x80
    PG_table = 0x100              # page table page
    PG_hole = 0x200               # no memory there
    PG_partial = 0x400            # slab on its node's partial list (SL_partial, 6.8)
    # of user pages and the page cache
    PG_lru = 0x800
    PG_active = 0x1000
    PG_referenced = 0x2000
    PG_uptodate = 0x4000
    PG_dirty = 0x8000
    PG_swapbacked = 0x10000
    PG_anon_exclusive = 0x20000
    PG_mlocked = 0x40000
    PG_unevictable = 0x80000
    PG_readahead = 0x100000

# enum zone_type, all of them; a profile says which exist.
cdef enum:
    ZONE_DMA = 0
    ZONE_DMA32 = 1
    ZONE_NORMAL = 2
    ZONE_HIGHMEM = 3
    ZONE_MOVABLE = 4
    ZONE_DEVICE = 5

# enum migratetype. CMA and ISOLATE sit where the configuration puts them: mm.migrate_cma,
# mm.migrate_isolate.
cdef enum:
    MIGRATE_UNMOVABLE = 0
    MIGRATE_MOVABLE = 1
    MIGRATE_RECLAIMABLE = 2
    MIGRATE_PCPTYPES = 3
    MIGRATE_HIGHATOMIC = 3

# The twin's gfp bits (those of 5.10). Recorded ones are translated when a recording is read.
cdef enum:
    __GFP_DMA = 0x1
    __GFP_HIGHMEM = 0x2
    __GFP_DMA32 = 0x4
    __GFP_MOVABLE = 0x8
    __GFP_RECLAIMABLE = 0x10
    __GFP_HIGH = 0x20
    __GFP_IO = 0x40
    __GFP_FS = 0x80
    __GFP_ZERO = 0x100
    __GFP_ATOMIC = 0x200
    __GFP_DIRECT_RECLAIM = 0x400
    __GFP_KSWAPD_RECLAIM = 0x800
    __GFP_WRITE = 0x1000
    __GFP_NOWARN = 0x2000
    __GFP_RETRY_MAYFAIL = 0x4000
    __GFP_NOFAIL = 0x8000
    __GFP_NORETRY = 0x10000
    __GFP_MEMALLOC = 0x20000
    __GFP_COMP = 0x40000
    __GFP_NOMEMALLOC = 0x80000
    __GFP_HARDWALL = 0x100000
    __GFP_THISNODE = 0x200000
    __GFP_ACCOUNT = 0x400000
    __GFP_ZEROTAGS = 0x800000
    __GFP_SKIP_ZERO = 0x1000000
    __GFP_SKIP_KASAN = 0x2000000
    __GFP_NOLOCKDEP = 0x4000000
    __GFP_NO_OBJ_EXT = 0x8000000

# What the kernel would have said: see complain() of mm.py.
cdef enum:
    # "kernel BUG at mm/slub.c": set_freepointer() of the list's own head
    COMPLAINT_DOUBLE_FREE = 1
    COMPLAINT_OBJECT_FREE = 2         # "Object already free" of a debug cache
    COMPLAINT_INVALID_OBJECT = 3      # "Invalid object pointer": not where an object begins
    COMPLAINT_NOT_SLAB = 4            # kfree() of a page that is neither slab nor compound
    COMPLAINT_WRONG_CACHE = 5         # "Wrong slab cache": kmem_cache_free() with another cache
    COMPLAINT_OBJECTS_REMAIN = 6      # "Objects remaining in ... on __kmem_cache_shutdown()"
    COMPLAINT_CORRUPT_FREELIST = 7    # "Freechain corrupt"
    COMPLAINT_BAD_GFP = 8             # "Unexpected gfp ... Fix your code!"
    COMPLAINT_BAD_CACHE = 9           # "kmem_cache_create(...) failed"
    COMPLAINT_OUT_OF_MEMORY = 10      # "SLUB: Unable to allocate memory on node"
    COMPLAINT_BAD_ADDRESS = 11        # an address outside the direct map: the kernel would fault
    COMPLAINT_OVERWRITTEN = 12        # red zone, poison or padding of a debug cache
    COMPLAINT_SLAB_STATE = 13         # counters of a debug cache's slab are wrong
    COMPLAINT_BAD_OPTION = 14         # "slub_debug option '%c' unknown. skipped"

cdef enum:
    COMPLAINT_BAD_PAGE = 32           # "Bad page state": a page is freed that is free already
    COMPLAINT_BAD_ORDER = 33          # a block is freed whose pfn its order does not divide
    COMPLAINT_PAGE_ALLOC = 34         # "page allocation failure: order:%u"
    COMPLAINT_ORDER = 35              # WARN_ON_ONCE_GFP() of __alloc_pages(): no order as large
    COMPLAINT_KASAN = 96              # "BUG: KASAN: ...", a report

cdef enum:
    # "vmalloc error: ...": an allocation of address space, structures, pages or tables failed
    COMPLAINT_VMALLOC = 48
    COMPLAINT_VFREE = 49              # "Trying to vfree() nonexistent vm area"
    COMPLAINT_VMALLOC_ZERO = 50       # WARN_ON_ONCE(!size) of __vmalloc_node_range()
    COMPLAINT_VMAP = 51               # WARN_ON_ONCE() of vmap(): flags that it must not have
    COMPLAINT_KVMALLOC = 52           # WARN_ON_ONCE() of kvmalloc(): more than INT_MAX

cdef enum:
    COMPLAINT_STACK_OVERFLOW = 64     # a task ran over the end of its kernel stack
    COMPLAINT_STACK_END = 65          # "corrupted stack end detected inside scheduler"

cdef enum:
    COMPLAINT_KMEMLEAK = 80           # kmemleak_warn()

cdef enum:
    # mm.checkers
    CHECK_KASAN = 1
    CHECK_KMEMLEAK = 2

# alloc_flags of the page allocator (mm/internal.h): the low bits choose a watermark.
cdef enum:
    ALLOC_WMARK_MIN = 0x0
    ALLOC_WMARK_LOW = 0x1
    ALLOC_NO_WATERMARKS = 0x4
    ALLOC_WMARK_MASK = 0x3
    ALLOC_OOM = 0x8
    ALLOC_NON_BLOCK = 0x10            # ALLOC_HARDER before 6.3
    ALLOC_MIN_RESERVE = 0x20          # ALLOC_HIGH before 6.3
    ALLOC_CPUSET = 0x40
    ALLOC_CMA = 0x80
    ALLOC_NOFRAGMENT = 0x100
    ALLOC_HIGHATOMIC = 0x200
    ALLOC_KSWAPD = 0x800
    ALLOC_RESERVES = 0x238            # NON_BLOCK, MIN_RESERVE, HIGHATOMIC, OOM

# zone_t.flags
cdef enum:
    ZONE_BOOSTED_WATERMARK = 0x1
    ZONE_RECLAIM_ACTIVE = 0x2
    ZONE_BELOW_HIGH = 0x4

# pcp_t.flags
cdef enum:
    PCPF_PREV_FREE_HIGH_ORDER = 0x1
    PCPF_FREE_HIGH_BATCH = 0x2

# How __free_one_page() is asked to free (fpi_t).
cdef enum:
    FPI_NONE = 0x0
    FPI_TO_TAIL = 0x2

# zone_t.stat, pcp_t.stat
cdef enum:
    ZSTAT_NUMA_HIT = 0
    ZSTAT_NUMA_MISS = 1
    ZSTAT_NUMA_FOREIGN = 2
    ZSTAT_NUMA_LOCAL = 4
    ZSTAT_NUMA_OTHER = 5
    ZSTAT_BUDDY_ALLOC = 6             # blocks taken from the free lists, not for pcp lists
    ZSTAT_BUDDY_FREE = 7              # blocks freed straight to the free lists
    ZSTAT_FALLBACK = 8                # allocations served from another migratetype (extfrag)
    ZSTAT_CLAIM = 9                   # of these, pageblocks that changed their type
    PCPSTAT_ALLOC = 0                 # blocks given out
    PCPSTAT_REFILL = 1                # times a list was filled
    PCPSTAT_REFILL_BLOCKS = 2
    PCPSTAT_FREE = 3                  # blocks put on
    PCPSTAT_DRAIN = 4                 # times lists were drained
    PCPSTAT_DRAIN_BLOCKS = 5
    PCPSTAT_SEEN = 6                  # allocations and frees at the last refresh_cpu_vm_stats()

# mm.vm_event: /proc/vmstat counters that the twin's subsystems count
cdef enum:
    VM_PGALLOC = 0                    # + zone type
    VM_ALLOCSTALL = 8                 # + zone type
    VM_PGFREE = 16
    VM_PAGEOUTRUN = 17                # kswapd would have been woken

# Places of a node in mm.zonelist, pfns in mm.bulk_page, rounds until a remote list is drained.
cdef enum:
    ZONELIST_PLACES = 64
    BULK_PAGES = 512
    EXPIRE_ROUNDS = 3
    PAGE_ALLOC_COSTLY_ORDER = 3

# mm.last_alloc_from
cdef enum:
    ALLOC_FROM_PCP = 0
    ALLOC_FROM_PCP_REFILL = 1
    ALLOC_FROM_ZONE = 2

cdef enum:
    WMARK_MIN = 0
    WMARK_LOW = 1
    WMARK_HIGH = 2
    WMARK_PROMO = 3

# page_t.users: what an allocated page is for, as far as its allocator said so.
cdef enum:
    USE_UNKNOWN = 0
    USE_FREE = 1
    USE_SLAB = 2
    USE_LARGE_KMALLOC = 3
    USE_USER = 4
    USE_PAGE_CACHE = 5
    USE_PAGE_TABLE = 6
    USE_STACK = 7
    USE_VMALLOC = 8
    USE_RESERVED = 9
    USE_KERNEL = 10

cdef enum:
    # mm.has.kfree_pages: which pages of no slab kfree() frees, besides compound ones
    KFREE_ANY = 1                 # all, with a warning
    KFREE_MARKED = 2              # only what is marked as a large kmalloc
    KFREE_HEAD = 3                # ... if the address lies in its first page

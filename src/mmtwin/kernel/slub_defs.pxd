# Numbers of SLUB and kmalloc, one text for C and Python (slub_defs.py): one `NAME = value` a line.

# slab_flags_t. The twin's own numbers, those of 5.10 where it has the flag; versions/ has others.
cdef enum:
    SLAB_OBJ_EXT_IN_OBJ = 0x1
    SLAB_NO_OBJ_EXT = 0x2
    SLAB_NO_SHEAVES = 0x4
    SLAB_OBJECT_POISON = 0x8      # __OBJECT_POISON
    SLAB_CONSISTENCY_CHECKS = 0x100
    SLAB_RED_ZONE = 0x400
    SLAB_POISON = 0x800
    SLAB_KMALLOC = 0x1000
    SLAB_HWCACHE_ALIGN = 0x2000
    SLAB_CACHE_DMA = 0x4000
    SLAB_CACHE_DMA32 = 0x8000
    SLAB_STORE_USER = 0x10000
    SLAB_RECLAIM_ACCOUNT = 0x20000
    SLAB_PANIC = 0x40000
    SLAB_TYPESAFE_BY_RCU = 0x80000
    SLAB_TRACE = 0x200000
    SLAB_NOLEAKTRACE = 0x800000
    SLAB_NO_MERGE = 0x1000000
    SLAB_FAILSLAB = 0x2000000
    SLAB_ACCOUNT = 0x4000000
    SLAB_KASAN = 0x8000000
    SLAB_NO_USER_FLAGS = 0x10000000
    # any of these, and the cache has no fast path: SLAB_DEBUG_FLAGS
    SLAB_DEBUG_FLAGS = 0x210d00
    # those whose metadata enlarges objects: DEBUG_METADATA_FLAGS
    SLAB_METADATA_FLAGS = 0x10c00
    SLAB_NEVER_MERGE = 0xba90c00  # but the checks alone do not prevent it
    SLAB_MERGE_SAME = 0x402c000

# enum stat_item, those of every version; place in kmem_cache_cpu_t.stat.
cdef enum:
    STAT_ALLOC_FASTPATH = 0
    STAT_ALLOC_SLOWPATH = 1
    STAT_FREE_FASTPATH = 2
    STAT_FREE_SLOWPATH = 3
    STAT_FREE_FROZEN = 4
    STAT_FREE_ADD_PARTIAL = 5
    STAT_FREE_REMOVE_PARTIAL = 6
    STAT_ALLOC_FROM_PARTIAL = 7
    STAT_ALLOC_SLAB = 8
    STAT_ALLOC_REFILL = 9
    STAT_ALLOC_NODE_MISMATCH = 10
    STAT_FREE_SLAB = 11
    STAT_CPUSLAB_FLUSH = 12
    STAT_DEACTIVATE_FULL = 13
    STAT_DEACTIVATE_EMPTY = 14
    STAT_DEACTIVATE_TO_HEAD = 15
    STAT_DEACTIVATE_TO_TAIL = 16
    STAT_DEACTIVATE_REMOTE_FREES = 17
    STAT_DEACTIVATE_BYPASS = 18
    STAT_ORDER_FALLBACK = 19
    STAT_CPU_PARTIAL_ALLOC = 22
    STAT_CPU_PARTIAL_FREE = 23
    STAT_CPU_PARTIAL_NODE = 24
    STAT_CPU_PARTIAL_DRAIN = 25
    STAT_ALLOC_PCS = 26
    STAT_FREE_PCS = 27
    STAT_FREE_RCU_SHEAF = 28
    STAT_FREE_RCU_SHEAF_FAIL = 29
    STAT_SHEAF_FLUSH = 30
    STAT_SHEAF_REFILL = 31
    STAT_SHEAF_ALLOC = 32
    STAT_SHEAF_FREE = 33
    STAT_BARN_GET = 34
    STAT_BARN_GET_FAIL = 35
    STAT_BARN_PUT = 36
    STAT_BARN_PUT_FAIL = 37
    STAT_SHEAF_PREFILL_FAST = 38
    STAT_SHEAF_PREFILL_SLOW = 39
    STAT_SHEAF_PREFILL_OVERSIZE = 40
    STAT_SHEAF_RETURN_FAST = 41
    STAT_SHEAF_RETURN_SLOW = 42

# enum kmalloc_cache_type: the twin's own numbers, the same in every version.
cdef enum:
    KMALLOC_NORMAL = 0
    KMALLOC_RANDOM_1 = 1          # .. 15: CONFIG_RANDOM_KMALLOC_CACHES
    KMALLOC_RECLAIM = 16
    KMALLOC_DMA = 17
    KMALLOC_CGROUP = 18
    KMALLOC_NO_OBJ_EXT = 19
    KMALLOC_BUCKETS = 20          # the first of kmem_buckets_create()'s sets
    NR_KMALLOC_TYPES = 32
    KMALLOC_INDEXES = 32

# Bytes of debug caches (include/linux/poison.h), and whose track: TRACK_ALLOC, TRACK_FREE.
cdef enum:
    SLUB_RED_INACTIVE = 0xbb
    SLUB_RED_ACTIVE = 0xcc
    POISON_INUSE = 0x5a
    POISON_FREE = 0x6b
    POISON_END = 0xa5
    TRACK_ALLOC = 0
    TRACK_FREE = 1

# What the checks of debug caches find (slub_report.py has the words), and how they mend it.
cdef enum:
    FOUND_LEFT_REDZONE = 0
    FOUND_RIGHT_REDZONE = 1
    FOUND_KMALLOC_REDZONE = 2
    FOUND_ALIGNMENT_PADDING = 3
    FOUND_POISON = 4
    FOUND_END_POISON = 5
    FOUND_OBJECT_PADDING = 6
    FOUND_SLAB_PADDING = 7
    FOUND_FREEPOINTER = 8
    FOUND_FREECHAIN = 9
    FOUND_FREELIST_HEAD = 10
    FOUND_FREELIST_CYCLE = 11
    FOUND_BAD_NEXT = 12           # the object to be given out is none
    FOUND_OBJECT_FREE = 13
    FOUND_INVALID_OBJECT = 14
    FOUND_OTHER_CACHE = 15
    FOUND_OBJECTS_MAX = 16
    FOUND_INUSE_MAX = 17
    FOUND_DISABLED = 18
    FOUND_OBJECTS_NUMBER = 19
    FOUND_OBJECT_COUNT = 20
    FOUND_TOO_FEW = 21
    FOUND_BULK_COUNT = 22
    FOUND_WRONG_CACHE = 23
    FIX_ALL_USED = 32
    FIX_FREELIST_CLEARED = 33
    FIX_OBJECTS_NUMBER = 34
    FIX_OBJECT_COUNT = 35
    FIX_NOT_FREED = 36
    FIX_ISOLATED = 37
    TELL_TRACE = 40               # slub_debug=T: an object is taken or freed

cdef enum:
    ZERO_SIZE_PTR = 16
    NUMA_NO_NODE = -1
    MIN_PARTIAL = 5
    MAX_PARTIAL = 10
    MAX_OBJS_PER_PAGE = 32767
    MAX_FULL_SHEAVES = 10
    MAX_EMPTY_SHEAVES = 10
    SHEAF_OBJECTS = 64            # room in sheaf_t.objects
    TO_HEAD = 15                  # STAT_DEACTIVATE_TO_HEAD, as the kernel's enum is used
    TO_TAIL = 16

cdef enum:
    GFP_ATOMIC = 0xa20            # __GFP_HIGH, __GFP_ATOMIC, __GFP_KSWAPD_RECLAIM
    GFP_KERNEL = 0xcc0
    GFP_NOWAIT = 0x800
    GFP_RECLAIMS = 0xc00          # __GFP_RECLAIM
    GFP_RECLAIM_MASK = 0x40beee0  # what a slab's page allocation keeps of its caller's flags
    GFP_CONSTRAINT_MASK = 0x300000
    GFP_SLAB_BUG_MASK = 0x6       # __GFP_DMA32, __GFP_HIGHMEM

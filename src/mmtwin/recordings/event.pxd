# One event of a recording, 64 bytes: the record that readers write and the replay reads.
# One text for C and for Python: event.py makes the numpy dtype EVENT and the constants of it.

ctypedef unsigned char u8
ctypedef unsigned short u16
ctypedef unsigned int u32
ctypedef unsigned long long u64
ctypedef signed char s8
ctypedef short s16
ctypedef int s32

cdef struct event_t:
    u64 time                      # ns, or the trace clock's count
    # from here to gfp as kmem events have it, so that whole runs are copied
    u16 cpu
    # common_flags: 0x8 hard interrupt, 0x10 soft interrupt (TRACE_FLAG_*)
    u8 flags
    u8 preempt                    # common_preempt_count
    s32 pid
    u64 call_site                 # kernel text address, 0 if unknown
    # object; page events: the pfn; rss_stat: size; marker: number in Recording.markers
    u64 address
    # kmalloc, kmem_cache_alloc; extfrag: fallback_order; rss_stat: mm_id; other: row
    u64 bytes_req
    u64 bytes_alloc               # kmalloc, kmem_cache_alloc; extfrag: fallback_migratetype
    u32 gfp                       # as the recorded kernel numbers them
    # number in Recording.names: the slab cache; KIND_OTHER: the event's name; -1 none
    s32 cache
    # roles.py: the demand that this page serves comes so many events later, 0: none known
    u16 ahead
    u8 order                      # page events; rss_stat: member
    s8 migratetype                # page events; -1 if the event has none
    s8 node                       # 127 for any above
    u8 kind                       # KIND_*
    u8 role                       # ROLE_*, set by roles.py
    # percpu_refill; accounted; change_ownership; rss_stat: curr; EXTRA_*
    u8 extra

# The numbers are those of the file format: never change one, add at the end.
cdef enum:
    KIND_OTHER = 0
    KIND_MARKER = 1
    KIND_KMALLOC = 2              # kmalloc and kmalloc_node
    KIND_KMEM_CACHE_ALLOC = 3     # kmem_cache_alloc and kmem_cache_alloc_node
    KIND_KFREE = 4
    KIND_KMEM_CACHE_FREE = 5
    KIND_MM_PAGE_ALLOC = 6
    KIND_MM_PAGE_FREE = 7
    KIND_MM_PAGE_FREE_BATCHED = 8
    KIND_MM_PAGE_ALLOC_ZONE_LOCKED = 9
    KIND_MM_PAGE_PCPU_DRAIN = 10
    KIND_MM_PAGE_ALLOC_EXTFRAG = 11
    KIND_RSS_STAT = 12

cdef enum:
    # not looked at yet, or neither demand nor response (markers, rss_stat)
    ROLE_NONE = 0
    ROLE_DEMAND = 1
    # what the page allocator did on its own: zone_locked, drain, extfrag, batched
    ROLE_RESPONSE = 2
    ROLE_SLAB = 3                 # page taken or given back by SLUB: a response
    ROLE_LARGE_KMALLOC = 4        # page taken or given back by a large kmalloc/kfree: a response
    ROLE_SILENT = 5               # slab page taken for objects that no event names
    ROLE_DONE = 0x80              # set in a role: carried out earlier, or told before
    ROLE_BITS = 0x7f              # of a role: without ROLE_DONE

cdef enum:
    # roles.py: in an interrupt that came while its CPU held its page lists' lock
    EXTRA_PCP_LOCKED = 0x80
    # replay/: the twin gave out the same page or object
    EXTRA_EXACT = 0x40
    # roles.py: a kmalloc within another allocation, whose event comes `ahead` later
    EXTRA_NESTED = 0x20

cdef inline event_t *as_events(size_t address, size_t count) noexcept nogil:
    return <event_t *> address

cdef inline event_t *event_at(event_t *events, long long number) noexcept nogil:
    return &events[number]

# Whether a block lies below pfn nr_pages; of what was not allocated a recording says pfn -1.
cdef inline bint block_is_within(u64 pfn, u64 order, u64 nr_pages) noexcept nogil:
    return order < 32 and pfn < nr_pages and nr_pages - pfn >= (<u64> 1) << order

cdef inline u64 wrap64(u64 value) noexcept nogil:
    return value

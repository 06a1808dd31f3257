cimport cython

from mmtwin.recordings.event cimport (
    EXTRA_NESTED, EXTRA_PCP_LOCKED, KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC,
    KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_ALLOC,
    KIND_MM_PAGE_ALLOC_EXTFRAG, KIND_MM_PAGE_ALLOC_ZONE_LOCKED, KIND_MM_PAGE_FREE,
    KIND_MM_PAGE_FREE_BATCHED,
    KIND_MM_PAGE_PCPU_DRAIN, ROLE_DEMAND, ROLE_DONE, ROLE_LARGE_KMALLOC, ROLE_RESPONSE,
    ROLE_SILENT, ROLE_SLAB, as_events, block_is_within, event_at,
    event_t, s32, u8, u32, u64,
)
from mmtwin.kernel.casts cimport as_u64
from mmtwin.recordings.sites cimport SiteTable, page_of

ctypedef event_t *event_p
ctypedef use_t *use_p
ctypedef waiting_t *waiting_p
ctypedef task_t *task_p
ctypedef pending_t *pending_p

# What is known of a page since it was last taken.
cdef struct use_t:
    u64 taken                     # number of the mm_page_alloc event + 1, 0 if not seen
    # number of the first object allocation in the same context after it + 1
    u64 demand
    u64 freed                     # number of the last mm_page_free event + 1
    s32 cache                     # number in names, -1
    s32 head                      # distance back to the block's first page
    u8 role                       # ROLE_SLAB, ROLE_LARGE_KMALLOC or 0
    u8 order
    u8 spare[6]

# A page that was taken and waits for the event of the object it was taken for.
cdef struct waiting_t:
    u64 number
    u64 pfn
    s32 pid
    u32 context

# The pages that wait on a CPU, oldest first, and those that the last object was served with.
cdef struct pending_t:
    u32 head                      # place of the oldest
    s32 count
    # whose objects no page waits for, -1 nobody known
    s32 idle_pid
    u32 idle_context
    s32 nr_served
    u32 spare
    u64 served[32]                # pfns

# What runs on a CPU, in one context (task, hard interrupt, soft interrupt, both).
cdef struct task_t:
    # number of the first event of an interrupt since the last event + 1, 0: none
    u64 burst
    # number of the last mm_page_alloc_zone_locked that no page event followed + 1
    u64 zone
    # number of the first slab page freed since the last object free + 1
    u64 slab_free
    # number of the last kmalloc of a slab's vector that no object followed + 1
    u64 vector
    s32 burst_pid
    s32 zone_pid

cdef inline task_t *as_tasks(size_t address, size_t count) noexcept nogil:
    return <task_t *> address

cdef inline task_t *task_at(task_t *tasks, s32 cpu, u8 flags) noexcept nogil:
    return &tasks[cpu * 4 + (flags >> 3 & 3)]

cdef inline long long *as_sums(size_t address, size_t count) noexcept nogil:
    return <long long *> address

cdef inline use_t *as_uses(size_t address, size_t count) noexcept nogil:
    return <use_t *> address

cdef inline waiting_t *as_waiting(size_t address, size_t count) noexcept nogil:
    return <waiting_t *> address

cdef inline use_t *use_at(use_t *uses, long long pfn) noexcept nogil:
    return &uses[pfn]

cdef inline pending_t *as_pending(size_t address, size_t count) noexcept nogil:
    return <pending_t *> address

cdef inline pending_t *pending_at(pending_t *pending, s32 cpu) noexcept nogil:
    return &pending[cpu]

cdef inline waiting_t *waiting_at(waiting_t *waiting, s32 place) noexcept nogil:
    return &waiting[place]

cdef enum:
    WAITING = 32                  # pages that wait for their object, on each CPU
    LAST_PLACE = 31
    GFP_HIGHMEM = 0x2             # __GFP_HIGHMEM: the same bit in every release
    WINDOW = 60000                # events an answer may lie ahead: `ahead` is 16 bits
    CONTEXTS = 4
    INTERRUPT = 0x18              # common_flags: hard or soft interrupt

cdef enum:
    SUM_ORDERS = 16
    SUM_TYPES = 8
    # places of Annotator.page_sums(): by order and migratetype; steals by both migratetypes
    SUM_TAKEN = 0
    SUM_FREED = 128
    SUM_STEALS = 256
    SUM_CLAIMS = 320              # steals that took the whole pageblock
    SUMS = 321

@cython.final
cdef class Annotator:
    cdef SiteTable sites
    cdef use_t *use
    cdef waiting_t *waiting
    cdef pending_t *pending       # by CPU
    cdef task_t *tasks            # by CPU and context
    cdef long long *sums
    cdef event_t *events
    cdef u64 first                # number of events[0]
    cdef readonly long long nr_pages
    cdef readonly u64 large       # kmalloc of more bytes_alloc comes from the page allocator
    cdef readonly s32 nr_cpus
    cdef u64 *vector_site         # call sites of the kmalloc of a slab's vector
    cdef readonly s32 nr_vector_sites
    cdef dict _buffers

    @cython.locals(events=event_p, event=event_p, task=task_p, i="long long")
    cpdef void annotate(self, size_t address, long long start, long long count, u64 first)
    @cython.locals(page="long long", order=s32)
    cdef void _page_alloc(self, event_t *event, u64 number) noexcept nogil
    @cython.locals(pending=pending_p, first=s32, page=waiting_p)
    cdef void _wait(self, event_t *event, u64 number) noexcept nogil
    @cython.locals(use=use_p, task=task_p)
    cdef void _page_free(self, event_t *event, u64 number) noexcept nogil
    @cython.locals(order=s32, page="long long")
    cdef void _forget_block(self, event_t *event) noexcept nogil
    @cython.locals(use=use_p)
    cdef void _page_free_batched(self, event_t *event, u64 number) noexcept nogil
    @cython.locals(pfn="long long", use=use_p, large=bint, nested=bint)
    cdef void _object_alloc(self, event_t *event, u64 number) noexcept nogil
    @cython.locals(taken=event_p, before=event_p, other=use_p, place=s32, pending=pending_p)
    cdef void _filled_with(self, use_t *use, event_t *event, u64 number) noexcept nogil
    @cython.locals(pfn="long long", use=use_p)
    cdef void _object_free(self, event_t *event, u64 number) noexcept nogil
    @cython.locals(task=task_p, page=event_p, freed=u64, pfn="long long")
    cdef bint _slab_freed(self, event_t *event, u64 number) noexcept nogil
    @cython.locals(taken=event_p, demand=event_p)
    cdef void _page_is(self, use_t *use, u8 role, s32 cache) noexcept nogil
    @cython.locals(
        place=s32, page=waiting_p, use=use_p, pending=pending_p, first=s32, kept=s32,
        at=s32, context=u32, own="long long", mine=bint)
    cdef void _served(self, event_t *event, u64 number, bint nested) noexcept nogil
    @cython.locals(place=s32)
    cdef bint _is_vector(self, event_t *event) noexcept nogil
    @cython.locals(task=task_p, vector=event_p, use=use_p, pfn="long long")
    cdef void _vectors(self, event_t *event, u64 number, bint nested) noexcept nogil
    @cython.locals(task=task_p, start=event_p, burst=u64)
    cdef void _interrupts(self, event_t *event, u64 number) noexcept nogil
    @cython.locals(taken=event_p, before=event_p, kind=u8)
    cdef bint _was_locked(
        self, event_t *event, event_t *start, u64 zone, u64 burst) noexcept nogil
    @cython.locals(number=u64)
    cdef void _mark_locked(self, u64 first, u64 last) noexcept nogil
    @cython.locals(order=u32, migratetype=s32)
    cdef void _sum(self, u32 first, event_t *event) noexcept nogil
    @cython.locals(fallback=u32)
    cdef void _steal(self, event_t *event) noexcept nogil
    @cython.locals(task=task_p, near=bint)
    cdef void _zone_served(self, event_t *event, u64 number) noexcept nogil
    cdef use_t *_use_of(self, long long pfn) noexcept nogil
    cdef event_t *_event(self, u64 number) noexcept nogil

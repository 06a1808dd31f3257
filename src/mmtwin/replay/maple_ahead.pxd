cimport cython
from libc.string cimport memset

from mmtwin.kernel.structs cimport s32, s64, u64
from mmtwin.recordings.event cimport (
    KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_ALLOC, KIND_MM_PAGE_FREE,
    ROLE_BITS, ROLE_SILENT, ROLE_SLAB, as_events, event_at, event_t,
)
from mmtwin.recordings.sites cimport as_s32

ctypedef event_t *event_p
ctypedef moment_t *moment_p

# What an event tells of maple trees.
cdef enum:
    WHAT_NONE = 0
    WHAT_ALLOC = 1                # mas_alloc_nodes(), may sleep: a node, others follow silently
    WHAT_NOWAIT = 2               # mas_alloc_nodes(), may not
    WHAT_SPARE = 3                # mas_destroy(): a node that was not used
    WHAT_LATER = 4                # a node that was replaced, after its grace period
    WHAT_ROOT = 5                 # __mt_destroy(): the root of a tree that ends
    WHAT_COPY = 6                 # vm_area_dup(): an area copied, in a fork or to be split
    WHAT_MM = 7                   # copy_process(): a struct mm_struct for a child
    WHAT_AREA = 8                 # vm_area_alloc(): a new area
    WHAT_AREA_FREE = 9            # an area goes
    WHAT_EXEC = 10                # mm_alloc(): a struct mm_struct for a new program
    WHAT_PAGE = 11                # a page for a slab of nodes
    WHAT_PAGE_FREE = 12           # such a slab given back

# Whether another task runs before a request's silent nodes are taken.
cdef enum:
    YIELDS = 1
    MAY_YIELD = 2

# What a request's tree is written for.
cdef enum:
    FOR_BOUNDS = 0                # an area's bounds change
    FOR_AREA = 1                  # an area is made
    FOR_UNMAP = 2                 # areas go

cdef enum:
    MAPLE_RANGES = 64             # of call sites
    INTERRUPT = 0x18              # event.flags: hard or soft interrupt
    RESCHED = 0x04                # event.flags: another task shall run
    MOST_EVENTS = 64              # of an interrupt, before its first node
    LOOK = 16                     # moments that a request to unmap may last
    BLOCKING = 0x400              # __GFP_DIRECT_RECLAIM, as recorded
    LEAST_SPOTS = 4096            # of a table, a power of two

# One such event.
cdef struct moment_t:
    u64 address
    s64 number                    # of the event in its block
    s64 later                     # WHAT_LATER: how many its CPU had before it
    s32 pid
    s32 what
    s32 cpu
    s32 next                      # the next free of the node; numbers of moments are + 1
    s32 follows                   # the task's next moment
    s32 exit                      # the task's next WHAT_ROOT
    s32 child                     # of a fork: the new task, 0 unknown, -1: no fork
    s32 detached                  # a tree that holds areas to be unmapped: begins or ends here
    s32 purpose                   # of a request: FOR_*
    s32 areas                     # of the task, -1 unknown
    s64 since                     # in an interrupt: number of the task's event before it, or -1
    s32 cut                       # an interrupt frees nodes right behind this one's event
    s32 ends                      # the last free of nodes in an interrupt
    s32 yields                    # another task runs between a request's first node and the rest

# Where the moments of an address or of a task begin.
cdef struct spot_t:
    u64 key
    s32 moment                    # + 1
    s32 exit                      # + 1
    s32 areas                     # of a task + 1, 0 unknown
    s32 leaving                   # its program is being replaced: areas that go are the old one's

# The call sites of a function.
cdef struct range_t:
    u64 first
    u64 last
    s64 what

cdef inline moment_t *as_moments(size_t address, size_t count) noexcept nogil:
    return <moment_t *> address

cdef inline spot_t *as_spots(size_t address, size_t count) noexcept nogil:
    return <spot_t *> address

cdef inline range_t *as_ranges(size_t address, size_t count) noexcept nogil:
    return <range_t *> address

cdef inline moment_t *moment_at(moment_t *moments, s64 place) noexcept nogil:
    return &moments[place]

cdef inline void clear_moment(moment_t *moment) noexcept nogil:
    memset(moment, 0, sizeof(moment_t))

cdef inline u64 spread(u64 key) noexcept nogil:
    return (key * <u64> 0x9E3779B97F4A7C15) >> 20

@cython.final
cdef class Ahead:
    cdef s32 name                 # numbers of caches in the recording: maple_node
    cdef s32 areas                # vm_area_struct
    cdef s32 mms                  # mm_struct
    cdef s32 *places              # numbers of the moments' events
    cdef range_t *ranges
    cdef s32 nr_ranges
    cdef moment_t *moments
    cdef readonly s64 nr_moments
    cdef spot_t *nodes            # next moments by address
    cdef spot_t *tasks            # and by task
    cdef u64 mask                 # of both tables, which have as many spots
    cdef u64 nr_nodes             # in use
    cdef u64 nr_tasks
    cdef s64 now                  # a moment near the one asked for last
    cdef size_t block
    cdef s64 block_size
    cdef s64 start                # where the last events to be carried out began
    cdef s64 done                 # number of the last event of a moment that was carried out
    cdef s64 later[64]            # nodes that RCU freed, by CPU: while moments are numbered
    cdef s64 freed[64]            # and until now
    cdef readonly set seen        # tasks
    cdef readonly dict areas_of   # those' areas, by pid
    cdef readonly dict buffers

    @cython.locals(count=s64, same=bint)
    cpdef bint look(self, size_t address, s64 start, s64 available)
    @cython.locals(events=event_p, event=event_p, i=s64, count=s64)
    cdef s64 _find(self, size_t address, s64 start, s64 available) noexcept nogil
    @cython.locals(event=event_p, before=event_p, i=s64)
    cdef s64 _cut_off(self, event_t *events, s64 number) noexcept nogil
    @cython.locals(event=event_p, following=event_p, i=s64)
    cdef s32 _yields(self, event_t *events, s64 number, s64 available) noexcept nogil
    @cython.locals(event=event_p, before=event_p)
    cdef bint _is_due(self, event_t *events, s64 number) noexcept nogil
    cdef void _take_spots(self, s64 size)
    cdef void _grow(self)
    cdef u64 _keep(self, object old, spot_t *spots, object table)
    @cython.locals(events=event_p, event=event_p, moment=moment_p, after=moment_p)
    cdef s64 _fill(self, size_t address, s64 available, s64 place) noexcept nogil
    @cython.locals(spot=u64, m=s64, _=s32)
    cdef void _link(self, moment_t *moment, s64 place) noexcept nogil
    @cython.locals(moment=moment_p, m=s64, cpu=s32)
    cdef void _forward(self) noexcept nogil
    @cython.locals(moment=moment_p, m=s64, spot=u64, child=u64)
    cdef void _count_areas(self) noexcept nogil
    @cython.locals(copies=s64, m=s64)
    cdef s64 copies(self, s64 m) noexcept nogil
    @cython.locals(i=s32)
    cdef s32 what(self, event_t *event) noexcept nogil
    @cython.locals(i=s32)
    cdef s32 _what_at(self, u64 call_site) noexcept nogil
    @cython.locals(place=u64)
    cdef u64 _spot(self, spot_t *spots, u64 key) noexcept nogil
    @cython.locals(low=s64, high=s64, middle=s64)
    cdef s64 moment_of(self, s64 number) noexcept nogil
    @cython.locals(place=u64)
    cdef s64 next_free(self, u64 address) noexcept nogil
    @cython.locals(moment=moment_p, after=moment_p, k=s64)
    cdef s64 after_interrupt(self, s64 m) noexcept nogil
    @cython.locals(moment=moment_p)
    cdef bint is_early(self, s64 m) noexcept nogil
    cdef void passed(self, s64 m) noexcept nogil
    cdef s64 exit_after(self, s64 m) noexcept nogil

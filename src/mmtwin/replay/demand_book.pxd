cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u8, as_u32, as_u64
from mmtwin.kernel.structs cimport s32, s64, u8, u16, u32, u64
from mmtwin.recordings.event cimport as_events, event_at, event_t, wrap64
from mmtwin.recordings.sites cimport as_s32
from mmtwin.replay.objects cimport Objects

ctypedef event_t *event_p
ctypedef demand_t *demand_p

# What somebody asked of the memory manager, in no machine's terms.
cdef struct demand_t:
    u64 time
    u64 bytes                     # asked for
    u64 call_site
    u32 id                        # of the demand: its ASK_FREE names it; 0 none
    u32 gfp                       # in the twin's bits
    s32 cache                     # number in the recording's names, -1 none
    s32 pid
    u16 cpu
    u8 kind                       # ASK_*
    u8 order                      # of a page demand, in pages of the recorded machine; of a stack:
                                  # whether the CPU had kept it
    u8 use                        # FOR_*
    u8 spare[3]

cdef enum:
    ASK_KMALLOC = 1
    ASK_OBJECT = 2                # kmem_cache_alloc() of a named cache
    ASK_PAGES = 3                 # a block of 1 << order pages
    ASK_AREA = 4                  # the pages of a vmalloc, one by one: `bytes`
    ASK_STACK = 5                 # a task's kernel stack
    ASK_FREE = 6
    ASK_GRACE_PERIOD = 7          # slabs of SLAB_TYPESAFE_BY_RCU that wait go back

cdef enum:
    FOR_KERNEL = 0
    FOR_USER = 1                  # movable: of processes and files
    FOR_TABLE = 2                 # a page table
    FOR_VMALLOC = 3
    FOR_STACK = 4
    FOR_OLD = 5                   # of the kernel, from before the start
    FOR_USES = 6

cdef enum:
    # places of DemandReader.counts()
    DEMANDS_FREED_UNKNOWN = 0     # frees of what was given out before the first event, or unseen
    DEMANDS_FREED_UNKNOWN_PAGES = 1
    DEMANDS_FAILED = 2            # the recorded kernel found no memory
    DEMANDS_OUTSIDE = 3           # pages outside of RAM
    DEMANDS_UNSEEN_FREES = 4      # given out again or its slab freed: its free was not recorded
    DEMANDS_UNSEEN_OBJECTS = 5    # of slabs taken for objects that no event names
    DEMANDS_UNNAMED = 6           # whose cache nothing tells
    DEMANDS_UNSEEN_AREAS = 7      # pages of vmallocs, known by their array
    DEMANDS_STACKS = 8
    DEMANDS_PLACES = 9

cdef enum:
    DEMAND_ROOM = 0x10000         # demands handed out at once
    DEMAND_SPARE = 0x3000         # most that one event becomes
    MOST_SLAB_OBJECTS = 0x1000
    SUPPRESSED = 0xFFFFFFFF       # id of what the changed machine does by itself
    PIDS = 0x1000
    FIRST_WORD = 8                # objects are aligned to so many bytes
    NS_GRACE_PERIOD = 20000000    # about what one takes on a machine with work to do
    FORK_BEGUN = 1
    FORK_MAPS = 2                 # an area for the new stack was asked for

cdef struct task_areas_t:
    s32 pid
    s32 left                      # pages of a vmalloc that have events of their own
    s32 forking                   # FORK_*, 0 where it does not fork
    s32 hidden                    # of a stack: the changed machine asks itself
    u32 stack                     # id of the new task's stack, asked for when it is known
    u32 spare

ctypedef task_areas_t *task_areas_p

cdef inline demand_t *as_demands(size_t address, size_t count) noexcept nogil:
    return <demand_t *> address

cdef inline demand_t *demand_at(demand_t *demands, s64 number) noexcept nogil:
    return &demands[number]

cdef inline task_areas_t *as_task_areas(size_t address, size_t count) noexcept nogil:
    return <task_areas_t *> address

cdef inline task_areas_t *task_areas_at(task_areas_t *tasks, s64 place) noexcept nogil:
    return &tasks[place]

cdef class DemandBook:
    cdef readonly Objects objects       # by recorded address; `twin` is the demand's id
    cdef demand_t *demands
    cdef readonly s64 nr_demands
    cdef event_t *events
    cdef s64 available
    cdef s64 *count
    cdef u32 *bits
    cdef u32 *page_id                   # by pfn
    cdef u8 *live                       # by pfn: objects known to begin in it, at most 255
    cdef u32 *left                      # by id: pages not yet freed
    cdef u32 *companion                 # by id: what goes with it
    cdef u32 *free_id
    cdef u64 *size_of                   # by number in names: bytes from object to object
    cdef u64 *bulk_site
    cdef u64 *hidden_site
    cdef u64 *area_site
    cdef u64 *route_site                # sorted
    cdef s32 *route_cache
    cdef task_areas_t *tasks
    cdef s64 nr_free_ids
    cdef s64 next_id
    cdef s64 max_ids
    cdef s64 nr_pages
    cdef s64 nr_names
    cdef s64 nr_bulk_sites
    cdef s64 nr_hidden_sites
    cdef s64 nr_area_sites
    cdef s64 nr_routes
    cdef u64 page_offset
    cdef u64 large
    cdef u64 grace_due
    cdef s32 page_shift
    cdef s32 task_cache
    cdef s32 cred_cache
    cdef u32 table_gfp
    cdef u32 table_spare_gfp
    cdef u32 stack_bytes
    cdef bint bulk_unseen
    cdef bint own_stacks
    cdef bint keeps_stacks
    cdef size_t nothing                 # address of an event of no kind
    cdef dict _buffers

    @cython.locals(demand=demand_p, id=u32)
    cpdef void adopt_object(
        self, u64 address, s32 cache, u64 bytes, bint kmalloc, bint task, u32 gfp)
    @cython.locals(demand=demand_p, id=u32, place=s64)
    cpdef void adopt_pages(self, s64 pfn, s32 order, u32 gfp, s32 use)
    @cython.locals(id=u32)
    cpdef void give_back_object(self, u64 address)
    cpdef u64 site_of(self, u64 address)
    cpdef void forget(self)
    @cython.locals(id=u32)
    cdef u32 _new_id(self) noexcept nogil
    @cython.locals(demand=demand_p)
    cdef demand_t *_emit(self, event_t *event, s32 kind, u32 id) noexcept nogil
    @cython.locals(other=u32)
    cdef void _give_back(self, event_t *event, u32 id) noexcept nogil
    @cython.locals(demand=demand_p)
    cdef void _stack(self, event_t *event, u32 id, bint kept) noexcept nogil
    cdef void _fork(self, event_t *event, u32 id, task_areas_t *task) noexcept nogil
    cdef void _forked(self, event_t *event, task_areas_t *task) noexcept nogil
    @cython.locals(pfn=s64)
    cdef void _know(self, u64 address, u32 id, u64 call_site, u64 bytes) noexcept nogil
    @cython.locals(id=u32, pfn=s64)
    cdef u32 _forget_object(self, u64 address) noexcept nogil
    @cython.locals(place=s64)
    cdef void _know_pages(self, event_t *event, u32 id) noexcept nogil
    @cython.locals(id=u32)
    cdef void _leave(self, event_t *event, s64 pfn) noexcept nogil
    @cython.locals(place=s64)
    cdef bint _is_site(self, u64 *sites, s64 count, u64 site) noexcept nogil
    @cython.locals(low=s64, high=s64, middle=s64)
    cdef s32 _route(self, u64 site, s32 cache) noexcept nogil
    @cython.locals(task=task_areas_p)
    cdef task_areas_t *_task_of(self, s32 pid) noexcept nogil

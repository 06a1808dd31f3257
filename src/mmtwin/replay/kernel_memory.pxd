cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u8, as_u64
from mmtwin.kernel.structs cimport s32, s64, u8, u32, u64
from mmtwin.recordings.event cimport (
    KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_ALLOC,
    KIND_MM_PAGE_ALLOC_ZONE_LOCKED, KIND_MM_PAGE_FREE, KIND_OTHER, as_events, block_is_within,
    event_at, event_t,
)
from mmtwin.replay.late_counters cimport LateCounters, undisturbed
from mmtwin.replay.table_owners cimport TableOwners

ctypedef event_t *event_p

cdef enum:
    INTERRUPT = 0x18              # event.flags: hard or soft interrupt
    AREAS = 16384                 # places of the table of vmalloc areas, a power of two
    MOST_AREAS = 12288
    MARKS = 4096                  # a power of two
    SITE_MARKS = 1024             # the same
    RUNS = 256                    # tasks whose last page tables are remembered, a power of two
    RUN_TABLES = 8
    DEATHS = 4096                 # a power of two
    LEAST_CHAINS = 8              # so many before a pause tells anything
    MOST_GAP = 4                  # a pause: so many times what two tables of a fault take
    TRUSTED = 20                  # time tells something where at most one in so many is uneven
    # self.table, by pfn
    TABLE_UNCOUNTED = 1           # a page table of a level that NR_PAGETABLE does not count
    TABLE_COUNTED = 2

cdef enum:
    # what an event's name or cache tells
    WHAT_TASK = 1                 # task_struct
    WHAT_SIGHAND = 2              # sighand_struct: released with the last thread
    WHAT_MM = 3                   # mm_struct
    WHAT_FAULT = 4                # within a page fault: anon_vma and its chains
    WHAT_EXIT = 5                 # sched_process_exit
    WHAT_CRED = 6                 # credentials, pid: what a fork allocates behind the stack
    WHAT_FILES = 7                # files_struct
    WHAT_LOCK = 8                 # lock of a page table

cdef enum:
    # counters that CPUs add up late: places of self.shown
    COUNTER_STACKS = 0            # NR_KERNEL_STACK_KB
    COUNTER_TABLES = 1            # NR_PAGETABLE
    COUNTER_VMALLOC = 2           # NR_VMALLOC

# A task's last page tables: what it allocated in one fault or for one area.
cdef struct run_t:
    s32 pid
    s32 tables
    s32 new_mm                    # it just allocated an mm_struct
    s32 forking                   # it just allocated a task_struct
    s32 first                     # it has a new address space without tables
    s64 pfn[8]

cdef inline run_t *as_runs(size_t address, size_t count) noexcept nogil:
    return <run_t *> address

cdef inline run_t *run_at(run_t *runs, s64 place) noexcept nogil:
    return &runs[place]

ctypedef run_t *run_p

@cython.final
cdef class KernelMemory:
    cdef u8 *what                 # WHAT_* by number in the recording's names
    cdef s64 nr_names
    cdef u64 *site
    cdef s64 nr_sites
    cdef u8 *table
    cdef u64 nr_pages
    cdef u64 *area
    cdef s64 *area_pages
    cdef u8 *mark
    cdef u8 *site_mark            # by a call site's low bits: one of `site` may be among them
    cdef s64 nr_areas
    cdef run_t *runs
    cdef bint locks               # page tables that count have locks of their own
    cdef s64 *cached              # by CPU: stacks that it keeps
    cdef s64 *died                # of the newest deaths: the CPU + 1 where the stack waits for RCU
    cdef s64 deaths               # how many there were
    cdef s32 nr_cpus
    cdef u32 pgtable_gfp
    cdef u32 comp_gfp
    cdef u32 zero_gfp
    cdef s32 counted_levels
    cdef bint counts_top
    cdef TableOwners owners
    cdef bint plain               # one CPU, and nothing of `owners`
    cdef bint owned               # page tables stop counting when a process ends
    cdef u64 *ranges              # of functions: first address, behind the last, ...
    cdef s64 nr_pid_ranges
    cdef s64 nr_ranges
    cdef u64 last                 # when the last event was
    cdef u64 gap                  # since the last event of a task, less refills and interrupts
    cdef bint interrupted
    cdef s64 chains               # faults that took several tables for sure
    cdef s64 chains_uneven        # of them those far from the mean
    cdef u64 chain_time           # from table to table in these, all together
    cdef u64 tick                 # of the clock, in a second; 0: it tells no time
    cdef public LateCounters late
    cdef bint overstep
    cdef s64 stack_kb
    cdef bint vmalloc_late        # CPUs add up vmalloc's pages late
    cdef s64 stack_parts          # account_kernel_stack() adds a stack up in so many parts
    cdef bint exits
    cdef s64 left                 # tasks in do_exit() whose signal handlers are not released yet
    cdef bint caches_stacks
    cdef bint freed_by_rcu
    cdef bint put_late            # a dead task's stack goes with its task_struct
    cdef public s64 tasks         # with a stack that KernelStack counts
    cdef public s64 dead          # of the others, those whose task_struct is still there
    cdef public s64 vmalloc_pages
    cdef public s64 page_tables
    cdef public s64 stacks_predicted    # forks, by where their stack comes from
    cdef public s64 stacks_exact
    cdef public s64 new_stacks          # stacks that vmalloc made
    cdef dict _buffers

    cpdef void add(self, size_t address, s64 start, s64 stop)
    cdef void _interlude(self, event_t *event) noexcept nogil
    cdef void _passed(self, event_t *event) noexcept nogil
    @cython.locals(part=s64)
    cdef void _count_stack(self, s32 cpu, s32 sign) noexcept nogil
    @cython.locals(events=event_p, event=event_p, i=s64)
    cdef void _add(self, size_t address, s64 start, s64 stop) noexcept nogil
    @cython.locals(what=s32, run=run_p)
    cdef void _event(self, event_t *event) noexcept nogil
    cdef void _object_alloc(self, event_t *event, s32 what, run_t *run) noexcept nogil
    cdef void _count_vmalloc(self, s32 cpu, s64 pages) noexcept nogil
    @cython.locals(pages=s64)
    cdef void _kmalloc(self, event_t *event, run_t *run) noexcept nogil
    cdef void _object_free(self, event_t *event, s32 what) noexcept nogil
    @cython.locals(full=bint)
    cdef void _task_died(self, s32 cpu) noexcept nogil
    cdef void _task_freed(self, s32 cpu) noexcept nogil
    cdef void _stack_came(self, event_t *event, run_t *run, bint new) noexcept nogil
    @cython.locals(place=s64, level=s32, change=s64, full=bint)
    cdef void _table_alloc(self, event_t *event, run_t *run) noexcept nogil
    @cython.locals(gap=u64, mean=u64)
    cdef bint _other_fault(self, event_t *event, run_t *run) noexcept nogil
    cdef s64 _mark_table(self, event_t *event, s64 pfn, bint counted) noexcept nogil
    @cython.locals(pfn=u64, change=s64)
    cdef void _table_free(self, event_t *event) noexcept nogil
    @cython.locals(pfn=s64)
    cdef void _own(self, event_t *event, s32 what) noexcept nogil
    @cython.locals(place=s64)
    cdef bint _in_ranges(self, u64 site, s64 first, s64 stop) noexcept nogil
    @cython.locals(change=s64)
    cdef s64 _mark(self, s64 pfn, s32 mark) noexcept nogil
    @cython.locals(cpu=s32)
    cdef void _count_tables(self, event_t *event, s64 change) noexcept nogil
    cdef s32 _what(self, event_t *event) noexcept nogil
    @cython.locals(run=run_p)
    cdef run_t *_run_of(self, event_t *event) noexcept nogil
    @cython.locals(place=s64)
    cdef bint _is_array(self, event_t *event) noexcept nogil
    cdef s64 _area_place(self, u64 address) noexcept nogil
    @cython.locals(place=s64)
    cdef void _add_area(self, u64 address, s64 pages) noexcept nogil
    @cython.locals(place=s64, pages=s64, hole=s64, home=s64)
    cdef s64 _remove_area(self, u64 address) noexcept nogil

cdef inline s64 mark_place(u64 address) noexcept nogil:
    return (address >> 3 ^ address >> 15) & (MARKS - 1)

cdef inline bint tells(KernelMemory memory, event_t *event) noexcept nogil:
    if event.kind == KIND_KMEM_CACHE_ALLOC or event.kind == KIND_KMEM_CACHE_FREE:
        return (
            0 <= event.cache < memory.nr_names
            and memory.what[event.cache] != 0 and memory.what[event.cache] != WHAT_FAULT
        )
    if event.kind == KIND_MM_PAGE_FREE:
        return event.address < memory.nr_pages and memory.table[event.address] != 0
    if event.kind == KIND_MM_PAGE_ALLOC:
        return event.gfp & ~memory.comp_gfp == memory.pgtable_gfp
    if event.kind == KIND_KFREE:
        return memory.mark[mark_place(event.address)] != 0
    if event.kind == KIND_KMALLOC:
        return memory.site_mark[event.call_site & (SITE_MARKS - 1)] != 0
    return True

cdef inline bint says_nothing(KernelMemory memory, event_t *event) noexcept nogil:
    cdef run_t *run = run_at(memory.runs, event.pid & (RUNS - 1))
    if not memory.plain or event.pid == 0 or event.cpu or tells(memory, event):
        return False
    if event.kind == KIND_MM_PAGE_FREE:
        return undisturbed(memory.late, 0, event.time)
    if not event.flags & INTERRUPT and (run.pid != event.pid or run.tables or run.new_mm):
        return False
    if not undisturbed(memory.late, 0, event.time):
        return False
    if event.flags & INTERRUPT:
        memory._interlude(event)
    else:
        memory._passed(event)
    return True

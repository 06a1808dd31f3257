cimport cython

from mmtwin.kernel.casts cimport as_s64
from mmtwin.kernel.page_alloc_buddy cimport fold_free_pages
from mmtwin.kernel.page_alloc_pcp cimport refresh_cpu_vm_stats
from mmtwin.kernel.constants cimport PG_pcp
from mmtwin.kernel.ram cimport pcp_of, pcp_p, pfn_to_page
from mmtwin.kernel.structs cimport s32, s64
from mmtwin.recordings.event cimport KIND_MM_PAGE_PCPU_DRAIN, as_events, event_at, event_t
from mmtwin.replay.counts cimport UNEXPLAINED_DRAIN_MISSED
from mmtwin.replay.late_counters cimport was_idle
from mmtwin.replay.mend cimport queue_of
from mmtwin.replay.pages cimport Pages, collect
from mmtwin.kernel.page_alloc_state cimport pcp_that_holds
from mmtwin.replay.queues cimport QUEUE_KERNEL_ZONE, QUEUE_TWIN_DRAIN, empty

ctypedef event_t *event_p

cdef enum:
    SLACK_NS = 60000000           # a run seen so far from where it was expected is no such run
    SECOND_NS = 1000000000

cdef class Timers(Pages):
    cdef s64 *due                 # by CPU: when vmstat_update() runs next, ns of the trace clock
    cdef s64 *seen_at             # by CPU: the time of its last event
    cdef s64 *last                # by CPU: when it was taken to run last
    cdef s64 next_due             # the first of these
    cdef readonly s64 start       # when jiffies were INITIAL_JIFFIES
    cdef s64 first                # INITIAL_JIFFIES
    cdef s64 never
    cdef s64 hz                   # jiffies a second, 0 without such a timer
    cdef s64 grain                # jiffies to which the wheel of timers rounds
    cdef bint drained             # the last run drained, and none of its drains was seen yet
    cdef bint by_free             # the drains that the twin did not make are a free's
    cdef s32 last_pid             # _recall(): of the event before

    @cython.locals(run=s64)
    cdef s64 _due_at(self, s64 second, s32 cpu) noexcept nogil
    @cython.locals(second=s64)
    cdef s64 _due_after(self, s64 after, s32 cpu) noexcept nogil
    @cython.locals(cpu=s32)
    cdef void _find_next(self) noexcept nogil
    @cython.locals(cpu=s32)
    cdef void _set_due(self, s64 after) noexcept nogil
    @cython.locals(cpu=s32, drains=s64)
    cdef void _vmstat_update(self, event_t *event) noexcept nogil
    @cython.locals(i=s64, event=event_p, pid=s32)
    cdef s64 _drains_at(self, s32 cpu, s64 until) noexcept nogil
    @cython.locals(number=s32, pcp=pcp_p, high=s32)
    cdef void _keep_pages(self, s32 cpu) noexcept nogil
    @cython.locals(pcp=pcp_p, before=event_p, high=s32)
    cdef void _lower_high(self, event_t *event) noexcept nogil
    @cython.locals(cpu=s32)
    cdef void _drain_event(self, event_t *event) noexcept nogil
    @cython.locals(off=s64)
    cdef bint _keep_to(self, s64 time, s64 expected) noexcept nogil
    @cython.locals(events=event_p, event=event_p, i=s64, cpu=s32)
    cdef void _recall(self, size_t address, s64 start, s64 stop) noexcept nogil

cdef inline void rested(Timers timers, event_t *event) noexcept nogil:
    cdef s32 cpu = event.cpu if event.cpu < timers.mm.nr_cpus else 0
    if was_idle(timers.mm.nr_cpus, event.pid, event.time - timers.seen_at[cpu]):
        fold_free_pages(timers.mm, cpu)
    timers.seen_at[cpu] = event.time

cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u64
from mmtwin.kernel.structs cimport s32, s64, u64

cdef enum:
    NR_COUNTERS = 3
    MOST_THRESHOLD = 125          # calculate_normal_threshold()
    MOST_PARTS = 4096             # pages of an area that are counted one by one
    # When a silent CPU is idle is no rule of the kernel, which has the scheduler's events for it:
    # chosen on the recordings at hand.
    SILENT = 64                   # a CPU without an event while others have so many is idle
    LONG = 20000000               # ns without an event: idle
    TWO_TICKS = 8000000           # the same, where several CPUs share the work

@cython.final
cdef class LateCounters:
    cdef s64 *shown               # what meminfo shows of each counter
    cdef s64 *diff                # by CPU * NR_COUNTERS + counter: not in it yet
    cdef s64 *least               # by the same: what that may be, whenever the CPU added up
    cdef s64 *most
    cdef u64 *due                 # by CPU: when it adds up next
    cdef s64 *seen                # by CPU: the number of its last event
    cdef u64 *seen_at             # by CPU: its time
    cdef s64 count                # of events
    cdef s32 nr_cpus
    cdef s64 threshold
    cdef public s64 limit         # the threshold, the highest there is where that is not known
    cdef s64 *lists               # by counter: diffs of it that each CPU has
    cdef u64 tick                 # CPUs add up that often
    cdef public bint told         # events tell when: nothing is guessed
    cdef dict _buffers

    @cython.locals(place=s64, sum=s64, most=s64)
    cdef void change(self, s32 counter, s32 cpu, s64 delta, bint overstep) noexcept nogil
    @cython.locals(limit=s64, lists=s64, least=s64, most=s64)
    cdef void _may_change(self, s32 counter, s64 place, s64 delta, bint overstep) noexcept nogil
    @cython.locals(part=s64)
    cdef void change_pages(self, s32 counter, s32 cpu, s64 pages) noexcept nogil
    cdef void add_up(self, s32 cpu, u64 time) noexcept nogil
    @cython.locals(other=s32, silent=u64)
    cdef void rested(self, s32 cpu, s32 pid, u64 time) noexcept nogil
    cpdef void fold(self, s32 cpu)
    @cython.locals(counter=s32, place=s64)
    cdef void _fold(self, s32 cpu) noexcept nogil

cdef inline bint was_idle(s32 nr_cpus, s32 pid, s64 silence) noexcept nogil:
    return pid == 0 or silence > (TWO_TICKS if nr_cpus > 1 else LONG)

cdef inline bint undisturbed(LateCounters late, s32 cpu, u64 time) noexcept nogil:
    if late.nr_cpus != 1 or time >= late.due[0] or time > late.seen_at[0] + LONG:
        return False
    late.seen_at[0] = time
    return True

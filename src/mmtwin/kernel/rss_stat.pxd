# Resident pages of processes, typed: see rss_stat.py.
cimport cython

from mmtwin.kernel.memory_defs cimport NR_MM_COUNTERS, TASK_RSS_EVENTS_THRESH
from mmtwin.kernel.mm_types cimport mm_struct
from mmtwin.kernel.mman cimport MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES
from mmtwin.kernel.paging cimport Paging
from mmtwin.kernel.structs cimport s32, s64, u64
from mmtwin.kernel.trace cimport STEP_RSS_STAT, step

@cython.final
cdef class TaskRss:
    cdef public mm_struct mm            # the task's, None for a kernel thread
    cdef s64 count[4]                   # not yet told to the mm, by MM_*
    cdef public s64 events              # faults since

cpdef void set_current(machine, task_rss)
@cython.locals(now=TaskRss, paging=Paging)
cdef bint is_current(mm_struct mm)
@cython.locals(count=s64, cpu=s32, place=s32)
cdef s64 read_exact(mm_struct mm, s32 member)
@cython.locals(count=s64, batch=s64, place=s32)
cpdef void add_mm_counter(mm_struct mm, s32 member, s64 value)
@cython.locals(now=TaskRss, paging=Paging)
cdef void add_mm_counter_fast(mm_struct mm, s32 member, s64 value)
@cython.locals(now=TaskRss, paging=Paging, member=s32)
cpdef void sync_mm_rss(mm_struct mm)
@cython.locals(now=TaskRss, paging=Paging)
cdef void check_sync_rss_stat(mm_struct mm)
@cython.locals(member=s32)
cdef void add_mm_rss_vec(mm_struct mm)
@cython.locals(count=s64)
cpdef s64 get_mm_counter(mm_struct mm, s32 member)
@cython.locals(count=s64)
cdef s64 get_mm_rss(mm_struct mm)
cpdef void update_hiwater_rss(mm_struct mm)

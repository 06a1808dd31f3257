cimport cython

from mmtwin.kernel.casts cimport as_s64
from mmtwin.kernel.structs cimport s32, s64
from mmtwin.recordings.event cimport (
    KIND_MM_PAGE_FREE_BATCHED, KIND_MM_PAGE_PCPU_DRAIN, event_at, event_t,
)
from mmtwin.replay.shrunk cimport Shrunk

ctypedef event_t *event_p

cdef class LockOrder(Shrunk):
    cdef s64 *held                # by CPU: number of the event of a free that waits + 1
    cdef s64 stop                 # events from this number on are not carried out yet

    cdef void _free_in_turn(self, event_t *event, s64 number, s32 order) noexcept nogil
    @cython.locals(i=s64, following=event_p)
    cdef bint _waits(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(event=event_p)
    cdef void _has_lock(self, s32 cpu) noexcept nogil

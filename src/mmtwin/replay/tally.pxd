cimport cython

from mmtwin.kernel.casts cimport as_s64
from mmtwin.kernel.structs cimport s64, u64
from mmtwin.recordings.event cimport (
    KIND_MM_PAGE_ALLOC, KIND_MM_PAGE_ALLOC_EXTFRAG, KIND_MM_PAGE_FREE, as_events, event_at,
    event_t,
)

ctypedef event_t *event_p
ctypedef s64 *s64_p

cdef enum:
    TALLY_ORDERS = 16
    TALLY_TYPES = 8
    # places of the sums: by order and migratetype, and by two migratetypes
    TALLY_TAKEN = 0
    TALLY_FREED = 128
    TALLY_STEALS = 256
    TALLY_CLAIMS = 320
    TALLY_PLACES = 321

@cython.locals(events=event_p, event=event_p, sums=s64_p, i=s64, kind=u64, place=u64, fallback=u64)
cpdef void tally(size_t address, s64 start, s64 stop, size_t sums_address)

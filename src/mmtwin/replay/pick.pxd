cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u8, as_u64
from mmtwin.kernel.structs cimport s32, s64, u8, u64
from mmtwin.recordings.event cimport (
    KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, as_events, event_at,
    event_t,
)

ctypedef event_t *event_p
ctypedef u64 *u64_p
ctypedef s64 *s64_p
ctypedef u8 *u8_p

cdef enum:
    # of a range: KIND_*, first address, address behind the last, whether its objects are watched
    RANGE_WORDS = 4
    MARKS = 0x10000                   # a power of two

@cython.locals(i=s64, place=s64)
cdef s64 range_of(u64 *ranges, s64 count, event_t *event) noexcept nogil
cdef s64 mark_of(u64 address) noexcept nogil
@cython.locals(event=event_p, i=s64, found=s64, place=s64, low=u64, high=u64)
cdef s64 scan(
    event_t *events, s64 count, u64 *ranges, s64 nr_ranges, s32 task, s32 area, u8 *marks,
    s64 *out,
) noexcept nogil
@cython.locals(block=event_p, words=u64_p, numbers=s64_p, bytes=u8_p, found=s64, count=s64)
cpdef object pick_events(object events, object ranges, s32 task, s32 area, object marks)

cimport cython

from mmtwin.recordings.casts cimport (
    as_u8, as_u32, as_u64, find_byte, get16, get32, get64, get_number, put64, put_number,
    take_bytes, wrap64,
)
from mmtwin.recordings.constants cimport (
    EVENT_SIZE, HOW_DATA_LOC, HOW_NODE, HOW_NUMBER, HOW_REL_LOC, LAST_NODE,
    LAST_SHORT, PADDING, PLACE_NODE, REST_APART, REST_CARRIED, REST_MOVES, SLACK, TIME_EXTEND,
)
from mmtwin.recordings.event cimport s32, u8, u16, u32, u64
from mmtwin.recordings.interner cimport Interner

ctypedef plan_t *plan_p

# What becomes of the events of one id. A piece is the eight bytes at `at` of the event, of which
# `mask` goes into a word of the record: one for each word from the second on, three for the last.
# No branch depends on the event's kind.
cdef struct plan_t:
    u64 base[8]                   # the record before its fields
    u64 mask[9]
    u32 at[9]
    u32 needs                     # bytes it must have; 0: none was met yet
    u32 node_at                   # where a node's number stands, and the bits that
    u32 node_mask                 # a number above LAST_NODE has; 0: nowhere
    u32 rest                      # REST_*: what pieces cannot do
    u32 first_move
    u32 nr_moves
    u64 count

cdef inline plan_t *as_plans(size_t address, size_t count) noexcept nogil:
    return <plan_t *> address

cdef inline plan_t *plan_at(plan_t *plans, u32 number) noexcept nogil:
    return &plans[number]

cdef inline u64 piece(const u8 *data, u64 start, const plan_t *plan, u32 number) noexcept nogil:
    return get64(data, start + plan.at[number]) & plan.mask[number]

@cython.final
cdef class PageDecoder:
    cdef readonly object formats
    cdef readonly u32 slack        # bytes that must be readable behind the pages
    cdef readonly Interner names
    cdef readonly object layout
    cdef object carry
    cdef dict _arrays
    cdef list moves
    cdef readonly list losses
    cdef readonly u64 nr_payloads
    cdef readonly u64 nr_apart     # markers and events of KIND_OTHER of the last decode()
    cdef readonly u64 failed_at
    cdef readonly object failure
    cdef u32 page_size
    cdef u32 page_data
    cdef plan_t *plans             # by event id
    cdef u32 *move                 # 6 numbers each: from, size, signed, to, size, how
    # payloads of the last decode(): row, start, end
    cdef u64 *payload
    # where decoding is: the next byte, the time of the record before, the next row
    cdef u64 here
    cdef u64 time
    cdef u64 row

    @cython.locals(data=cython.p_uchar, out=cython.p_uchar, at=u64)
    cpdef u64 decode(
        self, size_t address, u64 size, u32 cpu, size_t out_address,
        u64 capacity) except? 0xFFFFFFFF
    @cython.locals(commit=u64, length=u64, end=u64)
    cdef s32 page(self, const u8 *data, u64 at, u32 cpu, u8 *out) except -1
    @cython.locals(
        here=u64, time=u64, row=u64, header=u32, length=u64, start=u64, plan=plan_p, place=u64,
        first=u64, site=u64, address=u64, req=u64, alloc=u64, names=u64, last=u64, node=u32,
        new=bint)
    cdef s32 records(self, const u8 *data, u64 end, u64 cpu, u8 *out) except -1
    @cython.locals(here=u64, header=u32, kind=u32, step=u64, length=u64)
    cdef s32 other_record(self, const u8 *data, u64 end) except -1
    cdef s32 fail(self, u64 at, message) except -1
    cdef s32 new_or_short(self, const u8 *data, u64 start, u64 length) except -1
    @cython.locals(place=u64, base=u32, last=u32, move=u64, how=u32, value=u64)
    cdef s32 more(
        self, const plan_t *plan, const u8 *data, u64 start, u64 end, u8 *out, u64 row
    ) except -1
    @cython.locals(where=u32, first=u64, stop=u64)
    cdef u64 name(self, const u8 *data, u64 start, u64 end, u32 base) except? 0xFFFFFFFF
    cdef s32 lost(self, const u8 *data, u64 at, u64 end, u64 commit) except -1

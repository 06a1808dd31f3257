cimport cython

from mmtwin.recordings.casts cimport (
    as_u8, as_u32, as_u64, copy_bytes, get16, get32, get64, get_number, put_number,
    take_bytes,
    wrap64,
)
from mmtwin.recordings.constants cimport (
    EVENT_SIZE, HOW_DATA_LOC, HOW_NODE, HOW_NUMBER, HOW_REL_LOC, LAST_NODE,
    LAST_SHORT, PADDING,
    PLACE_CPU, PLACE_TIME, TIME_EXTEND,
)
from mmtwin.recordings.event cimport s32, u8, u16, u32, u64
from mmtwin.recordings.interner cimport Interner

ctypedef u32 *u32_p

@cython.final
cdef class PageDecoder:
    cdef readonly object formats
    cdef readonly Interner names
    cdef readonly object layout
    cdef object carry
    cdef dict _arrays
    cdef list moves
    cdef list copies
    cdef readonly list losses
    cdef readonly u64 nr_payloads
    cdef readonly u64 nr_apart     # markers and events of KIND_OTHER of the last decode()
    cdef readonly u64 failed_at
    cdef readonly object failure
    cdef u32 page_size
    cdef u32 page_data
    # by event id
    cdef u8 *seen
    cdef u8 *apart                 # a marker, or of KIND_OTHER
    cdef u8 *carried               # its bytes are kept as a payload
    cdef u32 *needs                # bytes it must have
    cdef u32 *first_move
    cdef u32 *nr_moves
    cdef u64 *count
    cdef u8 *template              # 64 bytes each
    cdef u32 *first_copy           # numbers of `copy`
    cdef u32 *end_copy16
    cdef u32 *end_copy8
    cdef u32 *end_copy4
    cdef u32 *end_copy1
    cdef u32 *copy                 # 2 numbers each: from, to; of 16 bytes, then 8, 4, 1
    cdef u32 *move                 # 6 numbers each: from, size, signed, to, size, how
    # payloads of the last decode(): row, start, end
    cdef u64 *payload

    @cython.locals(data=cython.p_uchar, out=cython.p_uchar, at=u64, row=u64, before=u64)
    cpdef u64 decode(
        self, size_t address, u64 size, u32 cpu, size_t out_address,
        u64 capacity) except? 0xFFFFFFFF
    @cython.locals(time=u64, commit=u64, length=u64, here=u64, end=u64, header=u32, kind=u32,
                   step=u64)
    cdef u64 page(self, const u8 *data, u64 at, u32 cpu, u8 *out, u64 row) except? 0xFFFFFFFF
    cdef s32 fail(self, u64 at, message) except -1
    @cython.locals(
        number=u32, place=u64, move=u64, last=u32, base=u32, how=u32, value=u64, copy=u32_p,
        end16=u32, end8=u32, end4=u32, end1=u32)
    cdef s32 record(
        self, const u8 *data, u64 start, u64 end, u64 time, u32 cpu, u8 *out, u64 row) except -1
    @cython.locals(where=u32, first=u64, stop=u64)
    cdef u64 name(self, const u8 *data, u64 start, u64 end, u32 base) except? 0xFFFFFFFF
    cdef s32 lost(self, const u8 *data, u64 at, u64 end, u64 commit, u64 row) except -1

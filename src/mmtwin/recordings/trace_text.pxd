cimport cython

from mmtwin.recordings.casts cimport (
    as_u8, as_u32, as_u64, copy_bytes, find_byte, get64, put_number, same_bytes, wrap64,
)
from mmtwin.recordings.constants cimport (
    CLOSE, COLON, DASH, DOT, EQUALS, EVENT_SIZE, GREATER, HASH, KEYS_OF_LINE, LAST_NODE, LEFT,
    NEWLINE, OPEN, PLACE_CACHE, PLACE_CPU, PLACE_EXTRA, PLACE_FLAGS, PLACE_KIND, PLACE_PID,
    PLACE_PREEMPT, PLACE_TIME, RIGHT, SLASH, SPACE, STYLE_FTRACE, STYLE_PERF, VALUE_HEX,
    VALUE_NODE, VALUE_NUMBER, VALUE_TRUTH,
)
from mmtwin.recordings.event cimport s32, u8, u16, u32, u64
from mmtwin.recordings.interner cimport Interner
from mmtwin.recordings.trace_flags cimport read_flags

cdef u8 HEX_DIGIT[256]               # the number of a hexadecimal digit, 255 for other bytes

@cython.final
cdef class LineScanner:
    # event's name -> kind | bits of extra << 8 | carried << 16 | name number << 32
    cdef readonly Interner events
    cdef readonly Interner keys         # field's name -> its number
    cdef Interner sites
    cdef Interner gfp
    cdef Interner names
    cdef Interner types
    cdef s32 style
    cdef dict _arrays
    cdef u64 *keys_of_kind              # by kind: bit of each key that belongs to it
    cdef u32 *target                    # by key: place, size, how, number of the interner
    cdef u8 *blank
    # keys by number: the first 8 bytes and a mask for them, length, text (32 bytes each)
    cdef u64 *key_head
    cdef u64 *key_mask
    cdef u32 *key_length
    cdef u8 *key_text
    cdef u8 *next_key                   # by kind and turn: the key that stood there last
    cdef readonly u64 nr_payloads
    cdef readonly u64 line_start
    cdef readonly u64 consumed
    cdef readonly bint stopped
    cdef u64 *payload
    # of the line at hand
    cdef u64 time
    cdef u64 pid
    cdef u32 cpu
    cdef u32 flags
    cdef u32 preempt

    @cython.locals(data=cython.p_uchar, out=cython.p_uchar, at=u64, row=u64, end=u64)
    cpdef u64 scan(
        self, size_t address, u64 size, bint final, size_t out_address,
        u64 capacity) except? 0xFFFFFFFF
    @cython.locals(here=u64, start=u64, stop=u64, code=u64, place=u64, kind=u32)
    cdef bint line(self, const u8 *data, u64 at, u64 end, u8 *out, u64 row) except -1
    @cython.locals(bracket=u64, here=u64)
    cdef u64 prefix(self, const u8 *data, u64 at, u64 end) noexcept
    @cython.locals(here=u64, back=u64, stop=u64, value=u64, scale=u64)
    cdef u64 task_and_cpu(self, const u8 *data, u64 at, u64 bracket, u64 end) noexcept
    @cython.locals(stop=u64)
    cdef u64 flags_and_time(self, const u8 *data, u64 here, u64 end) noexcept
    @cython.locals(value=u64, first=u64, fraction=u64, digits=u32)
    cdef u64 stamp(self, const u8 *data, u64 here, u64 end) noexcept
    @cython.locals(equals=u64, stop=u64, turn=u32, last=u32, key=u64)
    cdef s32 fields(
        self, const u8 *data, u64 here, u64 end, u32 kind, u8 *out, u64 place) except -1
    @cython.locals(length=u64)
    cdef bint is_key(self, const u8 *data, u64 at, u64 end, u64 key) noexcept
    @cython.locals(stop=u64, ahead=u64)
    cdef u64 value_end(self, const u8 *data, u64 at, u64 end, u32 turn) noexcept
    @cython.locals(how=u32, value=u64, number=u32)
    cdef s32 value(self, const u8 *data, u64 at, u64 end, u32 key, u8 *out, u64 place) except -1

cdef u64 skip_spaces(const u8 *data, u64 at, u64 end) noexcept nogil
@cython.locals(value=u64, byte=u8, negative=bint)
cdef u64 read_number(const u8 *data, u64 at, u64 end) noexcept nogil
@cython.locals(value=u64, byte=u8)
cdef u64 read_hex(const u8 *data, u64 at, u64 end) noexcept nogil

cimport cython

from mmtwin.recordings.casts cimport as_u8, as_u32, as_u64, get64, take_bytes
from mmtwin.recordings.event cimport s32, u8, u32, u64

# Constants of the hash: odd numbers of 64 bits, made from halves.
cdef inline u64 mix(u64 value) noexcept nogil:
    value ^= value >> 32
    value *= (<u64> 0x9E3779B9 << 32) | 0x7F4A7C15
    return value ^ (value >> 29)

cdef class Interner:
    cdef readonly dict values           # {bytes: number}, everything
    cdef object make
    cdef readonly u32 mask
    cdef readonly u64 text_end
    cdef dict _arrays
    # a cache of `values`: by slot, its hash, its text's place in `text`, its length, its number
    cdef u64 *slot_hash
    cdef u64 *slot_start
    cdef u32 *slot_length
    cdef u64 *slot_value
    cdef u8 *text
    cdef u64 text_size
    cdef u32 used

    @cython.locals(hashed=u64, slot=u32, _probe=s32)
    cdef u64 find(self, const u8 *data, u64 start, u64 end) except? 0xFFFFFFFF
    cdef u64 miss(self, bytes key, u64 hashed) except? 0xFFFFFFFF

@cython.locals(value=u64, at=u64, left=u64, tail=u64)
cdef u64 hash_bytes(const u8 *data, u64 start, u64 end) noexcept nogil
@cython.locals(at=u64)
cdef bint same_bytes(const u8 *data, u64 start, const u8 *text, u64 place, u64 length) noexcept nogil

cimport cython

from mmtwin.recordings.casts cimport as_u8, as_u32, as_u64, get16, get32, get64, same_bytes, take_bytes
from mmtwin.recordings.event cimport s32, u8, u32, u64

# Constants of the hash: odd numbers of 64 bits, made from halves.
cdef inline u64 mix(u64 value) noexcept nogil:
    value ^= value >> 32
    value *= (<u64> 0x9E3779B9 << 32) | 0x7F4A7C15
    return value ^ (value >> 29)

# A hash of 64 bits, never 0.
cdef inline u64 hash_bytes(const u8 *data, u64 start, u64 end) noexcept nogil:
    cdef u64 length = end - start
    cdef u64 value = length
    if length >= 8:
        while end - start > 8:
            value = mix(value ^ get64(data, start))
            start += 8
        return mix(value ^ get64(data, end - 8)) | 1
    if length >= 4:
        return mix((value << 60) ^ (<u64> get32(data, start) << 32) ^ get32(data, end - 4)) | 1
    if length >= 2:
        return mix((value << 60) ^ (<u64> get16(data, start) << 32) ^ get16(data, end - 2)) | 1
    return mix((value << 60) ^ (data[start] if length else 0)) | 1

cdef enum:
    PROBES = 32                   # further than that (a hostile set of texts) the dictionary is asked

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
    @cython.locals(slot=u32, _probe=s32, hashed=u64, size=u64)
    cdef s32 _insert(self, bytes key, u64 value) except -1
    cdef u64 miss(self, bytes key, u64 hashed) except? 0xFFFFFFFF


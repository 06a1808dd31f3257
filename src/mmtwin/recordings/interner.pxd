cimport cython

from mmtwin.recordings.casts cimport (
    as_u8, as_u32, as_u64, hash_bytes, same_bytes, take_bytes,
)
from mmtwin.recordings.constants cimport PROBES
from mmtwin.recordings.event cimport s32, u8, u32, u64

@cython.final
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

    @cython.locals(hashed=u64, slot=u32, place=u64, _probe=s32)
    cdef u64 find(self, const u8 *data, u64 start, u64 end) except? 0xFFFFFFFF
    @cython.locals(slot=u32, _probe=s32, hashed=u64, size=u64)
    cdef s32 _insert(self, bytes key, u64 value) except -1
    cdef u64 miss(self, bytes key, u64 hashed) except? 0xFFFFFFFF


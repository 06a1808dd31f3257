cimport cython

from mmtwin.recordings.constants cimport DOT
from mmtwin.recordings.event cimport u8, u32, u64

@cython.locals(flags=u32, byte=u8)
cdef u32 read_flags(const u8 *data, u64 at, u64 end) noexcept nogil

cimport cython

from mmtwin.kernel.structs cimport gfp_t, s32, u32

@cython.locals(gfp=gfp_t, bit=s32)
cdef gfp_t moved_gfp(const u32 *bits, gfp_t recorded) noexcept nogil

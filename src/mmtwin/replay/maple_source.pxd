from mmtwin.kernel.structs cimport gfp_t, s64, u64, virt_t
from mmtwin.recordings.event cimport event_t

cdef class Source:
    cdef bint can_wait(self, s64 number, s64 until) noexcept nogil
    cdef bint go_on(self, event_t *event) noexcept nogil
    cdef s64 goes_on(self, event_t *event) noexcept nogil
    cdef void expect(self, u64 address, gfp_t gfp) noexcept nogil
    cdef bint prefilled(self, s64 number) noexcept nogil
    cdef virt_t take(self, s64 number, gfp_t gfp) noexcept nogil
    cdef s64 sheaf(self) noexcept nogil
    cdef bint missed(self, u64 predicted, u64 address) noexcept nogil

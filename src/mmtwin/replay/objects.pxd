cimport cython

from mmtwin.kernel.structs cimport s32, s64, u8, u32, u64

ctypedef object_t *object_p
ctypedef caller_t *caller_p

# A live object of the recording.
cdef struct object_t:
    u64 address                   # in the recording; 0: the place is free
    u64 twin                      # in the twin
    u32 caller                    # number in Objects.callers
    u32 bytes_req
    u32 bytes_alloc
    u32 epoch                     # Objects.epoch when it was given out

# A place in the kernel that asks for objects.
cdef struct caller_t:
    u64 call_site
    s64 used                      # 0: the place is free
    s64 allocs
    s64 bytes_req                 # of all its objects so far
    s64 bytes_alloc

cdef enum:
    CALLERS = 0x4000              # a power of two; the last is for what has no room

cdef inline object_t *as_objects(size_t address, size_t count) noexcept nogil:
    return <object_t *> address

cdef inline caller_t *as_callers(size_t address, size_t count) noexcept nogil:
    return <caller_t *> address

cdef inline object_t *object_at(object_t *objects, u64 place) noexcept nogil:
    return &objects[place]

cdef inline caller_t *caller_at(caller_t *callers, u64 place) noexcept nogil:
    return &callers[place]

cdef inline u64 hash_address(u64 address) noexcept nogil:
    return (address * <u64> 0x9E3779B97F4A7C15) >> 20

@cython.final
cdef class Objects:
    cdef object_t *table
    cdef caller_t *callers
    cdef u64 mask
    cdef readonly s64 live
    cdef bint sure                # remove(): the twin cannot have lost the object
    cdef u32 epoch
    cdef readonly s64 nr_callers
    cdef dict _buffers

    @cython.locals(place=u64, object=object_p, caller=caller_p)
    cdef void add(
        self, u64 address, u64 twin, u64 call_site, u64 bytes_req, u64 bytes_alloc) noexcept nogil
    cdef void doubt(self) noexcept nogil
    @cython.locals(place=u64, object=object_p, caller=caller_p, twin=u64)
    cdef u64 remove(self, u64 address) noexcept nogil
    @cython.locals(place=u64)
    cdef u64 call_site_of(self, u64 address) noexcept nogil
    @cython.locals(hole=u64, place=u64, home=u64)
    cdef void _close(self, u64 hole) noexcept nogil
    @cython.locals(place=u64)
    cdef u64 _caller(self, u64 call_site) noexcept nogil
    @cython.locals(place=u64, object=object_p, i=s64)
    cdef void _fill(self, object_t *old, s64 count) noexcept nogil

cimport cython

from mmtwin.kernel.structs cimport s32
from mmtwin.replay.maple_guess cimport (
    NO_NODE, SLAB_FULL, bit_of, empty_node, guess_t, leave_node, shape_t,
)

@cython.locals(entry=s32)
cdef s32 drop_chain(shape_t *shape, guess_t *g, s32 head, s32 node) noexcept nogil
@cython.locals(slab=s32, entry=s32)
cdef void drop_before(shape_t *shape, guess_t *g, s32 cpu, s32 node) noexcept nogil
cdef void drop_list(shape_t *shape, guess_t *g, s32 slab) noexcept nogil
@cython.locals(slab=s32)
cdef void drop_lists(shape_t *shape, guess_t *g, s32 cpu, bint others) noexcept nogil

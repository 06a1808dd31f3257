cimport cython

from mmtwin.kernel.structs cimport s32, u64
from mmtwin.recordings.event cimport wrap64
from mmtwin.replay.maple_guess cimport (
    FACTOR_CPUS, FACTOR_LINKS, FACTOR_REQUESTS, FACTOR_SLABS, FACTOR_TREES, GUESS_CPUS,
    GUESS_LEAVES, GUESS_SLOTS, NO_NODE, guess_t, shape_t,
)

ctypedef u64 *u64_p

@cython.locals(hash=u64, i=s32, k=s32, at=s32, entry=s32, factor=u64_p)
cdef u64 hash_of(shape_t *shape, guess_t *g, s32 cpu, s32 nr_cpus) noexcept nogil
@cython.locals(hash=u64, i=s32, k=s32, at=s32, factor=u64_p)
cdef u64 hash_of_order(shape_t *shape, guess_t *g, s32 nr_cpus) noexcept nogil
@cython.locals(hash=u64)
cdef u64 links_of(shape_t *shape, guess_t *g, s32 entry, u64 before) noexcept nogil

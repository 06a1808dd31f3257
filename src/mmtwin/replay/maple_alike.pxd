cimport cython

from mmtwin.kernel.structs cimport s32, u64
from mmtwin.recordings.event cimport wrap64
from mmtwin.replay.maple_guess cimport (
    CPU_PARTIAL, CPU_SLAB, FACTOR_LINKS, FACTOR_REQUESTS, FACTOR_SLABS, FACTOR_TREES, GUESS_LEAVES,
    GUESS_SLOTS, NO_NODE, SLAB_ABSENT, SLAB_ON_NODE, guess_t, shape_t,
)

ctypedef u64 *u64_p

@cython.locals(hash=u64, i=s32, k=s32, at=s32, entry=s32, before=s32, place=s32, factor=u64_p)
cdef u64 hash_of(shape_t *shape, guess_t *g, s32 nr_cpus) noexcept nogil

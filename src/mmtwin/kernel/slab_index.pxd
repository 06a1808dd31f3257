# Which kmalloc cache serves a size.
cimport cython

from mmtwin.kernel.constants cimport __GFP_ACCOUNT, __GFP_DMA, __GFP_RECLAIMABLE
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.slub_defs cimport (
    KMALLOC_CGROUP, KMALLOC_DMA, KMALLOC_INDEXES, KMALLOC_NORMAL, KMALLOC_RECLAIM,
)
from mmtwin.kernel.structs cimport gfp_t, s32, s64, u64
from mmtwin.kernel.trace cimport STEP_KMALLOC_INDEX, step

cdef inline u64 multiplied(u64 a, u64 b) noexcept nogil:
    return a * b

@cython.locals(index=s32)
cpdef s32 kmalloc_index(MM mm, u64 size) noexcept nogil
cpdef s32 kmalloc_type(MM mm, gfp_t gfp, u64 caller) noexcept nogil
cdef s32 random_type(MM mm, u64 caller) noexcept nogil
@cython.locals(type=s32, index=s32)
cpdef s32 kmalloc_slab_for(MM mm, u64 size, gfp_t gfp, u64 caller) noexcept nogil
cpdef s32 kmalloc_slab(MM mm, u64 size, gfp_t gfp) noexcept nogil

cdef extern from *:
    """
    #define MMTWIN_GOLDEN_RATIO_64 0x61C8864680B583EBull
    """
    const u64 GOLDEN_RATIO_64 "MMTWIN_GOLDEN_RATIO_64"

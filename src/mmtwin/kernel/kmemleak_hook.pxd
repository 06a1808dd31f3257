# What the allocators call of kmemleak.
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.slub_defs cimport SLAB_NOLEAKTRACE
from mmtwin.kernel.structs cimport gfp_t, s32, u32, u64, virt_t

cdef void kmemleak_alloc(
    MM mm, virt_t pointer, u64 size, s32 min_count, gfp_t gfp
) noexcept with gil
cdef void kmemleak_alloc_recursive(
    MM mm, virt_t pointer, u64 size, s32 min_count, u32 flags, gfp_t gfp
) noexcept nogil
cdef void kmemleak_free(MM mm, virt_t pointer) noexcept with gil
cdef void kmemleak_free_recursive(MM mm, virt_t pointer, u32 flags) noexcept nogil

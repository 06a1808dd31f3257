# KASAN's hooks: called with the flag CHECK_KASAN only, each takes the GIL.
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, u64, virt_t

cdef void kasan_slab_alloc(MM mm, s32 cache, virt_t object, gfp_t gfp) noexcept with gil
cdef void kasan_kmalloc(MM mm, s32 cache, virt_t object, u64 size, gfp_t gfp) noexcept with gil
cdef void kasan_kmalloc_large(MM mm, virt_t object, u64 size, gfp_t gfp) noexcept with gil
cdef void kasan_krealloc(MM mm, virt_t object, u64 size, gfp_t gfp) noexcept with gil
cdef bint kasan_slab_free(MM mm, s32 cache, virt_t object) noexcept with gil
cdef bint kasan_kfree_large(MM mm, virt_t object) noexcept with gil
cdef bint kasan_check_byte(MM mm, virt_t address) noexcept with gil
cdef void kasan_unpoison_range(MM mm, virt_t address, u64 size) noexcept with gil
cdef void kasan_poison_slab(MM mm, s32 cache, pfn_t pfn, s32 order) noexcept with gil
cdef void kasan_unpoison_pages(MM mm, pfn_t pfn, s32 order) noexcept with gil
cdef void kasan_poison_pages(MM mm, pfn_t pfn, s32 order) noexcept with gil
cpdef bint kasan_populate_vmalloc(MM mm, virt_t address, u64 size) noexcept with gil
cpdef void kasan_unpoison_vmalloc(MM mm, virt_t address, u64 size) noexcept with gil
cpdef void kasan_poison_vmalloc(MM mm, virt_t address, u64 size) noexcept with gil
cpdef void kasan_depopulate_vmalloc(
    MM mm, virt_t start, virt_t end, virt_t free_start, virt_t free_end) noexcept with gil

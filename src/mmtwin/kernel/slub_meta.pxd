# The bytes of a debug cache's objects.
cimport cython

from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport (
    cache_at, cache_p, load64, page_address, page_p, pfn_to_page, store64,
)
from mmtwin.kernel.slub_defs cimport (
    POISON_END, POISON_FREE, POISON_INUSE, SLAB_KMALLOC, SLAB_OBJECT_POISON, SLAB_POISON,
    SLAB_RED_ZONE, SLAB_STORE_USER, SLUB_RED_ACTIVE, SLUB_RED_INACTIVE, TRACK_ALLOC,
)
from mmtwin.kernel.slub_freelist cimport fill_bytes
from mmtwin.kernel.structs cimport kmem_cache_t, pfn_t, s32, s64, u8, u32, u64, virt_t

cdef inline u64 same_bytes(MM mm, virt_t address, s32 byte, u64 size) noexcept nogil:
    cdef u8 *place = <u8 *> mm.ram + (address - mm.page_offset)
    cdef u64 count = 0
    while count < size and place[count] == byte:
        count += 1
    return count

cdef inline u64 end_of_others(MM mm, virt_t address, s32 byte, u64 size) noexcept nogil:
    cdef u8 *place = <u8 *> mm.ram + (address - mm.page_offset)
    while size and place[size - 1] == byte:
        size -= 1
    return size

cdef u32 get_info_end(kmem_cache_t *s) noexcept nogil
cdef virt_t get_track(MM mm, kmem_cache_t *s, virt_t object, s32 which) noexcept nogil
@cython.locals(kept=u32)
cdef bint slub_debug_orig_size(MM mm, kmem_cache_t *s) noexcept nogil
@cython.locals(end=u32)
cdef u32 metadata_end(MM mm, kmem_cache_t *s) noexcept nogil
cdef u32 size_from_object(kmem_cache_t *s) noexcept nogil
@cython.locals(s=cache_p, value=u64)
cpdef u64 get_orig_size(MM mm, s32 cache, virt_t object) noexcept nogil
@cython.locals(s=cache_p, place=virt_t)
cpdef void set_orig_size(MM mm, s32 cache, virt_t object, u64 size) noexcept nogil
@cython.locals(s=cache_p, size=u64)
cdef u64 redzoned_size(MM mm, s32 cache, virt_t object, bint active) noexcept nogil
@cython.locals(s=cache_p, size=u64)
cpdef void init_object(MM mm, s32 cache, virt_t object, s32 value) noexcept nogil
@cython.locals(s=cache_p, page=page_p, object=virt_t, place=virt_t, index=u32)
cpdef void setup_slab_debug(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(s=cache_p, start=virt_t, offset=u64)
cpdef bint check_valid_pointer(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil

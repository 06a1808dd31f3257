# Free pointers, the shuffled order of a new slab, and the bytes of objects.
cimport cython
from libc.string cimport memcpy, memset

from mmtwin.kernel.slub_defs cimport (
    SLAB_KMALLOC, SLAB_POISON, SLAB_RED_ZONE, SLAB_STORE_USER, SLAB_TYPESAFE_BY_RCU,
)
from mmtwin.kernel.constants cimport __GFP_ZERO
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_p, is_ram, load64, page_address, page_p, pfn_to_page, store64,
    swab64,
)
from mmtwin.kernel.structs cimport kmem_cache_t, page_t, pfn_t, s32, s64, u32, u64, virt_t

cdef inline u64 freelist_ptr(MM mm, kmem_cache_t *s, u64 value, virt_t place) noexcept nogil:
    if mm.has.freelist_hardened:
        return value ^ s.random ^ swab64(place)
    return value

cdef inline virt_t get_freepointer(MM mm, kmem_cache_t *s, virt_t object) noexcept nogil:
    cdef virt_t place = object + s.offset
    if mm.contents and not is_ram(mm, place):
        return 0
    return freelist_ptr(mm, s, load64(mm, place), place)

cdef inline void set_freepointer(
    MM mm, kmem_cache_t *s, virt_t object, virt_t following
) noexcept nogil:
    cdef virt_t place = object + s.offset
    store64(mm, place, freelist_ptr(mm, s, following, place))

cdef inline void stat(MM mm, s32 cache, s32 item) noexcept nogil:
    cache_cpu_of(mm, cache, mm.cpu).stat[item] += 1

cdef inline void stat_add(MM mm, s32 cache, s32 item, s64 count) noexcept nogil:
    cache_cpu_of(mm, cache, mm.cpu).stat[item] += count

cdef inline bint kmem_cache_debug(kmem_cache_t *s) noexcept nogil:
    return s.flags & 0x210d00

cdef inline u64 shifted_left(u64 value, s32 bits) noexcept nogil:
    return value << bits

cdef inline void fill_bytes(MM mm, virt_t address, s32 byte, u64 size) noexcept nogil:
    memset(<char *> mm.ram + (address - mm.page_offset), byte, size)

cdef inline void copy_bytes(MM mm, virt_t to, virt_t address, u64 size) noexcept nogil:
    memcpy(<char *> mm.ram + (to - mm.page_offset), <char *> mm.ram + (address - mm.page_offset),
    size)

@cython.locals(state=u64)
cpdef u64 draw(MM mm) noexcept nogil
@cython.locals(position=s64, value=u32)
cdef s64 next_entry(MM mm, kmem_cache_t *s, s64 position, u32 limit) noexcept nogil
@cython.locals(start=s64)
cdef s64 draw_start(MM mm, kmem_cache_t *s) noexcept nogil
@cython.locals(
    s=cache_p, page=page_p, start=virt_t, current=virt_t, following=virt_t, position=s64,
    index=u32, limit=u32
)
cdef void shuffle_freelist(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(s=cache_p, page=page_p, start=virt_t, index=u32)
cdef void build_freelist(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(s=cache_p, kept=u32, tracked=u32, asked=u64)
cdef void wipe_on_alloc(MM mm, s32 cache, virt_t object, u32 gfp) noexcept nogil
@cython.locals(s=cache_p, pad=u32)
cdef void wipe_on_free(MM mm, s32 cache, virt_t object) noexcept nogil

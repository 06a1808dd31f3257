# The checks of debug caches.
cimport cython

from mmtwin.kernel.constants cimport (
    COMPLAINT_BAD_ADDRESS, COMPLAINT_INVALID_OBJECT, COMPLAINT_WRONG_CACHE,
)
from mmtwin.kernel.mm cimport MM, complain
from mmtwin.kernel.ram cimport cache_at, cache_p, page_address, page_p, pfn_to_page
from mmtwin.kernel.slub_defs cimport (
    FIX_ALL_USED, FIX_FREELIST_CLEARED, FIX_ISOLATED, FIX_NOT_FREED, FIX_OBJECT_COUNT,
    FIX_OBJECTS_NUMBER, FOUND_ALIGNMENT_PADDING, FOUND_BAD_NEXT, FOUND_BULK_COUNT,
    FOUND_DISABLED, FOUND_END_POISON, FOUND_FREECHAIN, FOUND_FREELIST_CYCLE, FOUND_FREELIST_HEAD,
    FOUND_FREEPOINTER, FOUND_INUSE_MAX, FOUND_INVALID_OBJECT, FOUND_KMALLOC_REDZONE,
    FOUND_LEFT_REDZONE, FOUND_OBJECT_COUNT, FOUND_OBJECT_FREE, FOUND_OBJECT_PADDING,
    FOUND_OBJECTS_MAX, FOUND_OBJECTS_NUMBER, FOUND_OTHER_CACHE, FOUND_POISON,
    FOUND_RIGHT_REDZONE, FOUND_SLAB_PADDING, FOUND_TOO_FEW, FOUND_WRONG_CACHE, POISON_END,
    POISON_FREE, POISON_INUSE, SLAB_CONSISTENCY_CHECKS, SLAB_OBJECT_POISON, SLAB_POISON,
    SLAB_RED_ZONE, SLAB_STORE_USER, SLAB_TRACE, SLUB_RED_ACTIVE, SLUB_RED_INACTIVE, TELL_TRACE,
    TRACK_ALLOC, TRACK_FREE,
)
from mmtwin.kernel.slub_freelist cimport fill_bytes, get_freepointer, set_freepointer
from mmtwin.kernel.slub_meta cimport (
    check_valid_pointer, end_of_others, get_orig_size, init_object, metadata_end, same_bytes,
    set_orig_size, size_from_object, slub_debug_orig_size,
)
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u32, u64, virt_t

cdef void tell(
    MM mm, s32 cache, pfn_t pfn, virt_t object, s32 what, u64 a, u64 b, u64 c
) noexcept with gil
cdef void set_track(MM mm, s32 cache, virt_t object, s32 which) noexcept with gil
@cython.locals(same=u64, end=virt_t)
cdef bint check_bytes_and_report(
    MM mm, s32 cache, pfn_t pfn, virt_t object, s32 what, virt_t start, s32 value, u64 size,
    bint first
) noexcept nogil
@cython.locals(s=cache_p, end=virt_t, good=bint, kept=bint, size=u64)
cdef bint check_zones(MM mm, s32 cache, pfn_t pfn, virt_t object, s32 value) noexcept nogil
@cython.locals(s=cache_p, padding=u32, padded=bint)
cdef bint check_poison(
    MM mm, s32 cache, pfn_t pfn, virt_t object, s32 value, bint good
) noexcept nogil
@cython.locals(s=cache_p, good=bint)
cpdef bint check_object(MM mm, s32 cache, pfn_t pfn, virt_t object, s32 value) noexcept nogil
@cython.locals(s=cache_p, size=u64, rest=u64, start=virt_t)
cdef void slab_pad_check(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(s=cache_p, page=page_p, most=u64)
cpdef bint check_slab(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(page=page_p)
cdef void clear_freelist(MM mm, s32 cache, pfn_t pfn) noexcept nogil
@cython.locals(
    s=cache_p, page=page_p, found=u32, object=virt_t, entry=virt_t, most=u32, inuse=s64
)
cpdef bint on_freelist(MM mm, s32 cache, pfn_t pfn, virt_t search) noexcept nogil
cdef bint alloc_consistency_checks(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(s=cache_p, page=page_p)
cdef bint alloc_debug_processing(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
cdef bint free_consistency_checks(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(s=cache_p, page=page_p, checked=u32, object=virt_t, done=s32)
cdef s32 free_debug_processing(
    MM mm, s32 cache, pfn_t pfn, virt_t head, virt_t tail, s32 count
) noexcept nogil
@cython.locals(s=cache_p, before=virt_t, object=virt_t, following=virt_t)
cdef virt_t sound_freelist(MM mm, s32 cache, pfn_t pfn, virt_t freelist) noexcept nogil
cdef void free_invalid(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
cdef void wrong_cache(MM mm, s32 cache, pfn_t pfn, virt_t object) noexcept nogil
@cython.locals(s=cache_p, object=virt_t, index=u32)
cdef void check_freed_slab(MM mm, s32 cache, pfn_t pfn) noexcept nogil

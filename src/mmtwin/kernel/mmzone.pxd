cimport cython

from mmtwin.kernel.constants cimport (
    __GFP_ATOMIC, __GFP_DMA, __GFP_DMA32, __GFP_HIGHMEM, __GFP_MOVABLE, ALLOC_CMA,
    ALLOC_HIGHATOMIC, ALLOC_MIN_RESERVE,
    ALLOC_NON_BLOCK, ALLOC_OOM, ALLOC_RESERVES, ALLOC_WMARK_MASK, MIGRATE_HIGHATOMIC,
    MIGRATE_PCPTYPES,
    MIGRATE_UNMOVABLE, WMARK_MIN, ZONE_DMA, ZONE_DMA32, ZONE_HIGHMEM, ZONE_MOVABLE, ZONE_NORMAL,
    ZONELIST_PLACES,
)
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport zone_at, zone_p
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32

cpdef s32 get_pfnblock_migratetype(MM mm, pfn_t pfn) noexcept nogil
cpdef void set_pageblock_migratetype(MM mm, pfn_t pfn, s32 migratetype) noexcept nogil
cpdef bint migratetype_is_mergeable(s32 migratetype) noexcept nogil
cdef bint zone_spans_pfn(zone_p zone, pfn_t pfn) noexcept nogil
cdef bint free_area_empty(MM mm, zone_p zone, s32 order, s32 migratetype) noexcept nogil
cpdef s32 gfp_zone(MM mm, gfp_t gfp) noexcept nogil
@cython.locals(place=s64, zone=s32)
cpdef s32 first_zone(MM mm, s32 node, s32 highest, bint thisnode) noexcept nogil
@cython.locals(unusable=s64)
cdef s64 watermark_unusable_free(MM mm, zone_p zone, s32 order, u32 alloc_flags) noexcept nogil
@cython.locals(reserves=bint)
cdef s64 watermark_min(MM mm, s64 mark, u32 alloc_flags) noexcept nogil
@cython.locals(harder=bint, current=s32, migratetype=s32)
cdef bint free_block_of_order(MM mm, zone_p zone, s32 order, u32 alloc_flags) noexcept nogil
cdef s64 zone_free_pages(zone_p zone) noexcept nogil
@cython.locals(zone=zone_p, least=s64, free=s64)
cdef bint zone_watermark_ok(
    MM mm, s32 number, s32 order, s64 mark, s32 highest, u32 alloc_flags) noexcept nogil
@cython.locals(zone=zone_p, reserved=s64, usable=s64)
cdef bint zone_watermark_fast(
    MM mm, s32 number, s32 order, s64 mark, s32 highest, u32 alloc_flags, gfp_t gfp) noexcept nogil

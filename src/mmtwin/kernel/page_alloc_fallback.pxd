cimport cython

from mmtwin.kernel.constants cimport (
    ALLOC_CMA, ALLOC_KSWAPD, ALLOC_NOFRAGMENT, MIGRATE_HIGHATOMIC, MIGRATE_MOVABLE,
    MIGRATE_PCPTYPES,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE, PG_buddy, USE_PAGE_CACHE, USE_USER, WMARK_HIGH, ZONE_BOOSTED_WATERMARK,
    ZSTAT_CLAIM,
    ZSTAT_FALLBACK,
)
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mmzone cimport (
    free_area_empty, get_pfnblock_migratetype, migratetype_is_mergeable, set_pageblock_migratetype,
    zone_free_pages, zone_spans_pfn,
)
from mmtwin.kernel.page_alloc_buddy cimport (
    __rmqueue_smallest, account_freepages, change_pageblock_range, del_page_from_free_list, expand,
    get_page_from_free_area, mod_free_pages, move_to_free_list, page_del_and_expand,
)
from mmtwin.kernel.ram cimport page_p, pfn_to_page, zone_at, zone_p
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u32
from mmtwin.kernel.trace cimport STEP_MM_PAGE_ALLOC_EXTFRAG, STEP_MM_PAGE_ALLOC_ZONE_LOCKED, step

cdef enum:
    RMQUEUE_NORMAL = 0
    RMQUEUE_CMA = 1
    RMQUEUE_CLAIM = 2
    RMQUEUE_STEAL = 3

ctypedef s32 (*fallback_f)(s32 start_type, s32 place) noexcept nogil

cdef inline s32 ask_fallback(size_t function, s32 start_type, s32 place) noexcept nogil:
    return (<fallback_f> function)(start_type, place)

@cython.locals(place=s32, migratetype=s32)
cdef s32 fallback_by_policy(MM mm, zone_p zone, s32 order, s32 start_type) noexcept nogil
cdef s32 fallback_type(s32 start_type, s32 place) noexcept nogil
@cython.locals(place=s32, migratetype=s32)
cdef s32 find_suitable_fallback(MM mm, zone_p zone, s32 order, s32 start_type) noexcept nogil
cdef bint can_steal_fallback(MM mm, s32 order, s32 start_type) noexcept nogil
@cython.locals(most=s64, block=s64, high=s64)
cdef bint boost_watermark(MM mm, zone_p zone) noexcept nogil
cdef bint page_is_movable(page_p page) noexcept nogil
@cython.locals(start=pfn_t, end=pfn_t, page=page_p, movable=s64)
cdef s64 count_movable(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(zone=zone_p, start=pfn_t, end=pfn_t, moved=s64, size=s64)
cpdef s64 move_freepages_block(MM mm, s32 number, pfn_t pfn, s32 migratetype) noexcept nogil
@cython.locals(zone=zone_p, start=pfn_t, end=pfn_t)
cdef bint block_in_zone(MM mm, s32 number, pfn_t pfn) noexcept nogil
@cython.locals(start=pfn_t, end=pfn_t, free=s64)
cdef s64 count_free(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(alike=s64, movable=s64)
cdef bint should_claim(MM mm, pfn_t pfn, s64 free, s32 start_type, s32 block_type) noexcept nogil
@cython.locals(zone=zone_p, order=s32, old_type=s32, moved=s64)
cdef void steal_suitable_fallback(
    MM mm, s32 number, pfn_t pfn, u32 alloc_flags, s32 start_type, bint whole_block) noexcept nogil
cdef void trace_extfrag(
    MM mm, s32 number, pfn_t pfn, s32 order, s32 fallback_order, s32 start_type,
    s32 fallback_mt) noexcept nogil
@cython.locals(zone=zone_p, least=s32, current=s32, migratetype=s32, whole=bint, pfn=pfn_t)
cdef pfn_t __rmqueue_fallback(
    MM mm, s32 number, s32 order, s32 start_type, u32 alloc_flags) noexcept nogil
@cython.locals(zone=zone_p, claimed=pfn_t)
cdef pfn_t take_suitable_fallback(
    MM mm, s32 number, pfn_t pfn, s32 current, s32 order, s32 start_type, s32 block_type,
    u32 alloc_flags, bint whole_block) noexcept nogil
@cython.locals(zone=zone_p)
cdef pfn_t try_to_claim_block(
    MM mm, s32 number, pfn_t pfn, s32 current, s32 order, s32 start_type, s32 block_type,
    u32 alloc_flags) noexcept nogil
@cython.locals(zone=zone_p, least=s32, current=s32, migratetype=s32, pfn=pfn_t)
cdef pfn_t __rmqueue_claim(
    MM mm, s32 number, s32 order, s32 start_type, u32 alloc_flags) noexcept nogil
@cython.locals(zone=zone_p, current=s32, migratetype=s32, pfn=pfn_t)
cdef pfn_t __rmqueue_steal(MM mm, s32 number, s32 order, s32 start_type) noexcept nogil
@cython.locals(pfn=pfn_t)
cdef pfn_t rmqueue_by_mode(
    MM mm, s32 number, s32 order, s32 migratetype, u32 alloc_flags) noexcept nogil
@cython.locals(pfn=pfn_t)
cdef pfn_t rmqueue_retrying(
    MM mm, s32 number, s32 order, s32 migratetype, u32 alloc_flags) noexcept nogil
@cython.locals(zone=zone_p, pfn=pfn_t)
cdef pfn_t __rmqueue(MM mm, s32 number, s32 order, s32 migratetype, u32 alloc_flags) noexcept nogil
@cython.locals(most=s64, block=s64)
cdef s64 max_highatomic(MM mm, zone_p zone) noexcept nogil
@cython.locals(zone=zone_p, number=s32)
cpdef void reserve_highatomic_pageblock(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(zone=zone_p, size=s64)
cdef bint unreserve_block(MM mm, s32 number, pfn_t pfn, s32 order, s32 migratetype) noexcept nogil
@cython.locals(zone=zone_p, order=s32, pfn=pfn_t)
cpdef bint unreserve_highatomic_pageblock(
    MM mm, s32 number, s32 migratetype, bint force) noexcept nogil

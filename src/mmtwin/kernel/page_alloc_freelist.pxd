cimport cython

from mmtwin.kernel.constants cimport (
    __GFP_COMP, __GFP_MOVABLE, __GFP_THISNODE, __GFP_ZERO, ALLOC_FROM_ZONE,
    ALLOC_HIGHATOMIC, ALLOC_NO_WATERMARKS, ALLOC_NOFRAGMENT, ALLOC_NON_BLOCK, ALLOC_OOM,
    ALLOC_WMARK_MASK, ALLOC_WMARK_MIN, CHECK_KASAN, MIGRATE_HIGHATOMIC, USE_KERNEL, USE_USER,
    VM_PAGEOUTRUN, VM_PGALLOC, WMARK_HIGH, ZONE_BELOW_HIGH, ZONE_BOOSTED_WATERMARK,
    ZONELIST_PLACES,
    ZSTAT_BUDDY_ALLOC, ZSTAT_NUMA_FOREIGN, ZSTAT_NUMA_HIT, ZSTAT_NUMA_LOCAL,
    ZSTAT_NUMA_MISS, ZSTAT_NUMA_OTHER, PG_head, PG_pfmemalloc, PG_tail,
)
from mmtwin.kernel.kasan_hooks cimport kasan_unpoison_pages
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mmzone cimport gfp_zone, zone_free_pages, zone_watermark_fast
from mmtwin.kernel.page_alloc_buddy cimport __rmqueue_smallest, mod_free_pages, pcp_allowed_order
from mmtwin.kernel.page_alloc_fallback cimport __rmqueue, reserve_highatomic_pageblock
from mmtwin.kernel.page_alloc_pcp cimport rmqueue_pcplist
from mmtwin.kernel.ram cimport clear_pages, pfn_to_page, zone_at, page_p, zone_p
from mmtwin.kernel.trace cimport STEP_MM_PAGE_ALLOC_ZONE_LOCKED, STEP_WATERMARK_FAIL, step
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32

@cython.locals(page=page_p, tail=page_p, use=s32, pages=s32, place=s32)
cdef void prep_new_page(MM mm, pfn_t pfn, s32 order, gfp_t gfp, u32 alloc_flags) noexcept nogil
cdef void zone_statistics(MM mm, s32 preferred, s32 number, s64 count) noexcept nogil
@cython.locals(pfn=pfn_t)
cdef pfn_t rmqueue_buddy(
    MM mm, s32 number, s32 order, s32 migratetype, u32 alloc_flags) noexcept nogil
@cython.locals(zone=zone_p)
cdef void kswapd_balances(MM mm, s32 number) noexcept nogil
@cython.locals(zone=zone_p, boost=s64)
cpdef void set_kswapd_hopeless(MM mm, s32 number, bint hopeless) noexcept nogil
@cython.locals(zone=zone_p, pfn=pfn_t)
cdef pfn_t rmqueue(
    MM mm, s32 preferred, s32 number, s32 order, s32 migratetype, u32 alloc_flags) noexcept nogil
@cython.locals(zone=zone_p, mark=s64)
cdef bint zone_allows(
    MM mm, s32 number, s32 order, s32 highest, u32 alloc_flags, gfp_t gfp) noexcept nogil
@cython.locals(place=s64, preferred=s32, number=s32, zone=zone_p, pfn=pfn_t, highest=s32)
cdef pfn_t scan_zonelist(
    MM mm, gfp_t gfp, s32 order, u32 alloc_flags, s32 node, s32 migratetype) noexcept nogil
@cython.locals(pfn=pfn_t)
cdef pfn_t get_page_from_freelist(
    MM mm, gfp_t gfp, s32 order, u32 alloc_flags, s32 node, s32 migratetype) noexcept nogil

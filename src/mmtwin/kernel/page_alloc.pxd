cimport cython

from mmtwin.kernel.constants cimport (
    __GFP_ATOMIC, __GFP_COMP, __GFP_DIRECT_RECLAIM, __GFP_HIGH, __GFP_KSWAPD_RECLAIM,
    __GFP_FS, __GFP_MEMALLOC, __GFP_MOVABLE, __GFP_NOFAIL, __GFP_NOMEMALLOC, __GFP_NORETRY,
    __GFP_NOWARN, __GFP_RECLAIMABLE, __GFP_RETRY_MAYFAIL, __GFP_THISNODE, ALLOC_CMA,
    ALLOC_CPUSET, ALLOC_HIGHATOMIC, ALLOC_KSWAPD, ALLOC_MIN_RESERVE, ALLOC_NO_WATERMARKS,
    ALLOC_NOFRAGMENT, ALLOC_NON_BLOCK, ALLOC_OOM, ALLOC_WMARK_LOW, ALLOC_WMARK_MIN, BULK_PAGES,
    CHECK_KASAN, COMPLAINT_BAD_ORDER, COMPLAINT_BAD_PAGE, COMPLAINT_ORDER, COMPLAINT_PAGE_ALLOC,
    FPI_NONE,
    FPI_TO_TAIL,
    MIGRATE_MOVABLE, MIGRATE_UNMOVABLE, PAGE_ALLOC_COSTLY_ORDER, USE_FREE, VM_ALLOCSTALL,
    VM_PAGEOUTRUN, VM_PGALLOC,
    VM_PGFREE, ZONE_DMA32, ZONE_NORMAL, ZONELIST_PLACES, PG_hole, PG_reserved,
)
from mmtwin.kernel.kasan_hooks cimport kasan_poison_pages
from mmtwin.kernel.mm cimport MM, complain
from mmtwin.kernel.mmzone cimport first_zone, gfp_zone, zone_watermark_fast
from mmtwin.kernel.page_alloc_buddy cimport free_one_page, pcp_allowed_order
from mmtwin.kernel.page_alloc_fallback cimport unreserve_highatomic_pageblock
from mmtwin.kernel.page_alloc_freelist cimport (
    get_page_from_freelist, prep_new_page, zone_statistics,
)
from mmtwin.kernel.page_alloc_pcp cimport __rmqueue_pcplist, drain_all_pages, free_to_pcp
from mmtwin.kernel.ram cimport clear_pages, pfn_to_page, zone_of, page_p, zone_p
from mmtwin.kernel.trace cimport (
    STEP_ALLOC_SLOWPATH, STEP_MM_PAGE_ALLOC, STEP_MM_PAGE_FREE, STEP_MM_PAGE_FREE_BATCHED,
    step,
)
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32

cpdef s32 gfp_migratetype(MM mm, gfp_t gfp) noexcept nogil
cdef u32 alloc_flags_cma(MM mm, gfp_t gfp) noexcept nogil
@cython.locals(alloc_flags=u32)
cdef u32 alloc_flags_nofragment(MM mm, s32 number, gfp_t gfp) noexcept nogil
@cython.locals(alloc_flags=u32)
cdef u32 alloc_flags_nonblocking(MM mm, gfp_t gfp, s32 order) noexcept nogil
@cython.locals(alloc_flags=u32)
cdef u32 gfp_to_alloc_flags(MM mm, gfp_t gfp, s32 order) noexcept nogil
cdef u32 pfmemalloc_flags(MM mm, gfp_t gfp) noexcept nogil
cpdef bint may_oom(MM mm, gfp_t gfp, s32 order) noexcept nogil
@cython.locals(number=s32, highest=s32, place=s32)
cdef bint unreserve_any(MM mm, gfp_t gfp, s32 node, s32 migratetype, bint force) noexcept nogil
@cython.locals(pfn=pfn_t)
cdef pfn_t direct_reclaim(
    MM mm, gfp_t gfp, s32 order, u32 alloc_flags, s32 node, s32 migratetype) noexcept nogil
@cython.locals(pfn=pfn_t, alloc_flags=u32, reserves=u32)
cdef pfn_t __alloc_pages_slowpath(
    MM mm, gfp_t gfp, s32 order, s32 node, s32 migratetype) noexcept nogil
@cython.locals(pfn=pfn_t, migratetype=s32, preferred=s32, alloc_flags=u32)
cpdef pfn_t alloc_pages(MM mm, gfp_t gfp, s32 order, s32 node) noexcept nogil
@cython.locals(place=s64, highest=s32, preferred=s32, number=s32, alloc_flags=u32)
cdef s32 bulk_zone(MM mm, gfp_t gfp, s32 node, s64 count) noexcept nogil
@cython.locals(number=s32, taken=s64, pfn=pfn_t, migratetype=s32, alloc_flags=u32)
cpdef s64 alloc_pages_bulk(MM mm, gfp_t gfp, s32 node, s64 count) noexcept nogil
@cython.locals(page=page_p, place=s32, pages=s32)
cdef bint free_pages_prepare(MM mm, pfn_t pfn, s32 order) noexcept nogil
cdef void free_prepared(MM mm, pfn_t pfn, s32 order) noexcept nogil
cpdef void free_pages(MM mm, pfn_t pfn, s32 order) noexcept nogil
cpdef void free_unref_page_batch(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(end=pfn_t, place=s32, order=s32)
cpdef void free_contig_range(MM mm, pfn_t pfn, s32 count) noexcept nogil
cpdef void free_pages_to_tail(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(page=page_p, place=s32)
cpdef void free_pages_core(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(place=s32)
cpdef void split_page(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(order=s32, pfn=pfn_t, place=s32)
cpdef pfn_t alloc_pages_exact(MM mm, gfp_t gfp, s32 pages, s32 node) noexcept nogil

cimport cython

from mmtwin.kernel.constants cimport (
    FPI_TO_TAIL, MIGRATE_HIGHATOMIC, MIGRATE_PCPTYPES, PG_buddy, USE_FREE, ZSTAT_BUDDY_FREE,
)
from mmtwin.kernel.lists cimport list_add, list_add_tail, list_del
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mmzone cimport (
    get_pfnblock_migratetype, migratetype_is_mergeable, set_pageblock_migratetype,
)
from mmtwin.kernel.ram cimport (
    page_p, pcp_of, pcp_p, pfn_to_page, zone_at, zone_of, zone_p,
)
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64
from mmtwin.kernel.trace cimport (
    STEP_BUDDY_MERGE, STEP_BUDDY_SPLIT, STEP_MM_PAGE_ALLOC_ZONE_LOCKED, step, step_on,
)

cdef extern from *:
    u64 MASK64 "0xFFFFFFFFFFFFFFFFULL"

cdef void account_freepages(MM mm, zone_p zone, s64 pages, s32 migratetype) noexcept nogil
@cython.locals(zone=zone_p, pcp=pcp_p, diff=s64)
cdef void mod_free_pages(MM mm, s32 number, s64 pages) noexcept nogil
@cython.locals(number=s32, pcp=pcp_p)
cpdef void fold_free_pages(MM mm, s32 cpu) noexcept nogil
@cython.locals(head=pfn_t, page=page_p)
cdef void add_to_free_list(
    MM mm, zone_p zone, pfn_t pfn, s32 order, s32 migratetype, bint tail) noexcept nogil
@cython.locals(page=page_p)
cdef void del_page_from_free_list(MM mm, zone_p zone, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(page=page_p, old=s32)
cdef void move_to_free_list(
    MM mm, zone_p zone, pfn_t pfn, s32 order, s32 migratetype) noexcept nogil
@cython.locals(head=pfn_t, first=pfn_t)
cdef pfn_t get_page_from_free_area(MM mm, zone_p zone, s32 order, s32 migratetype) noexcept nogil
@cython.locals(page=page_p)
cdef bint page_is_buddy(MM mm, pfn_t pfn, pfn_t buddy, s32 order) noexcept nogil
@cython.locals(combined=pfn_t)
cdef bint buddy_merge_likely(MM mm, pfn_t pfn, pfn_t buddy, s32 order) noexcept nogil
@cython.locals(random=u64)
cdef bint shuffle_pick_tail(MM mm) noexcept nogil
@cython.locals(block=s32)
cdef void change_pageblock_range(MM mm, pfn_t pfn, s32 order, s32 migratetype) noexcept nogil
@cython.locals(buddy_type=s32)
cdef bint may_merge_blocks(MM mm, zone_p zone, pfn_t buddy, s32 migratetype) noexcept nogil
@cython.locals(zone=zone_p, buddy=pfn_t, first=pfn_t, low=s32, tail=bint)
cdef void __free_one_page(
    MM mm, pfn_t pfn, s32 order, s32 migratetype, s32 fpi_flags) noexcept nogil
@cython.locals(piece=s32, end=pfn_t)
cdef void split_large_buddy(MM mm, pfn_t pfn, s32 order, s32 fpi_flags) noexcept nogil
cdef void free_one_page(MM mm, pfn_t pfn, s32 order, s32 fpi_flags) noexcept nogil
@cython.locals(size=s64)
cdef void expand(MM mm, zone_p zone, pfn_t pfn, s32 low, s32 high, s32 migratetype) noexcept nogil
cdef void page_del_and_expand(
    MM mm, zone_p zone, pfn_t pfn, s32 low, s32 high, s32 migratetype) noexcept nogil
cdef bint pcp_allowed_order(MM mm, s32 order) noexcept nogil
@cython.locals(zone=zone_p, current=s32, pfn=pfn_t)
cdef pfn_t __rmqueue_smallest(MM mm, s32 number, s32 order, s32 migratetype) noexcept nogil

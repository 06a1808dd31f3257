cimport cython

from mmtwin.kernel.constants cimport (
    MIGRATE_MOVABLE, MIGRATE_PCPTYPES, PG_buddy, PG_pcp, USE_FREE, USE_UNKNOWN,
)
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mmzone cimport get_pfnblock_migratetype
from mmtwin.kernel.page_alloc_buddy cimport (
    account_freepages, add_to_free_list, del_page_from_free_list, pcp_allowed_order,
)
from mmtwin.kernel.page_alloc_pcp cimport note_free, put_on_pcp_list, take_off_pcp_list
from mmtwin.kernel.ram cimport page_p, pcp_of, pcp_p, pfn_to_page, zone_of, zone_p
from mmtwin.kernel.structs cimport pfn_t, s32, s64

@cython.locals(place=pfn_t)
cdef void set_users(MM mm, pfn_t pfn, s64 pages, s32 use) noexcept nogil
@cython.locals(zone=zone_p)
cpdef void add_free_block(MM mm, pfn_t pfn, s32 order, s32 migratetype, bint tail) noexcept nogil
@cython.locals(page=page_p)
cpdef void add_pcp_block(
    MM mm, s32 number, s32 cpu, s32 pindex, pfn_t pfn, s32 order, bint tail) noexcept nogil
@cython.locals(order=s32, head=pfn_t, page=page_p)
cpdef pfn_t free_block_of(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(entry=pfn_t, number=s32, cpu=s32, pcp=pcp_p)
cdef pcp_p pcp_that_holds(MM mm, pfn_t pfn) noexcept nogil
@cython.locals(zone=zone_p, half=pfn_t)
cdef void put_rest(
    MM mm, pfn_t block, s32 order, pfn_t pfn, pfn_t end, s32 migratetype) noexcept nogil
@cython.locals(block=pfn_t, order=s32, migratetype=s32, zone=zone_p)
cdef s32 take_from_block(MM mm, pfn_t block, pfn_t pfn, pfn_t end) noexcept nogil
@cython.locals(end=pfn_t, place=pfn_t, block=pfn_t, taken=s32, size=s32)
cpdef s32 take_free_page(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(pcp=pcp_p)
cpdef void recall_free(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(pcp=pcp_p)
cpdef void recall_alloc(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(pcp=pcp_p)
cpdef void recall_refill(MM mm, pfn_t pfn, s32 order, s32 blocks) noexcept nogil

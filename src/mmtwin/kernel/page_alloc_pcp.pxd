cimport cython

from mmtwin.kernel.constants cimport (
    ALLOC_FROM_PCP, ALLOC_FROM_PCP_REFILL, ALLOC_HIGHATOMIC, EXPIRE_ROUNDS, FPI_NONE,
    MIGRATE_MOVABLE, MIGRATE_PCPTYPES, PG_pcp,
    PCPF_FREE_HIGH_BATCH, PCPF_PREV_FREE_HIGH_ORDER, PCPSTAT_ALLOC, PCPSTAT_DRAIN,
    PCPSTAT_DRAIN_BLOCKS, PCPSTAT_FREE,
    PCPSTAT_REFILL, PCPSTAT_REFILL_BLOCKS, PCPSTAT_SEEN, USE_FREE, VM_PGFREE, WMARK_HIGH,
    ZONE_BELOW_HIGH, ZONE_MOVABLE,
    ZONE_RECLAIM_ACTIVE,
)
from mmtwin.kernel.lists cimport list_add, list_add_tail, list_del
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mmzone cimport get_pfnblock_migratetype, zone_watermark_ok
from mmtwin.kernel.page_alloc_buddy cimport (
    __free_one_page, fold_free_pages, free_one_page, mod_free_pages,
)
from mmtwin.kernel.page_alloc_fallback cimport __rmqueue
from mmtwin.kernel.ram cimport page_p, pcp_of, pcp_p, pfn_to_page, zone_at, zone_p
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u32
from mmtwin.kernel.trace cimport (
    STEP_MM_PAGE_PCPU_DRAIN, STEP_PCP_ALLOC, STEP_PCP_FREE, STEP_PCP_REFILL, step,
)

@cython.locals(base=s32)
cpdef s32 order_to_pindex(MM mm, s32 migratetype, s32 order) noexcept nogil
cpdef s32 pindex_to_order(MM mm, s32 pindex) noexcept nogil
cdef s32 clamp(s32 value, s32 low, s32 high) noexcept nogil
@cython.locals(page=page_p)
cdef void put_on_pcp_list(
    MM mm, pcp_p pcp, pfn_t pfn, s32 order, s32 pindex, bint tail) noexcept nogil
@cython.locals(page=page_p)
cdef void take_off_pcp_list(MM mm, pcp_p pcp, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(page=page_p, order=s32, migratetype=s32)
cdef void free_pcp_page(MM mm, s32 number, pcp_p pcp, pfn_t pfn) noexcept nogil
@cython.locals(pindex=s32, turns=s32, last=pfn_t)
cdef void drain_round_robin(MM mm, s32 number, pcp_p pcp, s32 count) noexcept nogil
@cython.locals(pages=s32, last=pfn_t)
cdef void drain_whole_lists(MM mm, s32 number, pcp_p pcp, s32 count, s32 pindex) noexcept nogil
@cython.locals(pcp=pcp_p)
cdef void free_pcppages_bulk(MM mm, s32 number, s32 cpu, s32 count, s32 pindex) noexcept nogil
@cython.locals(least=s32, most=s32)
cdef s32 nr_pcp_free(MM mm, pcp_p pcp, s32 high, bint free_high) noexcept nogil
@cython.locals(high=s32, freed=s32)
cdef s32 nr_pcp_high_tuned(MM mm, zone_p zone, pcp_p pcp, bint free_high) noexcept nogil
@cython.locals(high=s32)
cdef s32 nr_pcp_high(MM mm, zone_p zone, pcp_p pcp, bint free_high) noexcept nogil
@cython.locals(needed=s32, free_high=bint)
cdef bint note_free(MM mm, pcp_p pcp, s32 order) noexcept nogil
@cython.locals(
    number=s32, zone=zone_p, pcp=pcp_p, pindex=s32, high=s32, to_free=s32, piece=s32,
    free_high=bint)
cdef void free_unref_page_commit(MM mm, pfn_t pfn, s32 migratetype, s32 order) noexcept nogil
@cython.locals(migratetype=s32)
cdef void free_to_pcp(MM mm, pfn_t pfn, s32 order) noexcept nogil
@cython.locals(high=s32, batch=s32, most=s32)
cdef s32 nr_pcp_alloc_tuned(MM mm, zone_p zone, pcp_p pcp, s32 order) noexcept nogil
@cython.locals(batch=s32)
cdef s32 nr_pcp_alloc(MM mm, zone_p zone, pcp_p pcp, s32 order) noexcept nogil
@cython.locals(pcp=pcp_p, taken=s32, pfn=pfn_t)
cdef s32 rmqueue_bulk(
    MM mm, s32 number, s32 order, s32 count, s32 pindex, s32 migratetype,
    u32 alloc_flags) noexcept nogil
@cython.locals(zone=zone_p, pcp=pcp_p, head=pfn_t, pfn=pfn_t, pindex=s32, batch=s32)
cdef pfn_t __rmqueue_pcplist(
    MM mm, s32 number, s32 order, s32 migratetype, u32 alloc_flags) noexcept nogil
@cython.locals(pcp=pcp_p)
cdef pfn_t rmqueue_pcplist(
    MM mm, s32 number, s32 order, s32 migratetype, u32 alloc_flags) noexcept nogil
@cython.locals(pcp=pcp_p)
cpdef void drain_zone_pages(MM mm, s32 number, s32 cpu) noexcept nogil
@cython.locals(pcp=pcp_p)
cpdef void drain_pcp(MM mm, s32 number, s32 cpu, s32 count, s32 pindex) noexcept nogil
@cython.locals(pcp=pcp_p, step_pages=s32)
cpdef void drain_pages_zone(MM mm, s32 number, s32 cpu) noexcept nogil
cpdef void drain_pages(MM mm, s32 cpu) noexcept nogil
cpdef void drain_all_pages(MM mm) noexcept nogil
@cython.locals(pcp=pcp_p, high=s32, to_drain=s32, piece=s32)
cpdef bint decay_pcp_high(MM mm, s32 number, s32 cpu) noexcept nogil
@cython.locals(pcp=pcp_p, zone=zone_p)
cpdef void refresh_cpu_vm_stats(MM mm, s32 cpu) noexcept nogil

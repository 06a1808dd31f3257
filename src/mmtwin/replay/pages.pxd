cimport cython

from mmtwin.kernel.casts cimport as_u32, as_u64
from mmtwin.kernel.constants cimport ALLOC_FROM_ZONE, MIGRATE_PCPTYPES, PG_large_kmalloc
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.page_alloc cimport alloc_pages, alloc_pages_bulk, free_pages, may_oom
from mmtwin.kernel.page_alloc_buddy cimport mod_free_pages, pcp_allowed_order
from mmtwin.kernel.page_alloc_pcp cimport order_to_pindex
from mmtwin.kernel.page_alloc_state cimport (
    add_pcp_block, recall_alloc, recall_free, recall_refill, take_free_page,
)
from mmtwin.kernel.ram cimport page_p, pcp_of, pcp_p, pfn_to_page
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, step_t, u32, u64, virt_t
from mmtwin.kernel.trace cimport (
    STEP_MM_PAGE_ALLOC_ZONE_LOCKED, STEP_MM_PAGE_PCPU_DRAIN, STEP_SLUB_ALLOC_SLAB,
    STEP_SLUB_FREE_SLAB,
)
from mmtwin.recordings.event cimport (
    EXTRA_EXACT, KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE,
    KIND_MM_PAGE_ALLOC,
    KIND_MM_PAGE_ALLOC_EXTFRAG, KIND_MM_PAGE_ALLOC_ZONE_LOCKED,
    KIND_MM_PAGE_FREE, as_events, event_at, event_t,
)
from mmtwin.replay.counts cimport *
from mmtwin.replay.gfp_bits cimport moved_gfp
from mmtwin.replay.mend cimport MOST_WRONG, Mend, queue_of
from mmtwin.replay.queues cimport (
    QUEUE_KERNEL_ZONE, QUEUE_TWIN_DRAIN, QUEUE_TWIN_SLAB, QUEUE_TWIN_SLAB_FREE, QUEUE_TWIN_ZONE,
    empty, first_is, get, put, queue_t, skip_to,
)
from mmtwin.replay.resync cimport (
    drain_page, is_block, page_is_free, return_block, take_page, vacate,
)

ctypedef event_t *event_p
ctypedef queue_t *queue_p
ctypedef step_t *step_p

cdef enum:
    GFP_VMALLOC = 0xcc2           # GFP_KERNEL | __GFP_HIGHMEM

cdef inline s64 as_item(u64 pfn) noexcept nogil:
    return <s64> pfn

cdef inline s64 low40(s64 value) noexcept nogil:
    return value & ((<s64> 1 << 40) - 1)

cdef inline step_t *step_at(MM mm, s64 number) noexcept nogil:
    return &mm.step[number & (mm.ring_size - 1)]

cdef class Pages(Mend):
    cdef u32 *bits
    cdef u32 same_bits            # of a recorded gfp mask: those that the twin has too
    cdef u32 moved_bits           # those that are others in the twin
    cdef u64 *bulk_site
    cdef s64 nr_bulk_sites
    cdef s32 refilled             # recall(): blocks of the refill that goes on
    cdef pfn_t refill_pfn
    cdef s64 coming               # blocks whose events come behind the demand's first
    cdef readonly s32 victim      # the task that the OOM killer took last, -1 for none
    cdef bint silent              # the pages being taken are of no event

    cdef void _compare_page(self, pfn_t pfn, pfn_t predicted) noexcept nogil
    @cython.locals(predicted=pfn_t)
    cdef void _page_alloc(self, event_t *event) noexcept nogil
    cdef void _failed_demand(self, event_t *event) noexcept nogil
    cdef void _page_free(self, event_t *event, s32 order) noexcept nogil
    @cython.locals(mine=queue_p, skipped=s64)
    cdef void _drain_event(self, event_t *event) noexcept nogil
    cpdef void observe(self, size_t address, s64 start, s64 stop, s64 available)
    @cython.locals(events=event_p, event=event_p, i=s64)
    cdef void _observe(self, size_t address, s64 start, s64 stop, s64 available) noexcept nogil
    cpdef void recall(self, size_t address, s64 start, s64 stop)
    @cython.locals(events=event_p, event=event_p, i=s64)
    cdef void _recall(self, size_t address, s64 start, s64 stop) noexcept nogil
    @cython.locals(place=s64)
    cdef bint _is_bulk_site(self, u64 call_site) noexcept nogil
    cdef s64 _vmalloc_size(self, event_t *event) noexcept nogil
    @cython.locals(taken=s64)
    cdef void _vmalloc_pages(self, s32 cpu, s64 left) noexcept nogil
    @cython.locals(first=s64, number=s64, record=step_p, taken=s64)
    cdef void _take_in(self, s32 cpu) noexcept nogil
    @cython.locals(migratetype=s64, refill=s64, order=s64)
    cdef s64 _zone_item(self, event_t *event) noexcept nogil
    @cython.locals(queue=queue_p)
    cdef void _compare_zone(self, s32 cpu, pfn_t predicted, s64 order) noexcept nogil
    cdef void _count_zone(self, pfn_t predicted, pfn_t recorded, s64 order) noexcept nogil
    @cython.locals(queue=queue_p, item=s64, place=s64, number=s32, pages=s64)
    cdef void _finish_zone(self, s32 cpu, s64 taken) noexcept nogil
    @cython.locals(pfn=pfn_t, order=s32, zone=s32, pindex=s32, pcp=pcp_p, head=pfn_t, left=pfn_t)
    cdef void _fill_list(self, s32 cpu, s64 item, bint was_empty) noexcept nogil

cdef inline void set_cpu(MM mm, event_t *event) noexcept nogil:
    mm.cpu = event.cpu if event.cpu < mm.nr_cpus else 0

cdef inline s32 node_of(MM mm, event_t *event) noexcept nogil:
    return event.node if event.node < mm.nr_nodes and mm.nr_nodes > 1 else -1

cdef inline gfp_t gfp_of(Pages pages, gfp_t recorded) noexcept nogil:
    if recorded & pages.moved_bits:
        return moved_gfp(pages.bits, recorded)
    return recorded & pages.same_bits

cdef inline void collect(Pages pages, s32 cpu) noexcept nogil:
    if (
        pages.seen != pages.mm.next_step or pages.nr_wrong or pages.nr_extra or pages.filled
        or not empty(queue_of(pages, cpu, QUEUE_KERNEL_ZONE))
    ):
        pages._take_in(cpu)

cdef inline void watch_alloc(Pages pages, event_t *event, virt_t twin) noexcept nogil:
    pages.objects.add(event.address, twin, event.call_site, event.bytes_req, event.bytes_alloc)

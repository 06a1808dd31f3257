cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u32, as_u64
from mmtwin.kernel.constants cimport ALLOC_FROM_ZONE, PG_large_kmalloc, PG_slab
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.page_alloc cimport alloc_pages, alloc_pages_bulk, free_pages
from mmtwin.kernel.page_alloc_freelist cimport prep_new_page
from mmtwin.kernel.page_alloc_state cimport recall_alloc, recall_free, recall_refill
from mmtwin.kernel.ram cimport (
    cache_at, cache_p, page_address, page_p, pfn_to_page, virt_to_head_pfn, virt_to_pfn,
)
from mmtwin.kernel.slab_common cimport __kmalloc_node as kmalloc_node, kfree, kmalloc_slab
from mmtwin.kernel.slub cimport kmem_cache_alloc_node, kmem_cache_free
from mmtwin.kernel.slub_resync cimport make_cpu_slab, next_object, object_state, put_back, take_object
from mmtwin.kernel.slub_slab cimport rcu_free_slab
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, step_t, u8, u32, u64, virt_t
from mmtwin.kernel.trace cimport (
    STEP_MM_PAGE_ALLOC_ZONE_LOCKED, STEP_MM_PAGE_PCPU_DRAIN, STEP_SLUB_ALLOC_SLAB, STEP_SLUB_FREE_SLAB,
)
from mmtwin.recordings.event cimport (
    EXTRA_PCP_LOCKED, KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_ALLOC,
    KIND_MM_PAGE_ALLOC_EXTFRAG, KIND_MM_PAGE_ALLOC_ZONE_LOCKED, KIND_MM_PAGE_FREE, KIND_MM_PAGE_FREE_BATCHED,
    KIND_MM_PAGE_PCPU_DRAIN, ROLE_DEMAND, ROLE_LARGE_KMALLOC, ROLE_NONE, ROLE_SILENT, ROLE_SLAB, as_events, event_at,
    event_t, wrap64,
)
from mmtwin.replay.counts cimport *
from mmtwin.recordings.sites cimport as_s32
from mmtwin.replay.objects cimport Objects
from mmtwin.replay.queues cimport (
    NR_QUEUES, QUEUE_KERNEL_ZONE, QUEUE_TWIN_DRAIN, QUEUE_TWIN_SLAB, QUEUE_TWIN_SLAB_FREE, QUEUE_TWIN_ZONE, as_queues, empty, get, put,
    queue_at, queue_t,
)
from mmtwin.replay.resync cimport (
    adopt_slab, bring_slab, drain_page, exchange_blocks, give_back_slab, is_block, is_inside,
    move_large, move_slab, page_is_free, slab_is_unused, vacate,
)

ctypedef event_t *event_p
ctypedef queue_t *queue_p
ctypedef step_t *step_p

cdef enum:
    DONE = 0x80                   # set in event.role: the demand was carried out earlier
    GFP_PLACES = 64               # a power of two
    MOST_WRONG = 64               # blocks set right after one demand
    MOST_SILENT_OBJECTS = 4096
    ZERO_SIZE_PTR = 16
    GFP_VMALLOC = 0xcc2           # GFP_KERNEL | __GFP_HIGHMEM
    INTERRUPT = 0x18              # event.flags: hard or soft interrupt

cdef inline step_t *step_at(MM mm, s64 number) noexcept nogil:
    return &mm.step[number & (mm.ring_size - 1)]

@cython.final
cdef class Engine:
    cdef readonly MM mm
    cdef readonly Objects objects
    cdef s64 *count
    cdef s64 *misses
    cdef s32 *cache_of
    cdef u32 *bits
    cdef u32 *gfp_recorded        # masks translated before, by a hash of them
    cdef u32 *gfp_twin
    cdef queue_t *queues
    cdef event_t *events
    cdef s64 *wrong               # (the twin's pfn, the kernel's, order) of each wrong block
    cdef s64 nr_wrong
    cdef u64 *bulk_site
    cdef s64 nr_bulk_sites
    cdef s32 refilled             # recall(): blocks of the refill that goes on
    cdef pfn_t refill_pfn
    cdef s64 available
    cdef s64 nr_names
    cdef s64 seen                 # steps of the twin that were compared
    cdef pfn_t last_page
    cdef readonly u64 large
    cdef bint same_bits
    cdef bint silent              # the pages being taken are of no event
    cdef public bint resync
    cdef dict _buffers

    cpdef void run(self, size_t address, s64 start, s64 stop, s64 available)
    cpdef void observe(self, size_t address, s64 start, s64 stop, s64 available)
    @cython.locals(events=event_p, event=event_p, i=s64)
    cdef void _run(self, size_t address, s64 start, s64 stop, s64 available) noexcept nogil
    @cython.locals(kind=s32)
    cdef void _event(self, event_t *event, s64 number) noexcept nogil
    cdef void _page_event(self, event_t *event, s64 number, s32 kind) noexcept nogil
    cdef queue_t *_queue(self, s32 cpu, s32 number) noexcept nogil
    cdef void _set_cpu(self, event_t *event) noexcept nogil
    @cython.locals(awaited=event_p)
    cdef bint _awaits(self, event_t *event, s64 number, s32 kind) noexcept nogil
    @cython.locals(gfp=gfp_t, bit=s32, place=u32)
    cdef gfp_t _gfp(self, gfp_t recorded) noexcept nogil
    cdef void _page_alloc_event(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(demand=event_p)
    cdef void _slab_page(self, event_t *event, s64 number) noexcept nogil
    cdef void _compare_page(self, pfn_t pfn, pfn_t predicted) noexcept nogil
    @cython.locals(predicted=pfn_t)
    cdef void _page_alloc(self, event_t *event) noexcept nogil
    @cython.locals(mine=pfn_t)
    cdef void _set_page_right(self, event_t *event, pfn_t predicted) noexcept nogil
    cdef void _page_free_event(self, event_t *event, s64 number) noexcept nogil
    cdef void _page_free(self, event_t *event, s32 order) noexcept nogil
    @cython.locals(predicted=pfn_t)
    cdef void _slab_free_event(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(demand=event_p)
    cdef void _free_ahead(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(predicted=pfn_t)
    cdef void _drain_event(self, event_t *event) noexcept nogil
    @cython.locals(gfp=gfp_t, cache=s32, predicted=virt_t, right=bint)
    cdef void _object_alloc(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(named=s32)
    cdef s32 _cache_of(self, event_t *event, gfp_t gfp) noexcept nogil
    @cython.locals(s=cache_p, offset=u64, place=s64)
    cdef void _expect_start(self, s32 cache, event_t *event, pfn_t page) noexcept nogil
    cdef bint _compare_object(self, event_t *event, s32 cache, virt_t predicted) noexcept nogil
    @cython.locals(event=event_p, target=s64, i=s64, mine=pfn_t)
    cdef virt_t _place_slabs(self, s64 number, s32 cache, virt_t predicted) noexcept nogil
    @cython.locals(size=u64, offset=u64)
    cdef virt_t _place_slab(
        self, event_t *event, s32 cache, pfn_t mine, virt_t predicted) noexcept nogil
    @cython.locals(queue=queue_p, mine=pfn_t, order=s32)
    cdef void _undo_slabs(self, s32 cpu) noexcept nogil
    @cython.locals(pfn=pfn_t)
    cdef pfn_t _head_pfn(self, virt_t address) noexcept nogil
    @cython.locals(pfn=pfn_t)
    cdef void _set_object_right(self, event_t *event, s32 cache, virt_t predicted) noexcept nogil
    @cython.locals(page=page_p)
    cdef bint _is_slab_of(self, pfn_t pfn, s32 cache) noexcept nogil
    @cython.locals(demand=event_p, cache=s32)
    cdef void _interrupted(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(page=event_p, late=queue_p)
    cdef void _zone_event(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(predicted=virt_t, pfn=pfn_t, recorded=pfn_t)
    cdef void _large_alloc(self, event_t *event, gfp_t gfp) noexcept nogil
    @cython.locals(pfn=pfn_t, object=virt_t)
    cdef void _object_free(self, event_t *event) noexcept nogil
    cdef void _free_slab_object(self, event_t *event, s32 cache, virt_t object) noexcept nogil
    @cython.locals(events=event_p, event=event_p, i=s64)
    cdef void _observe(self, size_t address, s64 start, s64 stop, s64 available) noexcept nogil
    cpdef void recall(self, size_t address, s64 start, s64 stop)
    @cython.locals(events=event_p, event=event_p, i=s64)
    cdef void _recall(self, size_t address, s64 start, s64 stop) noexcept nogil
    @cython.locals(place=s64, left=s64, taken=s64)
    cdef void _vmalloc_pages(self, event_t *event) noexcept nogil
    cdef void _watch_alloc(self, event_t *event, virt_t twin) noexcept nogil
    @cython.locals(cache=s32, predicted=pfn_t, _=s32)
    cdef void _silent_slab(self, event_t *event) noexcept nogil
    @cython.locals(first=s64, number=s64, record=step_p)
    cdef void _collect(self, s32 cpu) noexcept nogil
    @cython.locals(recorded=pfn_t)
    cdef void _compare_zone(self, s32 cpu, pfn_t predicted, s64 order) noexcept nogil
    cdef void _count_zone(self, pfn_t predicted, pfn_t recorded, s64 order) noexcept nogil
    @cython.locals(place=s64, mine=pfn_t, wanted=pfn_t, order=s32)
    cdef void _set_zone_right(self) noexcept nogil
    @cython.locals(queue=queue_p)
    cdef void _finish_zone(self, s32 cpu) noexcept nogil

cimport cython

from mmtwin.kernel.casts cimport as_s64
from mmtwin.kernel.constants cimport PG_large_kmalloc, PG_slab
from mmtwin.kernel.page_alloc cimport free_pages
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_p, page_p, pfn_to_page, virt_to_head_pfn, virt_to_pfn,
)
from mmtwin.kernel.slab_common cimport __kmalloc_node as kmalloc_node, kfree, kmalloc_slab
from mmtwin.kernel.slub cimport kmem_cache_alloc_node, slab_free
from mmtwin.kernel.slub_resync cimport (
    make_cpu_slab, next_object, object_state, put_back, put_under, skip_objects, take_object,
)
from mmtwin.kernel.slub_slab cimport rcu_free_slab
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u64, virt_t
from mmtwin.recordings.event cimport (
    EXTRA_EXACT, EXTRA_NESTED, EXTRA_PCP_LOCKED, KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC,
    KIND_KMEM_CACHE_FREE,
    KIND_MM_PAGE_ALLOC, KIND_MM_PAGE_ALLOC_EXTFRAG, KIND_MM_PAGE_ALLOC_ZONE_LOCKED,
    KIND_MM_PAGE_FREE, KIND_MM_PAGE_FREE_BATCHED, KIND_MM_PAGE_PCPU_DRAIN, ROLE_DEMAND,
    ROLE_DONE, ROLE_LARGE_KMALLOC, ROLE_NONE, ROLE_SILENT, ROLE_SLAB, as_events, event_at, event_t,
)
from mmtwin.recordings.sites cimport as_s32
from mmtwin.replay.counts cimport *
from mmtwin.replay.lock_order cimport LockOrder
from mmtwin.replay.mend cimport queue_of
from mmtwin.replay.pages cimport collect, gfp_of, node_of, set_cpu, watch_alloc
from mmtwin.replay.queues cimport (
    QUEUE_KERNEL_ZONE, QUEUE_TWIN_SLAB, QUEUE_TWIN_SLAB_FREE, QUEUE_TWIN_ZONE, empty, get, put,
    queue_t, skip_to,
)
from mmtwin.replay.resync cimport bring_slab, is_inside, move_large, page_is_free, vacate
from mmtwin.replay.sheaves cimport SETTLED
from mmtwin.replay.timers cimport rested
from mmtwin.replay.unseen cimport INTERRUPT

ctypedef event_t *event_p
ctypedef queue_t *queue_p

cdef enum:
    MOST_SILENT_OBJECTS = 4096
    ZERO_SIZE_PTR = 16

@cython.final
cdef class Engine(LockOrder):
    cdef s64 *misses
    cdef s32 *cache_of
    cdef s64 nr_names
    cdef readonly u64 large
    cdef bint ordered

    cpdef void run(self, size_t address, s64 start, s64 stop, s64 available)
    @cython.locals(events=event_p, i=s64)
    cdef void _run(self, size_t address, s64 start, s64 stop, s64 available) noexcept nogil
    @cython.locals(kind=s32)
    cdef void _event(self, event_t *event, s64 number) noexcept nogil
    cdef void _page_event(self, event_t *event, s64 number, s32 kind) noexcept nogil
    @cython.locals(awaited=event_p)
    cdef bint _awaits(self, event_t *event, s64 number, s32 kind) noexcept nogil
    cdef void _page_alloc_event(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(demand=event_p, cache=s32)
    cdef void _slab_page(self, event_t *event, s64 number) noexcept nogil
    cdef void _page_free_event(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(predicted=pfn_t, mine=queue_p, free=bint)
    cdef void _slab_free_event(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(demand=event_p)
    cdef void _free_ahead(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(
        gfp=gfp_t, cache=s32, predicted=virt_t, right=bint, sheaves=s32, sheaf=s64, told=bint
    )
    cdef void _object_alloc(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(number=s64, demand=event_p)
    cdef void _outer_alloc(self, event_t *event) noexcept nogil
    @cython.locals(named=s32)
    cdef s32 _cache_of(self, event_t *event, gfp_t gfp) noexcept nogil
    cdef bint _compare_object(self, event_t *event, s32 cache, virt_t predicted) noexcept nogil
    @cython.locals(pfn=pfn_t, known=bint)
    cdef void _set_object_right(self, event_t *event, s32 cache, virt_t predicted) noexcept nogil
    @cython.locals(demand=event_p, cache=s32, gfp=gfp_t)
    cdef void _interrupted(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(page=event_p, late=queue_p, mine=pfn_t)
    cdef void _zone_event(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(predicted=virt_t, pfn=pfn_t, recorded=pfn_t)
    cdef void _large_alloc(self, event_t *event, gfp_t gfp) noexcept nogil
    @cython.locals(pfn=pfn_t, object=virt_t)
    cdef void _object_free(self, event_t *event) noexcept nogil
    @cython.locals(nodes=bint, cache=s32)
    cdef void _free_slab_object(self, event_t *event, pfn_t pfn, virt_t object) noexcept nogil
    @cython.locals(cache=s32, predicted=pfn_t, _=s32)
    cdef void _silent_slab(self, event_t *event, s64 number) noexcept nogil

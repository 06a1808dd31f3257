cimport cython

from mmtwin.kernel.structs cimport s32, s64, u8, u32, u64
from mmtwin.recordings.event cimport (
    KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_ALLOC,
    KIND_MM_PAGE_ALLOC_ZONE_LOCKED, KIND_MM_PAGE_FREE, KIND_MM_PAGE_FREE_BATCHED, ROLE_DEMAND,
    ROLE_DONE, ROLE_LARGE_KMALLOC, ROLE_NONE, ROLE_SILENT, ROLE_SLAB, as_events, block_is_within,
    event_at, event_t, wrap64,
)
from mmtwin.replay.demand_book cimport (
    ASK_AREA, ASK_GRACE_PERIOD, ASK_KMALLOC, ASK_OBJECT, ASK_PAGES, DEMAND_ROOM,
    DEMAND_SPARE, DEMANDS_FAILED, DEMANDS_FREED_UNKNOWN, DEMANDS_FREED_UNKNOWN_PAGES,
    DEMANDS_OUTSIDE, DEMANDS_STACKS, DEMANDS_UNNAMED, DEMANDS_UNSEEN_AREAS, DEMANDS_UNSEEN_FREES,
    DEMANDS_UNSEEN_OBJECTS, DemandBook, FIRST_WORD, FORK_BEGUN, FORK_MAPS, FOR_TABLE, FOR_USER,
    FOR_VMALLOC, MOST_SLAB_OBJECTS, NS_GRACE_PERIOD, SUPPRESSED, demand_p, event_p, task_areas_p,
    task_areas_t,
)
from mmtwin.replay.gfp_bits cimport moved_gfp

@cython.final
cdef class DemandReader(DemandBook):
    cpdef s64 read(self, size_t address, s64 start, s64 stop, s64 available)
    @cython.locals(events=event_p, event=event_p, i=s64)
    cdef s64 _read(self, size_t address, s64 start, s64 stop, s64 available) noexcept nogil
    cdef void _event(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(awaited=event_p)
    cdef void _page_event(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(awaited=event_p)
    cdef event_t *_awaited(self, event_t *event, s64 number, bint free) noexcept nogil
    @cython.locals(demand=demand_p, id=u32, cache=s32, task=task_areas_p)
    cdef void _object_alloc(self, event_t *event) noexcept nogil
    @cython.locals(id=u32)
    cdef void _object_free(self, event_t *event) noexcept nogil
    @cython.locals(demand=demand_p, other=u32, pages=s64, task=task_areas_p)
    cdef void _area(self, event_t *event, u32 id, task_areas_t *task) noexcept nogil
    @cython.locals(demand=demand_p, id=u32, task=task_areas_p)
    cdef void _page_alloc(self, event_t *event) noexcept nogil
    @cython.locals(place=s64)
    cdef void _page_free(self, event_t *event, s32 order) noexcept nogil
    @cython.locals(size=u64, count=s64, place=s64, demand=demand_p, id=u32, first=u64)
    cdef void _silent_slab(self, event_t *event) noexcept nogil
    @cython.locals(place=s64, word=u64, id=u32, size=u64)
    cdef void _slab_freed(self, event_t *event) noexcept nogil

cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u64
from mmtwin.kernel.constants cimport PG_slab
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_p, page_p, pfn_to_page, virt_to_pfn,
)
from mmtwin.kernel.slub_freelist cimport get_freepointer, set_freepointer
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64
from mmtwin.recordings.event cimport (
    KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, as_events, event_at, event_t,
)
from mmtwin.recordings.sites cimport as_s32
from mmtwin.replay.maple cimport Maple

ctypedef event_t *event_p

cdef enum:
    MOST_OBJECTS = 512            # of a slab
    MOST_AHEAD = 64               # nodes taken in events to come
    INTERRUPT = 0x18              # event.flags: hard or soft interrupt

cdef class Late(Maple):
    cdef event_t *events
    cdef s64 available
    cdef s64 first                # number of the block's first event
    cdef s64 nr
    cdef s64 *number              # of the event of each request or free, ascending
    cdef s32 *own                 # the node that the event names
    cdef s32 *count               # and the silent ones that go with it
    cdef s64 *place
    cdef s32 *ids
    cdef u64 *shown               # where each shows itself later, 0 unknown
    cdef u64 *where               # of each node: its object, 0 unknown
    cdef s64 nr_ids
    cdef u64 *chain               # scratch: a free list
    cdef u64 *last                # and as it were if a free came later
    cdef s32 *ahead_ids           # nodes taken in events to come, and from both lists what
    cdef u64 *ahead_at
    cdef u64 *ahead_last
    cdef s64 nr_ahead
    cdef size_t block             # where the events lie
    cdef s64 freed                # number of the free being carried out
    cdef u64 late_free            # a node freed by an event that an interrupt came behind, 0
    cdef s64 late_last            # number of that interrupt's last free of a node

    @cython.locals(low=s64, high=s64, middle=s64)
    cdef s64 _record(self, s64 number) noexcept nogil
    @cython.locals(s=cache_p, pfn=pfn_t, page=page_p)
    cdef pfn_t _slab_of(self, u64 address) noexcept nogil
    cdef bint has_slab(self, pfn_t pfn) noexcept nogil
    @cython.locals(i=s64, event=event_p)
    cdef bint _frees_into(self, pfn_t slab, s64 number, s64 until) noexcept nogil
    @cython.locals(event=event_p, behind=event_p, i=s64)
    cdef void _look_behind(self, s64 number) noexcept nogil
    @cython.locals(s=cache_p, c=cache_cpu_p, late=u64, before=u64, object=u64)
    cdef void compare(self) noexcept nogil
    @cython.locals(count=s64, place=s64, before=s64, object=u64, i=s64, r=s64, told=s64,
                   event=event_p)
    cdef bint _came_late(self, u64 late) noexcept nogil
    @cython.locals(slab=pfn_t, r=s64, k=s64, n=s64, node=s32, mine=u64, last=u64, address=u64)
    cdef s64 _free_ahead(self, s64 number, s64 count) noexcept nogil
    @cython.locals(r=s64, k=s64, shown=u64)
    cdef s64 _take_ahead(self, s64 number, s64 count) noexcept nogil
    cpdef void look(self, size_t address, s64 start, s64 available)

cimport cython

from mmtwin.kernel.casts cimport as_u8, as_u64
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_p, page_address, page_p, pfn_to_page, virt_to_pfn,
)
from mmtwin.kernel.slub cimport __kmem_cache_free_bulk as free_bulk
from mmtwin.kernel.slub cimport kmem_cache_alloc_node
from mmtwin.kernel.slub_freelist cimport get_freepointer, set_freepointer
from mmtwin.kernel.slub_resync cimport next_object, object_state
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u8, u64, virt_t
from mmtwin.recordings.event cimport (
    KIND_KMEM_CACHE_ALLOC, KIND_MM_PAGE_ALLOC, KIND_MM_PAGE_ALLOC_ZONE_LOCKED, event_at, event_t,
)
from mmtwin.recordings.sites cimport as_s32
from mmtwin.replay.maple_late cimport INTERRUPT, MOST_OBJECTS, Late

ctypedef event_t *event_p

cdef enum:
    MOST_LATE = 8                 # tasks whose nodes are put off
    MOST_SILENT = 64              # nodes of each

cdef class Script(Late):
    cdef s64 record               # the request being served
    cdef s64 behind               # the events of an interrupt that came
    cdef s64 until
    cdef s64 other                # of another task, which took a node before this one went on; -1
    cdef s32 *late                # the tasks that go on later, then the nodes of each
    cdef u64 *late_gfp
    cdef u8 *late_other           # whether another task runs before it
    cdef bint switched            # the same of the request being served
    cdef s64 nr_late
    cdef s64 next                 # the first of its silent nodes that is not there yet
    cdef gfp_t gfp
    cdef u8 *fresh                # by pfn: a slab made for silent nodes, none of them named yet
    cdef s32 *ranks               # scratch: of objects in random_seq
    cdef readonly s64 asked       # requests that events tell of
    cdef readonly s64 unforeseen  # requests and frees of nodes that the process side knows not of
    cdef readonly s64 renamed     # nodes that an event shows elsewhere than they were taken to be
    cdef readonly s64 unknown     # nodes to be given back whose object nobody knows

    @cython.locals(other=s64)
    cdef void _is_at(self, s32 node, u64 address) noexcept nogil
    @cython.locals(s=cache_p, base=u64, place=s64)
    cdef u64 _object(self, pfn_t pfn, u64 address, s64 turn) noexcept nogil
    @cython.locals(s=cache_p, place=s64, base=u64, turn=s64, page=page_p, cpu=s32, c=cache_cpu_p,
                   node=s64)
    cdef void _turn(self, pfn_t pfn, u64 mine, u64 address) noexcept nogil
    @cython.locals(s=cache_p, count=s64, following=u64)
    cdef u64 _turn_list(self, pfn_t pfn, u64 object, s64 turn) noexcept nogil
    @cython.locals(slab=pfn_t)
    cdef bint can_wait(self, s64 number, s64 until) noexcept nogil
    @cython.locals(mine=u64)
    cdef void expect(self, u64 address, gfp_t gfp) noexcept nogil
    @cython.locals(pfn=pfn_t)
    cdef void _see(self, u64 mine, u64 address) noexcept nogil
    @cython.locals(r=s64, event=event_p)
    cdef void allocated(self, s64 number, gfp_t gfp) noexcept nogil
    @cython.locals(event=event_p, interrupt=s32)
    cdef bint _is_interrupted(self, s64 number, s32 pid) noexcept nogil
    @cython.locals(r=s64)
    cdef void _take(self, bint interrupted, s32 pid) noexcept nogil
    @cython.locals(node=virt_t)
    cdef void _take_one(self, s64 number, gfp_t gfp) noexcept nogil
    @cython.locals(count=s64, first=s64, k=s64)
    cdef bint _put_off(self, s32 pid) noexcept nogil
    @cython.locals(mine=virt_t, slab=pfn_t, first=s64, place=s64)
    cdef bint _comes_later(self) noexcept nogil
    @cython.locals(r=s64, number=s64, event=event_p)
    cdef pfn_t _next_slab(self) noexcept nogil
    @cython.locals(k=s64, n=s64, first=s64, last=s64)
    cdef bint go_on(self, event_t *event) noexcept nogil
    @cython.locals(k=s64)
    cdef s64 goes_on(self, event_t *event) noexcept nogil
    @cython.locals(r=s64, k=s64, n=s64, node=u64, address=u64)
    cdef void freeing(self, s64 number) noexcept nogil
    @cython.locals(node=s64, event=event_p, s=cache_p, size=u64, old=pfn_t)
    cdef void page(self, s64 number) noexcept nogil
    cdef void adopt(self) noexcept nogil

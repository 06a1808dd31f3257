cimport cython

from mmtwin.kernel.page_alloc_pcp cimport order_to_pindex
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, cache_p, page_address, pcp_of, pcp_p, pfn_to_page,
    virt_to_head_pfn,
)
from mmtwin.kernel.slub cimport slab_free
from mmtwin.kernel.slub_refill cimport refill_from_new_slabs, refill_from_partial
from mmtwin.kernel.slub_sheaf cimport (
    install_refilled_sheaf, replace_from_barn, sheaf_at, sheaf_p, sheaf_to_refill,
)
from mmtwin.kernel.slub_turn cimport is_turnable, place_of, top_of_slab, turn_slab, turned
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u64, virt_t
from mmtwin.recordings.event cimport (
    KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_ALLOC,
    KIND_MM_PAGE_ALLOC_ZONE_LOCKED, ROLE_BITS, ROLE_DONE, ROLE_SLAB,
    event_at, event_t, wrap64,
)
from mmtwin.replay.mend cimport queue_of
from mmtwin.replay.pages cimport collect, gfp_of, set_cpu
from mmtwin.replay.queues cimport (
    QUEUE_TWIN_SLAB, QUEUE_TWIN_ZONE, empty, get, item_at, queue_t, replace, waiting,
)
from mmtwin.replay.resync cimport adopt_slab, bring_slab, is_inside
from mmtwin.replay.unseen cimport INTERRUPT, Unseen

ctypedef event_t *event_p
ctypedef queue_t *queue_p
ctypedef refill_t *refill_p
ctypedef late_t *late_p

cdef enum:
    FURTHEST = 131072             # events that are looked through for a slab's first object
    NEAREST = 2048                # events that are looked through for a refill begun earlier
    NO_SLAB = -1
    SETTLED = -2                  # instead of a block that waits: it became the kernel's
    MOST_LATE = 16                # frees that wait for their task
    MOST_REFILLS = 16             # refills that others came between, of tasks that wait to go on

cdef struct refill_t:
    s64 pid                       # whose it is, and which object it is for
    u64 address
    s64 sheaf                     # its number in mm.sheaf

# An object whose task gave way between its free's event and the free.
cdef struct late_t:
    s64 pid
    u64 address
    s32 cache
    s32 cpu

cdef inline late_t *as_lates(size_t address, s64 count) noexcept nogil:
    return <late_t *>address

cdef inline late_t *late_at(late_t *lates, s64 place) noexcept nogil:
    return &lates[place]

cdef inline refill_t *as_refills(size_t address, s64 count) noexcept nogil:
    return <refill_t *>address

cdef inline refill_t *refill_at(refill_t *refills, s64 place) noexcept nogil:
    return &refills[place]

cdef class Sheaves(Unseen):
    cdef refill_t *refills
    cdef s64 nr_refills
    cdef late_t *lates
    cdef s64 nr_late
    cdef bint sheaves             # whether there are any

    @cython.locals(s=cache_p, offset=u64, place=s64)
    cdef void _expect_start(self, s32 cache, event_t *event, pfn_t page) noexcept nogil
    @cython.locals(
        demand=event_p, target=s64, stop=s64, place=s64, slabs=s64, refill=refill_p, earlier=s64)
    cdef bint _refill_part(self, event_t *event, s64 number, s32 cache) noexcept nogil
    @cython.locals(event=event_p, i=s64)
    cdef s64 _others_come(self, s64 number, s64 target, event_t *demand) noexcept nogil
    @cython.locals(event=event_p, other=event_p, i=s64, stop=s64, asked=s64)
    cdef s64 _earlier_refill(self, s64 target, event_t *demand, s32 cache) noexcept nogil
    @cython.locals(refill=refill_p, place=s64)
    cdef s64 _refill_of(self, event_t *demand) noexcept nogil
    @cython.locals(c=cache_cpu_p, gfp=gfp_t, sheaf=s64, refill=refill_p, wanted=s64, filled=s64)
    cdef bint _begin_refill(self, event_t *demand, s32 cache) noexcept nogil
    @cython.locals(
        number=s64, i=s64, page=event_p, event=event_p, demand=event_p, cpu=s32, pcp=pcp_p,
        head=pfn_t, refill=refill_p)
    cdef void _take_held_page(self, s64 first, s64 target, s32 cache) noexcept nogil
    @cython.locals(sheaf=sheaf_p)
    cdef void _fill(self, refill_t *refill, s32 cache, gfp_t gfp, s64 slabs) noexcept nogil
    @cython.locals(place=s64, refill=refill_p, last=refill_p)
    cdef void _finish_refill(self, event_t *demand, s32 cache) noexcept nogil
    @cython.locals(event=event_p)
    cdef bint _is_slab_for(self, s64 number, s64 target) noexcept nogil
    @cython.locals(event=event_p, page=event_p, blocks=s64, run=s64, target=s64, i=s64)
    cdef s64 _blocks_between(self, s64 number, s64 stop) noexcept nogil
    @cython.locals(slabs=s64, i=s64)
    cdef s64 _slabs_between(self, s64 number, s64 stop, s64 target) noexcept nogil
    @cython.locals(event=event_p, queue=queue_p, target=s64, nth=s64, i=s64, mine=pfn_t)
    cdef virt_t _turn_slabs(
        self, s64 number, s64 stop, s32 cache, s64 sheaf, virt_t predicted) noexcept nogil
    @cython.locals(
        first=virt_t, size=u64, object=virt_t, given=virt_t, top=virt_t, wanted=virt_t, place=s64,
        distance=s64)
    cdef virt_t _turn_slab(
        self, event_t *event, s64 target, s32 cache, pfn_t mine, s64 sheaf, virt_t predicted
    ) noexcept nogil
    @cython.locals(
        first=event_p, event=event_p, queue=queue_p, target=s64, count=s64, back=bint, nth=s64,
        offset=s64, i=s64, mine=pfn_t)
    cdef virt_t _place_slabs(
        self, s64 number, s64 stop, s32 cache, virt_t predicted) noexcept nogil
    @cython.locals(size=u64, offset=u64, fate=s32, late=queue_p)
    cdef virt_t _place_slab(
        self, event_t *event, s32 cache, pfn_t mine, virt_t predicted) noexcept nogil
    @cython.locals(event=event_p, i=s64, stop=s64)
    cdef virt_t _first_object(self, virt_t first, u64 size, s64 number) noexcept nogil
    @cython.locals(c=cache_cpu_p, late=late_p)
    cdef bint _frees_late(self, event_t *event, s32 cache) noexcept nogil
    @cython.locals(other=event_p, i=s64, first=s64, stop=s64, above=s64)
    cdef bint _is_late(self, event_t *event, u64 top) noexcept nogil
    @cython.locals(other=event_p, i=s64, stop=s64)
    cdef s64 _gave_way(self, event_t *event) noexcept nogil
    @cython.locals(late=late_p, kept=s64, place=s64)
    cdef void _free_late(self, event_t *event) noexcept nogil
    cdef void _take_nodes(self, event_t *event) noexcept nogil

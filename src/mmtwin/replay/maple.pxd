cimport cython

from mmtwin.kernel.ram cimport (
    cache_cpu_of, cache_cpu_p, cache_node_of, cache_node_p, pfn_to_page,
)
from mmtwin.kernel.slub cimport __kmem_cache_alloc_bulk as alloc_bulk
from mmtwin.kernel.slub cimport __kmem_cache_free_bulk as free_bulk
from mmtwin.kernel.slub_resync cimport object_state
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u64, virt_t
from mmtwin.recordings.event cimport event_t
from mmtwin.replay.maple_ahead cimport (
    WHAT_ALLOC, WHAT_NOWAIT, WHAT_SPARE, WHAT_LATER, WHAT_ROOT, WHAT_PAGE, moment_at, moment_p,
)
from mmtwin.replay.maple_drop cimport drop_before, drop_lists
from mmtwin.replay.maple_guess cimport (
    GUESS_CPUS, NO_NODE, SLAB_ABSENT, SLAB_ON_NODE, CPU_SLAB, bring_first, first_free,
    leave_list, node_is_free, put_free, start_slab, take_node, guess_at, guess_p,
)
from mmtwin.replay.maple_nodes cimport COST_DROP, COST_LATE, COST_MISS, MARGIN
from mmtwin.replay.maple_requests cimport Requests

cdef class Maple(Requests):
    @cython.locals(m=s64, g=guess_p)
    cdef bint _guessed(self, s64 number) noexcept nogil
    @cython.locals(g=guess_p, count=s64, i=s64)
    cdef void allocated(self, s64 number, gfp_t gfp) noexcept nogil
    @cython.locals(g=guess_p, i=s64)
    cdef void freeing(self, s64 number) noexcept nogil
    cdef bint has_slab(self, pfn_t pfn) noexcept nogil
    @cython.locals(m=s64)
    cdef void page(self, s64 number) noexcept nogil
    @cython.locals(g=guess_p, c=cache_cpu_p, n=cache_node_p, first=pfn_t, head=virt_t)
    cdef void compare(self) noexcept nogil
    cdef void _begin_moment(self) noexcept nogil
    @cython.locals(moment=moment_p, before=moment_p, i=s32, g=guess_p, round=s32, other=s32)
    cdef bint _settle_before(self, s64 m) noexcept nogil
    @cython.locals(i=s32, g=guess_p, moment=moment_p, parted=bint)
    cdef void _moment(self, s64 m) noexcept nogil
    @cython.locals(g=guess_p, slab=s32, other=s32)
    cdef void _other_slab(self, s32 i, s64 m) noexcept nogil
    cdef void _ask(self, s32 i, s64 m) noexcept nogil
    @cython.locals(g=guess_p, other=s32)
    cdef void _other_list(self, s32 i, s64 m) noexcept nogil
    @cython.locals(g=guess_p, what=s32)
    cdef void _advance(self, s32 i, s64 m) noexcept nogil
    @cython.locals(g=guess_p, before=moment_p, node=s32, other=s32)
    cdef void _later(self, s32 i, s64 m) noexcept nogil
    @cython.locals(g=guess_p, moment=moment_p, c=s32)
    cdef void _later_free(self, s32 i, s64 m) noexcept nogil
    @cython.locals(g=guess_p, slab=s32)
    cdef void _page(self, s32 i, s64 m) noexcept nogil

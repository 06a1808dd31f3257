cimport cython

from mmtwin.kernel.structs cimport s32, s64
from mmtwin.replay.maple_ahead cimport (
    WHAT_SPARE, WHAT_ROOT, WHAT_COPY, WHAT_AREA_FREE, WHAT_PAGE, YIELDS, moment_at, moment_p,
)
from mmtwin.replay.maple_drop cimport drop_lists
from mmtwin.replay.maple_guess cimport (
    GUESS_ROUNDS, GUESS_SLOTS, NO_NODE, SLAB_ABSENT, empty_node, first_free, give_cpu_slab,
    pop_free, put_free, raise_node, runs_out, start_slab, take_node, turn_slab, guess_at,
    guess_p, guess_t,
)
from mmtwin.replay.maple_nodes cimport (
    SCAN, NEAR, COST_LATE, COST_MISS, COST_SPLIT, COST_SHRINK, ROUND_PLAIN, ROUND_FORK,
    ROUND_ALL_BUT_ONE, MAPLE_CAPACITY, MAPLE_FANOUT, nodes_at, nodes_p,
)
from mmtwin.replay.maple_trees cimport Trees

cdef class Requests(Trees):
    @cython.locals(m=s64, spare=s64, k=s32, later=s64, what=s32)
    cdef void _look_at_request(self, s64 m) noexcept nogil
    @cython.locals(first=s32, slab=s32, rank=s64)
    cdef void _take_first(self, guess_t *g) noexcept nogil
    cdef bint _in_a_tree(self, s32 i, s64 m) noexcept nogil
    @cython.locals(g=guess_p, moment=moment_p, t=s32, height=s32, other=s32, count=s64)
    cdef void _request(self, s32 i, s64 m) noexcept nogil
    @cython.locals(g=guess_p, other=s32, within=s32, moment=moment_p)
    cdef void _take_others(self, s32 i, s64 m, s64 count) noexcept nogil
    @cython.locals(g=guess_p, other=s32, first=s64)
    cdef void _take_in_parts(self, s32 i, s64 m, s64 count) noexcept nogil
    @cython.locals(moment=moment_p)
    cdef void _take_later(self, guess_t *g, s64 m, s64 count) noexcept nogil
    @cython.locals(g=guess_p, moment=moment_p, t=s32)
    cdef void _take_round(self, s32 i, s64 m, s64 count) noexcept nogil
    @cython.locals(g=guess_p, m=s64, node=s32)
    cdef void _take_late(self, s32 i) noexcept nogil
    @cython.locals(k=s32)
    cdef void _take_rest(self, guess_t *g) noexcept nogil
    @cython.locals(g=guess_p, moment=moment_p, t=s32, other=s32, round=s32, cost=s64, k=s32)
    cdef void _request_nowait(self, s32 i, s64 m) noexcept nogil
    @cython.locals(g=guess_p, round=s32, node=s32, k=s64, n=s32, mine=s32, moment=moment_p)
    cdef s32 _take_silently(self, s32 i, s64 m, s64 count) noexcept nogil
    @cython.locals(node=s32, n=s32)
    cdef void _fill_round(self, guess_t *g, s32 round, s64 count) noexcept nogil
    @cython.locals(number=s64, pid=s32, k=s64, after=moment_p)
    cdef bint _makes_slab(self, s64 m) noexcept nogil
    @cython.locals(m=s64, slab=s32, base=s64, start=s64, number=s64)
    cdef bint _new_slab(self, guess_t *g, bint first) noexcept nogil
    @cython.locals(mine=s32, k=s32, n=s32, slots=nodes_p, slab=s32)
    cdef void _expect_bottom(self, guess_t *g, s32 round) noexcept nogil
    @cython.locals(copies=s64, count=s64)
    cdef s64 _nodes_of_fork(self, s64 m) noexcept nogil

cimport cython

from mmtwin.kernel.structs cimport s32, s64, u16
from mmtwin.replay.maple_ahead cimport (
    FOR_AREA, FOR_BOUNDS, FOR_UNMAP, WHAT_SPARE, WHAT_LATER,
)
from mmtwin.replay.maple_guess cimport (
    GUESS_AREAS, GUESS_CPUS, GUESS_TREES, GUESS_LEAVES, GUESS_SLOTS, HABIT_IN_PLACE, HABIT_NODE,
    HABIT_UNKNOWN, NO_NODE, guess_at, node_is_free, put_bulk, put_free, take_node, guess_p,
    guess_t,
)
from mmtwin.replay.maple_nodes cimport (
    SCAN, COST_MISS, COST_SPARE_USED, COST_NOT_FREED, COST_OUT_OF_ORDER, COST_SKIPPED,
    COST_SPLIT, COST_REBALANCE, COST_SHRINK, COST_UNUSED, COST_UNLIKELY, COST_FORK_REBALANCE,
    COST_AREA_UNUSED, COST_NODE, COST_HABIT, FULL_AREAS,
    ROUND_ALL_BUT_ONE, ROUND_FORK, MAPLE_SLOTS, nodes_at, nodes_p, Nodes,
)

cdef class Trees(Nodes):
    @cython.locals(t=s32, best=s32)
    cdef s32 _tree_of(self, guess_t *g, s32 pid) noexcept nogil
    @cython.locals(t=s32, best=s32)
    cdef s32 _new_tree(self, guess_t *g, s32 pid, s32 root) noexcept nogil
    cdef void _has_one_leaf(self, guess_t *g, s32 t) noexcept nogil
    @cython.locals(f=s64, c=s32, later=s64, k=s64, cost=s64)
    cdef void _replace(self, guess_t *g, s32 node, s64 m) noexcept nogil
    @cython.locals(k=s64, f=s64, cost=s64, node=s32)
    cdef s64 _skipped(self, s32 cpu, s64 first, s64 last) noexcept nogil
    @cython.locals(f=s64)
    cdef s64 _cost_of_use(self, guess_t *g, s32 node) noexcept nogil
    @cython.locals(
        g=guess_p, n=s32, k=s32, u=s32, low=s32, high=s32, slots=nodes_p, t=s32, cost=s64, f=s64
    )
    cdef void _settle(self, s32 i, s64 m, s32 round) noexcept nogil
    @cython.locals(purpose=s32, areas=s32, usual=s32)
    cdef s64 _unusual(self, guess_t *g, s32 t, s32 round, s32 habit) noexcept nogil
    @cython.locals(t=s32, areas=s32)
    cdef void _learn(self, guess_t *g, s32 round, s32 u) noexcept nogil
    @cython.locals(g=guess_p, c=s32, k=s32)
    cdef void _use(
        self, s32 i, s64 m, s32 round, s32 u, s32 count, s32 t, s64 cost
    ) noexcept nogil
    @cython.locals(g=guess_p, c=s32, leaves=nodes_p, n=s32, q=s32, best=s32, k=s32)
    cdef void _use_in_leaf(
        self, s32 i, s64 m, s32 round, s32 u, s32 count, s32 t, s64 cost
    ) noexcept nogil
    @cython.locals(g=guess_p, c=s32, leaves=nodes_p, n=s32, q=s32, best=s32, k=s32)
    cdef void _use_in_tree(
        self, s32 i, s64 m, s32 round, s32 u, s32 count, s32 t, s64 cost
    ) noexcept nogil
    @cython.locals(leaves=nodes_p, n=s32, k=s32, q=s32)
    cdef s32 _next_leaf(self, guess_t *g, s32 t) noexcept nogil
    @cython.locals(k=s32, best=s32, count=s32, done=s32)
    cdef void _replace_all(self, guess_t *g, s32 t, s32 leaf, s32 leaves, s64 m) noexcept nogil
    cdef s32 _part(self, guess_t *g, s32 t, s32 leaf, s32 k, s32 leaves) noexcept nogil
    @cython.locals(g=guess_p, n=s32, k=s32, slots=nodes_p)
    cdef void _finish(self, s32 c, s32 round, s32 u, s32 count) noexcept nogil
    @cython.locals(k=s32, i=s32, twice=bint)
    cdef void _give(self, guess_t *g, u16 *nodes, s32 count) noexcept nogil
    @cython.locals(
        g=guess_p, n=s32, c=s32, t=s32, k=s32, f=s64, skip=s32, popped=s32, way=s32, cost=s64,
        copies=s32
    )
    cdef void _settle_fork(self, s32 i, s64 m, s32 round) noexcept nogil
    cdef void _free(self, guess_t *g) noexcept nogil
    @cython.locals(t=s32, k=s32)
    cdef void _forget(self, guess_t *g, s32 node) noexcept nogil
    @cython.locals(g=guess_p, t=s32, k=s32, n=s32, leaves=nodes_p, found=s32)
    cdef void _root(self, s32 i, s64 m) noexcept nogil
    @cython.locals(g=guess_p, round=s32)
    cdef void _spare(self, s32 i, s64 m) noexcept nogil
    @cython.locals(round=s32)
    cdef s32 _round_of(self, guess_t *g) noexcept nogil

# A guess at the free lists of the cache of maple nodes and at the trees.
cimport cython
from libc.string cimport memcpy

from mmtwin.kernel.structs cimport s32, s64, u16, u64

ctypedef guess_t *guess_p

cdef enum:
    GUESS_OBJECTS = 2048          # nodes that a guess can tell apart
    GUESS_SLABS = 128
    GUESS_CPUS = 8
    GUESS_TREES = 64
    GUESS_LEAVES = 14             # nodes of a tree that are known, without its root
    GUESS_ROUNDS = 8              # requests that are not settled yet
    GUESS_SLOTS = 48              # nodes of a request, without its first
    GUESS_AREAS = 32              # numbers of areas that a habit is kept for
    # Where a hash has its factors (maple_alike.py): a CPU's list; slabs, each two; links of free
    # lists, by node; trees; requests; CPUs, each two.
    FACTOR_SLABS = 2051           # behind GUESS_OBJECTS + 3
    FACTOR_LINKS = 2307
    FACTOR_TREES = 4355
    FACTOR_REQUESTS = 5315        # behind GUESS_TREES (GUESS_LEAVES + 1)
    FACTOR_CPUS = 5707            # behind GUESS_ROUNDS (GUESS_SLOTS + 1)
    HASH_FACTORS = 5723
    NO_NODE = 0xffff
    # where a slab is; CPU_PARTIAL + cpu, CPU_SLAB + cpu
    SLAB_ABSENT = 0
    SLAB_FULL = 1
    SLAB_ON_NODE = 2
    CPU_PARTIAL = 16
    CPU_SLAB = 32

# What a change of bounds does in a leaf as it is.
cdef enum:
    HABIT_UNKNOWN = 0
    HABIT_IN_PLACE = 1
    HABIT_NODE = 2

# Nodes are numbered: slab * objects + place in the slab. Slabs have numbers, NO_NODE is none.
# What comes before `bits` is small, or nearly all in use: it is copied at once.
cdef struct guess_t:
    s64 cost                      # thousandths
    s64 later[8]                  # by CPU: replaced nodes that RCU has freed or will free next
    s32 was_best                  # before this moment
    s32 amended                   # this moment set something right
    s32 nr_trees                  # made so far
    s32 nr_node                   # slabs on the node's list
    s32 fresh                     # start of a new slab's free list, -1
    s32 nr_taken                  # nodes taken silently at this moment: slot[] of the last round
    s32 nr_given                  # nodes given back silently at this moment
    s32 tree_end                  # behind the last tree record that was ever in use
    s32 round_end                 # and behind the last request
    s32 round_pid[8]
    s32 round_fork[8]
    u16 round_first[8]
    u16 round_slots[8]
    u16 given[48]
    u16 taken[48]
    u16 cpu_slab[8]
    u16 cpu_free[8]
    u16 cpu_partial[8]
    u16 node_first
    u16 late                      # a node that its free gives back behind an interrupt's frees
    u16 late_under                # its list's first node then, if the interrupt came as that ended
    s32 late_request              # the same: a request's moment + 1, 0 for none
    s32 late_count                # and how many silent nodes it takes
    s32 late_parts                # others it has taken before
    s64 late_from                 # at that event's number they are taken, 0: where the frees end
    s32 tree_pid[64]
    s32 tree_order[64]            # 0: the record is free
    u16 tree_root[64]
    u16 tree_leaves[64]           # 0: the root is a leaf
    u16 tree_habit[64]            # HABIT_*: what a change of bounds took last
    u16 habit[32]                 # HABIT_* of a tree of one leaf, by the number of its areas
    u16 head[128]                 # of a slab
    u16 free[128]                 # how many on that
    u16 place[128]
    u16 link[128]                 # next slab of a list
    u16 open[128]                 # where its free list began is not known yet
    u64 bits[128]                 # which of its nodes are free
    u16 next[2048]                # free lists
    u16 leaf[896]
    u16 slot[384]

# The cache.
cdef struct shape_t:
    s64 objects                   # of a slab
    s64 partial_slabs             # bound of a CPU partial list, 0: there are none
    s64 min_partial
    s64 single                    # one object at a time from the node's list (debug caches)
    s64 nr_slabs                  # numbers given to slabs
    u64 order[256]                # places in a new slab's free list, by rank
    u64 rank[256]
    u64 factor[5723]

ctypedef shape_t *shape_p

cdef inline guess_t *as_guesses(size_t address, size_t count) noexcept nogil:
    return <guess_t *> address

cdef inline shape_t *as_shape(size_t address) noexcept nogil:
    return <shape_t *> address

cdef inline guess_t *guess_at(guess_t *guesses, s64 place) noexcept nogil:
    return &guesses[place]

cdef inline void copy_front(guess_t *g, guess_t *source) noexcept nogil:
    memcpy(g, source, <char *> source.bits - <char *> source)

cdef inline u64 bit_of(s64 place) noexcept nogil:
    return <u64> 1 << place

@cython.locals(k=s64, nodes=s64)
cdef void copy_guess(shape_t *shape, guess_t *g, guess_t *source) noexcept nogil
cdef s32 first_free(shape_t *shape, guess_t *g, s32 cpu) noexcept nogil
@cython.locals(first=s32, slab=s32)
cdef s32 pop_free(shape_t *shape, guess_t *g, s32 cpu) noexcept nogil
@cython.locals(slab=s32, other=s32, taken=s64, half=s64)
cdef void refill(shape_t *shape, guess_t *g, s32 cpu) noexcept nogil
@cython.locals(entry=s32, before=s32)
cdef void leave_node(guess_t *g, s32 slab) noexcept nogil
@cython.locals(entry=s32)
cdef void join_node(guess_t *g, s32 slab, bint tail) noexcept nogil
@cython.locals(entry=s32)
cdef void bring_first(guess_t *g, s32 slab, bint behind) noexcept nogil
@cython.locals(slab=s32, last=s32)
cdef void empty_node(guess_t *g, s32 cpu) noexcept nogil
@cython.locals(entry=s32, count=s64)
cdef bint runs_out(guess_t *g, s32 cpu, s64 count) noexcept nogil
@cython.locals(head=s32, last=s32)
cdef void raise_node(guess_t *g, s32 cpu, s32 node) noexcept nogil
@cython.locals(cpu=s32, entry=s32, before=s32)
cdef void leave_list(guess_t *g, s32 slab) noexcept nogil
@cython.locals(slab=s32, was=s32, entry=s32, base=s64, k=s32)
cdef void put_free(
    shape_t *shape, guess_t *g, s32 cpu, s32 head, s32 tail, s32 count
) noexcept nogil
@cython.locals(entry=s32, count=s64, following=s32)
cdef void put_cpu_partial(shape_t *shape, guess_t *g, s32 cpu, s32 slab) noexcept nogil
@cython.locals(
    slab=s32, head=s32, tail=s32, found=s32, lookahead=s32, same=s32, node=s32, swapped=s32
)
cdef void put_bulk(shape_t *shape, guess_t *g, s32 cpu, u16 *nodes, s32 count) noexcept nogil
@cython.locals(slab=s32)
cdef bint node_is_free(shape_t *shape, guess_t *g, s32 node) noexcept nogil
@cython.locals(entry=s32, before=s32)
cdef s32 before_node(guess_t *g, s32 head, s32 node) noexcept nogil
@cython.locals(slab=s32, before=s32, cpu=s32)
cdef bint take_node(shape_t *shape, guess_t *g, s32 node) noexcept nogil
@cython.locals(last=s32, old=s32, count=s32)
cdef void give_cpu_slab(shape_t *shape, guess_t *g, s32 cpu, s32 slab) noexcept nogil
@cython.locals(rank=s64, base=s64, node=s32, before=s32)
cdef void start_slab(shape_t *shape, guess_t *g, s32 cpu, s32 slab, s64 start) noexcept nogil
@cython.locals(rank=s64, base=s64)
cdef s32 turned(shape_t *shape, s32 slab, s32 node, s64 shift) noexcept nogil
@cython.locals(entry=s32, first=s32, before=s32, count=s32)
cdef s32 turn_chain(shape_t *shape, guess_t *g, s32 slab, s32 head, s64 shift) noexcept nogil
@cython.locals(slab=s32, base=s64, shift=s64, i=s32, cpu=s32, bits=u64)
cdef bint turn_slab(shape_t *shape, guess_t *g, s32 mine, s32 wanted) noexcept nogil

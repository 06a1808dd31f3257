cimport cython

from mmtwin.kernel.casts cimport as_u64
from mmtwin.kernel.structs cimport s32, s64, u8, u64

ctypedef tree_t *tree_p

cdef enum:
    TREES = 256                   # remembered; the oldest make way
    LEAVES = 96                   # of a tree
    INNERS = 16                   # between its root and its leaves
    GONE = 64                     # nodes that a change of a tree can free
    KIND_NONE = 0
    KIND_AREAS = 1                # of a task's areas
    KIND_ENTRIES = 2              # of a directory's entries, which grow at their end
    KIND_APART = 3                # areas that are being unmapped

# How a store changes a tree, as far as its calls tell.
cdef enum:
    HOW_UNKNOWN = 0
    HOW_TOP = 1                   # up to the root (7.3)
    HOW_SPLIT = 2                 # a leaf becomes two (6.18)
    HOW_SHARE = 3                 # two leaves share out their entries anew
    HOW_ERASE = 4                 # an entry goes
    PUSHES = 2                    # times that leaves do so, before one is split

cdef struct tree_t:
    s64 pid                       # -1: a child's that is not known yet
    s64 order                     # the larger the newer
    s32 kind                      # KIND_NONE: not in use
    s32 nr_leaves                 # 0: the root is the only leaf
    s32 nr_inner                  # 0: the leaves are the root's
    s32 pushes                    # times that leaves shared entries since one was split
    s32 erased                    # the leaf beside which the next entry goes
    s32 place                     # of the leaf that was changed last
    u64 root
    u64 leaf[96]
    u64 inner[16]
    u8 under[96]                  # which inner node each leaf is under

cdef inline tree_t *as_trees(size_t address, s64 count) noexcept nogil:
    return <tree_t *>address

cdef inline tree_t *tree_at(tree_t *trees, s64 place) noexcept nogil:
    return &trees[place]

cdef class Shapes:
    cdef tree_t *trees
    cdef s64 newest
    cdef u64 *gone                # what a change of a tree frees, in the kernel's order
    cdef s64 nr_gone
    cdef readonly dict buffers

    @cython.locals(place=s64, best=s64, tree=tree_p)
    cdef s64 new_tree(self, s32 kind, s64 pid, u64 root) noexcept nogil
    @cython.locals(place=s64, best=s64, tree=tree_p)
    cdef s64 tree_of(self, s64 pid, s32 kind) noexcept nogil
    @cython.locals(place=s64, best=s64, tree=tree_p)
    cdef s64 adopt_tree(self, s64 pid) noexcept nogil
    @cython.locals(place=s64, tree=tree_p)
    cdef s64 tree_with_root(self, u64 root) noexcept nogil
    @cython.locals(tree=tree_p)
    cdef s32 height(self, s64 t) noexcept nogil
    cdef void _goes(self, u64 node) noexcept nogil
    @cython.locals(tree=tree_p, i=s64, q=s64)
    cdef void replace_leaf(self, s64 t, u64 node) noexcept nogil
    @cython.locals(tree=tree_p, i=s64)
    cdef void add_children(self, s64 t, u64 *nodes, s64 count) noexcept nogil
    @cython.locals(tree=tree_p)
    cdef void change(self, s64 t, u64 *nodes, s64 count, s32 how) noexcept nogil
    cdef bint _shares(self, tree_t *tree, s64 count, s32 how) noexcept nogil
    @cython.locals(place=s64, best=s64, tree=tree_p)
    cdef s64 directory_of(self, s64 count, s32 how) noexcept nogil
    cdef bint _fits(self, tree_t *tree, s64 count, s32 how) noexcept nogil
    @cython.locals(tree=tree_p, q=s64, leaf=u64, above=s64)
    cdef void _grow(self, s64 t, u64 *nodes, s64 count, s32 how) noexcept nogil
    @cython.locals(tree=tree_p, i=s64, half=s64)
    cdef void _share_inner(self, s64 t, s64 left, u64 first, u64 second) noexcept nogil
    @cython.locals(tree=tree_p, i=s64)
    cdef void _split_root(self, s64 t, u64 *nodes, s64 count) noexcept nogil
    @cython.locals(tree=tree_p, i=s64)
    cdef void _split_leaf(self, s64 t, s64 q, u64 left, u64 right) noexcept nogil
    @cython.locals(tree=tree_p, i=s64, half=s64, above=s64)
    cdef void _split_inner(self, s64 t, s64 q, u64 left, u64 right) noexcept nogil
    @cython.locals(q=s64)
    cdef s64 _first_of_pair(self, tree_t *tree) noexcept nogil
    @cython.locals(tree=tree_p, q=s64)
    cdef void _erase(self, s64 t, u64 *nodes, s64 count) noexcept nogil
    @cython.locals(tree=tree_p, above=s64)
    cdef void _share(self, s64 t, u64 *nodes, s64 count, s64 q) noexcept nogil
    @cython.locals(tree=tree_p, i=s64)
    cdef void _drop_leaf(self, s64 t, s64 q) noexcept nogil
    cdef s64 which_leaf_of(self, tree_t *tree) noexcept nogil
    @cython.locals(tree=tree_p, i=s64)
    cdef void end_tree(self, s64 t) noexcept nogil
    @cython.locals(tree=tree_p, i=s64, place=s64)
    cdef bint exchange(self, u64 node, u64 other) noexcept nogil

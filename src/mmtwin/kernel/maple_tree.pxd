# The maple tree: nodes, walks and searches (include/linux/maple_tree.h).
cimport cython

from mmtwin.kernel.mman cimport EBUSY
from mmtwin.kernel.structs cimport s32, s64, u64, virt_t

cdef enum:
    MAPLE_RANGE64_SLOTS = 16
    MAPLE_ARANGE64_SLOTS = 10

@cython.final
cdef class maple_node:
    cdef u64 _pivot[MAPLE_RANGE64_SLOTS]  # last index of each slot, the node's own for its last
    cdef u64 _gap[MAPLE_RANGE64_SLOTS]    # largest gap below each slot of an inner node
    cdef public list slot               # entries of a leaf (None: a gap), nodes of others
    cdef public s32 end                 # number of the last slot
    cdef public s32 leaf
    cdef public u64 min
    cdef public maple_node parent       # None: the root
    cdef public s32 parent_slot
    cdef public virt_t address          # of its slab object

    @cython.locals(i=s32)
    cpdef s32 find(self, u64 index)
    @cython.locals(i=s32, start=u64, gap=u64, largest=u64)
    cpdef u64 max_gap(self)

cdef class MapleTree:
    cdef public maple_node root
    cdef public s32 height
    cdef public s32 alloc_range         # MT_FLAGS_ALLOC_RANGE: inner nodes keep gaps
    cdef public s32 in_rcu              # MT_FLAGS_USE_RCU: nodes that readers may see stay as is
    cdef public s64 visits              # nodes that walks and searches came to

    @cython.locals(node=maple_node, i=s32)
    cdef object _find(self, u64 index)
    @cython.locals(node=maple_node, i=s32)
    cdef maple_node _leaf_of(self, u64 index)
    @cython.locals(node=maple_node, i=s32)
    cpdef object find_before(self, u64 index)
    @cython.locals(
        node=maple_node, i=s32, offset=s32, start=u64, last=u64, gap=u64, down=bint,
    )
    cpdef s64 mas_empty_area(self, u64 low, u64 high, u64 size)
    @cython.locals(
        node=maple_node, i=s32, start=u64, last=u64, gap=u64, down=bint,
    )
    cpdef s64 mas_empty_area_rev(self, u64 low, u64 high, u64 size)

# Where a tree's nodes come from: the slab cache maple_node.
cimport cython

from mmtwin.kernel.casts cimport as_u64
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.slub cimport __kmem_cache_alloc_bulk as take_bulk
from mmtwin.kernel.slub cimport __kmem_cache_free_bulk as give_bulk
from mmtwin.kernel.trace cimport (
    STEP_MAPLE_ALLOC, STEP_MAPLE_ALLOC_BULK, STEP_MAPLE_FREE, STEP_MAPLE_FREE_BULK,
    STEP_MAPLE_FREE_RCU, STEP_MAPLE_FREE_RCU_BULK, step, step_on,
)
from mmtwin.kernel.structs cimport gfp_t, s32, s64, u32, u64, virt_t

cdef enum:
    MAPLE_ALLOC_SLOTS = 30              # that one node waiting to be used has for others

cdef class MapleAlloc:
    cdef public MM machine
    cdef public s32 cache               # number of maple_node, -1: objects are only counted
    cdef public s64 allocated           # objects taken
    cdef public s64 freed               # given back; those that wait for a grace period too
    cdef public s64 bulks               # requests for several at once
    cdef public s64 total               # nodes in hand
    cdef public virt_t head             # the node that holds the others in hand, 0 for none
    cdef public dict held               # node -> the nodes that it holds
    cdef public s64 sheaf               # prefilled sheaf, -1 for none
    cdef public s64 serial
    cdef object _buffer
    cdef u64 *_items

    cpdef list alloc_bulk(self, gfp_t gfp, s64 count)
    cpdef void free_bulk(self, list nodes)

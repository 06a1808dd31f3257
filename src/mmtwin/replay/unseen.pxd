cimport cython

from mmtwin.kernel.constants cimport PG_slab
from mmtwin.kernel.ram cimport page_p, pfn_to_page
from mmtwin.kernel.slub_defs cimport TO_HEAD
from mmtwin.kernel.slub_partial cimport add_partial
from mmtwin.kernel.slub_slab cimport inc_slabs_node, new_slab
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64
from mmtwin.recordings.event cimport event_t
from mmtwin.replay.counts cimport *
from mmtwin.replay.maple cimport Maple
from mmtwin.replay.pages cimport Pages
from mmtwin.replay.queues cimport QUEUE_TWIN_SLAB, get
from mmtwin.replay.resync cimport move_slab

cdef class Unseen(Pages):
    cdef readonly Maple maple
    cdef s64 demand               # number of the event of the object's demand being carried out

    @cython.locals(page=page_p)
    cdef bint _is_slab_of(self, pfn_t pfn, s32 cache) noexcept nogil
    cdef void _other_nodes(self, event_t *event, gfp_t gfp) noexcept nogil
    cdef void _free_other_nodes(self, event_t *event) noexcept nogil
    cdef void _after_free(self) noexcept nogil
    cdef void _adopt_nodes(self) noexcept nogil
    @cython.locals(predicted=pfn_t)
    cdef void _slab_of_nodes(self, event_t *event, s64 number) noexcept nogil
    cdef void _slab_of_nodes_freed(self, s64 number) noexcept nogil

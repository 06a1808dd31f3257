cimport cython

from mmtwin.kernel.constants cimport PG_slab
from mmtwin.kernel.page_alloc cimport free_contig_range
from mmtwin.kernel.ram cimport page_p, pfn_to_page, virt_to_head_pfn, virt_to_pfn
from mmtwin.kernel.slub_defs cimport TO_HEAD
from mmtwin.kernel.slub_partial cimport add_partial
from mmtwin.kernel.slub_slab cimport inc_slabs_node, new_slab
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u64, virt_t
from mmtwin.recordings.event cimport (
    KIND_KFREE, KIND_MM_PAGE_ALLOC, KIND_MM_PAGE_FREE, KIND_MM_PAGE_PCPU_DRAIN, event_at, event_t,
)
from mmtwin.replay.counts cimport *
from mmtwin.replay.fate cimport FATE_BUDDY, FATE_USED
from mmtwin.replay.maple cimport Maple
from mmtwin.replay.mend cimport queue_of
from mmtwin.replay.pages cimport collect, gfp_of, set_cpu
from mmtwin.replay.queues cimport QUEUE_TWIN_SLAB, get
from mmtwin.replay.resync cimport is_block, move_slab
from mmtwin.replay.timers cimport Timers

ctypedef event_t *event_p

cdef enum:
    # by how much the lock of a CPU's page lists raises the count of preemption: spin_trylock() and
    # pcpu_task_pin()
    LOCK_DEPTH = 2
    INTERRUPT = 0x18              # event.flags: hard or soft interrupt
    NEED_RESCHED = 0x4            # TRACE_FLAG_NEED_RESCHED

cdef class Unseen(Timers):
    cdef public Maple maple
    cdef s32 waiting_pid          # the task that has not taken its vmalloc's pages yet, -1
    cdef s64 waiting_pages
    cdef s64 vfree_until          # number of the kvfree() that ends the vfree() going on
    cdef s32 in_row                # pages of it prepared and not yet freed
    cdef bint interrupted         # tasks have been, before they took all their nodes

    @cython.locals(pfn=pfn_t)
    cdef pfn_t _head_pfn(self, virt_t address) noexcept nogil
    @cython.locals(page=page_p)
    cdef bint _is_slab_of(self, pfn_t pfn, s32 cache) noexcept nogil
    cdef void _other_nodes(self, event_t *event, gfp_t gfp) noexcept nogil
    cdef void _take_nodes(self, event_t *event) noexcept nogil
    cdef void _free_other_nodes(self, event_t *event) noexcept nogil
    cdef void _after_free(self) noexcept nogil
    cdef void _adopt_nodes(self) noexcept nogil
    @cython.locals(predicted=pfn_t)
    cdef void _slab_of_nodes(self, event_t *event, s64 number) noexcept nogil
    cdef void _slab_of_nodes_freed(self, s64 number) noexcept nogil
    @cython.locals(pages=s64)
    cdef void _vmalloc(self, event_t *event) noexcept nogil
    @cython.locals(before=event_p)
    cdef bint _is_to_give_way(self, event_t *event) noexcept nogil
    @cython.locals(following=event_p, i=s64)
    cdef bint _gives_way(self, event_t *event) noexcept nogil
    cdef void _go_on(self, event_t *event) noexcept nogil
    cdef void _page_free(self, event_t *event, s32 order) noexcept nogil
    @cython.locals(following=event_p, i=s64)
    cdef bint _vfree_page(self, event_t *event) noexcept nogil
    @cython.locals(following=event_p, i=s64, site=u64)
    cdef s64 _end_of_vfree(self, event_t *event) noexcept nogil
    @cython.locals(following=event_p, i=s64)
    cdef bint _lists_were_locked(self, event_t *event) noexcept nogil

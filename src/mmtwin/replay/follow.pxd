cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u32
from mmtwin.kernel.constants cimport MIGRATE_MOVABLE, MIGRATE_PCPTYPES, PG_slab
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mmzone cimport get_pfnblock_migratetype
from mmtwin.kernel.page_alloc cimport free_pages_prepare
from mmtwin.kernel.page_alloc_buddy cimport free_one_page, pcp_allowed_order
from mmtwin.kernel.page_alloc_freelist cimport prep_new_page
from mmtwin.kernel.page_alloc_pcp cimport order_to_pindex
from mmtwin.kernel.page_alloc_state cimport add_pcp_block
from mmtwin.kernel.ram cimport page_p, pfn_to_page, virt_to_head_pfn, virt_to_pfn
from mmtwin.kernel.slab_common cimport kmalloc_slab
from mmtwin.kernel.slub_resync cimport make_cpu_slab, object_state, put_back, slab_of, take_object
from mmtwin.kernel.slub_slab cimport rcu_free_slab
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32, u64, virt_t
from mmtwin.recordings.event cimport (
    EXTRA_PCP_LOCKED, KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE,
    KIND_MM_PAGE_ALLOC,
    KIND_MM_PAGE_ALLOC_EXTFRAG, KIND_MM_PAGE_ALLOC_ZONE_LOCKED, KIND_MM_PAGE_FREE,
    KIND_MM_PAGE_FREE_BATCHED, KIND_MM_PAGE_PCPU_DRAIN,
    ROLE_BITS, ROLE_DEMAND, ROLE_DONE, ROLE_SILENT, ROLE_SLAB, as_events, event_at, event_t,
)
from mmtwin.recordings.sites cimport as_s32
from mmtwin.replay.counts cimport *
from mmtwin.replay.gfp_bits cimport moved_gfp
from mmtwin.replay.resync cimport (
    adopt_slab, drain_page, is_block, is_inside, page_is_free, take_page, vacate,
)

ctypedef event_t *event_p

cdef enum:
    INTERRUPT = 0x18              # event.flags: hard or soft interrupt

@cython.final
cdef class Follower:
    cdef readonly MM mm
    cdef s64 *count
    cdef s32 *cache_of
    cdef u32 *bits
    cdef s64 nr_names
    cdef event_t *events
    cdef s64 now                  # its place among them
    cdef s64 available
    cdef dict _buffers

    cpdef void run(self, size_t address, s64 start, s64 stop, s64 available)
    @cython.locals(events=event_p, event=event_p, i=s64)
    cdef void _run(self, size_t address, s64 start, s64 stop, s64 available) noexcept nogil
    @cython.locals(kind=s32)
    cdef void _event(self, event_t *event) noexcept nogil
    cdef void _page_event(self, event_t *event, s32 kind) noexcept nogil
    cdef void _take(self, event_t *event) noexcept nogil
    @cython.locals(cache=s32, pfn=pfn_t, gfp=gfp_t)
    cdef void _page_alloc(self, event_t *event) noexcept nogil
    @cython.locals(pfn=pfn_t, locked=s32)
    cdef void _page_free(self, event_t *event, s32 order) noexcept nogil
    @cython.locals(migratetype=s32, page=page_p)
    cdef void _put_on_pcp(
        self, event_t *event, s32 order, s32 migratetype, bint tail) noexcept nogil
    cdef s32 _cache_of(self, event_t *event) noexcept nogil
    cdef s32 _cache_of_slab(self, event_t *event) noexcept nogil
    @cython.locals(cache=s32)
    cdef void _object_alloc(self, event_t *event) noexcept nogil
    @cython.locals(pfn=pfn_t, page=page_p)
    cdef void _object_free(self, event_t *event) noexcept nogil

cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u64
from mmtwin.kernel.constants cimport PG_slab
from mmtwin.kernel.ram cimport (
    cache_at, cache_cpu_of, cache_cpu_p, page_address, page_p, pfn_to_page,
)
from mmtwin.kernel.slub_freelist cimport get_freepointer
from mmtwin.kernel.slub_resync cimport next_object, slab_of
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u64, virt_t
from mmtwin.recordings.event cimport (
    KIND_KFREE, KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, event_at, event_t,
)
from mmtwin.replay.pages cimport collect, set_cpu
from mmtwin.replay.resync cimport in_sheaves
from mmtwin.replay.unseen cimport INTERRUPT
from mmtwin.replay.written cimport Written

ctypedef event_t *event_p

cdef enum:
    MOST_OF_WRITE = 4096          # events of one write to /sys that are looked at
    MOST_WRITTEN = 2              # bytes of a 1 and a newline

cdef class Shrunk(Written):
    cdef u64 *kernfs_site         # who allocates the buffer of a write to /sys
    cdef s64 nr_kernfs_sites
    cdef s64 kernfs_writes        # how many there were
    cdef s32 kernfs_pid           # the task of the last, -1 for none
    cdef u64 kernfs_buffer        # what it writes from
    cdef s64 *shrunk              # by cache: as many writes had been when it was shrunk, or not

    @cython.locals(place=s64)
    cdef void _after_kmalloc(self, event_t *event) noexcept nogil
    @cython.locals(most=s64, i=s64, following=event_p)
    cdef bint _may_shrink(self, event_t *event) noexcept nogil
    @cython.locals(least=s64, i=s64, before=event_p)
    cdef bint _writes_kernfs(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(page=page_p)
    cdef void _shrinks(self, event_t *event, s64 number) noexcept nogil
    cdef bint _shrunk_before(self, event_t *event, s32 cache, gfp_t gfp) noexcept nogil
    cdef void _shrink(self, s32 cache) noexcept with gil
    @cython.locals(slab=pfn_t, least=s64, pfn=pfn_t, free=s64, page=page_p)
    cdef bint _was_shrunk(self, s32 cache, virt_t object) noexcept nogil
    @cython.locals(page=page_p, free=s64, cpu=s32, c=cache_cpu_p, entry=virt_t, size=u64)
    cdef s64 _free_objects(self, s32 cache, pfn_t pfn) noexcept nogil

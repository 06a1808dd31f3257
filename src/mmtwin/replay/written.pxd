cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u64
from mmtwin.kernel.compaction cimport COMPACT_CLUSTER_MAX, CompactControl
from mmtwin.kernel.constants cimport PG_slab, USE_KERNEL, WMARK_HIGH, WMARK_LOW, WMARK_MIN
from mmtwin.kernel.ram cimport page_p, pcp_of, pcp_p, pfn_to_page, zone_at, zone_p
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64
from mmtwin.recordings.event cimport (
    KIND_KMALLOC, KIND_MM_PAGE_FREE, KIND_MM_PAGE_PCPU_DRAIN, ROLE_DEMAND, event_at, event_t,
)
from mmtwin.replay.counts cimport *
from mmtwin.replay.resync cimport copy_use, page_is_free, put_away
from mmtwin.replay.sheaves cimport Sheaves
from mmtwin.replay.unseen cimport INTERRUPT

ctypedef event_t *event_p

cdef enum:
    SETTING = 7                   # numbers of a setting: see write_sites.py
    LEAST_MIGRATED = 4            # pages freed one after the other that are taken for migrated
    LEAST_OF_KERNEL = 16          # ... if the first was not asked for as movable (ramfs)

cdef class Written(Sheaves):
    cdef u64 *write_site          # who allocates the buffer of a write to /proc/sys
    cdef s64 nr_write_sites
    cdef s32 write_pid            # the task that writes, -1 for none
    cdef u64 write_buffer         # what it writes from
    cdef s64 write_bytes          # the size of that
    cdef s64 *setting
    cdef s64 nr_settings
    cdef readonly CompactControl cc
    cdef bint compacting
    cdef s64 batch_left           # pages that migrate together and are still to come

    @cython.locals(place=s64)
    cdef void _after_kmalloc(self, event_t *event) noexcept nogil
    cdef void _written(self) noexcept nogil
    @cython.locals(place=s64, first=s64, zone=zone_p, pcp=pcp_p, cpu=s32)
    cdef void _set(self, s64 kind) noexcept nogil
    @cython.locals(page=page_p, target=pfn_t, least=s64, block=pfn_t)
    cdef void _page_migrates(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(i=s64, before=event_p)
    cdef bint _is_first(self, event_t *event, s64 number) noexcept nogil
    @cython.locals(i=s64, size=s64, last=u64, following=event_p)
    cdef s64 _freed(self, event_t *event, s64 number, bint together) noexcept nogil

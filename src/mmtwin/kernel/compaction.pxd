# Compaction's free scanner: the pages that migrated ones move to.
cimport cython

from mmtwin.kernel.casts cimport as_s64
from mmtwin.kernel.constants cimport (
    ALLOC_CMA, MIGRATE_MOVABLE, PG_buddy, PG_head, PG_slab, USE_UNKNOWN, WMARK_MIN,
)
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mmzone cimport get_pfnblock_migratetype, zone_watermark_ok
from mmtwin.kernel.page_alloc_buddy cimport (
    account_freepages, del_page_from_free_list, mod_free_pages,
)
from mmtwin.kernel.page_alloc_state cimport set_users
from mmtwin.kernel.ram cimport page_p, pfn_to_page, zone_at, zone_p
from mmtwin.kernel.structs cimport pfn_t, s32, s64

cdef enum:
    COMPACT_CLUSTER_MAX = 32
    FREEPAGES = 8192              # isolated pages there is room for

@cython.final
cdef class CompactControl:
    cdef readonly MM mm
    cdef public s32 zone          # number of the zone
    cdef public pfn_t free_pfn    # where the free scanner goes on
    cdef public pfn_t migrate_pfn  # where the migration scanner does
    cdef public s64 nr_migratepages
    cdef public s64 nr_freepages
    cdef public s64 nr_blocks     # how many blocks they are
    cdef public s64 left          # order of the block given up last
    cdef s64 *freepages           # of an order's blocks the last is the first of the kernel's list
    cdef s64 *order
    cdef dict _buffers

    @cython.locals(zone=zone_p, last=pfn_t)
    cpdef void begin(self, s32 number) noexcept nogil
    cdef bint suitable_migration_target(self, pfn_t block) noexcept nogil
    @cython.locals(zone=zone_p, order=s32)
    cdef s64 isolate_free_page(self, pfn_t pfn) noexcept nogil
    @cython.locals(blockpfn=pfn_t, total=s64, isolated=s64, page=page_p)
    cdef s64 isolate_freepages_block(self, pfn_t end, s64 stride) noexcept nogil
    @cython.locals(zone=zone_p, size=pfn_t, start=pfn_t, end=pfn_t, low=pfn_t, stride=s64,
                   isolated=s64)
    cdef void isolate_freepages(self) noexcept nogil
    @cython.locals(place=s64, order=s64)
    cdef void keep(self, pfn_t pfn, s64 pages) noexcept nogil
    cdef void add(self, pfn_t pfn, s64 order) noexcept nogil
    cdef void remove(self, s64 place) noexcept nogil
    @cython.locals(first=s64, place=s64, pfn=pfn_t, order=s64)
    cpdef pfn_t compaction_alloc(self) noexcept nogil
    @cython.locals(place=s64)
    cpdef bint release(self, pfn_t pfn, s64 order) noexcept nogil
    cpdef pfn_t give_up(self) noexcept nogil

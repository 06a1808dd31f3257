cimport cython

from mmtwin.kernel.casts cimport as_s64, as_u8, as_u32, as_u64
from mmtwin.kernel.constants cimport PG_slab
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.page_alloc cimport alloc_pages, alloc_pages_bulk, free_pages
from mmtwin.kernel.ram cimport (
    cache_at, pcp_of, pfn_to_page, virt_to_head_pfn, zone_at,
)
from mmtwin.kernel.slab_common cimport __kmalloc_node as kmalloc_node, kfree
from mmtwin.kernel.slub cimport kmem_cache_alloc_node, slab_free
from mmtwin.kernel.slub_slab cimport rcu_free_slabs
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u8, u32, u64, virt_t
from mmtwin.recordings.sites cimport as_s32
from mmtwin.replay.demand_book cimport (
    ASK_AREA, ASK_FREE, ASK_GRACE_PERIOD, ASK_KMALLOC, ASK_OBJECT, ASK_PAGES, ASK_STACK,
    FOR_OLD, FOR_STACK, FOR_TABLE, FOR_USER, FOR_USES, FOR_VMALLOC, as_demands, demand_at,
    demand_t,
)

ctypedef demand_t *demand_p
ctypedef held_t *held_p
ctypedef group_t *group_p

# What the twin gave for a demand.
cdef struct held_t:
    u64 place                     # address of an object, else the first pfn
    u32 bytes                     # asked for
    u8 how                        # HELD_*
    u8 order
    u8 use                        # FOR_*
    u8 spare

# A page of the twin's that the next small pages of a task come to lie in.
cdef struct group_t:
    s64 pfn
    s32 pid
    s32 left                      # small pages that still fit; 0: none such

cdef enum:
    HELD_NOTHING = 0
    HELD_OBJECT = 1
    HELD_BLOCK = 2
    HELD_PAGES = 3                # single pages, each linked to the next
    HELD_SHARE = 4                # a part of a larger page
    HELD_STACK = 5

cdef enum:
    # places of DemandRunner.counts()
    RUN_DEMANDS = 0
    RUN_FAILED_OBJECTS = 1
    RUN_FAILED_PAGES = 2          # demands for pages, also of stacks and areas
    RUN_SHARED = 3                # small pages that came to lie in a page that was there already
    RUN_SPLIT = 4                 # large pages of users that became several
    RUN_ORDERS = 5                # blocks whose order changed with the page size
    RUN_PEAK_TIME = 6
    RUN_TABLES = 7                # page tables that stayed one page each, of another size
    RUN_NOT_ASKED = 8             # objects of structures that the twin's release has not
    RUN_PLACES = 9

cdef enum:
    GROUPS = 0x1000
    AREA_CHUNK = 100              # vm_area_alloc_pages() asks for so many at a time
    KMALLOC_ANY = -2              # cache_of: whatever kmalloc() takes for the size
    NOT_ASKED = -3                # cache_of: the release has no such structure

cdef inline held_t *as_held(size_t address, size_t count) noexcept nogil:
    return <held_t *> address

cdef inline held_t *held_at(held_t *held, s64 id) noexcept nogil:
    return &held[id]

cdef inline group_t *as_groups(size_t address, size_t count) noexcept nogil:
    return <group_t *> address

cdef inline group_t *group_at(group_t *groups, s64 place) noexcept nogil:
    return &groups[place]

@cython.final
cdef class DemandRunner:
    cdef readonly MM mm
    cdef held_t *held
    cdef s64 max_ids
    cdef s32 *cache_of
    cdef s64 nr_names
    cdef s64 *count
    cdef s64 *pages               # by FOR_*: pages that live demands hold, slabs left out
    cdef u32 *chain               # by pfn: the next page of an area + 1
    cdef u8 *shares               # by pfn: small pages that lie in it
    cdef group_t *groups
    cdef s32 page_shift           # of the recorded machine
    cdef s64 managed
    cdef readonly s64 peak        # pages in use at most
    cdef readonly object stacks
    cdef dict _buffers

    cpdef void carry_out_at(self, size_t address, s64 count)
    @cython.locals(free=s64, number=s32, cpu=s32)
    cpdef s64 used_pages(self) noexcept nogil
    @cython.locals(demand=demand_p, demands=demand_p, i=s64, used=s64)
    cdef void _run(self, size_t address, s64 count) noexcept nogil
    cdef void _ask(self, demand_t *demand) noexcept nogil
    @cython.locals(cache=s32, address=virt_t, held=held_p, bytes=u64)
    cdef void _object(self, demand_t *demand) noexcept nogil
    @cython.locals(order=s32, pfn=pfn_t, held=held_p)
    cdef void _pages(self, demand_t *demand) noexcept nogil
    @cython.locals(group=group_p, held=held_p, pfn=pfn_t, place=s64)
    cdef void _share(self, demand_t *demand) noexcept nogil
    cdef void _failed(self, demand_t *demand) noexcept nogil
    @cython.locals(left=s64, taken=s64, wanted=s64, place=s64, held=held_p, pfn=pfn_t)
    cdef void _area(self, demand_t *demand) noexcept nogil
    @cython.locals(held=held_p)
    cdef void _free(self, u32 id) noexcept nogil
    @cython.locals(pfn=pfn_t)
    cdef void _free_object(self, virt_t address) noexcept nogil
    @cython.locals(next=u32)
    cdef void _free_chain(self, held_t *held) noexcept nogil
    @cython.locals(group=group_p, place=s64)
    cdef void _free_share(self, held_t *held) noexcept nogil
    @cython.locals(order=s32)
    cdef s32 _order_of(self, u64 bytes) noexcept nogil
    cdef void _stack(self, demand_t *demand) noexcept with gil
    cdef void _free_stack(self, held_t *held, u32 id) noexcept with gil

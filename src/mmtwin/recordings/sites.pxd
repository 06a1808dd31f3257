cimport cython

from mmtwin.recordings.event cimport (
    KIND_KMALLOC, KIND_KMEM_CACHE_ALLOC, KIND_KMEM_CACHE_FREE, KIND_MM_PAGE_ALLOC, as_events,
    event_at, wrap64,
    event_t,
    s32, u32, u64,
)

ctypedef event_t *event_p
ctypedef site_t *site_p

# One place in the kernel that asks for objects of one size.
cdef struct site_t:
    u64 call_site
    u64 bytes_req
    u64 bytes_alloc
    u32 gfp                       # the bits that choose a kmalloc type
    s32 kind                      # 0: the place is free
    s32 cache                     # number in names, -1 undecided
    s32 name[4]                   # candidates seen: numbers in names
    s32 votes[4]
    s32 parent                    # number + 1 of a site that uses the same cache, 0: none

cdef inline site_t *as_sites(size_t address, size_t count) noexcept nogil:
    return <site_t *> address

cdef inline site_t *site_at(site_t *table, u64 place) noexcept nogil:
    return &table[place]

cdef inline s32 *as_s32(size_t address, size_t count) noexcept nogil:
    return <s32 *> address

cdef enum:
    PLACES = 0x10000
    MOST_SITES = 0xE000           # more sites and sizes than that are hostile: not followed

@cython.final
cdef class SiteTable:
    cdef site_t *table
    cdef s32 *page_site
    cdef readonly long long nr_pages
    cdef readonly long long nr_sites
    cdef readonly u64 page_offset
    cdef readonly s32 page_shift
    cdef readonly u32 type_bits
    cdef dict _buffers

    @cython.locals(hashed=u64, place=u64, site=site_p)
    cdef long long _find(self, event_t *event, bint add) noexcept nogil
    cdef long long _root(self, long long number) noexcept nogil
    @cython.locals(first="long long", second="long long")
    cdef void _join(self, long long number, long long other) noexcept nogil
    @cython.locals(site=site_p, place=s32)
    cdef void _vote(self, long long number, s32 name, s32 weight) noexcept nogil
    @cython.locals(
        events=event_p, event=event_p, i="long long", pfn="long long", page="long long",
        number="long long"
    )
    cpdef void learn(self, size_t address, long long count)
    cdef s32 cache_of(self, event_t *event) noexcept nogil

cdef inline long long page_of(SiteTable sites, u64 address) noexcept nogil:
    cdef u64 pfn = (address - sites.page_offset) >> sites.page_shift
    return pfn if pfn < <u64> sites.nr_pages else -1

# LRU lists and the last reference of a page, typed: see swap.py.
cimport cython

from mmtwin.kernel.constants cimport (
    PG_active, PG_head, PG_lru, PG_mlocked, PG_referenced, PG_swapbacked, PG_tail, PG_unevictable,
)
from mmtwin.kernel.lists cimport list_add, list_del
from mmtwin.kernel.memory_defs cimport (
    LRU_FREEING, LRU_INACTIVE_ANON, LRU_INACTIVE_FILE, LRU_UNEVICTABLE, NR_LRU_LISTS,
)
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.page_alloc cimport free_pages, free_unref_page_batch
from mmtwin.kernel.paging cimport Paging, paging_of
from mmtwin.kernel.ram cimport page_p, pfn_to_page
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64

@cython.final
cdef class Lru:
    cdef readonly MM machine
    cdef s64 batch[2048]                # pages that lru_add() will put on a list, 32 for each CPU
    cdef s32 count[64]                  # how many a CPU has
    cdef s64 head[5]                    # list heads by LRU_*
    cdef s64 size[5]                    # pages on each
    cdef s64 freeing[1024]              # pages that put_pages() will free
    cdef public s64 anon_mapped         # NR_ANON_MAPPED
    cdef public s64 file_mapped         # NR_FILE_MAPPED
    cdef public s64 file_pages          # NR_FILE_PAGES, shmem among them
    cdef public s64 shmem_pages         # NR_SHMEM

cpdef Lru lru_of(MM machine)
cdef inline pfn_t compound_head(MM machine, pfn_t pfn) noexcept nogil:
    return machine.page[pfn].compound_head if machine.page[pfn].flags & PG_tail else pfn

@cython.locals(pages=s64)
cdef s64 compound_nr(MM machine, pfn_t pfn) noexcept
cdef s32 lru_list(u64 flags) noexcept
@cython.locals(page=page_p, place=s32)
cdef void lru_add(Lru lru, pfn_t pfn) noexcept
@cython.locals(lru=Lru, base=s32, place=s32, cpu=s32, pfn=pfn_t)
cpdef void lru_add_drain(MM machine)
@cython.locals(lru=Lru, cpu=s32)
cdef void lru_cache_add(MM machine, pfn_t pfn)
@cython.locals(page=page_p, place=s32)
cdef void del_page_from_lru(Lru lru, pfn_t pfn) noexcept
@cython.locals(page=page_p)
cdef void forget_page(Lru lru, pfn_t pfn) noexcept
cdef void get_page(MM machine, pfn_t pfn) noexcept
@cython.locals(page=page_p, lru=Lru, order=s32)
cpdef void put_page(MM machine, pfn_t pfn)
@cython.locals(lru=Lru, pages=s64, pfn=pfn_t, page=page_p, order=s32, batch=s64)
cpdef void put_pages(MM machine, list pfns)
@cython.locals(place=s64)
cdef void free_collected(Lru lru, s64 count, bint in_order)
@cython.locals(page=page_p)
cdef void mark_page_accessed(MM machine, pfn_t pfn)
@cython.locals(page=page_p, lru=Lru)
cdef void mark_page_lazyfree(MM machine, pfn_t pfn)
@cython.locals(page=page_p, lru=Lru, active=bint)
cdef void deactivate_page(MM machine, pfn_t pfn)

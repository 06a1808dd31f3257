# The page cache, typed: see filemap.py.
cimport cython

from mmtwin.kernel.constants cimport (
    __GFP_COMP, __GFP_NORETRY, __GFP_NOWARN, __GFP_ZERO, PG_dirty,
    PG_readahead, PG_swapbacked, PG_uptodate, USE_PAGE_CACHE,
)
from mmtwin.kernel.memory_defs cimport GFP_HIGHUSER_MOVABLE, VM_FAULT_MAJOR
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mm_types cimport File
from mmtwin.kernel.mman cimport VM_RAND_READ, VM_SEQ_READ
from mmtwin.kernel.page_alloc cimport alloc_pages
from mmtwin.kernel.ram cimport clear_pages, page_p, pfn_to_page
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u64
from mmtwin.kernel.swap cimport Lru, lru_cache_add, lru_of

@cython.final
cdef class Node:
    cdef s64 slots[64]                  # pfn + 1, 0 for none
    cdef s32 count

@cython.locals(node=Node)
cpdef pfn_t find_page(File file, u64 index)
@cython.locals(node=Node)
cpdef void store_page(File file, u64 index, pfn_t pfn)
@cython.locals(page=page_p, lru=Lru, mask=u64)
cdef pfn_t add_page(MM machine, File file, u64 index, gfp_t gfp)
@cython.locals(pfn=pfn_t)
cdef pfn_t page_at(MM machine, File file, u64 index)
cdef s64 file_pages(MM machine, File file)
@cython.locals(last=s64, index=s64, pfn=pfn_t, gfp=gfp_t)
cdef void readahead(MM machine, File file, s64 start, s64 count, s64 mark)

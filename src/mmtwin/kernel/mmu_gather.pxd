# Pages on their way out of an address space, typed: see mmu_gather.py.
cimport cython

from mmtwin.kernel.memory_defs cimport GFP_NOWAIT_NOWARN, MMU_GATHER_BUNDLE, MOST_GATHERED
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mm_types cimport mm_struct
from mmtwin.kernel.page_alloc cimport alloc_pages, free_pages
from mmtwin.kernel.paging cimport Paging
from mmtwin.kernel.pgtable cimport table_dtor
from mmtwin.kernel.structs cimport pfn_t, s32, s64
from mmtwin.kernel.swap cimport lru_add_drain, put_pages

@cython.final
cdef class mmu_gather:
    cdef readonly mm_struct mm
    cdef readonly MM machine
    cdef list pages                     # of the batches, in order
    cdef list batches                   # pages of those behind the local one
    cdef s64 room                       # that the batches have
    cdef s64 used                       # batches behind the local one that hold pages
    cdef list tables
    cdef pfn_t table_batch              # page of the batch of tables, -1: none
    cdef s64 place                      # in the active batch
    cdef s64 limit                      # of the active batch
    cdef public bint reclaim_pt         # tables of PTEs that it empties go too
    cdef public bint keep_markers       # guards stay

@cython.locals(pfn=pfn_t)
cdef bint next_batch(mmu_gather tlb)
@cython.locals(full=s64)
cdef bint tlb_remove_page(mmu_gather tlb, pfn_t pfn)
cdef void tlb_flush_mmu(mmu_gather tlb)
cdef void table_flush(mmu_gather tlb)
cdef void tlb_remove_table(mmu_gather tlb, pfn_t pfn)
@cython.locals(pfn=pfn_t)
cdef void tlb_finish_mmu(mmu_gather tlb)

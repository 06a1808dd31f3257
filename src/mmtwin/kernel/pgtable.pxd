# Page tables of processes: what pgtable.py does, typed.
cimport cython

from mmtwin.kernel.constants cimport USE_PAGE_TABLE, PG_table
from mmtwin.kernel.memory_defs cimport GFP_PGTABLE_USER
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mm_types cimport mm_struct
from mmtwin.kernel.mman cimport ENOMEM
from mmtwin.kernel.page_alloc cimport alloc_pages, free_pages
from mmtwin.kernel.paging cimport Paging, is_block, pte_pfn
from mmtwin.kernel.ram cimport clear_pages, page_p, pfn_to_page
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u64, virt_t

@cython.locals(machine=MM, pfn=pfn_t, page=page_p)
cdef pfn_t table_alloc(Paging p, s32 level) noexcept
@cython.locals(slot=s64, entry=u64, above=s32)
cdef s64 table_slot(Paging p, s64 root, virt_t address, s32 level) noexcept
@cython.locals(span=u64, boundary=u64)
cdef virt_t next_boundary(Paging p, virt_t address, virt_t end, s32 level) noexcept
cpdef s64 entry_slot(mm_struct mm, virt_t address, s32 level)
@cython.locals(p=Paging)
cdef void table_populate(mm_struct mm, s64 slot, pfn_t pfn, s32 level)
@cython.locals(p=Paging, slot=s64, above=s32, pfn=pfn_t, entry=u64)
cpdef s64 slot_alloc(mm_struct mm, virt_t address, s32 level)
cdef void table_dtor(Paging p, pfn_t pfn) noexcept
cdef void table_free(Paging p, pfn_t pfn) noexcept
@cython.locals(p=Paging, machine=MM, pfn=pfn_t, address=virt_t, index=u64)
cpdef int pgd_alloc(mm_struct mm) except? -1
@cython.locals(p=Paging)
cpdef void pgd_free(mm_struct mm)

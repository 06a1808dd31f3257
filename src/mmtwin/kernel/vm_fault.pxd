# A page fault on its way, typed: see vm_fault.py.
cimport cython

from mmtwin.kernel.constants cimport PG_referenced, __GFP_COMP, __GFP_ZERO
from mmtwin.kernel.memory_defs cimport GFP_HIGHUSER_MOVABLE
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mm_types cimport mm_struct, vm_area_struct
from mmtwin.kernel.mman cimport VM_RAND_READ, VM_SEQ_READ, VM_SHARED, VM_WRITE
from mmtwin.kernel.page_alloc cimport alloc_pages
from mmtwin.kernel.paging cimport Paging, pte_mkdirty, pte_mkwrite, pte_pfn, vm_get_page_prot
from mmtwin.kernel.pgtable cimport table_alloc, table_populate
from mmtwin.kernel.rmap cimport linear_page_index
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s64, u64, virt_t
from mmtwin.kernel.swap cimport lru_cache_add

@cython.final
cdef class vm_fault:
    cdef mm_struct mm
    cdef vm_area_struct vma
    cdef Paging paging
    cdef MM machine
    cdef virt_t address                 # of the page
    cdef u64 flags                      # FAULT_FLAG_*
    cdef u64 pgoff
    cdef s64 pmd                        # slot of the entry that leads to the PTEs
    cdef s64 pte                        # slot, -1 while there is no table
    cdef pfn_t prealloc_pte             # a table in reserve, -1 for none
    cdef u64 orig_pte
    cdef pfn_t page
    cdef pfn_t cow_page

@cython.locals(vmf=vm_fault, paging=Paging)
cdef vm_fault take_vmf(mm_struct mm, vm_area_struct vma, virt_t address, u64 flags)
cdef bint alloc_pte(vm_fault vmf)
cdef void install_pte(vm_fault vmf)
cdef s64 pte_slot(vm_fault vmf, virt_t address)
cdef bint prealloc(vm_fault vmf)
@cython.locals(gfp=gfp_t)
cdef pfn_t alloc_user_page(vm_fault vmf, bint zeroed)
@cython.locals(machine=MM)
cdef void lru_cache_add_vma(vm_area_struct vma, pfn_t pfn)
@cython.locals(base=s64, other=s64, place=s64)
cdef void copy_user_page(MM machine, pfn_t to, pfn_t source) noexcept
@cython.locals(flags=u64)
cdef u64 page_prot(vm_fault vmf)
cdef u64 maybe_mkwrite(vm_fault vmf, u64 entry)

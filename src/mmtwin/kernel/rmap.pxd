# Reverse mapping, typed: see rmap.py.
cimport cython

from mmtwin.kernel.constants cimport (
    PG_anon_exclusive, PG_mlocked, PG_swapbacked, PG_uptodate,
)
from mmtwin.kernel.memory_defs cimport PAGE_MAPPING_ANON
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mm_types cimport File, mm_struct, vm_area_struct
from mmtwin.kernel.mman cimport MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, VM_LOCKED
from mmtwin.kernel.paging cimport Paging, is_block, pte_pfn, pte_present
from mmtwin.kernel.pgtable cimport entry_slot
from mmtwin.kernel.ram cimport page_p, pfn_to_page
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64, virt_t
from mmtwin.kernel.swap cimport Lru, compound_head, lru_of

@cython.final
cdef class anon_vma:
    cdef public u64 address             # of its slab object; what page->mapping says
    cdef public anon_vma root
    cdef public anon_vma parent
    cdef public s64 refcount
    cdef public s64 num_children
    cdef public s64 num_active_vmas
    cdef public list chains             # anon_vma_chains: areas whose pages may be here

@cython.final
cdef class anon_vma_chain:
    cdef public vm_area_struct vma
    cdef public anon_vma anon_vma
    cdef public u64 address             # of its slab object

cdef u64 linear_page_index(vm_area_struct vma, virt_t address)
cdef bint page_anon(MM machine, pfn_t pfn) noexcept
cdef s32 mm_counter(MM machine, pfn_t pfn) noexcept
@cython.locals(page=page_p, chain=anon_vma, lru=Lru)
cdef void page_add_new_anon_rmap(vm_area_struct vma, pfn_t pfn, virt_t address)
@cython.locals(page=page_p, lru=Lru)
cdef void page_add_file_rmap(MM machine, pfn_t pfn)
@cython.locals(page=page_p, lru=Lru)
cdef void page_remove_rmap(MM machine, pfn_t pfn)

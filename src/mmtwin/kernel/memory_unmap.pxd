# Taking pages and page tables out of an address space, typed: see memory_unmap.py.
cimport cython

from mmtwin.kernel.constants cimport PG_dirty
from mmtwin.kernel.huge_memory cimport split_huge_pmd, zap_huge_pmd
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mm_types cimport mm_struct, vm_area_struct
from mmtwin.kernel.mman cimport VM_SEQ_READ
from mmtwin.kernel.mmu_gather cimport (
    mmu_gather, tlb_finish_mmu, tlb_flush_mmu, tlb_remove_page, tlb_remove_table,
)
from mmtwin.kernel.paging cimport Paging, is_block, pte_dirty, pte_pfn, pte_present
from mmtwin.kernel.pgtable cimport entry_slot, next_boundary
from mmtwin.kernel.rmap cimport mm_counter, page_anon, page_remove_rmap
from mmtwin.kernel.rss_stat cimport add_mm_rss_vec, update_hiwater_rss
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64, virt_t
from mmtwin.kernel.swap cimport lru_add_drain, mark_page_accessed

@cython.locals(p=Paging, machine=MM, entry=u64, pfn=pfn_t, force=bint, member=s32, reclaim=bint,
               table=pfn_t, place=s64)
cdef virt_t zap_pte_range(
    mmu_gather tlb, vm_area_struct vma, s64 slot, virt_t address, virt_t end)
@cython.locals(mm=mm_struct, p=Paging, slot=s64, next=virt_t, level=s32, entry=u64)
cdef void unmap_page_range(mmu_gather tlb, vm_area_struct vma, virt_t address, virt_t end)
@cython.locals(p=Paging, machine=MM, entry=u64, next=virt_t)
cdef void free_level(
    mmu_gather tlb, s64 slot, virt_t address, virt_t end, virt_t floor, virt_t ceiling, s32 level)
@cython.locals(p=Paging, first=s64, start=virt_t, span=u64, below=s32)
cdef void free_below(
    mmu_gather tlb, s64 slot, u64 entry, virt_t address, virt_t end, virt_t floor, virt_t ceiling,
    s32 level)
@cython.locals(p=Paging, size=u64, top=s32, slot=s64)
cdef void free_pgd_range(mmu_gather tlb, virt_t address, virt_t end, virt_t floor, virt_t ceiling)

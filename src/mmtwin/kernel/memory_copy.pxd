# Page table entries copied, moved and changed, typed: see memory_copy.py.
cimport cython

from mmtwin.kernel.constants cimport PG_anon_exclusive, PG_head, PG_lru, PG_tail
from mmtwin.kernel.huge_memory cimport (
    change_huge_pmd, copy_huge_pmd, deposit, split_huge_pmd, withdraw,
)
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mm_types cimport mm_struct, vm_area_struct
from mmtwin.kernel.mman cimport (
    ENOMEM, VM_DENYWRITE, VM_MAYWRITE, VM_MIXEDMAP, VM_PFNMAP, VM_SHARED, VM_WRITE,
)
from mmtwin.kernel.paging cimport (
    Paging, is_block, pte_dirty, pte_mkclean, pte_mkwrite, pte_modify, pte_pfn, pte_present,
    pte_write, pte_wrprotect, vm_get_page_prot,
)
from mmtwin.kernel.pgtable cimport entry_slot, next_boundary, slot_alloc
from mmtwin.kernel.rmap cimport mm_counter, page_anon
from mmtwin.kernel.rss_stat cimport add_mm_rss_vec
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64, virt_t
from mmtwin.kernel.swap cimport deactivate_page, get_page, mark_page_lazyfree

@cython.locals(slot=s64)
cdef s64 huge_slot(mm_struct mm, virt_t address)
cpdef bint vma_needs_copy(vm_area_struct src_vma)
cpdef virt_t next_table(mm_struct mm, virt_t address, virt_t end)
@cython.locals(p=Paging, machine=MM, entry=u64, pfn=pfn_t, member=s32)
cdef void copy_pte_range(
    vm_area_struct dst_vma, vm_area_struct src_vma, s64 dst, s64 src, s64 count)
@cython.locals(p=Paging, machine=MM, entry=u64, slot=s64, pages=s64, next=virt_t, prot=u64,
               old=u64, notify=bint)
cpdef s64 change_protection(vm_area_struct vma, virt_t start, virt_t end, u64 newflags)
@cython.locals(p=Paging, pfn=pfn_t)
cdef bint can_change_writable(vm_area_struct vma, u64 entry)

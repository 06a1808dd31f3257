# Page faults, typed: see memory.py.
cimport cython

from mmtwin.kernel.constants cimport PG_anon_exclusive, PG_dirty, PG_head, PG_lru
from mmtwin.kernel.huge_memory cimport (
    do_anonymous_folio, do_huge_pmd_anonymous_page, do_huge_pmd_wp_page, thp_allowed,
)
from mmtwin.kernel.memory_defs cimport (
    FAULT_FLAG_WRITE, VM_FAULT_FALLBACK, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_SIGBUS,
    VM_FAULT_SIGSEGV,
)
from mmtwin.kernel.memory_file cimport do_fault
from mmtwin.kernel.mm_types cimport mm_struct, vm_area_struct
from mmtwin.kernel.mman cimport MM_ANONPAGES, VM_SHARED, VM_WRITE
from mmtwin.kernel.paging cimport (
    Paging, is_block, pfn_pte, pte_mkdirty, pte_pfn, pte_present, pte_write, vm_normal_page,
)
from mmtwin.kernel.pgtable cimport slot_alloc
from mmtwin.kernel.ram cimport page_p, pfn_to_page
from mmtwin.kernel.rmap cimport (
    mm_counter, page_add_new_anon_rmap, page_anon, page_remove_rmap,
)
from mmtwin.kernel.rss_stat cimport add_mm_counter_fast, check_sync_rss_stat
from mmtwin.kernel.structs cimport pfn_t, s32, u64, virt_t
from mmtwin.kernel.swap cimport (
    compound_head, get_page, lru_add_drain, put_page,
)
from mmtwin.kernel.vm_fault cimport (
    alloc_pte, alloc_user_page, copy_user_page, lru_cache_add_vma, maybe_mkwrite, page_prot,
    pte_slot, take_vmf, vm_fault,
)

@cython.locals(entry=u64, pfn=pfn_t)
cdef s32 do_anonymous_page(vm_fault vmf)
@cython.locals(entry=u64)
cdef void wp_page_reuse(vm_fault vmf)
@cython.locals(page=page_p, head=pfn_t)
cdef bint can_reuse(vm_fault vmf)
@cython.locals(pfn=pfn_t, entry=u64, zero=bint, old=pfn_t)
cdef s32 wp_page_copy(vm_fault vmf)
cdef s32 do_wp_page(vm_fault vmf)
@cython.locals(entry=u64)
cdef s32 handle_pte_fault(vm_fault vmf)
@cython.locals(entry=u64, result=s32)
cdef s32 __handle_mm_fault(vm_fault vmf)
@cython.locals(vmf=vm_fault, result=s32)
cpdef s32 handle_mm_fault(mm_struct mm, vm_area_struct vma, virt_t address, u64 flags)

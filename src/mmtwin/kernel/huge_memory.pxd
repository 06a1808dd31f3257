# Huge pages of processes, typed: see huge_memory.py.
cimport cython

from mmtwin.kernel.constants cimport (
    PG_anon_exclusive, PG_head, PG_mlocked, PG_swapbacked, PG_uptodate, __GFP_COMP,
    __GFP_DIRECT_RECLAIM, __GFP_MOVABLE, __GFP_NOWARN, __GFP_ZERO,
)
from mmtwin.kernel.memory_defs cimport (
    FAULT_FLAG_WRITE, GFP_TRANSHUGE_LIGHT, PAGE_MAPPING_ANON, VM_FAULT_FALLBACK, VM_FAULT_OOM,
)
from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.mm_types cimport mm_struct, vm_area_struct
from mmtwin.kernel.mman cimport (
    MM_ANONPAGES, VM_HUGEPAGE, VM_LOCKED, VM_MAYWRITE, VM_NOHUGEPAGE, VM_SHARED, VM_WRITE,
)
from mmtwin.kernel.mmu_gather cimport mmu_gather, tlb_flush_mmu, tlb_remove_page
from mmtwin.kernel.page_alloc cimport alloc_pages
from mmtwin.kernel.paging cimport (
    Paging, is_block, pfn_pte, pte_dirty, pte_mkdirty, pte_mkwrite, pte_modify, pte_pfn,
    pte_present, pte_write, pte_wrprotect, vm_get_page_prot,
)
from mmtwin.kernel.pgtable cimport entry_slot, table_alloc, table_free, table_populate
from mmtwin.kernel.ram cimport clear_pages
from mmtwin.kernel.rmap cimport linear_page_index, page_remove_rmap
from mmtwin.kernel.rss_stat cimport add_mm_counter
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u64, virt_t
from mmtwin.kernel.swap cimport Lru, lru_add_drain, lru_of, put_page
from mmtwin.kernel.vm_fault cimport (
    copy_user_page, lru_cache_add_vma, maybe_mkwrite, page_prot, vm_fault,
)

cdef bint thp_allowed(Paging p, vm_area_struct vma)
cdef bint suitable(Paging p, vm_area_struct vma, virt_t address, s32 order)
cdef u64 mk_huge(Paging p, u64 entry)
cdef u64 mk_small(Paging p, u64 entry)
@cython.locals(ring=list)
cdef void deposit(Paging p, s64 pmd, pfn_t table)
@cython.locals(ring=list)
cdef pfn_t withdraw(Paging p, s64 pmd)
@cython.locals(gfp=gfp_t)
cdef pfn_t alloc_huge(vm_fault vmf, s32 order)
@cython.locals(machine=MM, lru=Lru)
cdef void add_new_anon(vm_area_struct vma, pfn_t pfn, virt_t address, bint by_pmd, s64 pages)
@cython.locals(p=Paging, table=pfn_t, pfn=pfn_t, entry=u64, mm=mm_struct)
cdef s32 do_huge_pmd_anonymous_page(vm_fault vmf)
@cython.locals(p=Paging, pfn=pfn_t, head=pfn_t)
cdef s32 do_huge_pmd_wp_page(vm_fault vmf, u64 entry)
@cython.locals(p=Paging, table=pfn_t, entry=u64, small=u64, place=s64, slot=s64, pfn=pfn_t,
               machine=MM, zero=bint)
cpdef void split_huge_pmd(mm_struct mm, s64 pmd)
@cython.locals(p=Paging, entry=u64, table=pfn_t, pfn=pfn_t, machine=MM, lru=Lru)
cdef void zap_huge_pmd(mmu_gather tlb, s64 pmd)
@cython.locals(p=Paging, entry=u64, table=pfn_t, pfn=pfn_t, machine=MM)
cdef bint copy_huge_pmd(vm_area_struct dst_vma, vm_area_struct src_vma, s64 dst, s64 src)
@cython.locals(p=Paging, entry=u64, old=u64, machine=MM, pfn=pfn_t)
cdef void change_huge_pmd(vm_area_struct vma, s64 pmd, u64 newflags)
@cython.locals(p=Paging, order=s32, pages=s64, address=virt_t, slot=s64, pfn=pfn_t, entry=u64,
               place=s64, machine=MM)
cdef bint do_anonymous_folio(vm_fault vmf)
@cython.locals(mm=mm_struct, p=Paging, machine=MM, table=pfn_t, slot=s64, place=s64, entry=u64,
               old=pfn_t)
cpdef void collapse_pmd(vm_area_struct vma, s64 pmd, virt_t address, pfn_t pfn)

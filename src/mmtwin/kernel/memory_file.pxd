# Faults in areas with a backing, typed: see memory_file.py.
cimport cython

from mmtwin.kernel.constants cimport PG_dirty, PG_readahead
from mmtwin.kernel.filemap cimport Node, file_pages, page_at
from mmtwin.kernel.memory_defs cimport (
    FAULT_FLAG_WRITE, VM_FAULT_ERROR, VM_FAULT_NOPAGE, VM_FAULT_OOM, VM_FAULT_SIGBUS,
)
from mmtwin.kernel.mm_types cimport File
from mmtwin.kernel.mman cimport MM_ANONPAGES, VM_SHARED
from mmtwin.kernel.paging cimport Paging, pfn_pte
from mmtwin.kernel.pgtable cimport table_free
from mmtwin.kernel.rmap cimport (
    linear_page_index, mm_counter, page_add_file_rmap, page_add_new_anon_rmap,
)
from mmtwin.kernel.rss_stat cimport (
    add_mm_counter, add_mm_counter_fast, check_sync_rss_stat, is_current,
)
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64, virt_t
from mmtwin.kernel.swap cimport get_page, put_page
from mmtwin.kernel.vm_fault cimport (
    alloc_pte, alloc_user_page, copy_user_page, install_pte, lru_cache_add_vma, maybe_mkwrite,
    page_prot, prealloc, vm_fault,
)

@cython.locals(entry=u64, prefault=bint, write=bint)
cdef void do_set_pte(vm_fault vmf, pfn_t pfn, virt_t address, s64 slot)
@cython.locals(pfn=pfn_t, cow=bint)
cdef s32 finish_fault(vm_fault vmf)
@cython.locals(file=File, node=Node, index=u64, address=virt_t, slot=s64, pfn=pfn_t, rss=s64,
               found=s32, member=s32, batched=bint)
cdef s32 filemap_map_pages(vm_fault vmf, u64 start, u64 end)
@cython.locals(pages=u64, start=virt_t, offset=u64, first=u64, last=u64, table=u64)
cdef s32 do_fault_around(vm_fault vmf)
@cython.locals(result=s32)
cdef s32 __do_fault(vm_fault vmf)
@cython.locals(entry=u64)
cdef void insert_pfn(vm_fault vmf)
@cython.locals(result=s32)
cdef s32 do_read_fault(vm_fault vmf)
@cython.locals(result=s32)
cdef s32 do_cow_fault(vm_fault vmf)
@cython.locals(result=s32)
cdef s32 do_shared_fault(vm_fault vmf)
@cython.locals(result=s32)
cdef s32 do_fault(vm_fault vmf)

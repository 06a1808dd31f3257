# Levels and entry formats of page tables: what paging.py does, typed.
cimport cython

from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.structs cimport pfn_t, s32, s64, u64, virt_t

@cython.final
cdef class Paging:
    cdef readonly MM machine
    cdef readonly s32 levels            # tables from the top to the PTEs
    cdef readonly s32 bits              # address bits that a table translates
    cdef readonly s32 page_shift
    cdef readonly s32 va_bits           # of a user address
    cdef readonly s32 arm64
    cdef readonly u64 page_size
    cdef readonly u64 page_mask         # of an address: bits of its page
    cdef readonly u64 pfn_mask
    cdef readonly u64 pgd_bytes         # of the top table
    cdef s32 shifts[6]                  # address bits below an entry, by level, PTE 0
    cdef u64 masks[6]                   # of a table's index, by level
    cdef u64 prot[16]                   # protection_map by VM_READ, WRITE, EXEC, SHARED
    cdef readonly u64 present           # a bit of these: the entry maps something
    cdef readonly u64 write
    cdef readonly u64 readonly          # PTE_RDONLY, 0 on x86
    cdef readonly u64 user
    cdef readonly u64 young
    cdef readonly u64 dirty             # what pte_mkdirty() sets
    cdef readonly u64 soft_dirty
    cdef readonly u64 special
    cdef readonly u64 table             # flags of an entry that leads to a table
    cdef readonly u64 leaf              # PSE of a block, 0 on arm64
    cdef readonly u64 chg_mask          # what pte_modify() keeps
    cdef readonly s32 cache             # slab cache of small top tables, -1: pages
    cdef public pfn_t zero_pfn          # ZERO_PAGE(0)
    cdef public object current          # rss_stat.TaskRss of the task that runs, None: no user's
    cdef public object lru              # swap.Lru
    cdef public list special_pfns       # pages of the image that special mappings show
    cdef public dict specials           # (name, index) -> such a page
    cdef public list rcu_tables         # page tables that wait for a grace period
    cdef public u64 fault_around_bytes
    cdef public dict mappings           # page->mapping -> anon_vma or File
    cdef public u64 next_mapping        # for those that have no address
    cdef public s32 thp                 # transparent_hugepage: 0 never, 1 madvise, 2 always
    cdef public s32 mthp                # smaller orders of anonymous memory that may be used
    cdef public dict deposits           # tables that wait beside huge PMDs: huge_memory.py
    cdef public pfn_t huge_zero_pfn
    cdef public object vmf              # the vm_fault of the fault that goes on

cpdef Paging paging_of(MM machine)
cpdef bint pte_present(Paging p, u64 entry) noexcept nogil
cpdef bint pte_write(Paging p, u64 entry) noexcept nogil
cpdef bint pte_dirty(Paging p, u64 entry) noexcept nogil
cdef u64 pte_mkdirty(Paging p, u64 entry) noexcept nogil
cpdef u64 pte_mkclean(Paging p, u64 entry) noexcept nogil
cdef u64 pte_mkwrite(Paging p, u64 entry) noexcept nogil
cpdef u64 pte_wrprotect(Paging p, u64 entry) noexcept nogil
cpdef pfn_t pte_pfn(Paging p, u64 entry) noexcept nogil
cpdef u64 vm_get_page_prot(Paging p, u64 vm_flags) noexcept nogil
cdef u64 pfn_pte(Paging p, pfn_t pfn, u64 prot) noexcept nogil
cpdef bint is_block(Paging p, u64 entry) noexcept nogil
cdef u64 pte_modify(Paging p, u64 entry, u64 prot) noexcept nogil
cpdef pfn_t vm_normal_page(Paging paging, u64 entry) noexcept nogil

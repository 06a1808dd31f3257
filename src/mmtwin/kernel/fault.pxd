# The way into a page fault, typed: see fault.py.
cimport cython

from mmtwin.kernel.memory cimport handle_mm_fault
from mmtwin.kernel.memory_defs cimport (
    FAULT_FLAG_INSTRUCTION, FAULT_FLAG_USER, FAULT_FLAG_WRITE, VM_FAULT_MAJOR, VM_FAULT_OOM,
    VM_FAULT_SIGBUS, VM_FAULT_SIGSEGV,
)
from mmtwin.kernel.mm_types cimport mm_struct, vm_area_struct
from mmtwin.kernel.mman cimport VM_EXEC, VM_GROWSDOWN, VM_READ, VM_WRITE
from mmtwin.kernel.paging cimport Paging
from mmtwin.kernel.rss_stat cimport TaskRss
from mmtwin.kernel.structs cimport s32, s64, u64, virt_t
from mmtwin.kernel.vma_tree cimport mm_find_vma

cdef u64 decode_x86(u64 error_code)
@cython.locals(kind=u64, flags=u64)
cdef u64 decode_esr(u64 esr)
@cython.locals(wanted=u64)
cdef bint access_error(vm_area_struct vma, u64 flags, bint present, bint arm64)
@cython.locals(rss=TaskRss)
cdef TaskRss current_rss(task)
@cython.locals(mm=mm_struct)
cdef mm_struct mm_of(task)
@cython.locals(mm=mm_struct, rss=TaskRss, flags=u64, vma=vm_area_struct, result=s32, p=Paging,
               present=bint)
cpdef object do_user_addr_fault(task, virt_t address, u64 error_code)

# The areas of an address space by address: what red-black tree and maple tree have in common.
cimport cython

from mmtwin.kernel.mm_types cimport mm_struct, vm_area_struct
from mmtwin.kernel.mman cimport VM_GROWSDOWN
from mmtwin.kernel.structs cimport s32, s64, u64, virt_t

@cython.final
cdef class vm_unmapped_area_info:
    cdef public u64 length              # bytes
    cdef public virt_t low_limit        # first address that may be given
    cdef public virt_t high_limit       # first address behind what may be given
    cdef public u64 align_mask
    cdef public u64 align_offset
    cdef public u64 start_gap           # bytes that stay free below (a shadow stack's guard page)
    cdef public s32 topdown

cdef class VmaTree:
    cdef public mm_struct mm
    cdef public u64 stack_guard_gap     # bytes (stack_guard_gap=)
    cdef u64 shadow_stack               # VM_SHADOW_STACK
    cdef public virt_t mmap_min_addr    # vm.mmap_min_addr
    cdef public u64 page_size
    cdef public object searches         # list of (vm_unmapped_area_info, address), or None
    cdef s64 _visits
    cdef public s64 cache_hits          # of the vmacache
    cdef public s64 cache_misses
    cdef vm_area_struct _find(self, virt_t address)
    @cython.locals(gap=u64)
    cdef virt_t start_gap(self, vm_area_struct vma)

@cython.locals(tree=VmaTree)
cpdef vm_area_struct mm_find_vma(mm_struct mm, virt_t address)

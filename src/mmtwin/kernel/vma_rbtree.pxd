# A process's areas before 6.1: a list, a red-black tree augmented by gaps, and the vmacache.
cimport cython

from mmtwin.kernel.mm_types cimport mm_struct, vm_area_struct
from mmtwin.kernel.mman cimport ENOMEM
from mmtwin.kernel.structs cimport s32, s64, u64, virt_t
from mmtwin.kernel.vma_tree cimport VmaTree, vm_unmapped_area_info

cdef enum:
    VMACACHE_SIZE = 4

cdef class VmaRbTree(VmaTree):
    cdef public object rb               # rbtree.RbTree
    cdef public list vmacache           # the running task's, VMACACHE_SIZE areas or None
    cdef public s64 seqnum              # mm->vmacache_seqnum
    cdef public s64 cache_seqnum        # current->vmacache.seqnum
    cdef s32 shift                      # VMACACHE_SHIFT
    cdef dict _tasks                    # of others: pid -> (seqnum, areas)
    cdef public s64 task

    @cython.locals(vma=vm_area_struct, node=vm_area_struct)
    cdef vm_area_struct _find(self, virt_t address)
    @cython.locals(vma=vm_area_struct, place=s32, i=s32)
    cdef vm_area_struct _vmacache_find(self, virt_t address)
    @cython.locals(gap=u64)
    cdef u64 _gap(self, vm_area_struct vma)
    @cython.locals(gap=u64)
    cdef u64 _subtree_gap(self, vm_area_struct vma)
    @cython.locals(vma=vm_area_struct, length=u64, low=virt_t, high=virt_t, gap_start=virt_t,
                   gap_end=virt_t, below=vm_area_struct, up=bint)
    cdef s64 _lowest(self, vm_unmapped_area_info info)
    @cython.locals(vma=vm_area_struct, length=u64, low=virt_t, high=virt_t, gap_start=virt_t,
                   gap_end=virt_t, below=vm_area_struct, up=bint)
    cdef s64 _highest(self, vm_unmapped_area_info info)

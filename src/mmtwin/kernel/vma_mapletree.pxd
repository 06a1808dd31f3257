# A process's areas since 6.1: a maple tree.
cimport cython

from mmtwin.kernel.maple_tree cimport MapleTree
from mmtwin.kernel.mm_types cimport mm_struct, vm_area_struct
from mmtwin.kernel.structs cimport virt_t
from mmtwin.kernel.vma_tree cimport VmaTree

cdef class VmaMapleTree(VmaTree):
    cdef public MapleTree mt
    cdef bint bulk                      # rows of the feature table
    cdef bint counts_detached
    cdef bint dup
    cdef bint min_addr
    cdef object detached                # areas that go, in a tree of their own, None
    cdef list gone                      # and by address
    cdef object hand                    # the nodes asked for before they were split off

    @cython.locals(vma=vm_area_struct)
    cdef vm_area_struct _find(self, virt_t address)

cimport cython

from mmtwin.kernel.mm cimport MM
from mmtwin.kernel.ram cimport page_p, pfn_to_page
from mmtwin.kernel.structs cimport pfn_t, s64

@cython.locals(first=pfn_t)
cdef void list_add(MM mm, pfn_t entry, pfn_t head) noexcept nogil
@cython.locals(last=pfn_t)
cdef void list_add_tail(MM mm, pfn_t entry, pfn_t head) noexcept nogil
@cython.locals(page=page_p)
cdef void list_del(MM mm, pfn_t entry) noexcept nogil

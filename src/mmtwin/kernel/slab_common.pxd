# kmalloc(): the entries.
cimport cython

from mmtwin.kernel.constants cimport (
    CHECK_KASAN, CHECK_KMEMLEAK, COMPLAINT_BAD_GFP, PG_large_kmalloc,
    PG_slab, USE_LARGE_KMALLOC, __GFP_COMP, __GFP_ZERO,
)
from mmtwin.kernel.kasan_hooks cimport (
    kasan_check_byte, kasan_kmalloc, kasan_kmalloc_large, kasan_krealloc,
    kasan_unpoison_range,
)
from mmtwin.kernel.kmemleak_hook cimport kmemleak_alloc
from mmtwin.kernel.mm cimport MM, complain
from mmtwin.kernel.page_alloc cimport alloc_pages
from mmtwin.kernel.ram cimport (
    cache_at, cache_p, page_address, page_p, pfn_to_page, virt_to_head_pfn,
)
from mmtwin.kernel.slab_index cimport kmalloc_slab, kmalloc_slab_for
from mmtwin.kernel.slub cimport (
    __kmem_cache_alloc_bulk, __kmem_cache_free_bulk, slab_alloc_node, slab_free, virt_to_known_pfn,
)
from mmtwin.kernel.slub_defs cimport (
    GFP_SLAB_BUG_MASK, NUMA_NO_NODE, SLAB_KASAN, SLAB_POISON, SLAB_RED_ZONE,
    SLAB_STORE_USER, SLAB_TYPESAFE_BY_RCU, SLUB_RED_ACTIVE, ZERO_SIZE_PTR,
)
from mmtwin.kernel.slub_free cimport free_large_kmalloc, is_object
from mmtwin.kernel.slub_debug cimport free_invalid
from mmtwin.kernel.slub_freelist cimport copy_bytes, fill_bytes, kmem_cache_debug
from mmtwin.kernel.slub_meta cimport get_orig_size, set_orig_size, slub_debug_orig_size
from mmtwin.kernel.structs cimport gfp_t, pfn_t, s32, s64, u32, u64, virt_t
from mmtwin.kernel.trace cimport STEP_KFREE, STEP_KMALLOC, STEP_KMALLOC_LARGE, step

@cython.locals(order=s32, bytes=u64)
cpdef s32 size_order(MM mm, u64 size) noexcept nogil
@cython.locals(order=s32, pfn=pfn_t, page=page_p, address=virt_t)
cdef virt_t kmalloc_large(MM mm, u64 size, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(object=virt_t, cache=s32, bytes=u64)
cpdef virt_t __kmalloc_caller(MM mm, u64 size, gfp_t gfp, s32 node, u64 caller) noexcept nogil
cpdef virt_t __kmalloc_node(MM mm, u64 size, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(object=virt_t)
cpdef virt_t kmalloc_trace(MM mm, s32 cache, u64 size, gfp_t gfp, s32 node) noexcept nogil
@cython.locals(pfn=pfn_t, page=page_p)
cpdef void kfree(MM mm, virt_t object) noexcept nogil
@cython.locals(s=cache_p)
cdef u64 slab_ksize(MM mm, s32 cache) noexcept nogil
@cython.locals(size=u64)
cpdef u64 ksize(MM mm, virt_t object) noexcept nogil
@cython.locals(pfn=pfn_t, page=page_p)
cdef u64 known_ksize(MM mm, virt_t object) noexcept nogil
cpdef u64 kmalloc_size_roundup(MM mm, u64 size) noexcept nogil
@cython.locals(pfn=pfn_t)
cdef bint keeps_orig_size(MM mm, virt_t object) noexcept nogil
@cython.locals(cache=s32, s=cache_p, before=u64, larger=virt_t)
cdef virt_t krealloc_tracked(MM mm, virt_t object, u64 size, gfp_t gfp) noexcept nogil
@cython.locals(has=u64, larger=virt_t)
cpdef virt_t krealloc(MM mm, virt_t object, u64 size, gfp_t gfp) noexcept nogil

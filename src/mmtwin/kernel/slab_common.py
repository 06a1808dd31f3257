"""kmalloc(): the entries. kmalloc_node, kfree, ksize, krealloc; caches for small sizes, pages
for large.

mm/slab_common.c and mm/slub.c: __kmalloc_node(), kmalloc_large(), kfree(), ksize(), krealloc().
Up to two pages (KMALLOC_MAX_CACHE_SIZE) come from a cache, more from the page allocator.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        __GFP_COMP,
        __GFP_ZERO,
        CHECK_KASAN,
        CHECK_KMEMLEAK,
        COMPLAINT_BAD_GFP,
        USE_LARGE_KMALLOC,
        PG_large_kmalloc,
        PG_slab,
    )
    from mmtwin.kernel.kasan_hooks import (
        kasan_check_byte,
        kasan_kmalloc,
        kasan_kmalloc_large,
        kasan_krealloc,
        kasan_unpoison_range,
    )
    from mmtwin.kernel.kmemleak_hook import kmemleak_alloc
    from mmtwin.kernel.mm import complain
    from mmtwin.kernel.page_alloc import alloc_pages
    from mmtwin.kernel.ram import cache_at, page_address, pfn_to_page
    from mmtwin.kernel.slab_index import kmalloc_slab, kmalloc_slab_for
    from mmtwin.kernel.slub import slab_alloc_node, slab_free, virt_to_known_pfn
    from mmtwin.kernel.slub_debug import free_invalid
    from mmtwin.kernel.slub_defs import (
        GFP_SLAB_BUG_MASK,
        NUMA_NO_NODE,
        SLAB_KASAN,
        SLAB_POISON,
        SLAB_RED_ZONE,
        SLAB_STORE_USER,
        SLAB_TYPESAFE_BY_RCU,
        SLUB_RED_ACTIVE,
        ZERO_SIZE_PTR,
    )
    from mmtwin.kernel.slub_free import free_large_kmalloc, is_object
    from mmtwin.kernel.slub_freelist import copy_bytes, fill_bytes, kmem_cache_debug
    from mmtwin.kernel.slub_meta import get_orig_size, set_orig_size, slub_debug_orig_size
    from mmtwin.kernel.trace import STEP_KFREE, STEP_KMALLOC, STEP_KMALLOC_LARGE, step


def size_order(mm, size):
    """get_order(): the smallest order of pages that holds `size` (u64) bytes."""
    order = 0
    bytes = (size - 1) >> mm.page_shift if size else 0
    while bytes:
        order += 1
        bytes >>= 1
    return order


def kmalloc_large(mm, size, gfp, node):
    """kmalloc_large_node(), kmalloc_order(): whole pages, compound; their address, or 0.

    More than KMALLOC_MAX_SIZE (the largest block) fails.
    """
    order = size_order(mm, size)
    if gfp & GFP_SLAB_BUG_MASK:
        complain(mm, COMPLAINT_BAD_GFP, gfp, -1)
        gfp &= ~GFP_SLAB_BUG_MASK
    step(mm, STEP_KMALLOC_LARGE, size, order)
    address = 0
    pfn = alloc_pages(mm, gfp | __GFP_COMP, order, node)
    if pfn >= 0:
        page = pfn_to_page(mm, pfn)
        page.flags |= PG_large_kmalloc
        page.users = USE_LARGE_KMALLOC
        address = page_address(mm, pfn)
        if mm.contents and (gfp & __GFP_ZERO or mm.has.init_on_alloc):
            fill_bytes(mm, address, 0, 1 << (order + mm.page_shift))
        if mm.checkers & CHECK_KMEMLEAK:
            kmemleak_alloc(mm, address, size, 1, gfp)
    step(mm, STEP_KMALLOC, address, size, 1 << (order + mm.page_shift), gfp, node, -1)
    if mm.checkers & CHECK_KASAN:
        kasan_kmalloc_large(mm, address, size, gfp)
    return address


def __kmalloc_caller(mm, size, gfp, node, caller):
    """kmalloc_node() from a call site whose address (u64) may choose the cache; see
    kmalloc_type().
    """
    if size > 2 << mm.page_shift:
        object = kmalloc_large(mm, size, gfp, node)
        if mm.has.kmalloc_large_told_twice:
            bytes = 1 << (size_order(mm, size) + mm.page_shift)
            step(mm, STEP_KMALLOC, object, size, bytes, gfp, node, -1)
        return object
    if size == 0:
        return ZERO_SIZE_PTR
    cache = kmalloc_slab_for(mm, size, gfp, caller)
    return kmalloc_trace(mm, cache, size, gfp, node) if cache >= 0 else 0


def __kmalloc_node(mm, size, gfp, node):
    """Allocates `size` (u64) bytes on a node (s32, -1: any); __kmalloc_node().

    `gfp`: gfp_t, the twin's bits. Returns the address, ZERO_SIZE_PTR (16) for no bytes, 0 if
    there is no memory or no block is as large.
    """
    return __kmalloc_caller(mm, size, gfp, node, 0)


def kmalloc_trace(mm, cache, size, gfp, node):
    """kmalloc() of a size known when the kernel was compiled, so that it names the cache itself.
    """
    if kmem_cache_debug(cache_at(mm, cache)):
        mm.orig_size = size
        object = slab_alloc_node(mm, cache, gfp, node)
        mm.orig_size = 0
    else:
        object = slab_alloc_node(mm, cache, gfp, node)
    step(mm, STEP_KMALLOC, object, size, cache_at(mm, cache).size, gfp, node, cache)
    if mm.checkers & CHECK_KASAN:
        kasan_kmalloc(mm, cache, object, size, gfp)
    return object


def kfree(mm, object):
    """Frees what kmalloc gave (virt_t); kfree().

    NULL and ZERO_SIZE_PTR are nothing to free. What is no object is left alone, with a complaint
    in mm.complaints that names what the kernel would have found.
    """
    step(mm, STEP_KFREE, object)
    if object <= ZERO_SIZE_PTR:
        return
    pfn = virt_to_known_pfn(mm, object)
    if pfn < 0:
        return
    page = pfn_to_page(mm, pfn)
    if not page.flags & PG_slab:
        free_large_kmalloc(mm, pfn, object)
    elif mm.checkers & CHECK_KASAN or is_object(mm, pfn, object):
        slab_free(mm, page.cache, pfn, object)
    else:
        free_invalid(mm, page.cache, pfn, object)


def slab_ksize(mm, cache):
    """slab_ksize(): how many bytes of an object its owner may use."""
    s = cache_at(mm, cache)
    if s.flags & (SLAB_RED_ZONE | SLAB_POISON | SLAB_KASAN):
        return s.object_size
    if s.flags & (SLAB_TYPESAFE_BY_RCU | SLAB_STORE_USER):
        return s.inuse
    return s.size


def ksize(mm, object):
    """The usable bytes (u64) of what kmalloc gave; ksize(). 0 for NULL, ZERO_SIZE_PTR, no
    object; with KASAN also for a freed one, and until 38931d8989b5 (6.2) the bytes then become
    accessible.
    """
    if object <= ZERO_SIZE_PTR:
        return 0
    if mm.checkers & CHECK_KASAN and not kasan_check_byte(mm, object):
        return 0
    size = known_ksize(mm, object)
    if mm.checkers & CHECK_KASAN and mm.has.kasan_ksize_unpoisons:
        kasan_unpoison_range(mm, object, size)
    return size


def known_ksize(mm, object):
    """__ksize()"""
    pfn = virt_to_known_pfn(mm, object)
    if pfn < 0:
        return 0
    page = pfn_to_page(mm, pfn)
    if page.flags & PG_slab:
        if mm.slub_bytes and mm.has.orig_size_moves_freeptr and is_object(mm, pfn, object):
            # skip_orig_size_check(): the caller may use all of it
            set_orig_size(mm, page.cache, object, cache_at(mm, page.cache).object_size)
        return slab_ksize(mm, page.cache)
    return 1 << (page.order + mm.page_shift) if page.flags & PG_large_kmalloc else 0


def kmalloc_size_roundup(mm, size):
    """kmalloc_size_roundup(): how many bytes (u64) kmalloc would give for `size`; 0 for 0."""
    if size == 0:
        return 0
    if size <= 2 << mm.page_shift:
        return cache_at(mm, kmalloc_slab(mm, size, 0)).object_size
    return 1 << (size_order(mm, size) + mm.page_shift)


def krealloc(mm, object, size, gfp):
    """Makes an object larger or smaller (u64 bytes), at another address if need be; krealloc().

    Returns its address; ZERO_SIZE_PTR after freeing it for size 0; 0, the object kept, if there
    is no memory. NULL as the object is kmalloc().
    """
    if size == 0:
        kfree(mm, object)
        return ZERO_SIZE_PTR
    if mm.slub_bytes and mm.has.slub_krealloc_redzone and keeps_orig_size(mm, object):
        return krealloc_tracked(mm, object, size, gfp)
    has = 0
    if object > ZERO_SIZE_PTR:
        if not mm.checkers & CHECK_KASAN or kasan_check_byte(mm, object):
            has = known_ksize(mm, object)
        elif mm.has.kasan_checks_byte:
            return 0
    if has >= size:
        if mm.checkers & CHECK_KASAN:
            kasan_krealloc(mm, object, size, gfp)
        return object
    larger = __kmalloc_node(mm, size, gfp, NUMA_NO_NODE)
    if larger and has:
        if mm.contents:
            copy_bytes(mm, larger, object, has)
        kfree(mm, object)
    return larger


def keeps_orig_size(mm, object):
    """Whether an address is an object of a debug cache that keeps the size asked of kmalloc."""
    if object <= ZERO_SIZE_PTR:
        return False
    pfn = virt_to_known_pfn(mm, object)
    if pfn < 0 or not pfn_to_page(mm, pfn).flags & PG_slab or not is_object(mm, pfn, object):
        return False
    return slub_debug_orig_size(mm, cache_at(mm, pfn_to_page(mm, pfn).cache))


def krealloc_tracked(mm, object, size, gfp):
    """__do_krealloc() of such an object: the bytes between the sizes become a red zone, or
    zeroes. 5474d33ca48e (6.13).
    """
    cache = pfn_to_page(mm, virt_to_known_pfn(mm, object)).cache
    s = cache_at(mm, cache)
    before = get_orig_size(mm, cache, object)
    if size > s.object_size:
        larger = __kmalloc_node(mm, size, gfp, NUMA_NO_NODE)
        if larger:
            copy_bytes(mm, larger, object, before)
            kfree(mm, object)
        return larger
    if gfp & __GFP_ZERO or mm.has.init_on_alloc:
        if before < size:
            fill_bytes(mm, object + before, 0, size - before)
        else:
            fill_bytes(mm, object + size, 0, s.object_size - size)
    set_orig_size(mm, cache, object, size)
    if s.flags & SLAB_RED_ZONE and size < s.object_size:
        fill_bytes(mm, object + size, SLUB_RED_ACTIVE, s.object_size - size)
    return object

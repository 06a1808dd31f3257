"""The entries of SLUB: objects of a cache, one or many, allocated and freed.

mm/slub.c: kmem_cache_alloc_node(), kmem_cache_free(), kmem_cache_alloc_bulk(),
kmem_cache_free_bulk().
"""

import cython
import numpy as np

if not cython.compiled:
    from mmtwin.kernel.casts import as_u64
    from mmtwin.kernel.constants import (
        CHECK_KASAN,
        CHECK_KMEMLEAK,
        COMPLAINT_BAD_ADDRESS,
        COMPLAINT_NOT_SLAB,
        PG_slab,
    )
    from mmtwin.kernel.kasan_hooks import kasan_slab_alloc, kasan_slab_free
    from mmtwin.kernel.kmemleak_hook import kmemleak_alloc_recursive, kmemleak_free_recursive
    from mmtwin.kernel.mm import complain
    from mmtwin.kernel.ram import (
        cache_at,
        cache_cpu_of,
        is_ram,
        pfn_to_page,
        virt_to_head_pfn,
        virt_to_pfn,
    )
    from mmtwin.kernel.slub_alloc import alloc_bulk_from_slab
    from mmtwin.kernel.slub_debug import free_invalid, wrong_cache
    from mmtwin.kernel.slub_defs import NUMA_NO_NODE
    from mmtwin.kernel.slub_free import free_bulk_to_slab, free_to_slab, is_object
    from mmtwin.kernel.slub_freelist import kmem_cache_debug, wipe_on_alloc, wipe_on_free
    from mmtwin.kernel.slub_refill import refill_objects
    from mmtwin.kernel.slub_sheaf import (
        alloc_from_pcs_bulk,
        alloc_object,
        free_object,
        free_to_pcs_bulk,
        has_sheaves,
    )
    from mmtwin.kernel.trace import STEP_KMEM_CACHE_ALLOC, STEP_KMEM_CACHE_FREE, step


def slab_alloc_node(mm, cache, gfp, node):
    """slab_alloc_node(): an object, zeroed where the kernel zeroes, without a tracepoint; 0 on
    failure.
    """
    object = alloc_object(mm, cache, gfp, node, True)
    if object and mm.contents and not is_ram(mm, object):
        # a free pointer was written over: the kernel faults in get_freepointer()
        complain(mm, COMPLAINT_BAD_ADDRESS, object, cache)
        return 0
    if mm.checkers & CHECK_KASAN:
        kasan_slab_alloc(mm, cache, object, gfp)
    if object and mm.contents:
        wipe_on_alloc(mm, cache, object, gfp)
        if mm.checkers & CHECK_KMEMLEAK:
            s = cache_at(mm, cache)
            kmemleak_alloc_recursive(mm, object, s.object_size, 1, s.flags, gfp)
    return object


def slab_free(mm, cache, pfn, object):
    """slab_free(): an object of the slab at `pfn`. With KASAN it may be none, and it may wait in
    the quarantine. slab_free_hook() asks kmemleak before KASAN, in every version.
    """
    if mm.contents and mm.checkers & CHECK_KMEMLEAK:
        kmemleak_free_recursive(mm, object, cache_at(mm, cache).flags)
    if mm.checkers & CHECK_KASAN:
        if kasan_slab_free(mm, cache, object):
            return
    if mm.contents and mm.has.init_on_free:
        wipe_on_free(mm, cache, object)
    free_object(mm, cache, pfn, object)


def cache_free(mm, cache, object):
    """___cache_free(): an object that leaves KASAN's quarantine, to its slab, past the sheaves."""
    free_to_slab(mm, cache, virt_to_head_pfn(mm, object), object, object, 1)


def virt_to_known_pfn(mm, object):
    """virt_to_head_page(), or -1 with a complaint where the machine has no memory."""
    pfn = virt_to_pfn(mm, object)
    if pfn < mm.min_pfn or pfn >= mm.max_pfn:
        complain(mm, COMPLAINT_BAD_ADDRESS, object, -1)
        return -1
    return virt_to_head_pfn(mm, object)


def kmem_cache_alloc_node(mm, cache, gfp, node):
    """Allocates an object of a cache on a node (s32, -1: any); kmem_cache_alloc_node().

    `cache`: s32, a number from kmem_cache_create(). `gfp`: gfp_t, the twin's bits. Returns the
    object's address (u64), 0 if there is no memory.
    """
    object = slab_alloc_node(mm, cache, gfp, node)
    s = cache_at(mm, cache)
    step(mm, STEP_KMEM_CACHE_ALLOC, object, s.object_size, s.size, gfp, node, cache)
    return object


def kmem_cache_alloc(mm, cache, gfp):
    """Allocates an object of a cache; kmem_cache_alloc(). See kmem_cache_alloc_node."""
    return kmem_cache_alloc_node(mm, cache, gfp, NUMA_NO_NODE)


def cache_from_obj(mm, cache, object):
    """cache_from_obj(): the object's real cache, -1 if it is in none; complains of a wrong one.

    `cache` -1: whichever it is in.

    The kernel looks only if free lists are hardened or the cache is checked.
    """
    pfn = virt_to_known_pfn(mm, object)
    if pfn < 0:
        return -1
    page = pfn_to_page(mm, pfn)
    if not page.flags & PG_slab:
        complain(mm, COMPLAINT_NOT_SLAB, object, cache)
        return -1
    if cache >= 0 and page.cache != cache:
        wrong_cache(mm, cache, pfn, object)
    if not mm.checkers & CHECK_KASAN and not is_object(mm, pfn, object):
        free_invalid(mm, page.cache, pfn, object)
        return -1
    return page.cache


def kmem_cache_free(mm, cache, object):
    """Frees an object of a cache; kmem_cache_free().

    An address that is no object of a slab is left alone, with a complaint (mm.complaints) that
    names what the kernel would have found; one of another cache goes back to that cache, as in
    the kernel.
    """
    cache = cache_from_obj(mm, cache, object)
    if cache < 0:
        return
    step(mm, STEP_KMEM_CACHE_FREE, object, cache)
    slab_free(mm, cache, virt_to_head_pfn(mm, object), object)


def all_in_ram(mm, cache, objects, count):
    """How many of an array of objects come before one that is none: as in slab_alloc_node()."""
    for index in range(count):
        if not is_ram(mm, objects[index]):
            complain(mm, COMPLAINT_BAD_ADDRESS, objects[index], cache)
            return index
    return count


def __kmem_cache_alloc_bulk(mm, cache, gfp, objects, count):
    """kmem_cache_alloc_bulk() into a C array of u64: all `count` objects, or 0 and none."""
    done = 0
    if has_sheaves(mm, cache):
        done = alloc_from_pcs_bulk(mm, cache, objects, count)
    if mm.has.slub_cpu_slabs or kmem_cache_debug(cache_at(mm, cache)):
        done += alloc_bulk_from_slab(mm, cache, gfp, objects, done, count - done)
    elif done < count:
        done += refill_objects(mm, cache, gfp, objects, done, count - done)
    if mm.contents:
        done = all_in_ram(mm, cache, objects, done)
    if done < count:
        free_bulk_to_slab(mm, objects, 0, done, not mm.has.slub_delayed_freezing)
        return 0
    if mm.checkers & CHECK_KASAN:
        for index in range(count):
            kasan_slab_alloc(mm, cache, objects[index], gfp)
    if mm.contents:
        for index in range(count):
            wipe_on_alloc(mm, cache, objects[index], gfp)
    if mm.checkers & CHECK_KMEMLEAK:
        s = cache_at(mm, cache)
        for index in range(count):
            kmemleak_alloc_recursive(mm, objects[index], s.object_size, 1, s.flags, gfp)
    return done


def kmem_cache_alloc_bulk(mm, cache, gfp, count):
    """Allocates `count` objects of a cache at once, without events; kmem_cache_alloc_bulk().

    Returns their addresses, or [] if there is not enough memory.
    """
    buffer = np.zeros(max(count, 1), dtype=np.uint64)
    done = __kmem_cache_alloc_bulk(mm, cache, gfp, as_u64(buffer.ctypes.data, count), count)
    return buffer[:done].tolist()


def kmem_cache_free_bulk(mm, cache, objects):
    """Frees many objects at once, without events; kmem_cache_free_bulk(), with cache -1
    kfree_bulk().

    An address that is no object is refused before any is freed, with a complaint.
    """
    known = [address for address in objects if cache_from_obj(mm, cache, address) >= 0]
    buffer = np.array(known or [0], dtype=np.uint64)
    __kmem_cache_free_bulk(mm, cache, as_u64(buffer.ctypes.data, len(known)), len(known))


def not_quarantined(mm, objects, count):
    """slab_free_freelist_hook() with KASAN: drops what waits or must not be freed from an array
    of u64. Returns how many are left.
    """
    left = 0
    for index in range(count):
        object = objects[index]
        page = pfn_to_page(mm, virt_to_head_pfn(mm, object))
        if page.flags & PG_slab and kasan_slab_free(mm, page.cache, object):
            continue
        objects[left] = object
        left += 1
    return left


def __kmem_cache_free_bulk(mm, cache, objects, count):
    """kmem_cache_free_bulk() of a C array of u64, which it overwrites; kfree_bulk() with cache
    -1.
    """
    if mm.checkers & CHECK_KMEMLEAK:
        for index in range(count):
            pfn = virt_to_head_pfn(mm, objects[index])
            if pfn_to_page(mm, pfn).flags & PG_slab:
                s = cache_at(mm, pfn_to_page(mm, pfn).cache)
                kmemleak_free_recursive(mm, objects[index], s.flags)
    if mm.checkers & CHECK_KASAN:
        count = not_quarantined(mm, objects, count)
    if mm.contents and mm.has.init_on_free:
        for index in range(count):
            pfn = virt_to_head_pfn(mm, objects[index])
            if pfn_to_page(mm, pfn).flags & PG_slab:
                wipe_on_free(mm, pfn_to_page(mm, pfn).cache, objects[index])
    if cache >= 0 and cache_cpu_of(mm, cache, mm.cpu).sheaf_main >= 0:
        free_to_pcs_bulk(mm, cache, objects, count)
        return
    free_bulk_to_slab(mm, objects, 0, count, True)

"""Objects back into slabs: the CPU slab's free list, and the slow path for any other slab.

mm/slub.c: do_slab_free(), __slab_free(), free_to_partial_list(), build_detached_freelist().
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        CHECK_KASAN,
        CHECK_KMEMLEAK,
        COMPLAINT_DOUBLE_FREE,
        COMPLAINT_NOT_SLAB,
        COMPLAINT_OBJECT_FREE,
        KFREE_ANY,
        KFREE_HEAD,
        KFREE_MARKED,
        USE_FREE,
        USE_UNKNOWN,
        PG_head,
        PG_large_kmalloc,
        PG_partial,
        PG_reserved,
        PG_slab,
    )
    from mmtwin.kernel.kasan_hooks import kasan_kfree_large
    from mmtwin.kernel.kmemleak_hook import kmemleak_free
    from mmtwin.kernel.mm import complain
    from mmtwin.kernel.page_alloc import free_pages
    from mmtwin.kernel.ram import (
        cache_at,
        cache_cpu_of,
        cache_node_of,
        page_address,
        pfn_to_page,
        virt_to_head_pfn,
        virt_to_pfn,
    )
    from mmtwin.kernel.slub_debug import free_debug_processing
    from mmtwin.kernel.slub_defs import (
        SLAB_CONSISTENCY_CHECKS,
        STAT_CPU_PARTIAL_FREE,
        STAT_FREE_ADD_PARTIAL,
        STAT_FREE_FASTPATH,
        STAT_FREE_FROZEN,
        STAT_FREE_REMOVE_PARTIAL,
        STAT_FREE_SLAB,
        STAT_FREE_SLOWPATH,
        TO_TAIL,
    )
    from mmtwin.kernel.slub_freelist import (
        get_freepointer,
        kmem_cache_debug,
        set_freepointer,
        stat,
        stat_add,
    )
    from mmtwin.kernel.slub_partial import (
        add_partial,
        has_cpu_partial,
        put_cpu_partial,
        remove_partial,
    )
    from mmtwin.kernel.slub_slab import discard_slab, page_node
    from mmtwin.kernel.trace import (
        STEP_SLUB_CPU_PARTIAL_FREE,
        STEP_SLUB_FREE_ADD_PARTIAL,
        STEP_SLUB_FREE_FASTPATH,
        STEP_SLUB_FREE_FROZEN,
        STEP_SLUB_FREE_REMOVE_PARTIAL,
        STEP_SLUB_FREE_SLOWPATH,
        step,
    )


def is_object(mm, pfn, object):
    """check_valid_pointer(): whether an object of this slab begins there."""
    page = pfn_to_page(mm, pfn)
    s = cache_at(mm, page.cache)
    offset = object - page_address(mm, pfn) - s.red_left_pad
    if offset < 0 or offset >= page.objects * s.size:
        return False
    within = offset  # 32 bits: a short division
    return within % s.size == 0


def on_freelist(mm, pfn, object):
    """on_freelist(): whether the object is on the slab's own free list."""
    page = pfn_to_page(mm, pfn)
    s = cache_at(mm, page.cache)
    entry = page.freelist
    while entry:
        if entry == object:
            return True
        entry = get_freepointer(mm, s, entry)
    return False


def free_large_kmalloc(mm, pfn, object):
    """free_large_kmalloc(): pages back to the page allocator, wherever in them `object` lies.

    The head page is asked what it is, since 6.19 the page of `object`. kmemleak looks at it before
    KASAN, as in every version; what KASAN reports as an invalid free is freed all the same.
    """
    page = pfn_to_page(mm, pfn)
    large = page.flags & (PG_head | PG_large_kmalloc)
    if mm.has.kfree_pages >= KFREE_MARKED:
        large = page.flags & PG_large_kmalloc
        if mm.has.kfree_pages >= KFREE_HEAD and virt_to_pfn(mm, object) != pfn:
            large = 0
    if not large:
        complain(mm, COMPLAINT_NOT_SLAB, object, pfn)
        if mm.has.kfree_pages != KFREE_ANY:
            return  # BUG_ON(!PageCompound(page)), or "Not a kmalloc allocation"
    if mm.checkers & CHECK_KMEMLEAK:
        kmemleak_free(mm, object)
    if mm.checkers & CHECK_KASAN:
        kasan_kfree_large(mm, object)
    if not large:
        if page.users != USE_FREE and not page.flags & PG_reserved:
            free_pages(mm, pfn, 0)
        return
    page.flags &= ~PG_large_kmalloc
    page.users = USE_UNKNOWN
    free_pages(mm, pfn, page.order)


def free_to_partial_list(mm, cache, pfn, head, tail, count):
    """free_to_partial_list(): objects of a debug cache, under the node's lock. c7323a5ad078
    (6.1).
    """
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    n = cache_node_of(mm, cache, page_node(mm, pfn))
    prior = page.freelist
    page.inuse -= count
    set_freepointer(mm, s, tail, prior)
    page.freelist = head
    full = page.inuse == 0 and n.nr_partial >= s.min_partial
    if not prior and not full:
        add_partial(mm, cache, pfn, TO_TAIL)
        stat(mm, cache, STAT_FREE_ADD_PARTIAL)
        step(mm, STEP_SLUB_FREE_ADD_PARTIAL, cache, pfn)
    elif prior and full:
        remove_partial(mm, cache, pfn)
        stat(mm, cache, STAT_FREE_REMOVE_PARTIAL)
        step(mm, STEP_SLUB_FREE_REMOVE_PARTIAL, cache, pfn)
    if full:
        stat(mm, cache, STAT_FREE_SLAB)
        discard_slab(mm, cache, pfn)


def slab_free_slow(mm, cache, pfn, head, tail, count):
    """__slab_free(): `count` linked objects to a slab that is not this CPU's.

    A full slab goes to the CPU partial list (without those to the node's list); a slab that
    becomes empty is freed if the node has min_partial others.
    """
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    stat(mm, cache, STAT_FREE_SLOWPATH)
    step(mm, STEP_SLUB_FREE_SLOWPATH, cache, head, pfn)
    if kmem_cache_debug(s):
        if mm.slub_bytes:
            count = free_debug_processing(mm, cache, pfn, head, tail, count)
            if count < 0:
                return
        elif s.flags & SLAB_CONSISTENCY_CHECKS and on_freelist(mm, pfn, head):
            complain(mm, COMPLAINT_OBJECT_FREE, head, cache)
            return
        if mm.has.debug_alloc_single:
            free_to_partial_list(mm, cache, pfn, head, tail, count)
            return
    prior = page.freelist
    set_freepointer(mm, s, tail, prior)
    page.freelist = head
    page.inuse -= count
    if page.frozen:
        stat(mm, cache, STAT_FREE_FROZEN)
        step(mm, STEP_SLUB_FREE_FROZEN, cache, head, pfn)
        return
    if page.inuse and prior:
        return
    if not prior and has_cpu_partial(mm, s):
        page.frozen = not mm.has.slub_delayed_freezing
        put_cpu_partial(mm, cache, pfn, True)
        stat(mm, cache, STAT_CPU_PARTIAL_FREE)
        step(mm, STEP_SLUB_CPU_PARTIAL_FREE, cache, pfn)
        return
    if prior and not page.flags & PG_partial:
        return  # on a CPU partial list
    n = cache_node_of(mm, cache, page_node(mm, pfn))
    if not page.inuse and n.nr_partial >= s.min_partial:
        if prior:
            remove_partial(mm, cache, pfn)
            stat(mm, cache, STAT_FREE_REMOVE_PARTIAL)
            step(mm, STEP_SLUB_FREE_REMOVE_PARTIAL, cache, pfn)
        stat(mm, cache, STAT_FREE_SLAB)
        discard_slab(mm, cache, pfn)
    elif not prior:
        add_partial(mm, cache, pfn, TO_TAIL)
        stat(mm, cache, STAT_FREE_ADD_PARTIAL)
        step(mm, STEP_SLUB_FREE_ADD_PARTIAL, cache, pfn)


def free_to_slab(mm, cache, pfn, head, tail, count):
    """do_slab_free(): linked objects of one slab, head to tail.

    The hardened kernel stops when an object would point at itself (set_freepointer()).
    """
    s = cache_at(mm, cache)
    c = cache_cpu_of(mm, cache, mm.cpu)
    if pfn != c.slab:
        twice = mm.has.freelist_hardened and pfn_to_page(mm, pfn).freelist == tail
        if twice and not s.flags & SLAB_CONSISTENCY_CHECKS:  # which find it themselves
            complain(mm, COMPLAINT_DOUBLE_FREE, tail, cache)
            return
        slab_free_slow(mm, cache, pfn, head, tail, count)
        return
    if mm.has.freelist_hardened and c.freelist == tail:
        complain(mm, COMPLAINT_DOUBLE_FREE, tail, cache)
        return
    set_freepointer(mm, s, tail, c.freelist)
    c.freelist = head
    c.tid += mm.has.tid_step
    stat_add(mm, cache, STAT_FREE_FASTPATH, count)
    step(mm, STEP_SLUB_FREE_FASTPATH, cache, head)


def free_detached(mm, objects, first, count, turned):
    """build_detached_freelist(): frees the last object of the array and others of its slab.

    It looks at up to three others in between; those it passes stay for the next turn, swapped with
    the freed ones. Returns how many objects are left at objects[first:].
    """
    count -= 1
    object = objects[first + count]
    slab = virt_to_head_pfn(mm, object)
    if not pfn_to_page(mm, slab).flags & PG_slab:
        free_large_kmalloc(mm, slab, object)
        return count
    cache = pfn_to_page(mm, slab).cache
    s = cache_at(mm, cache)
    head = object
    tail = object
    found = 1
    lookahead = 3
    set_freepointer(mm, s, object, 0)
    same = count
    while count:
        count -= 1
        object = objects[first + count]
        if virt_to_head_pfn(mm, object) == slab:
            if turned:
                set_freepointer(mm, s, tail, object)
                set_freepointer(mm, s, object, 0)
                tail = object
            else:
                set_freepointer(mm, s, object, head)
                head = object
            found += 1
            same -= 1
            if count != same:
                swapped = objects[first + same]
                objects[first + same] = object
                objects[first + count] = swapped
            continue
        lookahead -= 1
        if not lookahead:
            break
    free_to_slab(mm, cache, slab, head, tail, found)
    return same


def free_detached_with_holes(mm, objects, first, count, turned):
    """build_detached_freelist() before it swapped: freed places become 0, the rest keeps its
    order.
    """
    object = 0
    while count and not object:
        count -= 1
        object = objects[first + count]
    if not object:
        return 0
    objects[first + count] = 0
    slab = virt_to_head_pfn(mm, object)
    if not pfn_to_page(mm, slab).flags & PG_slab:
        free_large_kmalloc(mm, slab, object)
        return count
    cache = pfn_to_page(mm, slab).cache
    s = cache_at(mm, cache)
    head = object
    tail = object
    found = 1
    lookahead = 3
    skipped = 0
    set_freepointer(mm, s, object, 0)
    while count:
        count -= 1
        object = objects[first + count]
        if not object:
            continue
        if virt_to_head_pfn(mm, object) == slab:
            if turned:
                set_freepointer(mm, s, tail, object)
                set_freepointer(mm, s, object, 0)
                tail = object
            else:
                set_freepointer(mm, s, object, head)
                head = object
            found += 1
            objects[first + count] = 0
            continue
        lookahead -= 1
        if not lookahead:
            break
        if not skipped:
            skipped = count + 1
    free_to_slab(mm, cache, slab, head, tail, found)
    return skipped


def free_bulk_to_slab(mm, objects, first, count, turned):
    """__kmem_cache_free_bulk(): frees objects[first:first + count], last first. Overwrites the
    array.

    `turned`: as kmem_cache_free_bulk() does it, through slab_free_freelist_hook(), which turns
    each slab's list round: the last of the array comes first.
    """
    while count:
        if mm.has.slub_bulk_swaps:
            count = free_detached(mm, objects, first, count, turned)
        else:
            count = free_detached_with_holes(mm, objects, first, count, turned)

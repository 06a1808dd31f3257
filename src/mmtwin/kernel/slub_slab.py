"""Slabs: taken from the page allocator, set up, given back, at once or after a grace period.

mm/slub.c: allocate_slab(), new_slab(), free_slab(), discard_slab().
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        __GFP_DIRECT_RECLAIM,
        __GFP_MEMALLOC,
        __GFP_NOFAIL,
        __GFP_NOMEMALLOC,
        __GFP_NORETRY,
        __GFP_NOWARN,
        CHECK_KASAN,
        COMPLAINT_BAD_GFP,
        USE_SLAB,
        USE_UNKNOWN,
        PG_head,
        PG_pfmemalloc,
        PG_slab,
        PG_tail,
    )
    from mmtwin.kernel.kasan_hooks import kasan_poison_slab
    from mmtwin.kernel.mm import complain
    from mmtwin.kernel.page_alloc import alloc_pages, free_pages
    from mmtwin.kernel.ram import cache_at, cache_node_of, pfn_to_page, zone_of
    from mmtwin.kernel.slub_debug import check_freed_slab
    from mmtwin.kernel.slub_defs import (
        GFP_CONSTRAINT_MASK,
        GFP_RECLAIM_MASK,
        GFP_RECLAIMS,
        GFP_SLAB_BUG_MASK,
        SLAB_CONSISTENCY_CHECKS,
        SLAB_TYPESAFE_BY_RCU,
        STAT_ORDER_FALLBACK,
    )
    from mmtwin.kernel.slub_freelist import build_freelist, kmem_cache_debug, stat
    from mmtwin.kernel.slub_meta import setup_slab_debug
    from mmtwin.kernel.trace import STEP_SLUB_FREE_SLAB, step

    def page_node(mm, pfn):
        """page_to_nid()"""
        return zone_of(mm, pfn).node

    def numa_node_id(mm):
        """numa_node_id(): the running CPU's node."""
        return mm.cpu_node[mm.cpu]


def pfmemalloc_match(mm, pfn, gfp):
    """pfmemalloc_match(): slabs of the reserves serve only those who may use the reserves."""
    if not pfn_to_page(mm, pfn).flags & PG_pfmemalloc:
        return True
    return gfp & __GFP_MEMALLOC and not gfp & __GFP_NOMEMALLOC


def take_override(mm, order):
    """The page that a replay says the kernel took, made a compound page; see mm.page_override.

    -1 if the kernel's block, whose order its page has, is of another order.
    """
    pfn = mm.page_override
    page = pfn_to_page(mm, pfn)
    if page.order != order:
        return -1
    mm.page_override = -1
    page.refcount = 1
    if order > 0:
        page.flags |= PG_head
        for number in range(1, 1 << order):
            tail = pfn_to_page(mm, pfn + number)
            tail.flags |= PG_tail
            tail.compound_head = pfn
    return pfn


def alloc_slab_page(mm, gfp, node, order):
    """alloc_slab_page(): a block of pages, or -1."""
    if mm.page_override >= 0:
        return take_override(mm, order)
    return alloc_pages(mm, gfp, order, node)


def new_slab(mm, cache, gfp, node):
    """new_slab(), allocate_slab(): a slab of free objects that is on no list, or -1.

    First the preferred order without effort, then the smallest that holds an object.
    """
    s = cache_at(mm, cache)
    if gfp & GFP_SLAB_BUG_MASK:
        complain(mm, COMPLAINT_BAD_GFP, gfp, cache)
    gfp = (gfp & (GFP_RECLAIM_MASK | GFP_CONSTRAINT_MASK)) | s.allocflags
    first_gfp = (gfp | __GFP_NOWARN | __GFP_NORETRY) & ~__GFP_NOFAIL
    if first_gfp & __GFP_DIRECT_RECLAIM and s.oo_order > s.min_order:
        first_gfp = (first_gfp | __GFP_NOMEMALLOC) & ~GFP_RECLAIMS
    order = s.oo_order
    objects = s.oo_objects
    pfn = alloc_slab_page(mm, first_gfp, node, order)
    if pfn < 0:
        order = s.min_order
        objects = s.min_objects
        pfn = alloc_slab_page(mm, gfp, node, order)
        if pfn < 0:
            return -1
        stat(mm, cache, STAT_ORDER_FALLBACK)
    page = pfn_to_page(mm, pfn)
    page.flags |= PG_slab
    page.users = USE_SLAB
    page.cache = cache
    page.order = order
    page.objects = objects
    page.inuse = 0
    page.frozen = 0
    page.slabs = 0
    page.pobjects = 0
    page.next = -1
    page.prev = -1
    if mm.checkers & CHECK_KASAN:
        kasan_poison_slab(mm, cache, pfn, order)
    if mm.slub_bytes and kmem_cache_debug(s):
        setup_slab_debug(mm, cache, pfn)
    build_freelist(mm, cache, pfn)
    return pfn


def inc_slabs_node(mm, cache, pfn):
    """inc_slabs_node()"""
    n = cache_node_of(mm, cache, page_node(mm, pfn))
    n.nr_slabs += 1
    n.total_objects += pfn_to_page(mm, pfn).objects


def dec_slabs_node(mm, cache, pfn):
    """dec_slabs_node()"""
    n = cache_node_of(mm, cache, page_node(mm, pfn))
    n.nr_slabs -= 1
    n.total_objects -= pfn_to_page(mm, pfn).objects


def free_slab_page(mm, pfn):
    """__free_slab(): gives the pages back."""
    page = pfn_to_page(mm, pfn)
    order = page.order
    page.flags &= ~(PG_slab | PG_pfmemalloc)
    page.users = USE_UNKNOWN
    page.cache = -1
    page.freelist = 0
    page.objects = 0
    page.inuse = 0
    page.frozen = 0
    page.slabs = 0
    page.pobjects = 0
    free_pages(mm, pfn, order)


def free_slab(mm, cache, pfn):
    """free_slab(): at once, or after a grace period if the cache is SLAB_TYPESAFE_BY_RCU.

    A debug cache's objects are checked once more (bc29d5bd2ba9, 6.2, does so before the grace
    period).
    """
    if mm.slub_bytes and cache_at(mm, cache).flags & SLAB_CONSISTENCY_CHECKS:
        check_freed_slab(mm, cache, pfn)
    if not cache_at(mm, cache).flags & SLAB_TYPESAFE_BY_RCU:
        free_slab_page(mm, pfn)
        return
    pfn_to_page(mm, pfn).next = -1
    if mm.rcu_slab_last >= 0:
        pfn_to_page(mm, mm.rcu_slab_last).next = pfn
    else:
        mm.rcu_slab_first = pfn
    mm.rcu_slab_last = pfn


def discard_slab(mm, cache, pfn):
    """discard_slab()"""
    step(mm, STEP_SLUB_FREE_SLAB, cache, pfn)
    dec_slabs_node(mm, cache, pfn)
    free_slab(mm, cache, pfn)


def rcu_free_slabs(mm, count):
    """rcu_free_slab() for the slabs that wait longest: at most `count`, all of them if it is
    negative.

    The caller says when a grace period is over. Returns how many were freed.
    """
    freed = 0
    while mm.rcu_slab_first >= 0 and freed != count:
        pfn = mm.rcu_slab_first
        mm.rcu_slab_first = pfn_to_page(mm, pfn).next
        if mm.rcu_slab_first < 0:
            mm.rcu_slab_last = -1
        free_slab_page(mm, pfn)
        freed += 1
    return freed


def leave_rcu_queue(mm, pfn):
    """Takes one slab out of the queue for the grace period, wherever it is. Returns whether it was
    there.
    """
    before = -1
    entry = mm.rcu_slab_first
    while entry >= 0 and entry != pfn:
        before = entry
        entry = pfn_to_page(mm, entry).next
    if entry < 0:
        return False
    if before < 0:
        mm.rcu_slab_first = pfn_to_page(mm, pfn).next
    else:
        pfn_to_page(mm, before).next = pfn_to_page(mm, pfn).next
    if mm.rcu_slab_last == pfn:
        mm.rcu_slab_last = before
    return True


def rcu_free_slab(mm, pfn):
    """rcu_free_slab() for one slab, wherever it is in the queue. Returns whether it was there."""
    if not leave_rcu_queue(mm, pfn):
        return False
    free_slab_page(mm, pfn)
    return True

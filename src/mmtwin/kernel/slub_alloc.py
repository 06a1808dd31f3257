"""Objects out of slabs: the CPU slab's free list, and the slow path behind it.

mm/slub.c: __slab_alloc_node(), ___slab_alloc(), get_freelist(), freeze_slab(),
alloc_single_from_partial() and __kmem_cache_alloc_bulk(). Kernels whose CPUs own slabs (before
7.0).
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        __GFP_NOWARN,
        __GFP_THISNODE,
        COMPLAINT_BAD_ADDRESS,
        COMPLAINT_OUT_OF_MEMORY,
    )
    from mmtwin.kernel.mm import complain
    from mmtwin.kernel.ram import cache_at, cache_cpu_of, cache_node_of, pfn_to_page
    from mmtwin.kernel.slub_debug import alloc_debug_processing
    from mmtwin.kernel.slub_defs import (
        GFP_NOWAIT,
        NUMA_NO_NODE,
        STAT_ALLOC_FASTPATH,
        STAT_ALLOC_NODE_MISMATCH,
        STAT_ALLOC_REFILL,
        STAT_ALLOC_SLAB,
        STAT_ALLOC_SLOWPATH,
        STAT_CPU_PARTIAL_ALLOC,
        STAT_DEACTIVATE_BYPASS,
        TO_HEAD,
    )
    from mmtwin.kernel.slub_freelist import get_freepointer, kmem_cache_debug, stat
    from mmtwin.kernel.slub_meta import check_valid_pointer
    from mmtwin.kernel.slub_partial import (
        add_partial,
        any_partial_node,
        deactivate_slab,
        flush_slab,
        get_partial,
        may_use_others,
        put_partials,
        remove_partial,
    )
    from mmtwin.kernel.slub_slab import (
        inc_slabs_node,
        new_slab,
        numa_node_id,
        page_node,
        pfmemalloc_match,
    )
    from mmtwin.kernel.trace import (
        STEP_SLUB_ALLOC_FASTPATH,
        STEP_SLUB_ALLOC_REFILL,
        STEP_SLUB_ALLOC_SLAB,
        STEP_SLUB_ALLOC_SLOWPATH,
        STEP_SLUB_CPU_PARTIAL_ALLOC,
        step,
    )

    def checks_bytes(mm, s):
        """Whether the twin keeps and checks the bytes of a cache's slabs."""
        return mm.slub_bytes and kmem_cache_debug(s)

    def node_match(mm, pfn, node):
        """node_match()"""
        return node == NUMA_NO_NODE or page_node(mm, pfn) == node


def get_freelist(mm, pfn):
    """get_freelist(), freeze_slab(): takes all free objects of a slab for the CPU; the first, or
    0.
    """
    page = pfn_to_page(mm, pfn)
    freelist = page.freelist
    page.freelist = 0
    page.inuse = page.objects
    page.frozen = freelist != 0
    return freelist


def load_freelist(mm, cache, freelist):
    """___slab_alloc(), load_freelist: the first object is the caller's, the rest the CPU's."""
    c = cache_cpu_of(mm, cache, mm.cpu)
    c.freelist = get_freepointer(mm, cache_at(mm, cache), freelist)
    c.tid += mm.has.tid_step
    return freelist


def refill_from_slab(mm, cache, gfp, node):
    """___slab_alloc() with a CPU slab: objects that were freed to it meanwhile, or 0 and it is
    given up.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    pfn = c.slab
    freelist = c.freelist
    if not node_match(mm, pfn, node) or not pfmemalloc_match(mm, pfn, gfp):
        if not node_match(mm, pfn, node):
            stat(mm, cache, STAT_ALLOC_NODE_MISMATCH)
        c.slab = -1
        c.freelist = 0
        c.tid += mm.has.tid_step
        deactivate_slab(mm, cache, pfn, freelist)
        return 0
    if freelist:
        return load_freelist(mm, cache, freelist)
    freelist = get_freelist(mm, pfn)
    if not freelist:
        c.slab = -1
        c.tid += mm.has.tid_step
        stat(mm, cache, STAT_DEACTIVATE_BYPASS)
        return 0
    stat(mm, cache, STAT_ALLOC_REFILL)
    step(mm, STEP_SLUB_ALLOC_REFILL, cache, pfn)
    return load_freelist(mm, cache, freelist)


def refill_from_cpu_partial(mm, cache, gfp, node):
    """___slab_alloc(), new_slab: the first slab of the CPU partial list becomes the CPU's; 0 if
    none fits.

    One of the wrong node goes to its node's list: through deactivate_slab() while such slabs are
    frozen, __put_partials() since 6.8.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    while c.partial >= 0:
        pfn = c.partial
        c.partial = pfn_to_page(mm, pfn).next
        if mm.has.slub_delayed_freezing:
            if not node_match(mm, pfn, node) or not pfmemalloc_match(mm, pfn, gfp):
                pfn_to_page(mm, pfn).next = -1
                put_partials(mm, cache, pfn)
                continue
            c.slab = pfn
            stat(mm, cache, STAT_CPU_PARTIAL_ALLOC)
            step(mm, STEP_SLUB_CPU_PARTIAL_ALLOC, cache, pfn)
            return load_freelist(mm, cache, get_freelist(mm, pfn))
        c.slab = pfn
        stat(mm, cache, STAT_CPU_PARTIAL_ALLOC)
        step(mm, STEP_SLUB_CPU_PARTIAL_ALLOC, cache, pfn)
        freelist = refill_from_slab(mm, cache, gfp, node)
        if freelist:
            return freelist
    return 0


def take_checked(mm, cache, pfn):
    """Takes the first object off a debug slab's free list. Returns whether it passed the checks.

    Where nothing checks the list and it leads out of RAM, the kernel would fault: COMPLAINT_BAD_
    ADDRESS, and the slab is given up.
    """
    page = pfn_to_page(mm, pfn)
    object = page.freelist
    if not object or not check_valid_pointer(mm, cache, pfn, object):
        complain(mm, COMPLAINT_BAD_ADDRESS, object, cache)
        page.freelist = 0
        page.inuse = page.objects
        return False
    page.freelist = get_freepointer(mm, cache_at(mm, cache), object)
    page.inuse += 1
    return alloc_debug_processing(mm, cache, pfn, object)


def alloc_single_from_partial(mm, cache, gfp, node):
    """alloc_single_from_partial(): one object of the node's first usable slab; 0 if there is none.

    The slab stays on its list until it is full. Debug caches since c7323a5ad078 (6.1), all since
    7.0 (get_from_partial_node()).
    """
    s = cache_at(mm, cache)
    head = cache_node_of(mm, cache, node).partial
    pfn = pfn_to_page(mm, head).next
    while pfn != head:
        page = pfn_to_page(mm, pfn)
        following = page.next
        if pfmemalloc_match(mm, pfn, gfp):
            object = page.freelist
            if checks_bytes(mm, s) and not take_checked(mm, cache, pfn):
                remove_partial(mm, cache, pfn)
                pfn = following
                continue
            if not checks_bytes(mm, s):
                page.freelist = get_freepointer(mm, s, object)
                page.inuse += 1
            if page.inuse == page.objects:
                remove_partial(mm, cache, pfn)
            return object
        pfn = following
    return 0


def alloc_single_from_new_slab(mm, cache, pfn):
    """alloc_single_from_new_slab(): one object; the slab goes to the head of its node's list."""
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    object = page.freelist
    if checks_bytes(mm, s):
        if not take_checked(mm, cache, pfn):
            return 0
    else:
        page.freelist = get_freepointer(mm, s, object)
        page.inuse = 1
    if page.inuse < page.objects:
        add_partial(mm, cache, pfn, TO_HEAD)
    inc_slabs_node(mm, cache, pfn)
    return object


def takes_single(mm, s):
    """Whether objects of a cache are taken one by one from the slabs of the node's list."""
    return not mm.has.slub_cpu_slabs or (kmem_cache_debug(s) and mm.has.debug_alloc_single)


def new_single_object(mm, cache, gfp, node):
    """___slab_alloc() where no CPU owns slabs: from a node's partial list or a new slab; 0 if
    neither.
    """
    local = numa_node_id(mm) if node == NUMA_NO_NODE else node
    object = alloc_single_from_partial(mm, cache, gfp, local)
    if not object and may_use_others(mm, node, gfp):
        local = any_partial_node(mm, cache)
        if local >= 0:
            object = alloc_single_from_partial(mm, cache, gfp, local)
    if object:
        return object
    pfn = new_slab(mm, cache, gfp, node)
    if pfn < 0:
        return 0
    stat(mm, cache, STAT_ALLOC_SLAB)
    step(mm, STEP_SLUB_ALLOC_SLAB, cache, pfn)
    return alloc_single_from_new_slab(mm, cache, pfn)


def new_objects(mm, cache, gfp, node):
    """___slab_alloc(), new_objects: from a node's partial list or a new slab; 0 if there is no
    memory.
    """
    s = cache_at(mm, cache)
    if takes_single(mm, s):
        return new_single_object(mm, cache, gfp, node)
    pfn = get_partial(mm, cache, node, gfp)
    if pfn < 0:
        pfn = new_slab(mm, cache, gfp, node)
        if pfn < 0:
            return 0
        stat(mm, cache, STAT_ALLOC_SLAB)
        step(mm, STEP_SLUB_ALLOC_SLAB, cache, pfn)
        inc_slabs_node(mm, cache, pfn)
    freelist = get_freelist(mm, pfn)
    c = cache_cpu_of(mm, cache, mm.cpu)
    if checks_bytes(mm, s) and not alloc_debug_processing(mm, cache, pfn, freelist):
        return new_objects(mm, cache, gfp, node)  # the slab is lost
    if kmem_cache_debug(s) or not pfmemalloc_match(mm, pfn, gfp):
        deactivate_slab(mm, cache, pfn, get_freepointer(mm, s, freelist))
        return freelist
    if c.slab >= 0:
        flush_slab(mm, cache, mm.cpu)
    c.slab = pfn
    return load_freelist(mm, cache, freelist)


def slab_alloc_slow(mm, cache, gfp, node):
    """___slab_alloc(): the CPU's free list is empty, or of the wrong node.

    A node that is only preferred is tried alone first, since 9198ffbd2b49 (6.10).
    Returns an object, or 0 with a complaint if there is no memory.
    """
    stat(mm, cache, STAT_ALLOC_SLOWPATH)
    step(mm, STEP_SLUB_ALLOC_SLOWPATH, cache)
    if node >= mm.nr_nodes:
        node = NUMA_NO_NODE
    object = 0
    if cache_cpu_of(mm, cache, mm.cpu).slab >= 0:
        object = refill_from_slab(mm, cache, gfp, node)
    if not object:
        object = refill_from_cpu_partial(mm, cache, gfp, node)
    preferred = node != NUMA_NO_NODE and not gfp & __GFP_THISNODE
    if not object and preferred and mm.has.slub_tries_node_first:
        object = new_objects(mm, cache, GFP_NOWAIT | __GFP_THISNODE, node)
    if not object:
        object = new_objects(mm, cache, gfp, node)
    if not object and not gfp & __GFP_NOWARN:
        complain(mm, COMPLAINT_OUT_OF_MEMORY, cache, node)
    return object


def alloc_from_slab(mm, cache, gfp, node):
    """__slab_alloc_node(): the first object of the CPU's free list, or the slow path's."""
    s = cache_at(mm, cache)
    c = cache_cpu_of(mm, cache, mm.cpu)
    object = c.freelist
    if not object or not node_match(mm, c.slab, node):
        return slab_alloc_slow(mm, cache, gfp, node)
    following = get_freepointer(mm, s, object)
    c.freelist = following
    c.tid += mm.has.tid_step
    stat(mm, cache, STAT_ALLOC_FASTPATH)
    step(mm, STEP_SLUB_ALLOC_FASTPATH, cache, object, following, c.tid)
    return object


def alloc_bulk_from_slab(mm, cache, gfp, objects, first, count):
    """__kmem_cache_alloc_bulk(): `count` objects into objects[first:]. Returns how many it got."""
    s = cache_at(mm, cache)
    c = cache_cpu_of(mm, cache, mm.cpu)
    done = 0
    while done < count:
        object = c.freelist
        if object:
            c.freelist = get_freepointer(mm, s, object)
            stat(mm, cache, STAT_ALLOC_FASTPATH)
        else:
            c.tid += mm.has.tid_step
            object = slab_alloc_slow(mm, cache, gfp, NUMA_NO_NODE)
            if not object:
                return done
        objects[first + done] = object
        done += 1
    c.tid += mm.has.tid_step
    return done

"""Partial lists: of a node, of a CPU, and how slabs move between them.

mm/slub.c: add_partial(), get_partial(), put_cpu_partial(), unfreeze_partials() (put_partials()
since 6.8), deactivate_slab(), flush_slab().

A slab is *frozen* while a CPU owns it. Before 6.8 those on a CPU partial list are frozen too;
since 8cd3fa428b56 (6.8) only the CPU slab is, and PG_partial tells whether a slab is on its
node's list.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import __GFP_THISNODE, ZONELIST_PLACES, PG_partial
    from mmtwin.kernel.lists import list_add, list_add_tail, list_del
    from mmtwin.kernel.ram import cache_at, cache_cpu_of, cache_node_of, pfn_to_page
    from mmtwin.kernel.slub_debug import sound_freelist
    from mmtwin.kernel.slub_defs import (
        NUMA_NO_NODE,
        STAT_ALLOC_FROM_PARTIAL,
        STAT_CPU_PARTIAL_DRAIN,
        STAT_CPU_PARTIAL_NODE,
        STAT_CPUSLAB_FLUSH,
        STAT_DEACTIVATE_EMPTY,
        STAT_DEACTIVATE_FULL,
        STAT_DEACTIVATE_REMOTE_FREES,
        STAT_FREE_ADD_PARTIAL,
        STAT_FREE_SLAB,
        TO_HEAD,
        TO_TAIL,
    )
    from mmtwin.kernel.slub_freelist import (
        get_freepointer,
        kmem_cache_debug,
        set_freepointer,
        stat,
    )
    from mmtwin.kernel.slub_slab import discard_slab, numa_node_id, page_node, pfmemalloc_match
    from mmtwin.kernel.trace import (
        STEP_SLUB_ALLOC_FROM_PARTIAL,
        STEP_SLUB_CPU_PARTIAL_DRAIN,
        STEP_SLUB_CPU_PARTIAL_NODE,
        STEP_SLUB_CPUSLAB_FLUSH,
        STEP_SLUB_DEACTIVATE,
        step,
    )

    def has_cpu_partial(mm, s):
        """kmem_cache_has_cpu_partial()"""
        return mm.has.slub_cpu_partial and not kmem_cache_debug(s)


def add_partial(mm, cache, pfn, mode):
    """add_partial(): puts a slab on its node's list; mode is TO_HEAD or TO_TAIL."""
    n = cache_node_of(mm, cache, page_node(mm, pfn))
    page = pfn_to_page(mm, pfn)
    if mode == TO_TAIL:
        list_add_tail(mm, pfn, n.partial)
    else:
        list_add(mm, pfn, n.partial)
    n.nr_partial += 1
    page.flags |= PG_partial


def remove_partial(mm, cache, pfn):
    """remove_partial()"""
    list_del(mm, pfn)
    pfn_to_page(mm, pfn).flags &= ~PG_partial
    cache_node_of(mm, cache, page_node(mm, pfn)).nr_partial -= 1


def acquire_slab(mm, cache, pfn):
    """acquire_slab() with freeze_slab(): takes a slab off its node's list.

    Before 6.8 that freezes it at once.
    """
    remove_partial(mm, cache, pfn)
    if not mm.has.slub_delayed_freezing:
        pfn_to_page(mm, pfn).frozen = 1


def put_cpu_partial(mm, cache, pfn, drain):
    """put_cpu_partial(): puts a slab first on the CPU partial list.

    With `drain`, a list that is full goes to the node's first. Full means more free objects than
    cpu_partial, as counted when slabs were put there; since b47291ef02b0 (5.16)
    cpu_partial_slabs slabs.
    """
    s = cache_at(mm, cache)
    c = cache_cpu_of(mm, cache, mm.cpu)
    page = pfn_to_page(mm, pfn)
    oldest = c.partial
    slabs = 0
    pobjects = 0
    full = False
    if oldest >= 0:
        old = pfn_to_page(mm, oldest)
        slabs = old.slabs
        pobjects = old.pobjects
        if mm.has.cpu_partial_counts_slabs:
            full = drain and slabs >= s.cpu_partial_slabs
        else:
            full = drain and pobjects > s.cpu_partial
    if full:
        slabs = 0
        pobjects = 0
    page.slabs = slabs + 1
    page.pobjects = pobjects + page.objects - page.inuse
    page.next = -1 if full else oldest
    c.partial = pfn
    if full:
        put_partials(mm, cache, oldest)
        stat(mm, cache, STAT_CPU_PARTIAL_DRAIN)
    if not s.cpu_partial and not mm.has.cpu_partial_counts_slabs:
        c.partial = -1
        put_partials(mm, cache, pfn)


def put_partials(mm, cache, pfn):
    """unfreeze_partials(), __put_partials(): a chain of CPU partial slabs goes to the nodes'
    lists.

    In the chain's order to the tail; empty slabs beyond min_partial are freed afterwards, last
    first.
    """
    s = cache_at(mm, cache)
    discard = -1
    slabs = 0
    while pfn >= 0:
        page = pfn_to_page(mm, pfn)
        following = page.next
        n = cache_node_of(mm, cache, page_node(mm, pfn))
        page.frozen = 0
        if not page.inuse and n.nr_partial >= s.min_partial:
            page.next = discard
            discard = pfn
        else:
            add_partial(mm, cache, pfn, TO_TAIL)
            stat(mm, cache, STAT_FREE_ADD_PARTIAL)
        slabs += 1
        pfn = following
    step(mm, STEP_SLUB_CPU_PARTIAL_DRAIN, cache, slabs)
    while discard >= 0:
        following = pfn_to_page(mm, discard).next
        stat(mm, cache, STAT_DEACTIVATE_EMPTY)
        discard_slab(mm, cache, discard)
        stat(mm, cache, STAT_FREE_SLAB)
        discard = following


def splice_freelist(mm, cache, pfn, freelist):
    """deactivate_slab(), stage one: the CPU's free objects go before the slab's own.

    In their order since d930ff03c4d1 (5.12); before that one by one, which turns it round.
    Returns how many there were.
    """
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    count = 0
    if mm.slub_bytes and kmem_cache_debug(s):
        freelist = sound_freelist(mm, cache, pfn, freelist)
    if mm.has.slub_splices_freelist:
        last = freelist
        following = freelist
        while following:
            last = following
            count += 1
            following = get_freepointer(mm, s, following)
        if count:
            set_freepointer(mm, s, last, page.freelist)
            page.freelist = freelist
        return count
    while freelist:
        following = get_freepointer(mm, s, freelist)
        set_freepointer(mm, s, freelist, page.freelist)
        page.freelist = freelist
        freelist = following
        count += 1
    return count


def deactivate_slab(mm, cache, pfn, freelist):
    """deactivate_slab(): a CPU gives its slab up, with the free objects it held (`freelist`).

    To the head of the node's list, or to its tail if others had freed objects to it meanwhile.
    """
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    n = cache_node_of(mm, cache, page_node(mm, pfn))
    mode = TO_HEAD
    if page.freelist:
        stat(mm, cache, STAT_DEACTIVATE_REMOTE_FREES)
        mode = TO_TAIL
    page.inuse -= splice_freelist(mm, cache, pfn, freelist)
    page.frozen = 0
    if not page.inuse and n.nr_partial >= s.min_partial:
        step(mm, STEP_SLUB_DEACTIVATE, cache, pfn, 0)
        stat(mm, cache, STAT_DEACTIVATE_EMPTY)
        discard_slab(mm, cache, pfn)
        stat(mm, cache, STAT_FREE_SLAB)
    elif page.freelist:
        step(mm, STEP_SLUB_DEACTIVATE, cache, pfn, mode - TO_HEAD + 1)
        add_partial(mm, cache, pfn, mode)
        stat(mm, cache, mode)
    else:
        step(mm, STEP_SLUB_DEACTIVATE, cache, pfn, 3)
        stat(mm, cache, STAT_DEACTIVATE_FULL)


def flush_slab(mm, cache, cpu):
    """flush_slab(): the CPU's slab goes where it belongs."""
    c = cache_cpu_of(mm, cache, cpu)
    pfn = c.slab
    freelist = c.freelist
    c.slab = -1
    c.freelist = 0
    c.tid += mm.has.tid_step
    if pfn >= 0:
        step(mm, STEP_SLUB_CPUSLAB_FLUSH, cache, pfn)
        stat(mm, cache, STAT_CPUSLAB_FLUSH)
        deactivate_slab(mm, cache, pfn, freelist)


def flush_cpu_slab(mm, cache, cpu):
    """__flush_cpu_slab(): a CPU's slab and its partial list go to the nodes' lists."""
    c = cache_cpu_of(mm, cache, cpu)
    if c.slab >= 0:
        flush_slab(mm, cache, cpu)
    pfn = c.partial
    c.partial = -1
    if pfn >= 0:
        put_partials(mm, cache, pfn)


def is_enough(mm, s, objects, slabs):
    """get_partial_node(): whether the CPU partial list has been filled far enough, half of its
    limit.

    `objects` and `slabs` count those taken: objects with the CPU slab's, slabs without it.
    """
    if not has_cpu_partial(mm, s):
        return True
    if not mm.has.cpu_partial_counts_slabs:
        return objects > s.cpu_partial // 2
    if mm.has.slub_delayed_freezing and not slabs:
        return s.cpu_partial_slabs == 0
    return slabs > s.cpu_partial_slabs // 2


def get_partial_node(mm, cache, node, gfp):
    """get_partial_node(): the first usable slab of a node's list, or -1.

    More slabs go to the CPU partial list meanwhile.
    """
    s = cache_at(mm, cache)
    n = cache_node_of(mm, cache, node)
    if not n.nr_partial:
        return -1
    first = -1
    objects = 0
    slabs = 0
    head = n.partial
    pfn = pfn_to_page(mm, head).next
    while pfn != head:
        page = pfn_to_page(mm, pfn)
        following = page.next
        if pfmemalloc_match(mm, pfn, gfp):
            acquire_slab(mm, cache, pfn)
            objects += page.objects - page.inuse
            if first < 0:
                first = pfn
                stat(mm, cache, STAT_ALLOC_FROM_PARTIAL)
                step(mm, STEP_SLUB_ALLOC_FROM_PARTIAL, cache, pfn)
            else:
                put_cpu_partial(mm, cache, pfn, False)
                stat(mm, cache, STAT_CPU_PARTIAL_NODE)
                step(mm, STEP_SLUB_CPU_PARTIAL_NODE, cache, pfn)
                slabs += 1
            if is_enough(mm, s, objects, slabs):
                break
        pfn = following
    return first


def any_partial_node(mm, cache):
    """get_any_partial(): the nearest other node that has more than min_partial slabs, or -1.

    The kernel compares a cycle counter with remote_node_defrag_ratio; 1000 of 1024 pass by
    default. The twin lets every ratio but 0 pass.
    """
    s = cache_at(mm, cache)
    if mm.nr_nodes == 1 or not s.defrag_ratio:
        return -1
    for place in range(ZONELIST_PLACES):
        zone = mm.zonelist[numa_node_id(mm) * ZONELIST_PLACES + place]
        if zone < 0:
            break
        node = mm.zone[zone].node
        if cache_node_of(mm, cache, node).nr_partial > s.min_partial:
            return node
    return -1


def may_use_others(mm, node, gfp):
    """get_partial(): whether other nodes' slabs serve a request for this node.

    Before 9198ffbd2b49 (6.10) only if it names no node.
    """
    return node == NUMA_NO_NODE or (mm.has.slub_tries_node_first and not gfp & __GFP_THISNODE)


def get_partial(mm, cache, node, gfp):
    """get_partial(): a partial slab of a node (NUMA_NO_NODE: the CPU's own, then any), or -1."""
    local = numa_node_id(mm) if node == NUMA_NO_NODE else node
    pfn = get_partial_node(mm, cache, local, gfp)
    if pfn < 0 and may_use_others(mm, node, gfp):
        local = any_partial_node(mm, cache)
        if local >= 0:
            pfn = get_partial_node(mm, cache, local, gfp)
    return pfn

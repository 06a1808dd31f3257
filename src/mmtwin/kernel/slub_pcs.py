"""The life of sheaves: kfree_rcu(), flushing, creation, and sheaves filled in advance.

mm/slub.c: __kfree_rcu_sheaf(), rcu_free_sheaf(), pcs_flush_all(), barn_shrink(),
init_percpu_sheaves(), kmem_cache_prefill_sheaf(), kmem_cache_return_sheaf(),
kmem_cache_alloc_from_sheaf().
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import __GFP_NOMEMALLOC, __GFP_NOWARN, CHECK_KMEMLEAK
    from mmtwin.kernel.kmemleak_hook import kmemleak_alloc_recursive, kmemleak_free_recursive
    from mmtwin.kernel.ram import cache_at, cache_cpu_of, cache_node_of
    from mmtwin.kernel.slub_defs import (
        GFP_KERNEL,
        GFP_NOWAIT,
        MAX_EMPTY_SHEAVES,
        MAX_FULL_SHEAVES,
        STAT_BARN_GET,
        STAT_BARN_GET_FAIL,
        STAT_BARN_PUT,
        STAT_BARN_PUT_FAIL,
        STAT_FREE_RCU_SHEAF,
        STAT_FREE_RCU_SHEAF_FAIL,
        STAT_SHEAF_PREFILL_FAST,
        STAT_SHEAF_PREFILL_OVERSIZE,
        STAT_SHEAF_PREFILL_SLOW,
        STAT_SHEAF_RETURN_FAST,
        STAT_SHEAF_RETURN_SLOW,
    )
    from mmtwin.kernel.slub_freelist import stat
    from mmtwin.kernel.slub_sheaf import (
        alloc_empty_sheaf,
        barn_get,
        barn_put,
        free_empty_sheaf,
        refill_sheaf,
        sheaf_at,
        sheaf_flush,
        sheaf_flush_main,
    )
    from mmtwin.kernel.slub_slab import numa_node_id


def kfree_rcu_sheaf(mm, cache, object):
    """__kfree_rcu_sheaf(): an object to be freed after a grace period goes into the CPU's RCU
    sheaf.

    A full one is queued for rcu_free_sheaves(). Returns False if the cache has no sheaves.
    """
    s = cache_at(mm, cache)
    c = cache_cpu_of(mm, cache, mm.cpu)
    if not s.sheaf_capacity or c.sheaf_main < 0:
        stat(mm, cache, STAT_FREE_RCU_SHEAF_FAIL)
        return False
    if c.sheaf_rcu < 0:
        if c.sheaf_spare >= 0 and not sheaf_at(mm, c.sheaf_spare).size:
            c.sheaf_rcu = c.sheaf_spare
            c.sheaf_spare = -1
        else:
            empty = barn_get(mm, cache, False)
            if empty < 0:
                empty = alloc_empty_sheaf(
                    mm,
                    cache,
                    GFP_NOWAIT if mm.has.slub_cpu_slabs else __GFP_NOWARN,
                    s.sheaf_capacity,
                )
            if empty < 0:
                stat(mm, cache, STAT_FREE_RCU_SHEAF_FAIL)
                return False
            c.sheaf_rcu = empty
    sheaf = sheaf_at(mm, c.sheaf_rcu)
    sheaf.objects[sheaf.size] = object
    sheaf.size += 1
    if sheaf.size == s.sheaf_capacity:
        sheaf.node = numa_node_id(mm)
        queue_rcu_sheaf(mm, c.sheaf_rcu)
        c.sheaf_rcu = -1
    stat(mm, cache, STAT_FREE_RCU_SHEAF)
    return True


def queue_rcu_sheaf(mm, number):
    """call_rcu() of a sheaf."""
    sheaf_at(mm, number).next = -1
    if mm.rcu_sheaf_last >= 0:
        sheaf_at(mm, mm.rcu_sheaf_last).next = number
    else:
        mm.rcu_sheaf_first = number
    mm.rcu_sheaf_last = number


def rcu_free_sheaves(mm, count):
    """rcu_free_sheaf() for the sheaves that wait longest: at most `count`, all if it is negative.

    They go to the barn as full ones; if it has 10, their objects go to their slabs. The caller
    says when a grace period is over. Returns how many were freed.
    """
    freed = 0
    while mm.rcu_sheaf_first >= 0 and freed != count:
        number = mm.rcu_sheaf_first
        sheaf = sheaf_at(mm, number)
        mm.rcu_sheaf_first = sheaf.next
        if mm.rcu_sheaf_first < 0:
            mm.rcu_sheaf_last = -1
        freed += 1
        cache = sheaf.cache
        if mm.checkers & CHECK_KMEMLEAK:
            for index in range(sheaf.size):
                flags = cache_at(mm, cache).flags
                kmemleak_free_recursive(mm, sheaf.objects[index], flags)
        n = cache_node_of(mm, cache, sheaf.node)
        if n.nr_full < MAX_FULL_SHEAVES:
            stat(mm, cache, STAT_BARN_PUT)
            barn_put(mm, cache, number, True)
            continue
        stat(mm, cache, STAT_BARN_PUT_FAIL)
        sheaf_flush(mm, cache, number)
        if n.nr_empty < MAX_EMPTY_SHEAVES:
            barn_put(mm, cache, number, False)
        else:
            free_empty_sheaf(mm, cache, number)
    return freed


def flush_sheaves(mm, cache):
    """pcs_flush_all(): this CPU's sheaves go to the slabs; its RCU sheaf waits for a grace
    period.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    if c.sheaf_main < 0:
        return
    if c.sheaf_spare >= 0:
        sheaf_flush(mm, cache, c.sheaf_spare)
        free_empty_sheaf(mm, cache, c.sheaf_spare)
        c.sheaf_spare = -1
    if c.sheaf_rcu >= 0:
        sheaf_at(mm, c.sheaf_rcu).node = numa_node_id(mm)
        queue_rcu_sheaf(mm, c.sheaf_rcu)
        c.sheaf_rcu = -1
    sheaf_flush_main(mm, cache)


def barn_shrink(mm, cache, node):
    """barn_shrink(): flushes and frees the sheaves of a node's barn, full ones first."""
    n = cache_node_of(mm, cache, node)
    number = n.barn_full
    n.barn_full = -1
    n.nr_full = 0
    while number >= 0:
        following = sheaf_at(mm, number).next
        sheaf_flush(mm, cache, number)
        free_empty_sheaf(mm, cache, number)
        number = following
    number = n.barn_empty
    n.barn_empty = -1
    n.nr_empty = 0
    while number >= 0:
        following = sheaf_at(mm, number).next
        free_empty_sheaf(mm, cache, number)
        number = following


def init_sheaves(mm, cache):
    """init_percpu_sheaves(): an empty main sheaf for each CPU. Returns whether there was memory.
    """
    s = cache_at(mm, cache)
    if not s.sheaf_capacity:
        return True
    for cpu in range(mm.nr_cpus):
        c = cache_cpu_of(mm, cache, cpu)
        if c.sheaf_main < 0:
            c.sheaf_main = alloc_empty_sheaf(mm, cache, GFP_KERNEL, s.sheaf_capacity)
        if c.sheaf_main < 0:
            return False
    return True


def destroy_sheaves(mm, cache):
    """pcs_destroy(): frees the main sheaves of a cache whose objects are all back in their
    slabs.
    """
    for cpu in range(mm.nr_cpus):
        c = cache_cpu_of(mm, cache, cpu)
        if c.sheaf_main >= 0:
            free_empty_sheaf(mm, cache, c.sheaf_main)
            c.sheaf_main = -1


def kmem_cache_prefill_sheaf(mm, cache, gfp, size):
    """kmem_cache_prefill_sheaf(): a sheaf of at least `size` objects (u32): its number, or -1.

    The CPU's spare one, one of the barn or a new one, filled up if it has too few; beyond the
    cache's capacity one of its own size.
    """
    s = cache_at(mm, cache)
    c = cache_cpu_of(mm, cache, mm.cpu)
    if size > s.sheaf_capacity:
        stat(mm, cache, STAT_SHEAF_PREFILL_OVERSIZE)
        number = alloc_empty_sheaf(mm, cache, gfp, size)
    elif c.sheaf_spare >= 0:
        stat(mm, cache, STAT_SHEAF_PREFILL_FAST)
        number = c.sheaf_spare
        c.sheaf_spare = -1
    else:
        stat(mm, cache, STAT_SHEAF_PREFILL_SLOW)
        number = barn_get(mm, cache, True)
        stat(mm, cache, STAT_BARN_GET_FAIL if number < 0 else STAT_BARN_GET)
        if number < 0:
            number = barn_get(mm, cache, False)
        if number < 0:
            number = alloc_empty_sheaf(mm, cache, gfp, s.sheaf_capacity)
    if number < 0:
        return -1
    if sheaf_at(mm, number).size < size and not refill_sheaf(
        mm, cache, number, gfp | __GFP_NOMEMALLOC
    ):
        sheaf_flush(mm, cache, number)
        free_empty_sheaf(mm, cache, number)
        return -1
    return number


def kmem_cache_return_sheaf(mm, cache, gfp, number):
    """kmem_cache_return_sheaf(): gives a prefilled sheaf back: as the spare one, filled up to
    the barn, or its objects to their slabs.
    """
    s = cache_at(mm, cache)
    c = cache_cpu_of(mm, cache, mm.cpu)
    n = cache_node_of(mm, cache, numa_node_id(mm))
    sheaf = sheaf_at(mm, number)
    if sheaf.capacity == s.sheaf_capacity and not sheaf.pfmemalloc:
        if c.sheaf_spare < 0:
            c.sheaf_spare = number
            stat(mm, cache, STAT_SHEAF_RETURN_FAST)
            return
        stat(mm, cache, STAT_SHEAF_RETURN_SLOW)
        if n.nr_full < MAX_FULL_SHEAVES and refill_sheaf(
            mm, cache, number, gfp | __GFP_NOMEMALLOC | __GFP_NOWARN
        ):
            barn_put(mm, cache, number, True)
            stat(mm, cache, STAT_BARN_PUT)
            return
    sheaf_flush(mm, cache, number)
    free_empty_sheaf(mm, cache, number)


def alloc_from_sheaf(mm, number):
    """kmem_cache_alloc_from_sheaf(): the last object of a prefilled sheaf, 0 if it is empty."""
    sheaf = sheaf_at(mm, number)
    if not sheaf.size:
        return 0
    sheaf.size -= 1
    if mm.checkers & CHECK_KMEMLEAK:
        s = cache_at(mm, sheaf.cache)
        object = sheaf.objects[sheaf.size]
        kmemleak_alloc_recursive(mm, object, s.object_size, 1, s.flags, GFP_KERNEL)
    return sheaf.objects[sheaf.size]

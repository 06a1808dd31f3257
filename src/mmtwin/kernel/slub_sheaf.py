"""Per-CPU sheaves: arrays of free objects in front of the slabs, and the barn of each node.

A CPU has a main sheaf, which it allocates from and frees to at its end, perhaps a spare one, and
one for kfree_rcu(). Full and empty sheaves lie in the node's barn. A sheaf itself is a kmalloc
object. mm/slub.c: alloc_from_pcs(), free_to_pcs(), __kfree_rcu_sheaf() and what they call.
2d517aa09bbc (6.18); in 6.18 only caches that ask have sheaves and CPUs own slabs besides, in 7.0
sheaves replace those.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        __GFP_ACCOUNT,
        __GFP_DIRECT_RECLAIM,
        __GFP_DMA,
        __GFP_NOMEMALLOC,
        __GFP_NOWARN,
        __GFP_RECLAIMABLE,
        __GFP_ZERO,
        CHECK_KASAN,
        CHECK_KMEMLEAK,
        PG_pfmemalloc,
    )
    from mmtwin.kernel.kasan_hooks import kasan_kmalloc, kasan_slab_alloc, kasan_slab_free
    from mmtwin.kernel.kmemleak_hook import kmemleak_alloc, kmemleak_free
    from mmtwin.kernel.ram import (
        cache_at,
        cache_cpu_of,
        cache_node_of,
        pfn_to_page,
        virt_to_head_pfn,
    )
    from mmtwin.kernel.slab_index import kmalloc_slab
    from mmtwin.kernel.slub_alloc import alloc_bulk_from_slab, alloc_from_slab, node_match
    from mmtwin.kernel.slub_defs import (
        GFP_NOWAIT,
        MAX_FULL_SHEAVES,
        SHEAF_OBJECTS,
        SLAB_KMALLOC,
        STAT_ALLOC_FASTPATH,
        STAT_ALLOC_NODE_MISMATCH,
        STAT_ALLOC_PCS,
        STAT_BARN_GET,
        STAT_BARN_GET_FAIL,
        STAT_BARN_PUT,
        STAT_BARN_PUT_FAIL,
        STAT_FREE_FASTPATH,
        STAT_FREE_PCS,
        STAT_SHEAF_ALLOC,
        STAT_SHEAF_FLUSH,
        STAT_SHEAF_FREE,
        STAT_SHEAF_REFILL,
    )
    from mmtwin.kernel.slub_free import free_bulk_to_slab, free_to_slab
    from mmtwin.kernel.slub_freelist import fill_bytes, stat, stat_add
    from mmtwin.kernel.slub_refill import refill_objects
    from mmtwin.kernel.slub_slab import numa_node_id, page_node
    from mmtwin.kernel.trace import (
        STEP_KFREE,
        STEP_KMALLOC,
        STEP_SLUB_SHEAF_ALLOC,
        STEP_SLUB_SHEAF_FLUSH,
        STEP_SLUB_SHEAF_FREE,
        STEP_SLUB_SHEAF_REFILL,
        step,
    )

    def sheaf_at(mm, number):
        """The record of a sheaf."""
        return mm.sheaf[number]

    def has_sheaves(mm, cache):
        """cache_has_sheaves()"""
        return cache_at(mm, cache).sheaf_capacity


def new_sheaf(mm, cache, capacity, address):
    """A record for a sheaf at an address: its number, or -1 if there is no room."""
    number = mm.free_sheaf
    if number >= 0:
        mm.free_sheaf = sheaf_at(mm, number).next
    elif mm.next_sheaf < mm.max_sheaves:
        number = mm.next_sheaf
        mm.next_sheaf += 1
    else:
        return -1
    sheaf = sheaf_at(mm, number)
    sheaf.next = -1
    sheaf.prev = -1
    sheaf.size = 0
    sheaf.capacity = capacity
    sheaf.cache = cache
    sheaf.node = 0
    sheaf.pfmemalloc = 0
    sheaf.address = address
    return number


def alloc_empty_sheaf(mm, cache, gfp, capacity):
    """alloc_empty_sheaf(): a kmalloc object that holds `capacity` pointers; its number, or -1.

    For a kmalloc cache itself without taking more sheaves (SLAB_ALLOC_NO_RECURSE).
    """
    s = cache_at(mm, cache)
    gfp &= ~(__GFP_ACCOUNT | __GFP_DMA | __GFP_RECLAIMABLE)
    if mm.sheaves_unbacked:
        stat(mm, cache, STAT_SHEAF_ALLOC)
        return new_sheaf(mm, cache, capacity, 0)
    size = 32 + 8 * capacity
    kmalloc = kmalloc_slab(mm, size, gfp)
    if kmalloc < 0 or capacity > SHEAF_OBJECTS:
        return -1
    address = alloc_object(mm, kmalloc, gfp | __GFP_ZERO, -1, not s.flags & SLAB_KMALLOC)
    if not address:
        return -1
    if mm.contents:
        fill_bytes(mm, address, 0, size)
    if mm.checkers & CHECK_KMEMLEAK:
        kmemleak_alloc(mm, address, cache_at(mm, kmalloc).object_size, 1, gfp)
    if mm.checkers & CHECK_KASAN:
        kasan_slab_alloc(mm, kmalloc, address, gfp)
        kasan_kmalloc(mm, kmalloc, address, size, gfp)
    step(
        mm, STEP_KMALLOC, address, size, cache_at(mm, kmalloc).size, gfp | __GFP_ZERO, -1, kmalloc
    )
    stat(mm, cache, STAT_SHEAF_ALLOC)
    return new_sheaf(mm, cache, capacity, address)


def free_empty_sheaf(mm, cache, number):
    """free_empty_sheaf(): kfree() of a sheaf; one whose address nobody knew is only forgotten."""
    sheaf = sheaf_at(mm, number)
    if sheaf.address:
        pfn = virt_to_head_pfn(mm, sheaf.address)
        step(mm, STEP_KFREE, sheaf.address)
        if mm.checkers & CHECK_KMEMLEAK:
            kmemleak_free(mm, sheaf.address)
        kmalloc = pfn_to_page(mm, pfn).cache
        if mm.checkers & CHECK_KASAN and kasan_slab_free(mm, kmalloc, sheaf.address):
            sheaf.address = 0
        else:
            free_object(mm, kmalloc, pfn, sheaf.address)
    sheaf.address = 0
    sheaf.cache = -1
    sheaf.next = mm.free_sheaf
    mm.free_sheaf = number
    stat(mm, cache, STAT_SHEAF_FREE)


def refill_sheaf(mm, cache, number, gfp):
    """refill_sheaf(): fills a sheaf up from slabs. Returns whether it is full."""
    sheaf = sheaf_at(mm, number)
    wanted = sheaf.capacity - sheaf.size
    if mm.has.slub_cpu_slabs:
        filled = alloc_bulk_from_slab(mm, cache, gfp, sheaf.objects, sheaf.size, wanted)
    else:
        filled = refill_objects(mm, cache, gfp, sheaf.objects, sheaf.size, wanted)
    sheaf.size += filled
    stat_add(mm, cache, STAT_SHEAF_REFILL, filled)
    step(mm, STEP_SLUB_SHEAF_REFILL, cache, filled)
    return filled == wanted


def sheaf_flush(mm, cache, number):
    """sheaf_flush_unused(): all objects of a sheaf back to their slabs."""
    sheaf = sheaf_at(mm, number)
    if sheaf.size:
        stat_add(mm, cache, STAT_SHEAF_FLUSH, sheaf.size)
        step(mm, STEP_SLUB_SHEAF_FLUSH, cache, sheaf.size)
        free_bulk_to_slab(mm, sheaf.objects, 0, sheaf.size, False)
        sheaf.size = 0


def sheaf_flush_main(mm, cache):
    """sheaf_flush_main(): the main sheaf, 32 objects at a time (PCS_BATCH_MAX), from its end."""
    c = cache_cpu_of(mm, cache, mm.cpu)
    sheaf = sheaf_at(mm, c.sheaf_main)
    while sheaf.size:
        batch = 32 if sheaf.size > 32 else sheaf.size
        sheaf.size -= batch
        free_bulk_to_slab(mm, sheaf.objects, sheaf.size, batch, False)
        stat_add(mm, cache, STAT_SHEAF_FLUSH, batch)
        step(mm, STEP_SLUB_SHEAF_FLUSH, cache, batch)


def barn_put(mm, cache, number, full):
    """barn_put_full_sheaf(), barn_put_empty_sheaf(): first on the list of this CPU's node."""
    n = cache_node_of(mm, cache, numa_node_id(mm))
    sheaf = sheaf_at(mm, number)
    if full:
        sheaf.next = n.barn_full
        n.barn_full = number
        n.nr_full += 1
    else:
        sheaf.next = n.barn_empty
        n.barn_empty = number
        n.nr_empty += 1


def barn_get(mm, cache, full):
    """The first full or empty sheaf of the node's barn, or -1."""
    n = cache_node_of(mm, cache, numa_node_id(mm))
    if full:
        number = n.barn_full
        if number >= 0:
            n.barn_full = sheaf_at(mm, number).next
            n.nr_full -= 1
    else:
        number = n.barn_empty
        if number >= 0:
            n.barn_empty = sheaf_at(mm, number).next
            n.nr_empty -= 1
    if number >= 0:
        sheaf_at(mm, number).next = -1
    return number


def replace_from_barn(mm, cache):
    """The empty main sheaf for the spare one or a full one of the barn. Returns whether there
    was one.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    if c.sheaf_spare >= 0 and sheaf_at(mm, c.sheaf_spare).size:
        number = c.sheaf_main
        c.sheaf_main = c.sheaf_spare
        c.sheaf_spare = number
        return True
    number = barn_get(mm, cache, True)
    if number < 0:
        stat(mm, cache, STAT_BARN_GET_FAIL)
        return False
    barn_put(mm, cache, c.sheaf_main, False)
    c.sheaf_main = number
    stat(mm, cache, STAT_BARN_GET)
    return True


def replace_empty_main(mm, cache, gfp, recurse):
    """__pcs_replace_empty_main(): gets the CPU a main sheaf with objects. Returns whether it has
    one.

    The last resort is to fill an empty sheaf from slabs; in 6.18 only if the caller may block.
    """
    if replace_from_barn(mm, cache):
        return True
    if mm.has.slub_cpu_slabs and not gfp & __GFP_DIRECT_RECLAIM:
        return False
    empty = sheaf_to_refill(mm, cache, gfp, recurse)
    if empty < 0:
        return False
    if not refill_sheaf(mm, cache, empty, gfp | __GFP_NOMEMALLOC | __GFP_NOWARN):
        sheaf_flush(mm, cache, empty)
        free_empty_sheaf(mm, cache, empty)
        return False
    install_refilled_sheaf(mm, cache, empty)
    return True


def sheaf_to_refill(mm, cache, gfp, recurse):
    """__pcs_replace_empty_main(): the empty sheaf that is filled from slabs: the CPU's spare one,
    one of the barn, a new one. Its number, or -1.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    empty = c.sheaf_spare
    c.sheaf_spare = -1
    if empty < 0:
        empty = barn_get(mm, cache, False)
    if empty < 0 and recurse:
        empty = alloc_empty_sheaf(mm, cache, gfp, cache_at(mm, cache).sheaf_capacity)
    return empty


def install_refilled_sheaf(mm, cache, number):
    """__pcs_replace_empty_main(): where a sheaf goes that was filled with the CPU's lock given up.

    If nobody else came meanwhile it is the main one, and the old main one the spare one (in 6.18
    it goes to the barn). Else it is the spare one, or goes to the barn as a full one.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    if not sheaf_at(mm, c.sheaf_main).size:
        if c.sheaf_spare < 0 and not mm.has.slub_cpu_slabs:
            c.sheaf_spare = c.sheaf_main
        else:
            barn_put(mm, cache, c.sheaf_main, False)
        c.sheaf_main = number
    elif c.sheaf_spare < 0:
        c.sheaf_spare = number
    elif not sheaf_at(mm, c.sheaf_spare).size:
        barn_put(mm, cache, c.sheaf_spare, False)
        c.sheaf_spare = number
    else:
        barn_put(mm, cache, number, True)
        stat(mm, cache, STAT_BARN_PUT)


def alloc_from_pcs(mm, cache, gfp, node, recurse):
    """alloc_from_pcs(): the last object of the CPU's main sheaf; 0 sends the caller to the
    slabs.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    if c.sheaf_main < 0:
        return 0
    if node >= 0 and node != numa_node_id(mm):
        stat(mm, cache, STAT_ALLOC_NODE_MISMATCH)
        return 0
    if not sheaf_at(mm, c.sheaf_main).size and not replace_empty_main(mm, cache, gfp, recurse):
        return 0
    sheaf = sheaf_at(mm, c.sheaf_main)
    object = sheaf.objects[sheaf.size - 1]
    if node >= 0 and not node_match(mm, virt_to_head_pfn(mm, object), node):
        stat(mm, cache, STAT_ALLOC_NODE_MISMATCH)
        return 0
    sheaf.size -= 1
    stat(mm, cache, STAT_ALLOC_PCS if mm.has.slub_cpu_slabs else STAT_ALLOC_FASTPATH)
    step(mm, STEP_SLUB_SHEAF_ALLOC, cache, object)
    return object


def alloc_from_pcs_bulk(mm, cache, objects, count):
    """alloc_from_pcs_bulk(): runs of objects off the ends of full sheaves. Returns how many
    there were.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    done = 0
    while done < count and c.sheaf_main >= 0:
        if not sheaf_at(mm, c.sheaf_main).size and not replace_from_barn(mm, cache):
            break
        sheaf = sheaf_at(mm, c.sheaf_main)
        batch = count - done if count - done < sheaf.size else sheaf.size
        sheaf.size -= batch
        for index in range(batch):
            objects[done + index] = sheaf.objects[sheaf.size + index]
        stat_add(
            mm, cache, STAT_ALLOC_PCS if mm.has.slub_cpu_slabs else STAT_ALLOC_FASTPATH, batch
        )
        done += batch
    return done


def alloc_object(mm, cache, gfp, node, recurse):
    """slab_alloc_node(): from a sheaf if the cache has them, else from a slab."""
    if has_sheaves(mm, cache):
        object = alloc_from_pcs(mm, cache, gfp, node, recurse)
        if object:
            return object
    return alloc_from_slab(mm, cache, gfp, node)


def install_empty_sheaf(mm, cache, empty):
    """__pcs_install_empty_sheaf(): the full main sheaf becomes the spare one, or goes to the
    barn.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    if c.sheaf_spare < 0:
        c.sheaf_spare = c.sheaf_main
    else:
        barn_put(mm, cache, c.sheaf_main, True)
        stat(mm, cache, STAT_BARN_PUT)
    c.sheaf_main = empty


def replace_full_main(mm, cache):
    """__pcs_replace_full_main(): gets the CPU a main sheaf with room.

    The barn takes up to 10 full sheaves (MAX_FULL_SHEAVES); beyond that the spare one is flushed.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    s = cache_at(mm, cache)
    n = cache_node_of(mm, cache, numa_node_id(mm))
    failed = False
    if c.sheaf_spare < 0:
        empty = barn_get(mm, cache, False)
    elif sheaf_at(mm, c.sheaf_spare).size < s.sheaf_capacity:
        swapped = c.sheaf_main
        c.sheaf_main = c.sheaf_spare
        c.sheaf_spare = swapped
        return
    elif n.nr_full >= MAX_FULL_SHEAVES:
        stat(mm, cache, STAT_BARN_PUT_FAIL)
        empty = c.sheaf_spare
        c.sheaf_spare = -1
        sheaf_flush(mm, cache, empty)
    else:
        empty = barn_get(mm, cache, False)
        failed = empty < 0
    if empty < 0:
        empty = alloc_empty_sheaf(
            mm, cache, GFP_NOWAIT if mm.has.slub_cpu_slabs else __GFP_NOWARN, s.sheaf_capacity
        )
    if empty >= 0:
        install_empty_sheaf(mm, cache, empty)
        return
    if failed:
        stat(mm, cache, STAT_BARN_PUT_FAIL)
    sheaf_flush_main(mm, cache)


def make_room_for_bulk(mm, cache):
    """__free_to_pcs_batch(): a main sheaf with room from the spare or the barn alone. False if
    none.
    """
    c = cache_cpu_of(mm, cache, mm.cpu)
    n = cache_node_of(mm, cache, numa_node_id(mm))
    if c.sheaf_spare >= 0:
        if sheaf_at(mm, c.sheaf_spare).size < cache_at(mm, cache).sheaf_capacity:
            swapped = c.sheaf_main
            c.sheaf_main = c.sheaf_spare
            c.sheaf_spare = swapped
            return True
        if n.nr_full >= MAX_FULL_SHEAVES or n.nr_empty == 0:
            stat(mm, cache, STAT_BARN_PUT_FAIL)
            return False
    empty = barn_get(mm, cache, False)
    if empty < 0:
        return False
    install_empty_sheaf(mm, cache, empty)
    return True


def free_to_pcs(mm, cache, object):
    """free_to_pcs(): puts an object last into the CPU's main sheaf. False sends it to its slab."""
    c = cache_cpu_of(mm, cache, mm.cpu)
    if c.sheaf_main < 0:
        return False
    if sheaf_at(mm, c.sheaf_main).size >= cache_at(mm, cache).sheaf_capacity:
        replace_full_main(mm, cache)
    sheaf = sheaf_at(mm, c.sheaf_main)
    sheaf.objects[sheaf.size] = object
    sheaf.size += 1
    stat(mm, cache, STAT_FREE_PCS if mm.has.slub_cpu_slabs else STAT_FREE_FASTPATH)
    step(mm, STEP_SLUB_SHEAF_FREE, cache, object)
    return True


def can_free_to_pcs(mm, pfn):
    """can_free_to_pcs(): only objects of this node, and none of the reserves."""
    return (
        page_node(mm, pfn) == numa_node_id(mm) and not pfn_to_page(mm, pfn).flags & PG_pfmemalloc
    )


def free_object(mm, cache, pfn, object):
    """slab_free(): to a sheaf if the cache has them, else to the slab at `pfn`."""
    if has_sheaves(mm, cache) and can_free_to_pcs(mm, pfn) and free_to_pcs(mm, cache, object):
        return
    free_to_slab(mm, cache, pfn, object, object, 1)


def free_to_pcs_bulk(mm, cache, objects, count):
    """free_to_pcs_bulk(): local objects into sheaves, the rest and those of other nodes to
    slabs.
    """
    s = cache_at(mm, cache)
    remote = 0
    for index in range(count):
        pfn = virt_to_head_pfn(mm, objects[index])
        if not can_free_to_pcs(mm, pfn):
            swapped = objects[remote]
            objects[remote] = objects[index]
            objects[index] = swapped
            remote += 1
    index = remote
    c = cache_cpu_of(mm, cache, mm.cpu)
    while index < count:
        if sheaf_at(mm, c.sheaf_main).size >= s.sheaf_capacity and not make_room_for_bulk(
            mm, cache
        ):
            free_bulk_to_slab(mm, objects, index, count - index, False)
            break
        sheaf = sheaf_at(mm, c.sheaf_main)
        batch = s.sheaf_capacity - sheaf.size
        if batch > count - index:
            batch = count - index
        stat_add(mm, cache, STAT_FREE_PCS if mm.has.slub_cpu_slabs else STAT_FREE_FASTPATH, batch)
        while batch:
            sheaf.objects[sheaf.size] = objects[index]
            sheaf.size += 1
            index += 1
            batch -= 1
    free_bulk_to_slab(mm, objects, 0, remote, False)

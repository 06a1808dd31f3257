"""Many objects at once out of slabs, for kernels whose CPUs own none (7.0 and later).

mm/slub.c: refill_objects(), __refill_objects_node(), get_partial_node_bulk(),
alloc_from_new_slab().
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.ram import cache_at, cache_node_of, pfn_to_page
    from mmtwin.kernel.slub_defs import STAT_ALLOC_SLAB, STAT_ALLOC_SLOWPATH, TO_HEAD, TO_TAIL
    from mmtwin.kernel.slub_freelist import get_freepointer, stat, stat_add
    from mmtwin.kernel.slub_partial import add_partial, any_partial_node, remove_partial
    from mmtwin.kernel.slub_slab import inc_slabs_node, new_slab, numa_node_id, pfmemalloc_match
    from mmtwin.kernel.trace import STEP_SLUB_ALLOC_FROM_PARTIAL, STEP_SLUB_ALLOC_SLAB, step


def take_objects(mm, cache, pfn, objects, first, count):
    """Takes up to `count` objects off a slab's free list. Returns how many there were."""
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    object = page.freelist
    done = 0
    while object and done < count:
        objects[first + done] = object
        object = get_freepointer(mm, s, object)
        done += 1
    page.freelist = object
    page.inuse += done
    return done


def refill_from_node(mm, cache, node, gfp, objects, first, count):
    """__refill_objects_node(): objects of a node's partial slabs, from the first on.

    A slab that is not used up goes to the tail of the list. Returns how many objects there were.
    """
    n = cache_node_of(mm, cache, node)
    head = n.partial
    done = 0
    pfn = pfn_to_page(mm, head).next
    while pfn != head and done < count:
        page = pfn_to_page(mm, pfn)
        following = page.next
        if pfmemalloc_match(mm, pfn, gfp):
            step(mm, STEP_SLUB_ALLOC_FROM_PARTIAL, cache, pfn)
            remove_partial(mm, cache, pfn)
            done += take_objects(mm, cache, pfn, objects, first + done, count - done)
            if page.freelist:
                add_partial(mm, cache, pfn, TO_TAIL)
        pfn = following
    return done


def refill_from_new_slab(mm, cache, gfp, node, objects, first, count):
    """alloc_from_new_slab(): objects of a new slab; with some left it goes to the head of the
    list.
    """
    pfn = new_slab(mm, cache, gfp, node)
    if pfn < 0:
        return 0
    stat(mm, cache, STAT_ALLOC_SLAB)
    step(mm, STEP_SLUB_ALLOC_SLAB, cache, pfn)
    done = take_objects(mm, cache, pfn, objects, first, count)
    page = pfn_to_page(mm, pfn)
    if page.freelist:
        add_partial(mm, cache, pfn, TO_HEAD)
    inc_slabs_node(mm, cache, pfn)
    return done


def refill_from_new_slabs(mm, cache, gfp, objects, first, count, slabs):
    """refill_objects(): `count` objects into objects[first:] of at most `slabs` new slabs, of any
    number if that is negative. Returns how many objects it got.
    """
    done = 0
    while done < count and slabs != 0:
        taken = refill_from_new_slab(
            mm, cache, gfp, numa_node_id(mm), objects, first + done, count - done
        )
        if not taken:
            break
        done += taken
        slabs -= 1
    stat_add(mm, cache, STAT_ALLOC_SLOWPATH, done)
    return done


def refill_from_partial(mm, cache, gfp, objects, first, count):
    """refill_objects(): `count` objects into objects[first:] of this node's and other nodes'
    partial slabs. Returns how many there were.
    """
    done = refill_from_node(mm, cache, numa_node_id(mm), gfp, objects, first, count)
    if done < count:
        node = any_partial_node(mm, cache)
        if node >= 0:
            done += refill_from_node(mm, cache, node, gfp, objects, first + done, count - done)
    stat_add(mm, cache, STAT_ALLOC_SLOWPATH, done)
    return done


def refill_objects(mm, cache, gfp, objects, first, count):
    """refill_objects(): `count` objects into objects[first:]: this node's, other nodes', new
    slabs'.

    Returns how many it got.
    """
    done = refill_from_partial(mm, cache, gfp, objects, first, count)
    if done < count:
        done += refill_from_new_slabs(mm, cache, gfp, objects, first + done, count - done, -1)
    return done

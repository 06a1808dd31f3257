"""Slab caches made smaller, or given up.

mm/slab_common.c: kmem_cache_shrink(), kmem_cache_destroy(); mm/slub.c: __kmem_cache_shrink(),
__kmem_cache_shutdown(). Plain Python: none of it is hot.
"""

from mmtwin.kernel.constants import CHECK_KASAN, COMPLAINT_OBJECTS_REMAIN, PG_partial
from mmtwin.kernel.lists import list_entries
from mmtwin.kernel.slub_cache import cache_record, flush_all, node_record, relink
from mmtwin.kernel.slub_defs import SLAB_TYPESAFE_BY_RCU
from mmtwin.kernel.slub_pcs import barn_shrink, destroy_sheaves, rcu_free_sheaves
from mmtwin.kernel.slub_slab import discard_slab, rcu_free_slabs
from mmtwin.kernel.slub_traces import report_remaining

SHRINK_PROMOTE_MAX = 32


def take_empty(mm, cache, node):
    """Takes the empty slabs off a node's partial list: (them, the rest), each in order."""
    pages = mm.view("page")
    n = node_record(mm, cache, node)
    entries = list_entries(mm, int(n["partial"]))
    empty = [pfn for pfn in entries if not pages["inuse"][pfn]]
    rest = [pfn for pfn in entries if pages["inuse"][pfn]]
    relink(mm, int(n["partial"]), rest)
    n["nr_partial"] = len(rest)
    for pfn in empty:
        pages["flags"][pfn] &= 0xFFFFFFFF ^ PG_partial
    return empty, rest


def shrink_node(mm, cache, node):
    """__kmem_cache_do_shrink(): frees a node's empty slabs, puts the fullest first.

    Slabs with up to 32 free objects come before the others, fewest first, each number's turned
    round.
    """
    pages = mm.view("page")
    empty, rest = take_empty(mm, cache, node)
    free = {pfn: int(pages["objects"][pfn]) - int(pages["inuse"][pfn]) for pfn in rest}
    promoted = [pfn for pfn in reversed(rest) if free[pfn] <= SHRINK_PROMOTE_MAX]
    promoted.sort(key=free.__getitem__)
    others = [pfn for pfn in rest if free[pfn] > SHRINK_PROMOTE_MAX]
    relink(mm, int(node_record(mm, cache, node)["partial"]), promoted + others)
    for pfn in reversed(empty):
        discard_slab(mm, cache, pfn)
    return int(node_record(mm, cache, node)["nr_slabs"]) > 0


def kmem_cache_shrink(mm, cache):
    """Frees the empty slabs of a cache and sorts its partial lists; kmem_cache_shrink().

    Returns whether slabs remain. Raises SlabError if there is no such cache.
    """
    cache_record(mm, cache)
    if mm.checkers & CHECK_KASAN:
        mm.kasan.quarantine.remove_cache(cache)  # kasan_cache_shrink()
    flush_all(mm, cache)
    remain = False
    for node in range(mm.nr_nodes):
        barn_shrink(mm, cache, node)
        remain |= shrink_node(mm, cache, node)
    return remain


def kmem_cache_destroy(mm, cache):
    """Gives a cache up; kmem_cache_destroy().

    A shared cache loses one user. Objects that remain are complained of (mm.complaints) and the
    cache stays, dead, as in the kernel. Slabs of a SLAB_TYPESAFE_BY_RCU cache are freed after a
    grace period for which it waits. Returns whether the cache is gone. Raises SlabError if there
    is no such cache.
    """
    record = cache_record(mm, cache)
    record["refcount"] -= 1
    if record["refcount"] > 0:
        return False
    if mm.checkers & CHECK_KASAN:
        mm.kasan.quarantine.remove_cache(cache)  # kasan_cache_shutdown()
    flush_all(mm, cache)
    rcu_free_sheaves(mm, -1)  # kvfree_rcu_barrier_on_cache()
    for node in range(mm.nr_nodes):
        barn_shrink(mm, cache, node)
        for pfn in reversed(take_empty(mm, cache, node)[0]):
            discard_slab(mm, cache, pfn)
    slabs = sum(int(node_record(mm, cache, node)["nr_slabs"]) for node in range(mm.nr_nodes))
    if slabs:
        complain_of_objects(mm, cache)
        record["dead"] = 1
        return False
    destroy_sheaves(mm, cache)
    if int(record["flags"]) & SLAB_TYPESAFE_BY_RCU:
        rcu_free_slabs(mm, -1)  # slab_caches_to_rcu_destroy_workfn(): rcu_barrier()
    record["alive"] = 0
    return True


def complain_of_objects(mm, cache):
    """What kmem_cache_destroy() prints of objects that remain."""
    if mm.slub_debug is not None:
        report_remaining(mm, cache)
        return
    mm.complaints.append(
        {"kind": COMPLAINT_OBJECTS_REMAIN, "address": first_page(mm, cache), "detail": cache}
    )


def first_page(mm, cache):
    """The address of a cache's first partial slab, 0 if it has none."""
    for node in range(mm.nr_nodes):
        for pfn in list_entries(mm, int(node_record(mm, cache, node)["partial"])):
            return mm.page_offset + (pfn << mm.page_shift)
    return 0

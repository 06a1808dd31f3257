"""validate(): every invariant of SLUB's state, checked against lists, counters and bytes."""

import numpy as np

from mmtwin.kernel.constants import PG_head, PG_partial, PG_slab, PG_tail
from mmtwin.kernel.lists import list_entries
from mmtwin.kernel.slub_cache import SlabError, live_caches
from mmtwin.kernel.slub_defs import SLAB_DEBUG_FLAGS
from mmtwin.kernel.slub_state import cpu_partial, read_freelist


class Invariant(AssertionError):
    """An invariant of the twin's state does not hold."""


def require(condition, message):
    """Raises Invariant with the message unless the condition holds."""
    if not condition:
        raise Invariant(message)


def validate(mm, only=None):
    """Checks all caches, or those of `only`. Raises Invariant, which says what is wrong and where.

    Counters against lists; no slab on two lists; no object twice on free lists or in sheaves;
    every free pointer leads to an object of the same slab; the pages of slabs are compound and
    theirs alone.
    """
    pages = mm.view("page")[: mm.max_pfn]
    waiting = set(rcu_slabs(mm))
    slabs = np.flatnonzero(pages["flags"] & PG_slab).tolist()
    by_cache = {}
    for pfn in slabs:
        by_cache.setdefault(int(pages[pfn]["cache"]), []).append(pfn)
    caches = live_caches(mm)
    for pfn in waiting:
        require(pages[pfn]["flags"] & PG_slab, f"slab {pfn} waits for RCU but is none")
    require(set(by_cache) <= set(caches), f"slabs of dead caches: {set(by_cache) - set(caches)}")
    check_sheaf_pool(mm)
    for cache in caches if only is None else only:
        check_cache(mm, cache, [pfn for pfn in by_cache.get(cache, []) if pfn not in waiting])


def rcu_slabs(mm):
    """The slabs that wait for a grace period, in order."""
    found = []
    pfn = mm.rcu_slab_first
    while pfn >= 0:
        found.append(pfn)
        pfn = int(mm.view("page")[pfn]["next"])
    require((found[-1] if found else -1) == mm.rcu_slab_last, "the RCU queue's end is wrong")
    return found


def check_cache(mm, cache, slabs):
    """One cache: its lists, its slabs, its counters."""
    name = mm.cache_names[cache]
    places = list_places(mm, cache, name)
    in_sheaves = sheaf_objects(mm, cache, name)
    require(
        set(places) <= set(slabs), f"{name}: lists hold {set(places) - set(slabs)}, no slabs of it"
    )
    owned = owned_lists(mm, cache)
    for pfn in slabs:
        check_slab(mm, cache, name, pfn, places.get(pfn), owned.get(pfn, []), in_sheaves)
    require(not in_sheaves, f"{name}: sheaves hold what are no objects: {sorted(in_sheaves)[:3]}")
    pages = mm.view("page")
    zones = mm.view("zone")
    for node in range(mm.nr_nodes):
        n = mm.view("cache_node")[cache * mm.nr_nodes + node]
        mine = [pfn for pfn in slabs if zones[int(pages[pfn]["zone"])]["node"] == node]
        objects = sum(int(pages[pfn]["objects"]) for pfn in mine)
        require(n["nr_slabs"] == len(mine), f"{name}: nr_slabs {n['nr_slabs']}, not {len(mine)}")
        require(n["total_objects"] == objects, f"{name}: total_objects {n['total_objects']}")


def list_places(mm, cache, name):
    """{pfn: "cpu" | "cpu partial" | "node"} of all slabs that are on a list, each once."""
    places = {}

    def put(pfn, where):
        require(pfn not in places, f"{name}: slab {pfn} is on two lists")
        places[pfn] = where

    debug = int(mm.view("cache")[cache]["flags"]) & SLAB_DEBUG_FLAGS
    for cpu in range(mm.nr_cpus):
        c = mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]
        if c["slab"] >= 0:
            require(not debug, f"{name}: a debug cache has a CPU slab")
            put(int(c["slab"]), "cpu")
        else:
            require(not c["freelist"], f"{name}: CPU {cpu} has free objects but no slab")
        for pfn in cpu_partial(mm, cache, cpu):
            put(pfn, "cpu partial")
    for node in range(mm.nr_nodes):
        n = mm.view("cache_node")[cache * mm.nr_nodes + node]
        entries = list_entries(mm, int(n["partial"]))
        require(len(entries) == n["nr_partial"], f"{name}: nr_partial {n['nr_partial']}")
        for pfn in entries:
            put(pfn, "node")
            zone = int(mm.view("page")[pfn]["zone"])
            require(
                mm.view("zone")[zone]["node"] == node, f"{name}: slab {pfn} on node {node}'s list"
            )
    return places


def owned_lists(mm, cache):
    """{pfn: free objects of the CPU that owns it}"""
    owned = {}
    for cpu in range(mm.nr_cpus):
        c = mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]
        if c["slab"] >= 0:
            owned[int(c["slab"])] = read_freelist(mm, cache, c["freelist"])
    return owned


def check_slab(mm, cache, name, pfn, where, cpu_free, in_sheaves):
    """One slab: its pages, its free lists, its counters, its flags."""
    page = mm.view("page")[pfn]
    record = mm.view("cache")[cache]
    size, objects, order = int(record["size"]), int(page["objects"]), int(page["order"])
    require(
        objects == (1 << (mm.page_shift + order)) // size,
        f"{name}: slab {pfn} of {objects} objects",
    )
    require(bool(page["flags"] & PG_head) == (order > 0), f"{name}: slab {pfn} is not compound")
    for tail in range(pfn + 1, pfn + (1 << order)):
        other = mm.view("page")[tail]
        require(other["flags"] & PG_tail and other["compound_head"] == pfn, f"{name}: page {tail}")
    try:
        free = read_freelist(mm, cache, page["freelist"], objects)
    except SlabError as error:
        raise Invariant(f"slab {pfn}: {error}") from None
    start = (mm.page_offset + (pfn << mm.page_shift) + int(record["red_left_pad"])) & (
        (1 << 64) - 1
    )
    seen = [*free, *cpu_free]
    require(len(set(seen)) == len(seen), f"{name}: an object of slab {pfn} is free twice")
    for entry in seen:
        inside = 0 <= entry - start < objects * size and (entry - start) % size == 0
        require(inside, f"{name}: slab {pfn}: {entry:#x} is no object")
    mine = {entry for entry in in_sheaves if 0 <= entry - start < objects * size}
    require(not mine & set(seen), f"{name}: an object of slab {pfn} is free and in a sheaf")
    in_sheaves -= {entry for entry in mine if (entry - start) % size == 0}
    inuse = objects - len(free)
    require(page["inuse"] == inuse, f"{name}: slab {pfn}: inuse {page['inuse']}, not {inuse}")
    delayed = mm.view("has")[0].slub_delayed_freezing
    frozen = where == "cpu" or (where == "cpu partial" and not delayed)
    # a debug cache's slab that failed its checks stays frozen, all its objects counted as used
    given_up = int(record["flags"]) & SLAB_DEBUG_FLAGS and where is None and page["frozen"]
    require(
        given_up or page["frozen"] == frozen,
        f"{name}: slab {pfn} ({where}): frozen {page['frozen']}",
    )
    require(
        bool(page["flags"] & PG_partial) == (where == "node"), f"{name}: slab {pfn}: PG_partial"
    )
    require(bool(free) or where in (None, "cpu"), f"{name}: slab {pfn} is full and on a list")
    require(
        where is not None or not free, f"{name}: slab {pfn} has free objects but is on no list"
    )


def check_sheaf_pool(mm):
    """No sheaf record is in use twice."""
    sheaves = mm.view("sheaf")
    free = set()
    number = mm.free_sheaf
    while number >= 0:
        require(number not in free, f"sheaf {number} is free twice")
        free.add(number)
        number = int(sheaves[number]["next"])


def sheaf_chain(mm, number):
    """The sheaves on a barn's list, first to last."""
    found = []
    while number >= 0:
        require(number not in found, f"sheaf {number} is on a list twice")
        found.append(number)
        number = int(mm.view("sheaf")[number]["next"])
    return found


def sheaf_objects(mm, cache, name):
    """The objects of all sheaves of a cache, each once; full ones must be full, empty ones
    empty.
    """
    sheaves = mm.view("sheaf")
    capacity = int(mm.view("cache")[cache]["sheaf_capacity"])
    numbers = []
    for cpu in range(mm.nr_cpus):
        c = mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]
        numbers += [int(c[f]) for f in ("sheaf_main", "sheaf_spare", "sheaf_rcu") if c[f] >= 0]
    for node in range(mm.nr_nodes):
        n = mm.view("cache_node")[cache * mm.nr_nodes + node]
        full, empty = sheaf_chain(mm, int(n["barn_full"])), sheaf_chain(mm, int(n["barn_empty"]))
        require(len(full) == n["nr_full"], f"{name}: nr_full {n['nr_full']}, not {len(full)}")
        require(len(empty) == n["nr_empty"], f"{name}: nr_empty {n['nr_empty']}, not {len(empty)}")
        require(
            all(sheaves[k]["size"] for k in full), f"{name}: an empty sheaf among the full ones"
        )
        require(
            not any(sheaves[k]["size"] for k in empty),
            f"{name}: a sheaf with objects among the empty",
        )
        numbers += full + empty
    waiting = sheaf_chain(mm, mm.rcu_sheaf_first)
    numbers += [number for number in waiting if sheaves[number]["cache"] == cache]
    require(len(set(numbers)) == len(numbers), f"{name}: a sheaf is in two places")
    objects = []
    for number in numbers:
        sheaf = sheaves[number]
        require(sheaf["cache"] == cache, f"{name}: sheaf {number} is of cache {sheaf['cache']}")
        require(sheaf["size"] <= capacity, f"{name}: sheaf {number} holds {sheaf['size']}")
        objects += [int(entry) for entry in sheaf["objects"][: int(sheaf["size"])]]
    require(len(set(objects)) == len(objects), f"{name}: an object is in sheaves twice")
    return set(objects)

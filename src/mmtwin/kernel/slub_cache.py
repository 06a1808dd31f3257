"""Caches: created, merged, flushed.

mm/slab_common.c: kmem_cache_create(), find_mergeable(); mm/slub.c: kmem_cache_open(), flush_all().
Plain Python: none of it is hot. How they shrink and go: slub_shrink.py.
"""

from itertools import pairwise

from mmtwin.kernel import slub_layout
from mmtwin.kernel.align import align_up
from mmtwin.kernel.constants import CHECK_KASAN, COMPLAINT_BAD_CACHE
from mmtwin.kernel.policy import limit_of, order_of
from mmtwin.kernel.slub_defs import (
    SLAB_KMALLOC,
    SLAB_MERGE_SAME,
    SLAB_METADATA_FLAGS,
    SLAB_NEVER_MERGE,
    SLAB_NO_MERGE,
)
from mmtwin.kernel.slub_freelist import draw
from mmtwin.kernel.slub_options import kmem_cache_flags
from mmtwin.kernel.slub_partial import flush_cpu_slab
from mmtwin.kernel.slub_pcs import flush_sheaves, init_sheaves


class SlabError(ValueError):
    """A request that the kernel would refuse or warn about."""


def cache_record(mm, cache):
    """The record of a cache as numpy sees it. Raises SlabError if there is no such cache."""
    if not 0 <= cache < mm.nr_caches or not mm.view("cache")[cache]["alive"]:
        raise SlabError(f"no slab cache has the number {cache}")
    return mm.view("cache")[cache]


def live_caches(mm):
    """The numbers of all caches, oldest first."""
    alive = mm.view("cache")["alive"]
    return [number for number in range(mm.nr_caches) if alive[number]]


def new_record(mm, name):
    """An empty record for a cache: its number. Its lists are empty, all CPUs without slabs."""
    cache = mm.nr_caches
    if cache >= mm.max_caches:
        raise SlabError(f"no room for a {cache + 1}th cache (Layout.max_caches)")
    mm.nr_caches = cache + 1
    mm.cache_names.append(name)
    record = mm.view("cache")[cache]
    record["alive"] = 1
    record["refcount"] = 1
    record["random_seq"] = -1
    record["defrag_ratio"] = 1000
    for cpu in range(mm.nr_cpus):
        place = mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]
        place["tid"] = cpu
        for field in ("slab", "partial", "sheaf_main", "sheaf_spare", "sheaf_rcu"):
            place[field] = -1
    for node in range(mm.nr_nodes):
        place = mm.view("cache_node")[cache * mm.nr_nodes + node]
        place["partial"] = mm.new_list_head()
        place["barn_full"] = -1
        place["barn_empty"] = -1
    return cache


def draw_random_seq(mm, cache):
    """cache_random_seq_create(): the shuffled order of a slab's objects, as byte offsets.

    Fisher-Yates with the twin's own draws. Slabs of one object have none.
    """
    record = mm.view("cache")[cache]
    count = int(record["oo_objects"])
    if count < 2:
        return
    order = list(range(count))
    for place in range(count - 1, 0, -1):
        other = draw(mm) % (place + 1)
        order[place], order[other] = order[other], order[place]
    set_random_seq(mm, cache, [number * int(record["size"]) for number in order])


def set_random_seq(mm, cache, offsets):
    """Gives a cache its shuffled order: byte offsets into a slab, without red_left_pad."""
    record = mm.view("cache")[cache]
    if not len(offsets):
        record["random_seq"] = -1
        return
    start = mm.next_random_seq
    store = mm.view("random_seq")
    if start + len(offsets) > len(store):
        raise SlabError("no room for another random_seq")
    store[start : start + len(offsets)] = offsets
    record["random_seq"] = start
    mm.next_random_seq = start + len(offsets)


def lay_out(mm, cache, object_size, align, flags, ctor=0, freeptr_offset=None, sheaf_asked=0):
    """kmem_cache_open(): fills a record's layout, orders and limits. Raises SlabError if none
    fits.
    """
    has = mm.view("has")[0]
    record = mm.view("cache")[cache]
    page_size = 1 << mm.page_shift
    kasan_info = {}
    layout = slub_layout.object_layout(
        has, object_size, align, flags, bool(ctor), freeptr_offset,
        page_size << (mm.nr_orders - 1), kasan_info,
    )  # fmt: skip
    size = layout["size"]
    if mm.checkers & CHECK_KASAN and kasan_info:
        mm.kasan.set_layout(cache, **kasan_info)
    order = order_of(mm, size, slub_layout.calculate_order)
    if order < 0:
        raise SlabError(f"objects of {size} bytes fit into no block of pages")
    record["object_size"] = object_size
    record["align"] = align
    record["ctor"] = ctor
    for field, value in layout.items():
        record[field] = value
    record["oo_order"] = order
    record["oo_objects"] = (page_size << order) // size
    record["min_order"] = slub_layout.get_order(size, page_size)
    record["min_objects"] = (page_size << int(record["min_order"])) // size
    record["allocflags"] = slub_layout.allocation_flags(has, flags, order)
    record["min_partial"] = limit_of(mm, "min_partial", size, slub_layout.minimum_partial(size))
    objects, slabs = slub_layout.cpu_partial_limits(
        has, size, page_size, int(record["oo_objects"]), flags
    )
    if has.slub_cpu_partial and "cpu_partial" in mm.policy:
        objects = limit_of(mm, "cpu_partial", size, int(record["oo_objects"]), objects)
        if has.cpu_partial_counts_slabs:
            slabs = -(-objects * 2 // int(record["oo_objects"]))
    record["cpu_partial"] = objects
    record["cpu_partial_slabs"] = slabs
    record["sheaf_capacity"] = 0
    if not flags & SLAB_KMALLOC:
        record["sheaf_capacity"] = slub_layout.sheaf_capacity(
            has, size, page_size, flags, sheaf_asked, lambda wanted: kmalloc_roundup(has, wanted)
        )


def kmalloc_roundup(has, size):
    """kmalloc_size_roundup() of a size that a kmalloc cache serves, by the rule alone."""
    smallest = max(has.kmalloc_minalign, has.kmalloc_dma_align)
    if smallest <= 32 and 64 < size <= 96:
        return 96
    if smallest <= 64 and 128 < size <= 192:
        return 192
    return max(1 << (size - 1).bit_length(), smallest)


def spared_flags(mm, size, align, flags, ctor=0, freeptr_offset=None):
    """kmem_cache_open(): with slub_debug=O, the flags without those that would need larger slabs.
    """
    if mm.slub_debug is None or not mm.slub_debug.spares_orders:
        return flags
    has, page = mm.view("has")[0], 1 << mm.page_shift
    layout = slub_layout.object_layout(has, size, align, flags, bool(ctor), freeptr_offset)
    grows = slub_layout.get_order(layout["size"], page) > slub_layout.get_order(size, page)
    return flags & ~SLAB_METADATA_FLAGS if grows else flags


def slab_unmergeable(has, record):
    """slab_unmergeable(): whether no other cache may share this one.

    Those with sheaves neither, while only some have any (2d517aa09bbc, 6.18).
    """
    return bool(
        not has.slab_merge
        or int(record["flags"]) & SLAB_NEVER_MERGE
        or record["ctor"]
        or (has.usercopy_unmergeable and record["usersize"])
        or (has.sheaves == 1 and record["sheaf_capacity"])
        or record["refcount"] < 0
    )


def find_mergeable(mm, name, size, align, flags, ctor=0):
    """find_mergeable(): the oldest cache that can serve objects of this size as well, or -1.

    At most 7 bytes larger, of a compatible alignment, with the same SLAB_MERGE_SAME flags.
    """
    has = mm.view("has")[0]
    flags = kmem_cache_flags(mm, flags, name)
    if not has.slab_merge or ctor or flags & SLAB_NEVER_MERGE:
        return -1
    size = align_up(size, slub_layout.WORD)
    align = slub_layout.calculate_alignment(has, flags, align, size)
    size = align_up(size, align)
    for cache in live_caches(mm):
        record = mm.view("cache")[cache]
        theirs = int(record["size"])
        if slab_unmergeable(has, record) or size > theirs:
            continue
        if (flags ^ int(record["flags"])) & SLAB_MERGE_SAME:
            continue
        if theirs % align == 0 and theirs - size < slub_layout.WORD:
            return cache
    return -1


def kmem_cache_create(
    mm,
    name,
    size,
    align=0,
    flags=0,
    *,
    useroffset=0,
    usersize=0,
    ctor=0,
    freeptr_offset=None,
    sheaf_capacity=0,
):
    """Creates a cache of objects of `size` bytes, or finds one to share: its number.

    `align` in bytes, `flags` SLAB_*; `useroffset`, `usersize`: the region that user space may
    copy; `ctor`: a number other than 0 if objects are constructed; `freeptr_offset`,
    `sheaf_capacity`: of struct kmem_cache_args. Raises SlabError as kmem_cache_create() returns
    NULL. mm/slab_common.c: kmem_cache_create_usercopy(), __kmem_cache_create_args() since 6.12.
    """
    has = mm.view("has")[0]
    if not name or size < 1 or size > (1 << (mm.page_shift + mm.nr_orders - 1)):
        mm.complaints.append({"kind": COMPLAINT_BAD_CACHE, "address": 0, "detail": size})
        raise SlabError(f"kmem_cache_create({name!r}): bad name or size {size}")
    if align < 0 or align & (align - 1):
        raise SlabError(f"kmem_cache_create({name!r}): alignment {align} is no power of two")
    if (useroffset and not usersize) or useroffset + usersize > size:
        useroffset = usersize = 0
    if has.sheaves == 2 and sheaf_capacity:
        flags |= SLAB_NO_MERGE
    if not usersize and not (has.sheaves and sheaf_capacity):
        cache = find_mergeable(mm, name, size, align, flags, ctor)
        if cache >= 0:
            record = mm.view("cache")[cache]
            record["refcount"] += 1
            record["object_size"] = max(int(record["object_size"]), size)
            record["inuse"] = max(
                int(record["inuse"]), align_up(size, slub_layout.WORD)
            )
            mm.cache_aliases.setdefault(cache, []).append(name)
            return cache
    flags = kmem_cache_flags(mm, flags, name)
    cache = new_record(mm, name)
    record = mm.view("cache")[cache]
    align = slub_layout.calculate_alignment(has, flags, align, size)
    flags = spared_flags(mm, size, align, flags, ctor, freeptr_offset)
    try:
        lay_out(mm, cache, size, align, flags, ctor, freeptr_offset, sheaf_capacity)
    except SlabError:
        record["alive"] = 0
        raise
    record["useroffset"] = useroffset
    record["usersize"] = usersize
    set_up(mm, cache)
    return cache


def set_up(mm, cache):
    """kmem_cache_open(): what a new cache draws, and its first sheaves."""
    has = mm.view("has")[0]
    record = mm.view("cache")[cache]
    if has.freelist_hardened:
        record["random"] = draw(mm)
    if has.freelist_random:
        draw_random_seq(mm, cache)
    if not init_sheaves(mm, cache):
        record["sheaf_capacity"] = 0  # before kmalloc works: bootstrap_cache_sheaves() comes later


def node_record(mm, cache, node):
    """The record of a cache's node as numpy sees it."""
    return mm.view("cache_node")[cache * mm.nr_nodes + node]


def relink(mm, head, entries):
    """Makes a list hold these entries, in this order."""
    pages = mm.view("page")
    chain = [head, *entries, head]
    for before, after in pairwise(chain):
        pages["next"][before] = after
        pages["prev"][after] = before


def flush_all(mm, cache):
    """flush_all(): what the CPUs keep goes to the nodes' lists."""
    running = mm.cpu
    for cpu in range(mm.nr_cpus):
        mm.cpu = cpu
        flush_sheaves(mm, cache)
        flush_cpu_slab(mm, cache, cpu)
    mm.cpu = running

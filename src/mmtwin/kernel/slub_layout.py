"""The layout of a cache: where what lies in an object, how many objects a slab holds, list limits.

mm/slub.c: calculate_sizes(), calculate_order(), set_cpu_partial(), calculate_sheaf_capacity();
mm/slab_common.c: calculate_alignment(). Pure functions of numbers: `has` is a record of features.
"""

from mmtwin.kernel.align import align_up
from mmtwin.kernel.constants import (
    __GFP_COMP,
    __GFP_DMA,
    __GFP_DMA32,
    __GFP_RECLAIMABLE,
)
from mmtwin.kernel.kasan_layout import kasan_cache_create
from mmtwin.kernel.slub_defs import (
    MAX_OBJS_PER_PAGE,
    MAX_PARTIAL,
    MIN_PARTIAL,
    SLAB_CACHE_DMA,
    SLAB_CACHE_DMA32,
    SLAB_DEBUG_FLAGS,
    SLAB_HWCACHE_ALIGN,
    SLAB_KMALLOC,
    SLAB_NO_SHEAVES,
    SLAB_NOLEAKTRACE,
    SLAB_OBJECT_POISON,
    SLAB_POISON,
    SLAB_RECLAIM_ACCOUNT,
    SLAB_RED_ZONE,
    SLAB_STORE_USER,
    SLAB_TYPESAFE_BY_RCU,
)

WORD = 8
SHEAF_HEADER = 32  # offsetof(struct slab_sheaf, objects)


def get_order(size, page_size):
    """get_order(): the smallest order of pages that holds `size` bytes."""
    return max((size - 1).bit_length() - (page_size.bit_length() - 1), 0) if size > 1 else 0


def calculate_alignment(has, flags, align, size):
    """calculate_alignment(): the alignment of a cache's objects, in bytes.

    Objects that ask for cache lines (SLAB_HWCACHE_ALIGN) share a line if two or more fit.
    """
    if flags & SLAB_HWCACHE_ALIGN:
        line = has.cache_line
        while size <= line // 2:
            line //= 2
        align = max(align, line)
    return align_up(max(align, has.slab_minalign), WORD)


def minimum_objects(has, present_cpus, cpu_ids):
    """calculate_order(): how many objects a slab should hold at least: 4 * (fls(CPUs) + 1).

    nr_cpu_ids; since 3286222fc609 (5.11) the present CPUs unless that is one.
    """
    if has.slub_min_objects:
        return has.slub_min_objects
    cpus = present_cpus if has.slub_present_cpus and present_cpus > 1 else cpu_ids
    return 4 * (cpus.bit_length() + 1)


def lowest_order(size, first_order, max_order, fraction, page_size, tried=None):
    """calc_slab_order(): the lowest order that wastes at most 1/fraction; max_order + 1 if none.
    """
    for order in range(first_order, max_order + 1):
        slab_size = page_size << order
        fits = slab_size % size <= slab_size // fraction
        if tried is not None:
            tried.append((order, fraction, slab_size // size, slab_size % size, fits))
        if fits:
            return order
    return max_order + 1


def calculate_order(has, size, page_size, nr_orders, present_cpus, cpu_ids, tried=None):
    """calculate_order(): the order of a cache's slabs, or -1 if no block holds an object.

    `size`: bytes from object to object. Tries to waste at most 1/16, then 1/8, 1/4 of a slab,
    before 0fe2735d5e2e (6.7) with fewer and fewer objects; since then 1/2 at last, with as many
    objects. `tried` is a list that gets (order, fraction, objects, bytes left over, taken) of
    every order looked at.
    """
    max_order = has.slub_max_order
    wanted = minimum_objects(has, present_cpus, cpu_ids)
    wanted = min(wanted, max((page_size << max_order) // size, 1))
    if has.slub_order_by_waste:
        first = max(has.slub_min_order, get_order(wanted * size, page_size))
        if (page_size << first) // size > MAX_OBJS_PER_PAGE:
            return get_order(size * MAX_OBJS_PER_PAGE, page_size) - 1
        for fraction in (16, 8, 4, 2):
            order = lowest_order(size, first, max_order, fraction, page_size, tried)
            if order <= max_order:
                return order
        order = get_order(size, page_size)
        return order if order < nr_orders else -1
    if (page_size << has.slub_min_order) // size > MAX_OBJS_PER_PAGE:
        return get_order(size * MAX_OBJS_PER_PAGE, page_size) - 1
    for objects in range(wanted, 1, -1):
        first = max(has.slub_min_order, get_order(objects * size, page_size))
        for fraction in (16, 8, 4):
            order = lowest_order(size, first, max_order, fraction, page_size, tried)
            if order <= max_order:
                return order
    first = max(has.slub_min_order, get_order(size, page_size))
    order = lowest_order(size, first, max_order, 1, page_size, tried)
    if order > max_order:
        order = lowest_order(size, first, nr_orders - 1, 1, page_size, tried)
    return order if order < nr_orders else -1


def object_layout(
    has, object_size, align, flags, ctor, freeptr_offset=None, largest=1 << 22, kasan_info=None
):
    """calculate_sizes(): {size, inuse, offset, red_left_pad, flags} of a cache, in bytes.

    `align`: of calculate_alignment(). `ctor`: whether there is a constructor. `freeptr_offset`:
    where the cache itself has room for the free pointer (struct kmem_cache_args, 6.12), only
    with SLAB_TYPESAFE_BY_RCU. Red zones, poison and owner tracks of slub_debug= enlarge objects,
    so does KASAN: `largest` is KMALLOC_MAX_SIZE, `kasan_info` a dict that gets where its
    metadata lies.
    """
    size = align_up(object_size, WORD)
    by_rcu = bool(flags & SLAB_TYPESAFE_BY_RCU)
    flags &= ~SLAB_OBJECT_POISON
    if flags & SLAB_POISON and not by_rcu and not ctor:
        flags |= SLAB_OBJECT_POISON
    if flags & SLAB_RED_ZONE and size == object_size:
        size += WORD
    inuse = size
    keeps_size = has.orig_size_bytes and flags & SLAB_STORE_USER and flags & SLAB_KMALLOC
    tight = object_size < WORD or (keeps_size and has.orig_size_moves_freeptr)
    kept = by_rcu or ctor  # a free object's first word must not change
    own_place = kept and freeptr_offset is not None and (not ctor or has.freeptr_with_ctor)
    if (kept and not own_place) or flags & SLAB_POISON or (flags & SLAB_RED_ZONE and tight):
        offset = size
        size += WORD
    elif own_place:
        offset = freeptr_offset
    else:
        offset = object_size // 2 // WORD * WORD
    if flags & SLAB_STORE_USER:
        size += 2 * has.track_bytes
        if flags & SLAB_KMALLOC:
            size += has.orig_size_bytes
    if has.kasan:
        kasan = kasan_cache_create(has, object_size, size, flags, ctor, largest)
        size, flags = kasan.pop("size"), kasan.pop("flags")
        if kasan_info is not None:
            kasan_info.update(kasan)
    red_left_pad = 0
    if flags & SLAB_RED_ZONE:
        red_left_pad = align_up(WORD, align)
        size += WORD + red_left_pad
    return {
        "size": align_up(size, align),
        "inuse": inuse,
        "offset": offset,
        "red_left_pad": red_left_pad,
        "flags": flags,
    }


def allocation_flags(has, flags, order):
    """calculate_sizes(): the gfp bits that every slab of a cache is allocated with."""
    gfp = __GFP_COMP if order or has.slab_always_compound else 0
    if flags & SLAB_CACHE_DMA:
        gfp |= __GFP_DMA
    if flags & SLAB_CACHE_DMA32:
        gfp |= __GFP_DMA32
    if flags & SLAB_RECLAIM_ACCOUNT:
        gfp |= __GFP_RECLAIMABLE
    return gfp


def minimum_partial(size):
    """set_min_partial(): how many slabs a node keeps at least: log2(size) / 2 within 5 and 10."""
    return max(MIN_PARTIAL, min(MAX_PARTIAL, (size.bit_length() - 1) // 2))


def cpu_partial_limits(has, size, page_size, objects, flags):
    """set_cpu_partial(): (cpu_partial in objects, cpu_partial_slabs).

    b47291ef02b0 (5.16) counts slabs, takes them for half full, and allows for more.
    """
    if not has.slub_cpu_partial or flags & SLAB_DEBUG_FLAGS:
        return 0, 0
    counts = (6, 24, 52, 120) if has.cpu_partial_counts_slabs else (2, 6, 13, 30)
    if size >= page_size:
        limit = counts[0]
    elif size >= 1024:
        limit = counts[1]
    elif size >= 256:
        limit = counts[2]
    else:
        limit = counts[3]
    return limit, -(-limit * 2 // objects) if has.cpu_partial_counts_slabs else 0


def sheaf_capacity(has, size, page_size, flags, asked, roundup):
    """calculate_sheaf_capacity(): objects in a sheaf of this cache, 0 for none.

    `asked`: what the cache's creator asked for. `roundup`: kmalloc_size_roundup(), since a sheaf
    is a kmalloc object that is used up to its end. In 6.18 only caches that ask have sheaves.
    """
    if not has.sheaves or flags & SLAB_DEBUG_FLAGS:
        return 0
    if has.sheaves == 1:
        return asked
    if flags & (SLAB_NO_SHEAVES | SLAB_NOLEAKTRACE):
        return 0
    if size >= page_size:
        capacity = 4
    elif size >= 1024:
        capacity = 12
    elif size >= 256:
        capacity = 26
    else:
        capacity = 60
    capacity = (roundup(SHEAF_HEADER + WORD * capacity) - SHEAF_HEADER) // WORD
    return max(capacity, asked)

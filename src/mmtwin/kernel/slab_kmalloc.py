"""The kmalloc caches and the boot caches: kmem_cache_init(), create_kmalloc_caches().

mm/slab_common.c, mm/slub.c. `mm.view("kmalloc_cache")` is kmalloc_caches[type][index].
"""

from mmtwin.kernel import slub_layout
from mmtwin.kernel.align import align_up
from mmtwin.kernel.policy import classes_of
from mmtwin.kernel.slub_cache import (
    SlabError,
    draw_random_seq,
    kmalloc_roundup,
    kmem_cache_create,
    lay_out,
    live_caches,
    new_record,
    spared_flags,
)
from mmtwin.kernel.slub_defs import (
    KMALLOC_BUCKETS,
    KMALLOC_CGROUP,
    KMALLOC_DMA,
    KMALLOC_INDEXES,
    KMALLOC_NO_OBJ_EXT,
    KMALLOC_NORMAL,
    KMALLOC_RANDOM_1,
    KMALLOC_RECLAIM,
    NR_KMALLOC_TYPES,
    SLAB_ACCOUNT,
    SLAB_CACHE_DMA,
    SLAB_HWCACHE_ALIGN,
    SLAB_KMALLOC,
    SLAB_NO_MERGE,
    SLAB_NO_OBJ_EXT,
    SLAB_NO_SHEAVES,
    SLAB_RECLAIM_ACCOUNT,
)
from mmtwin.kernel.slub_freelist import draw
from mmtwin.kernel.slub_options import kmem_cache_flags
from mmtwin.kernel.slub_pcs import init_sheaves

# kmalloc_info[]: bytes and the end of the name, by index.
KMALLOC_INFO = [(0, "0"), (96, "96"), (192, "192")]
KMALLOC_INFO += [(1 << index, str(1 << index)) for index in range(3, 10)]
KMALLOC_INFO += [(1024 << index, f"{1 << index}k") for index in range(10)]
PREFIXES = {
    KMALLOC_NORMAL: "kmalloc-",
    KMALLOC_RECLAIM: "kmalloc-rcl-",
    KMALLOC_DMA: "dma-kmalloc-",
    KMALLOC_CGROUP: "kmalloc-cg-",
    KMALLOC_NO_OBJ_EXT: "kmalloc-no-objext-",
}
UNMERGEABLE = -1  # kmem_cache.refcount of caches that nothing may share
# sizeof(struct kmem_cache_node), offsetof(struct kmem_cache, node): about, they differ a little.
KMEM_CACHE_NODE_BYTES = 64
KMEM_CACHE_BYTES = 256


def kmalloc_info(mm):
    """[(bytes, end of the name)] by index: the kernel's own, or those of the policy."""
    return mm.kmalloc_info or KMALLOC_INFO


def kmalloc_name(type, index, info=KMALLOC_INFO):
    """The name of a kmalloc cache: `kmalloc-rcl-96`, `kmalloc-rnd-03-1k`."""
    if KMALLOC_RANDOM_1 <= type < KMALLOC_RECLAIM:
        return f"kmalloc-rnd-{type:02}-{info[index][1]}"
    return PREFIXES[type] + info[index][1]


def kmalloc_types(has):
    """The types of kmalloc caches that a kernel has, in the order of enum kmalloc_cache_type."""
    types = [KMALLOC_NORMAL, *range(KMALLOC_RANDOM_1, KMALLOC_RANDOM_1 + has.kmalloc_random)]
    if has.kmalloc_cgroup and not has.kmalloc_cgroup_last:
        types.append(KMALLOC_CGROUP)
    types.append(KMALLOC_RECLAIM)
    if has.zone_dma:
        types.append(KMALLOC_DMA)
    if has.kmalloc_cgroup and has.kmalloc_cgroup_last:
        types.append(KMALLOC_CGROUP)
    if has.kmalloc_no_objext:
        types.append(KMALLOC_NO_OBJ_EXT)
    return types


def kmalloc_flags(has, type):
    """new_kmalloc_cache(): the SLAB_* of a type's caches."""
    flags = SLAB_KMALLOC
    if type == KMALLOC_RECLAIM:
        flags |= SLAB_RECLAIM_ACCOUNT
    elif type == KMALLOC_DMA:
        flags |= SLAB_CACHE_DMA
    elif type == KMALLOC_CGROUP:
        flags |= SLAB_ACCOUNT
    elif type == KMALLOC_NO_OBJ_EXT:
        flags |= SLAB_NO_OBJ_EXT | SLAB_NO_MERGE
    elif KMALLOC_RANDOM_1 <= type < KMALLOC_RECLAIM:
        flags |= SLAB_NO_MERGE
    return flags


def boot_cache_align(has, size, flags):
    """create_boot_cache(): the alignment of a cache of kmalloc or of SLUB itself, in bytes.

    A power of two is aligned to itself (59bb47985c1d, 5.4); since ad59baa31695 (6.11) every
    kmalloc size to its largest divisor that is one.
    """
    align = has.kmalloc_minalign
    if has.kmalloc_divisor_align:
        if flags & SLAB_KMALLOC:
            align = max(align, size & -size)
    elif size & (size - 1) == 0:
        align = max(align, size)
    return slub_layout.calculate_alignment(has, flags, align, size)


def create_boot_cache(mm, name, size, flags):
    """create_boot_cache(): a cache of kmalloc or of SLUB itself, which no other may share yet."""
    has = mm.view("has")[0]
    align = boot_cache_align(has, size, flags)
    cache = new_record(mm, name)
    flags = spared_flags(mm, size, align, kmem_cache_flags(mm, flags, name))
    lay_out(mm, cache, size, align, flags)
    record = mm.view("cache")[cache]
    if flags & SLAB_KMALLOC:
        record["usersize"] = size
    if has.freelist_hardened:
        record["random"] = draw(mm)
    record["refcount"] = UNMERGEABLE
    return cache


def new_kmalloc_cache(mm, type, index):
    """new_kmalloc_cache(): the cache for an index, or that of the size which run-time alignment
    allows.
    """
    has = mm.view("has")[0]
    table = mm.view("kmalloc_cache")
    infos = kmalloc_info(mm)
    size, aligned = infos[index][0], index
    minalign = max(has.kmalloc_dma_align, has.slab_minalign)
    if minalign > has.kmalloc_minalign:
        size = align_up(size, minalign)
        least = min(info[0] for info in infos if info[0] >= size)
        aligned = next(place for place, info in enumerate(infos) if place and info[0] == least)
        size = least
    place = type * KMALLOC_INDEXES + aligned
    if type == KMALLOC_CGROUP and not has.memcg_kmem:
        table[place] = table[KMALLOC_NORMAL * KMALLOC_INDEXES + aligned]
    if table[place] < 0:
        table[place] = create_boot_cache(
            mm, kmalloc_name(type, aligned, infos), size, kmalloc_flags(has, type)
        )
        alone = type == KMALLOC_NORMAL and has.kmalloc_unmergeable > (not has.memcg_kmem)
        mm.view("cache")[int(table[place])]["refcount"] = UNMERGEABLE if alone else 1
    table[type * KMALLOC_INDEXES + index] = table[place]


def create_kmalloc_caches(mm):
    """create_kmalloc_caches(): all types and sizes, in the order of the release."""
    has = mm.view("has")[0]
    lowest = has.kmalloc_minalign.bit_length() - 1
    highest = mm.page_shift + 1
    odd = [1] if has.kmalloc_minalign <= 32 else []
    odd += [2] if has.kmalloc_minalign <= 64 else []
    order = list(range(lowest, highest + 1))
    if has.kmalloc_odd_first:
        order = odd + order
    else:
        for index in odd:
            order.insert(order.index(index + 5) + 1, index)
    classes = classes_of(mm, kernel_classes(mm))
    if classes:
        order = list(range(1, set_classes(mm, classes)))
    types = kmalloc_types(has)
    for type in types:
        if type == KMALLOC_DMA and has.kmalloc_dma_last:
            order = sorted(order)
        for index in order:
            new_kmalloc_cache(mm, type, index)


def kernel_classes(mm):
    """The sizes of the kernel's own kmalloc caches, in bytes, ascending."""
    least = max(mm.view("has")[0].kmalloc_minalign, mm.view("has")[0].kmalloc_dma_align)
    sizes = {size for size, _ in KMALLOC_INFO if least <= size <= 2 << mm.page_shift}
    return sorted(size for size in sizes if size % least == 0 or least <= 32)


def set_classes(mm, classes):
    """kmalloc's caches have these sizes from now on: by number from 1 on; one behind the last."""
    mm.kmalloc_info = [(0, "0"), *((size, short_size(size)) for size in classes)]
    table, start = mm.view("kmalloc_class"), 0
    for index, size in enumerate(classes, 1):
        table[start : size // 8] = index
        start = size // 8
    mm.kmalloc_classed = 1
    return len(classes) + 1


def short_size(size):
    """How a kmalloc cache is named for its size: 96, 1k, 8k."""
    return f"{size >> 10}k" if size % 1024 == 0 else str(size)


def adopt_kmalloc_caches(mm):
    """Fills kmalloc_caches[][] with the caches of those names, as an adopted machine has them.

    A size without a cache of its own takes the next larger. Returns the names that are missing.
    """
    has = mm.view("has")[0]
    table = mm.view("kmalloc_cache")
    numbers = {mm.cache_names[cache]: cache for cache in reversed(live_caches(mm))}
    for cache, names in mm.cache_aliases.items():
        numbers.update(dict.fromkeys(names, cache))
    missing = []
    for type in kmalloc_types(has):
        serves = KMALLOC_NORMAL if type == KMALLOC_CGROUP and not has.memcg_kmem else type
        for index in (*range(mm.page_shift + 1, 7, -1), 2, 7, 1, 6, 5, 4, 3):
            place = type * KMALLOC_INDEXES + index
            name = kmalloc_name(serves, index)
            larger = {1: 7, 2: 8}.get(index, index + 1)
            if name in numbers:
                table[place] = numbers[name]
            elif index <= mm.page_shift:
                table[place] = table[type * KMALLOC_INDEXES + larger]
            if table[place] < 0:
                missing.append(name)
    return missing


def bootstrap_kmalloc_sheaves(mm):
    """bootstrap_kmalloc_sheaves(): since 7.0 the kmalloc caches get their sheaves once all
    exist.
    """
    has = mm.view("has")[0]
    if has.sheaves < 2:
        return
    caches = sorted({int(cache) for cache in mm.view("kmalloc_cache") if cache >= 0})
    for cache in caches:
        set_sheaf_capacity(mm, cache)
    for cache in caches:
        init_sheaves(mm, cache)


def set_sheaf_capacity(mm, cache):
    """calculate_sheaf_capacity() of a kmalloc cache."""
    has = mm.view("has")[0]
    record = mm.view("cache")[cache]
    record["sheaf_capacity"] = slub_layout.sheaf_capacity(
        has,
        int(record["size"]),
        1 << mm.page_shift,
        int(record["flags"]),
        0,
        lambda wanted: kmalloc_roundup(has, wanted),
    )


def kmem_cache_init(mm):
    """Makes SLUB ready on a machine that has none: boot caches, then kmalloc; kmem_cache_init().

    Raises SlabError if the machine has caches already.
    """
    if mm.nr_caches:
        raise SlabError("the machine has slab caches already")
    has = mm.view("has")[0]
    flags = SLAB_HWCACHE_ALIGN | (SLAB_NO_SHEAVES | SLAB_NO_OBJ_EXT if has.sheaves == 2 else 0)
    create_boot_cache(mm, "kmem_cache_node", KMEM_CACHE_NODE_BYTES, flags)
    create_boot_cache(mm, "kmem_cache", KMEM_CACHE_BYTES, flags)
    create_kmalloc_caches(mm)
    bootstrap_kmalloc_sheaves(mm)
    if has.freelist_random:
        for cache in live_caches(mm):
            draw_random_seq(mm, cache)


def kmem_buckets_create(mm, name, flags=0, useroffset=0, usersize=0):
    """A set of kmalloc caches of its own, e.g. `msg_msg`: its type for `mm.view("kmalloc_cache")`.

    KMALLOC_NORMAL where a kernel has none. Raises SlabError if there are too many. b32801d1255b
    (6.11).
    """
    has = mm.view("has")[0]
    if not has.kmalloc_buckets:
        return KMALLOC_NORMAL
    table = mm.view("kmalloc_cache")
    free = [
        type
        for type in range(KMALLOC_BUCKETS, NR_KMALLOC_TYPES)
        if (table[type * KMALLOC_INDEXES : (type + 1) * KMALLOC_INDEXES] < 0).all()
    ]
    if not free:
        raise SlabError(f"no room for the caches of {name!r}")
    infos = kmalloc_info(mm)
    for index in range(1, len(infos) if mm.kmalloc_classed else mm.page_shift + 2):
        normal = int(table[KMALLOC_NORMAL * KMALLOC_INDEXES + index])
        if normal < 0:
            continue
        size = int(mm.view("cache")[normal]["object_size"])
        offset, copied = (
            (useroffset, min(size - useroffset, usersize)) if useroffset < size else (0, 0)
        )
        short = mm.cache_names[normal].partition("-")[2]
        own = next(place for place, info in enumerate(infos) if place and info[0] == size)
        place = free[0] * KMALLOC_INDEXES + own
        if table[place] < 0:
            table[place] = kmem_cache_create(
                mm,
                f"{name}-{short}",
                size,
                0,
                flags | SLAB_NO_MERGE,
                useroffset=offset,
                usersize=copied,
            )
        table[free[0] * KMALLOC_INDEXES + index] = table[place]
    return free[0]

"""Which kmalloc cache serves a size: kmalloc_index(), kmalloc_type(), kmalloc_slab().

include/linux/slab.h, mm/slab_common.c. `mm.kmalloc_cache` holds the caches by type and index;
index 1 is 96 bytes, 2 is 192, any other n is 2^n. Where the smallest alignment rules sizes out
(arm64), their places hold the next larger cache.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import __GFP_ACCOUNT, __GFP_DMA, __GFP_RECLAIMABLE
    from mmtwin.kernel.slub_defs import (
        KMALLOC_CGROUP,
        KMALLOC_DMA,
        KMALLOC_INDEXES,
        KMALLOC_NORMAL,
        KMALLOC_RECLAIM,
    )
    from mmtwin.kernel.trace import STEP_KMALLOC_INDEX, step

    GOLDEN_RATIO_64 = 0x61C8864680B583EB

    def multiplied(a, b):
        """The low 64 bits of a product."""
        return a * b & ((1 << 64) - 1)


def kmalloc_index(mm, size):
    """kmalloc_index(): 1 for 65 .. 96 bytes, 2 for 129 .. 192, else n for 2^(n-1)+1 .. 2^n; 0
    for 0. With a policy of size classes, their number.

    `size`: u64 bytes. What is no larger than ARCH_KMALLOC_MINALIGN takes the index of that.
    """
    if size == 0:
        return 0
    if mm.kmalloc_classed:
        return mm.kmalloc_class[(size - 1) >> 3]
    if mm.has.kmalloc_minalign <= 32 and 64 < size <= 96:
        return 1
    if mm.has.kmalloc_minalign <= 64 and 128 < size <= 192:
        return 2
    if size < mm.has.kmalloc_minalign:
        size = mm.has.kmalloc_minalign
    index = 3
    size = (size - 1) >> 3
    while size:
        index += 1
        size >>= 1
    return index


def random_type(mm, caller):
    """kmalloc_type() with CONFIG_RANDOM_KMALLOC_CACHES: hash_64(caller ^ seed, 4). 3c6152940584
    (6.6).
    """
    return multiplied(caller ^ mm.random_kmalloc_seed, GOLDEN_RATIO_64) >> 60


def kmalloc_type(mm, gfp, caller):
    """kmalloc_type(): KMALLOC_* by the caller's flags: DMA before reclaimable before accounted.

    `caller`: address of the call (u64), which chooses among random caches; 0 where there are none.
    """
    if not gfp & (__GFP_DMA | __GFP_RECLAIMABLE | __GFP_ACCOUNT):
        return random_type(mm, caller) if mm.has.kmalloc_random else KMALLOC_NORMAL
    if mm.has.zone_dma and gfp & __GFP_DMA:
        return KMALLOC_DMA
    if gfp & __GFP_RECLAIMABLE:
        return KMALLOC_RECLAIM
    if mm.has.kmalloc_cgroup:
        return KMALLOC_CGROUP
    return random_type(mm, caller) if mm.has.kmalloc_random else KMALLOC_NORMAL


def kmalloc_slab_for(mm, size, gfp, caller):
    """kmalloc_slab(): the number of the cache for `size` (u64, at most 2 pages) bytes, -1 if
    none.
    """
    index = kmalloc_index(mm, size)
    type = kmalloc_type(mm, gfp, caller)
    step(mm, STEP_KMALLOC_INDEX, size, index, type)
    return mm.kmalloc_cache[type * KMALLOC_INDEXES + index]


def kmalloc_slab(mm, size, gfp):
    """The number of the kmalloc cache for a size (u64 bytes) and flags (the twin's), -1 if none.
    """
    return kmalloc_slab_for(mm, size, gfp, 0)

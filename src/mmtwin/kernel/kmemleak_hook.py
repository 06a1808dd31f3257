"""What the allocators call of kmemleak, where `mm.checkers & CHECK_KMEMLEAK` is set.

include/linux/kmemleak.h: kmemleak_alloc(), kmemleak_alloc_recursive(), kmemleak_free(),
kmemleak_free_recursive().
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.slub_defs import SLAB_NOLEAKTRACE


def kmemleak_alloc(mm, pointer, size, min_count, gfp):
    """kmemleak_alloc(): tracks an object; see Kmemleak.alloc()."""
    mm.kmemleak.alloc(pointer, size, min_count, gfp)


def kmemleak_alloc_recursive(mm, pointer, size, min_count, flags, gfp):
    """kmemleak_alloc_recursive(): not for the caches that kmemleak itself uses."""
    if not flags & SLAB_NOLEAKTRACE:
        kmemleak_alloc(mm, pointer, size, min_count, gfp)


def kmemleak_free(mm, pointer):
    """kmemleak_free(): tracks an object no longer; see Kmemleak.free()."""
    mm.kmemleak.free(pointer)


def kmemleak_free_recursive(mm, pointer, flags):
    """kmemleak_free_recursive()"""
    if not flags & SLAB_NOLEAKTRACE:
        kmemleak_free(mm, pointer)

"""KASAN's hooks in SLUB and in the page allocator: from compiled code to `mm.kasan`.

Each is called only where `mm.checkers & CHECK_KASAN`; with KASAN off none of them runs.
"""


def kasan_slab_alloc(mm, cache, object, gfp):
    """kasan_slab_alloc(): an object (u64, 0 if there was no memory) was taken from a cache."""
    mm.kasan.slab_alloc(cache, object, gfp)


def kasan_kmalloc(mm, cache, object, size, gfp):
    """kasan_kmalloc(): `size` (u64) bytes of it were asked for."""
    mm.kasan.kmalloc(cache, object, size, gfp)


def kasan_kmalloc_large(mm, object, size, gfp):
    """kasan_kmalloc_large(): as kasan_kmalloc(), of whole pages."""
    mm.kasan.kmalloc_large(object, size, gfp)


def kasan_krealloc(mm, object, size, gfp):
    """kasan_krealloc(): an object keeps its place and gets another size."""
    mm.kasan.krealloc(object, size, gfp)


def kasan_slab_free(mm, cache, object):
    """kasan_slab_free(): whether SLUB must leave the object alone, quarantined or refused."""
    return mm.kasan.slab_free(cache, object)


def kasan_kfree_large(mm, object):
    """kasan_kfree_large(): whether the free of a large object was refused."""
    return mm.kasan.kfree_large(object)


def kasan_check_byte(mm, address):
    """kasan_check_byte(): whether the byte is accessible; if not, that is reported."""
    return mm.kasan.check_byte(address)


def kasan_unpoison_range(mm, address, size):
    """kasan_unpoison_range()"""
    mm.kasan.unpoison_range(address, size)


def kasan_poison_slab(mm, cache, pfn, order):
    """kasan_poison_slab() of a new slab."""
    mm.kasan.poison_slab(cache, pfn, order)


def kasan_unpoison_pages(mm, pfn, order):
    """kasan_unpoison_pages(), kasan_alloc_pages() before 5.13."""
    mm.kasan.unpoison_pages(pfn, order)


def kasan_poison_pages(mm, pfn, order):
    """kasan_poison_pages(), kasan_free_pages() before 5.13."""
    mm.kasan.poison_pages(pfn, order)


def kasan_populate_vmalloc(mm, address, size):
    """kasan_populate_vmalloc(): shadow for a new vmalloc area; whether there was memory."""
    return mm.kasan.populate_vmalloc(address, size)


def kasan_unpoison_vmalloc(mm, address, size):
    """kasan_unpoison_vmalloc(): `size` bytes of an area become accessible."""
    mm.kasan.unpoison_vmalloc(address, size)


def kasan_poison_vmalloc(mm, address, size):
    """kasan_poison_vmalloc(): an area was freed."""
    mm.kasan.poison_vmalloc(address, size)


def kasan_depopulate_vmalloc(mm, start, end, free_start, free_end):
    """kasan_release_vmalloc(): the shadow of an area that lies in a free region."""
    mm.kasan.depopulate_vmalloc(start, end, free_start, free_end)

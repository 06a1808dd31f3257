"""The bytes of a debug cache's objects: red zones, poison, tracks, the size asked for, padding.

    [left red zone] object [right red zone] [free pointer] [tracks] [size asked for] padding

`kmem_cache.inuse` is where the metadata begins, `size` where the next left red zone does.
mm/slub.c: init_object(), get_info_end(), get_track(), set_orig_size(), size_from_object(),
setup_slab_debug(), check_valid_pointer().
"""

import cython

if not cython.compiled:
    import ctypes

    from mmtwin.kernel.ram import cache_at, load64, page_address, pfn_to_page, store64
    from mmtwin.kernel.slub_defs import (
        POISON_END,
        POISON_FREE,
        POISON_INUSE,
        SLAB_KMALLOC,
        SLAB_OBJECT_POISON,
        SLAB_POISON,
        SLAB_RED_ZONE,
        SLAB_STORE_USER,
        SLUB_RED_ACTIVE,
        SLUB_RED_INACTIVE,
        TRACK_ALLOC,
    )
    from mmtwin.kernel.slub_freelist import fill_bytes

    MASK64 = (1 << 64) - 1

    def bytes_at(mm, address, size):
        """Bytes of simulated RAM."""
        start = (address - mm.page_offset) & MASK64
        return ctypes.string_at(ctypes.addressof(mm.ram) + start, size)

    def same_bytes(mm, address, byte, size):
        """How many bytes from an address on have one value (memchr_inv())."""
        data = bytes_at(mm, address, size)
        return size - len(data.lstrip(bytes([byte])))

    def end_of_others(mm, address, byte, size):
        """The bytes from an address to behind the last that has another value."""
        return len(bytes_at(mm, address, size).rstrip(bytes([byte])))


def get_info_end(s):
    """get_info_end(): where tracks begin: behind the free pointer, if that lies outside."""
    return s.inuse + 8 if s.offset >= s.inuse else s.inuse


def get_track(mm, s, object, which):
    """get_track(): the address of a track; `which` is TRACK_ALLOC or TRACK_FREE."""
    return object + get_info_end(s) + which * mm.has.track_bytes


def slub_debug_orig_size(mm, s):
    """slub_debug_orig_size(): whether the size asked of kmalloc is kept. 6edf2576a6cc (6.1)."""
    kept = SLAB_STORE_USER | SLAB_KMALLOC
    return mm.has.orig_size_bytes and s.flags & kept == kept


def metadata_end(mm, s):
    """Where padding begins: behind free pointer, tracks and the size asked for."""
    end = get_info_end(s)
    if s.flags & SLAB_STORE_USER:
        end += 2 * mm.has.track_bytes
        if s.flags & SLAB_KMALLOC:
            end += mm.has.orig_size_bytes
    return end


def size_from_object(s):
    """size_from_object(): from an object to where the next left red zone begins."""
    return s.size - s.red_left_pad if s.flags & SLAB_RED_ZONE else s.size


def get_orig_size(mm, cache, object):
    """get_orig_size(): the bytes asked of kmalloc, the whole object where they are not kept."""
    s = cache_at(mm, cache)
    if not slub_debug_orig_size(mm, s):
        return s.object_size
    value = load64(mm, get_track(mm, s, object, 2))
    return value - (value >> 32 << 32) if mm.has.orig_size_bytes == 4 else value


def set_orig_size(mm, cache, object, size):
    """set_orig_size(): `size` (u64); four bytes of 6.1, eight since b85f369b81ae (7.0)."""
    s = cache_at(mm, cache)
    if not slub_debug_orig_size(mm, s):
        return
    place = get_track(mm, s, object, 2)
    if mm.has.orig_size_bytes == 4:
        size |= load64(mm, place) >> 32 << 32
    store64(mm, place, size)


def redzoned_size(mm, cache, object, active):
    """Where the right red zone begins: behind the bytes asked for, since 946fa0dbf2d8 (6.2)."""
    s = cache_at(mm, cache)
    if active and mm.has.orig_size_moves_freeptr and s.flags & SLAB_RED_ZONE:
        size = get_orig_size(mm, cache, object)
        if size < s.object_size:
            return size
    return s.object_size


def init_object(mm, cache, object, value):
    """init_object(): fills an object's red zones and poison; `value` is SLUB_RED_*."""
    s = cache_at(mm, cache)
    size = redzoned_size(mm, cache, object, value == SLUB_RED_ACTIVE)
    if s.flags & SLAB_RED_ZONE:
        fill_bytes(mm, object - s.red_left_pad, value, s.red_left_pad)
    if s.flags & SLAB_OBJECT_POISON and size:
        fill_bytes(mm, object, POISON_FREE, size - 1)
        fill_bytes(mm, object + size - 1, POISON_END, 1)
    if s.flags & SLAB_RED_ZONE:
        fill_bytes(mm, object + size, value, s.inuse - size)


def setup_slab_debug(mm, cache, pfn):
    """setup_slab_debug(), setup_object_debug(): the bytes of a new slab, before it has a list."""
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    if s.flags & SLAB_POISON:
        fill_bytes(mm, page_address(mm, pfn), POISON_INUSE, 1 << (mm.page_shift + page.order))
    if not s.flags & (SLAB_STORE_USER | SLAB_RED_ZONE | SLAB_OBJECT_POISON):
        return
    object = page_address(mm, pfn) + s.red_left_pad
    for index in range(page.objects):
        init_object(mm, cache, object, SLUB_RED_INACTIVE)
        if s.flags & SLAB_STORE_USER:
            place = get_track(mm, s, object, TRACK_ALLOC)
            fill_bytes(mm, place, 0, 2 * mm.has.track_bytes)
        object += s.size


def check_valid_pointer(mm, cache, pfn, object):
    """check_valid_pointer(): NULL, or where an object of this slab begins."""
    s = cache_at(mm, cache)
    if not object:
        return True
    start = page_address(mm, pfn) + s.red_left_pad
    if object < start:
        return False
    offset = object - start
    return offset < pfn_to_page(mm, pfn).objects * s.size and offset % s.size == 0

"""Free pointers inside free objects, the shuffled order of a new slab, and the bytes of objects.

A free object holds the address of the next at `kmem_cache.offset`; hardened
(CONFIG_SLAB_FREELIST_HARDENED) it is stored as `pointer ^ random ^ swab64(place)`.
mm/slub.c: freelist_ptr(), get_freepointer(), set_freepointer(), shuffle_freelist().
"""

import cython

MASK64 = (1 << 64) - 1

if not cython.compiled:
    import ctypes

    from mmtwin.kernel.constants import __GFP_ZERO
    from mmtwin.kernel.ram import (
        cache_at,
        cache_cpu_of,
        is_ram,
        load64,
        page_address,
        pfn_to_page,
        store64,
        swab64,
    )
    from mmtwin.kernel.slub_defs import (
        SLAB_DEBUG_FLAGS,
        SLAB_KMALLOC,
        SLAB_POISON,
        SLAB_RED_ZONE,
        SLAB_STORE_USER,
        SLAB_TYPESAFE_BY_RCU,
    )

    def freelist_ptr(mm, s, value, place):
        """Encodes or decodes a free pointer that is stored at `place`; freelist_ptr()."""
        if mm.has.freelist_hardened:
            return value ^ s.random ^ swab64(place)
        return value

    def get_freepointer(mm, s, object):
        """The object after this one on its free list, 0 at the end, and where bytes written over a
        free object lead out of RAM.
        """
        place = object + s.offset
        if mm.contents and not is_ram(mm, place):
            return 0
        return freelist_ptr(mm, s, load64(mm, place), place)

    def set_freepointer(mm, s, object, following):
        """Writes the free pointer of an object."""
        place = object + s.offset
        store64(mm, place, freelist_ptr(mm, s, following, place))

    def stat(mm, cache, item):
        """stat(): counts one on the running CPU; item is STAT_*."""
        cache_cpu_of(mm, cache, mm.cpu).stat[item] += 1

    def stat_add(mm, cache, item, count):
        """stat_add()"""
        cache_cpu_of(mm, cache, mm.cpu).stat[item] += count

    def kmem_cache_debug(s):
        """kmem_cache_debug(): whether objects are checked, so that there is no fast path."""
        return s.flags & SLAB_DEBUG_FLAGS

    def shifted_left(value, bits):
        """A 64-bit word shifted to the left."""
        return (value << bits) & MASK64

    def fill_bytes(mm, address, byte, size):
        """memset() of simulated RAM."""
        start = (address - mm.page_offset) & MASK64
        ctypes.memset(ctypes.addressof(mm.ram) + start, byte, size)

    def copy_bytes(mm, to, address, size):
        """memcpy() within simulated RAM."""
        base = ctypes.addressof(mm.ram)
        ctypes.memmove(
            base + ((to - mm.page_offset) & MASK64),
            base + ((address - mm.page_offset) & MASK64),
            size,
        )


def draw(mm):
    """The twin's next random 64-bit number (xorshift), where the kernel would draw its own."""
    state = mm.random_state
    state ^= shifted_left(state, 13)
    state ^= state >> 7
    state ^= shifted_left(state, 17)
    mm.random_state = state
    return state


def next_entry(mm, s, position, limit):
    """next_freelist_entry(): the place in random_seq of the next object that the slab has room
    for.

    `limit`: bytes of the slab that hold objects (fewer than usual if the slab was taken smaller).
    """
    while mm.random_seq[s.random_seq + position] >= limit:
        position += 1
        if position >= s.oo_objects:
            position = 0
    return position


def draw_start(mm, s):
    """Where in random_seq a new slab begins: the caller's input, or drawn (get_random_int() %
    count).
    """
    start = mm.next_freelist_start
    mm.next_freelist_start = -1
    if start < 0:
        start = draw(mm) % s.oo_objects
    return start


def shuffle_freelist(mm, cache, pfn):
    """shuffle_freelist(): links a new slab's objects in the order of random_seq from a random
    start.
    """
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    limit = page.objects * s.size
    start = page_address(mm, pfn) + s.red_left_pad
    position = next_entry(mm, s, draw_start(mm, s), limit)
    current = start + mm.random_seq[s.random_seq + position]
    page.freelist = current
    for index in range(1, page.objects):
        position += 1
        if position >= s.oo_objects:
            position = 0
        position = next_entry(mm, s, position, limit)
        following = start + mm.random_seq[s.random_seq + position]
        set_freepointer(mm, s, current, following)
        current = following
    set_freepointer(mm, s, current, 0)


def build_freelist(mm, cache, pfn):
    """The free list of a new slab: shuffled, or by address (allocate_slab())."""
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    if page.objects >= 2 and s.random_seq >= 0:
        shuffle_freelist(mm, cache, pfn)
        return
    mm.next_freelist_start = -1
    start = page_address(mm, pfn) + s.red_left_pad
    page.freelist = start
    for index in range(1, page.objects):
        set_freepointer(mm, s, start, start + s.size)
        start += s.size
    set_freepointer(mm, s, start, 0)


def wipe_on_alloc(mm, cache, object, gfp):
    """slab_want_init_on_alloc(), maybe_wipe_obj_freeptr(): zeroes an object where the kernel
    does.
    """
    s = cache_at(mm, cache)
    if s.ctor:
        return
    kept = s.flags & (SLAB_TYPESAFE_BY_RCU | SLAB_POISON)
    if gfp & __GFP_ZERO or (mm.has.init_on_alloc and not kept):
        tracked = SLAB_STORE_USER | SLAB_KMALLOC
        asked = mm.orig_size
        if asked and mm.has.orig_size_moves_freeptr and s.flags & tracked == tracked:
            fill_bytes(mm, object, 0, asked)  # red zone behind it: 9ce67395f5a0 (6.2)
            return
        fill_bytes(mm, object, 0, s.object_size)
    elif mm.has.init_on_free and not kept:
        store64(mm, object + s.offset, 0)


def wipe_on_free(mm, cache, object):
    """slab_free_freelist_hook(): init_on_free zeroes the object and its metadata, not the red
    zone.
    """
    s = cache_at(mm, cache)
    if not mm.has.init_on_free or s.ctor or s.flags & (SLAB_TYPESAFE_BY_RCU | SLAB_POISON):
        return
    pad = s.red_left_pad if s.flags & SLAB_RED_ZONE else 0
    fill_bytes(mm, object, 0, s.object_size)
    fill_bytes(mm, object + s.inuse, 0, s.size - s.inuse - pad)

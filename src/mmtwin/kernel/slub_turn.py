"""A new slab whose random start turns out later: its free objects change places.

A shuffled slab begins anywhere in its cache's random sequence (shuffle_freelist(),
init_slab_obj_iter()). Where a sheaf is filled from several slabs at once, the first object given
out of each tells only later where it began. Nothing here is a kernel's doing.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.ram import cache_at, cache_cpu_of, page_address, pfn_to_page
    from mmtwin.kernel.slub_freelist import get_freepointer, set_freepointer


def is_turnable(mm, cache, pfn):
    """Whether a slab's objects were linked in the cache's random order from a start drawn."""
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    return s.random_seq >= 0 and page.objects >= 2 and page.objects == s.oo_objects


def place_of(mm, cache, pfn, object):
    """The place of a slab's object in the cache's random sequence, -1 if it is none."""
    s = cache_at(mm, cache)
    offset = object - page_address(mm, pfn) - s.red_left_pad
    for place in range(s.oo_objects):
        if mm.random_seq[s.random_seq + place] == offset:
            return place
    return -1


def turned(mm, cache, pfn, object, distance):
    """The object so many places further in the cache's random sequence."""
    s = cache_at(mm, cache)
    place = place_of(mm, cache, pfn, object)
    if place < 0:
        return object
    place = (place + distance) % s.oo_objects
    start = page_address(mm, pfn) + s.red_left_pad
    return start + mm.random_seq[s.random_seq + place]


def turn_chain(mm, cache, pfn, first, distance):
    """Links a free list anew, each object so many places further; its first object."""
    s = cache_at(mm, cache)
    if not first:
        return 0
    entry = turned(mm, cache, pfn, first, distance)
    head = entry
    left = 0
    object = first
    while object:
        left += 1
        object = get_freepointer(mm, s, object)
    # from the first on each follows in the sequence, so nothing is read that was written
    while left > 1:
        object = turned(mm, cache, pfn, entry, 1)
        set_freepointer(mm, s, entry, object)
        entry = object
        left -= 1
    set_freepointer(mm, s, entry, 0)
    return head


def top_of_slab(mm, pfn, sheaf):
    """The object of a slab that a sheaf gives out first, 0 if it has none of it; -1 is no sheaf.
    """
    first = page_address(mm, pfn)
    size = 1 << (mm.page_shift + pfn_to_page(mm, pfn).order)
    if sheaf < 0:
        return 0
    place = mm.sheaf[sheaf].size
    while place:
        place -= 1
        object = mm.sheaf[sheaf].objects[place]
        if first <= object < first + size:
            return object
    return 0


def turn_slab(mm, cache, pfn, sheaf, distance):
    """All free objects of a new slab come to lie so many places further in the random sequence:
    on its free list, its CPU's, in a sheaf (-1 for none).
    """
    page = pfn_to_page(mm, pfn)
    c = cache_cpu_of(mm, cache, mm.cpu)
    first = page_address(mm, pfn)
    size = 1 << (mm.page_shift + page.order)
    page.freelist = turn_chain(mm, cache, pfn, page.freelist, distance)
    if c.slab == pfn:
        c.freelist = turn_chain(mm, cache, pfn, c.freelist, distance)
    if sheaf < 0:
        return
    for place in range(mm.sheaf[sheaf].size):
        object = mm.sheaf[sheaf].objects[place]
        if first <= object < first + size:
            mm.sheaf[sheaf].objects[place] = turned(mm, cache, pfn, object, distance)

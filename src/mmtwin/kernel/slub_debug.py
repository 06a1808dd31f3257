"""The checks of debug caches (slub_debug=): when an object is taken, freed, or a slab validated.

An error is told to slub_report.py, mended as the kernel mends it, and the run goes on.
mm/slub.c: check_object(), check_slab(), on_freelist(), alloc_debug_processing(),
free_debug_processing(). Only where the twin keeps the bytes (mm.slub_bytes).
"""

import cython

from mmtwin.kernel import slub_report

if not cython.compiled:
    from mmtwin.kernel.constants import (
        COMPLAINT_BAD_ADDRESS,
        COMPLAINT_INVALID_OBJECT,
        COMPLAINT_WRONG_CACHE,
    )
    from mmtwin.kernel.mm import complain
    from mmtwin.kernel.ram import cache_at, page_address, pfn_to_page
    from mmtwin.kernel.slub_defs import (
        FIX_ALL_USED,
        FIX_FREELIST_CLEARED,
        FIX_ISOLATED,
        FIX_NOT_FREED,
        FIX_OBJECT_COUNT,
        FIX_OBJECTS_NUMBER,
        FOUND_ALIGNMENT_PADDING,
        FOUND_BAD_NEXT,
        FOUND_BULK_COUNT,
        FOUND_DISABLED,
        FOUND_END_POISON,
        FOUND_FREECHAIN,
        FOUND_FREELIST_CYCLE,
        FOUND_FREELIST_HEAD,
        FOUND_FREEPOINTER,
        FOUND_INUSE_MAX,
        FOUND_INVALID_OBJECT,
        FOUND_KMALLOC_REDZONE,
        FOUND_LEFT_REDZONE,
        FOUND_OBJECT_COUNT,
        FOUND_OBJECT_FREE,
        FOUND_OBJECT_PADDING,
        FOUND_OBJECTS_MAX,
        FOUND_OBJECTS_NUMBER,
        FOUND_OTHER_CACHE,
        FOUND_POISON,
        FOUND_RIGHT_REDZONE,
        FOUND_SLAB_PADDING,
        FOUND_TOO_FEW,
        FOUND_WRONG_CACHE,
        POISON_END,
        POISON_FREE,
        POISON_INUSE,
        SLAB_CONSISTENCY_CHECKS,
        SLAB_OBJECT_POISON,
        SLAB_POISON,
        SLAB_RED_ZONE,
        SLAB_STORE_USER,
        SLAB_TRACE,
        SLUB_RED_ACTIVE,
        SLUB_RED_INACTIVE,
        TELL_TRACE,
        TRACK_ALLOC,
        TRACK_FREE,
    )
    from mmtwin.kernel.slub_freelist import fill_bytes, get_freepointer, set_freepointer
    from mmtwin.kernel.slub_meta import (
        check_valid_pointer,
        end_of_others,
        get_orig_size,
        init_object,
        metadata_end,
        same_bytes,
        set_orig_size,
        size_from_object,
        slub_debug_orig_size,
    )


def tell(mm, cache, pfn, object, what, a, b, c):
    """Reports what was found (FOUND_*), mended (FIX_*) or traced; see slub_report.tell()."""
    slub_report.tell(mm, cache, pfn, object, what, a, b, c)


def set_track(mm, cache, object, which):
    """set_track(): who takes (TRACK_ALLOC) or frees (TRACK_FREE) an object."""
    slub_report.set_track(mm, cache, object, which)


def check_bytes_and_report(mm, cache, pfn, object, what, start, value, size, first):
    """check_bytes_and_report(): whether `size` bytes have one value; others are reported and
    restored.

    `first`: whether the object had no error yet; only then it is printed whole (6.15).
    """
    same = same_bytes(mm, start, value, size)
    if same == size:
        return True
    end = start + end_of_others(mm, start, value, size)
    tell(mm, cache, pfn, object, what, start + same, end, value if first else value | 0x100)
    fill_bytes(mm, start + same, value, end - start - same)
    return False


def check_zones(mm, cache, pfn, object, value):
    """check_object(), first part: the red zones, or the padding behind the object."""
    s = cache_at(mm, cache)
    end = object + s.object_size
    if not s.flags & SLAB_RED_ZONE:
        if not s.flags & SLAB_POISON or s.object_size >= s.inuse:
            return True
        good = check_bytes_and_report(
            mm, cache, pfn, object, FOUND_ALIGNMENT_PADDING, end, POISON_INUSE,
            s.inuse - s.object_size, True,
        )
        return good or not mm.has.slub_checks_all
    good = check_bytes_and_report(
        mm, cache, pfn, object, FOUND_LEFT_REDZONE, object - s.red_left_pad, value,
        s.red_left_pad, True,
    )
    if not good and not mm.has.slub_checks_all:
        return False
    good &= check_bytes_and_report(
        mm, cache, pfn, object, FOUND_RIGHT_REDZONE, end, value, s.inuse - s.object_size, good
    )
    if not good and not mm.has.slub_checks_all:
        return False
    kept = mm.has.orig_size_moves_freeptr and slub_debug_orig_size(mm, s)
    if kept and value == SLUB_RED_ACTIVE:
        size = get_orig_size(mm, cache, object)
        if s.object_size > size:
            good &= check_bytes_and_report(
                mm, cache, pfn, object, FOUND_KMALLOC_REDZONE, object + size, value,
                s.object_size - size, good,
            )
    return good


def check_poison(mm, cache, pfn, object, value, good):
    """check_object(), second part: the poison of a free object, and the padding.

    `good`: whether the object had no error yet; returns it, or False.
    """
    s = cache_at(mm, cache)
    if value != SLUB_RED_ACTIVE and s.flags & SLAB_OBJECT_POISON:
        good &= check_bytes_and_report(
            mm, cache, pfn, object, FOUND_POISON, object, POISON_FREE, s.object_size - 1, good
        )
        if not good and not mm.has.slub_checks_all:
            return False
        good &= check_bytes_and_report(
            mm, cache, pfn, object, FOUND_END_POISON, object + s.object_size - 1, POISON_END, 1,
            good,
        )
        if not good and not mm.has.slub_checks_all:
            return False
    padding = metadata_end(mm, s)
    if padding < size_from_object(s):
        padded = check_bytes_and_report(
            mm, cache, pfn, object, FOUND_OBJECT_PADDING, object + padding, POISON_INUSE,
            size_from_object(s) - padding, good,
        )
        if mm.has.slub_checks_all:
            good &= padded
    return good


def check_object(mm, cache, pfn, object, value):
    """check_object(): whether an object's red zones, poison, padding and free pointer are right.

    `value`: SLUB_RED_ACTIVE for one in use, SLUB_RED_INACTIVE for a free one. The first error ends
    it before ed5ec2e95259 (6.15).
    """
    s = cache_at(mm, cache)
    good = check_zones(mm, cache, pfn, object, value)
    if not good and not mm.has.slub_checks_all:
        return False
    if s.flags & SLAB_POISON:
        good = check_poison(mm, cache, pfn, object, value, good)
        if not good and not mm.has.slub_checks_all:
            return False
    if s.offset < s.inuse and value == SLUB_RED_ACTIVE:
        return good
    if check_valid_pointer(mm, cache, pfn, get_freepointer(mm, s, object)):
        return good
    tell(mm, cache, pfn, object, FOUND_FREEPOINTER, 0, 0, 0)
    set_freepointer(mm, s, object, 0)
    return False


def slab_pad_check(mm, cache, pfn):
    """slab_pad_check(): what a slab has left behind its last object."""
    s = cache_at(mm, cache)
    if not s.flags & SLAB_POISON:
        return
    size = 1 << (mm.page_shift + pfn_to_page(mm, pfn).order)
    rest = size % s.size
    if rest:
        start = page_address(mm, pfn) + size - rest
        check_bytes_and_report(
            mm, cache, pfn, 0, FOUND_SLAB_PADDING, start, POISON_INUSE, rest, True
        )


def check_slab(mm, cache, pfn):
    """check_slab(): whether a slab's counters are possible; looks at its padding too."""
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    most = (1 << (mm.page_shift + page.order)) // s.size
    if page.objects > most:
        tell(mm, cache, pfn, 0, FOUND_OBJECTS_MAX, page.objects, most, 0)
        return False
    if page.inuse > page.objects:
        tell(mm, cache, pfn, 0, FOUND_INUSE_MAX, page.inuse, page.objects, 0)
        return False
    if page.frozen and mm.has.slub_disables_slabs:
        tell(mm, cache, pfn, 0, FOUND_DISABLED, 0, 0, 0)
        return False
    slab_pad_check(mm, cache, pfn)
    return True


def clear_freelist(mm, cache, pfn):
    """on_freelist(): a free list that cannot be mended: all objects count as used."""
    page = pfn_to_page(mm, pfn)
    page.freelist = 0
    page.inuse = page.objects
    tell(mm, cache, pfn, 0, FIX_FREELIST_CLEARED, 0, 0, 0)


def on_freelist(mm, cache, pfn, search):
    """on_freelist(): whether an object is on its slab's free list; mends the list and counters.

    `search` 0: whether the list is sound as far as it goes.
    """
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    found = 0
    object = 0
    entry = page.freelist
    while entry and found <= page.objects:
        if entry == search:
            return True
        if not check_valid_pointer(mm, cache, pfn, entry):
            if not object:
                tell(mm, cache, pfn, 0, FOUND_FREELIST_HEAD, 0, 0, 0)
                clear_freelist(mm, cache, pfn)
                return False
            tell(mm, cache, pfn, object, FOUND_FREECHAIN, 0, 0, 0)
            set_freepointer(mm, s, object, 0)
            break
        object = entry
        entry = get_freepointer(mm, s, object)
        found += 1
    if found > page.objects and mm.has.slub_finds_cycles:
        tell(mm, cache, pfn, 0, FOUND_FREELIST_CYCLE, 0, 0, 0)
        clear_freelist(mm, cache, pfn)
        return False
    most = (1 << (mm.page_shift + page.order)) // s.size
    if page.objects != most:
        tell(mm, cache, pfn, 0, FOUND_OBJECTS_NUMBER, page.objects, most, 0)
        page.objects = most
        tell(mm, cache, pfn, 0, FIX_OBJECTS_NUMBER, 0, 0, 0)
    inuse = page.objects - found
    if page.inuse != inuse:
        tell(mm, cache, pfn, 0, FOUND_OBJECT_COUNT, page.inuse, inuse, 0)
        page.inuse = inuse
        tell(mm, cache, pfn, 0, FIX_OBJECT_COUNT, 0, 0, 0)
    return search == 0


def alloc_consistency_checks(mm, cache, pfn, object):
    """alloc_consistency_checks()"""
    if not check_slab(mm, cache, pfn):
        return False
    if not check_valid_pointer(mm, cache, pfn, object):
        tell(mm, cache, pfn, object, FOUND_BAD_NEXT, 0, 0, 0)
        return False
    return check_object(mm, cache, pfn, object, SLUB_RED_INACTIVE)


def alloc_debug_processing(mm, cache, pfn, object):
    """alloc_debug_processing(), set_track(): an object leaves its slab's free list.

    False if it or its slab is corrupt: then no object of the slab is given out any more.
    """
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    if s.flags & SLAB_CONSISTENCY_CHECKS:
        if not alloc_consistency_checks(mm, cache, pfn, object):
            tell(mm, cache, pfn, 0, FIX_ALL_USED, 0, 0, 0)
            page.inuse = page.objects
            page.freelist = 0
            if mm.has.slub_disables_slabs:
                page.frozen = 1
            return False
    if s.flags & SLAB_STORE_USER:
        set_track(mm, cache, object, TRACK_ALLOC)
    if s.flags & SLAB_TRACE:
        tell(mm, cache, pfn, object, TELL_TRACE, 1, 0, 0)
    set_orig_size(mm, cache, object, mm.orig_size if mm.orig_size else s.object_size)
    init_object(mm, cache, object, SLUB_RED_ACTIVE)
    return True


def free_consistency_checks(mm, cache, pfn, object):
    """free_consistency_checks()"""
    if not check_valid_pointer(mm, cache, pfn, object):
        tell(mm, cache, pfn, object, FOUND_INVALID_OBJECT, 0, 0, 0)
        return False
    if on_freelist(mm, cache, pfn, object):
        tell(mm, cache, pfn, object, FOUND_OBJECT_FREE, 0, 0, 0)
        return False
    if not check_object(mm, cache, pfn, object, SLUB_RED_ACTIVE):
        return False
    if pfn_to_page(mm, pfn).cache != cache:
        tell(mm, cache, pfn, object, FOUND_OTHER_CACHE, 0, 0, 0)
        return False
    return True


def free_debug_processing(mm, cache, pfn, head, tail, count):
    """free_debug_processing(): `count` linked objects go back to a slab.

    Returns how many do, or -1 if one is refused: then none does.
    """
    s = cache_at(mm, cache)
    page = pfn_to_page(mm, pfn)
    checked = s.flags & SLAB_CONSISTENCY_CHECKS
    object = head
    if count == 1 and not mm.has.slub_frees_single:
        set_freepointer(mm, s, object, 0)  # slab_free_freelist_hook()
    if checked and not check_slab(mm, cache, pfn):
        tell(mm, cache, pfn, 0, FIX_NOT_FREED, object, 0, 0)
        return -1
    if page.inuse < count and mm.has.debug_alloc_single:
        tell(mm, cache, pfn, 0, FOUND_TOO_FEW, page.inuse, count, 0)
        tell(mm, cache, pfn, 0, FIX_NOT_FREED, object, 0, 0)
        return -1
    done = 0
    while True:
        done += 1
        if done > count:
            break
        if checked and not free_consistency_checks(mm, cache, pfn, object):
            tell(mm, cache, pfn, 0, FIX_NOT_FREED, object, 0, 0)
            return -1
        if s.flags & SLAB_STORE_USER:
            set_track(mm, cache, object, TRACK_FREE)
        if s.flags & SLAB_TRACE:
            tell(mm, cache, pfn, object, TELL_TRACE, 0, 0, 0)
        init_object(mm, cache, object, SLUB_RED_INACTIVE)
        if object == tail:
            break
        object = get_freepointer(mm, s, object)
    if done != count:
        tell(mm, cache, pfn, 0, FOUND_BULK_COUNT, count, done, 0)
    if object != tail:
        tell(mm, cache, pfn, 0, FIX_NOT_FREED, object, 0, 0)
        return -1
    return done


def sound_freelist(mm, cache, pfn, freelist):
    """freelist_corrupted(): cuts a list that a CPU gives back where it leads to no object.

    The object that holds the wrong pointer is lost too. Returns the list's first object, or 0.
    """
    s = cache_at(mm, cache)
    if not check_valid_pointer(mm, cache, pfn, freelist):
        complain(mm, COMPLAINT_BAD_ADDRESS, freelist, cache)  # checked by nobody: a fault
        return 0
    before = 0
    object = freelist
    while object:
        following = get_freepointer(mm, s, object)
        if not check_valid_pointer(mm, cache, pfn, following):
            if s.flags & SLAB_CONSISTENCY_CHECKS:
                tell(mm, cache, pfn, object, FOUND_FREECHAIN, 0, 0, 0)
                tell(mm, cache, pfn, 0, FIX_ISOLATED, 0, 0, 0)
            else:
                complain(mm, COMPLAINT_BAD_ADDRESS, following, cache)
            if not before:
                return 0
            set_freepointer(mm, s, before, 0)
            break
        before = object
        object = following
    return freelist


def free_invalid(mm, cache, pfn, object):
    """slab_free() of an address where no object of the slab begins: refused."""
    if mm.slub_bytes and cache_at(mm, cache).flags & SLAB_CONSISTENCY_CHECKS:
        if check_slab(mm, cache, pfn):
            tell(mm, cache, pfn, object, FOUND_INVALID_OBJECT, 0, 0, 0)
        tell(mm, cache, pfn, 0, FIX_NOT_FREED, object, 0, 0)
    else:
        complain(mm, COMPLAINT_INVALID_OBJECT, object, cache)


def wrong_cache(mm, cache, pfn, object):
    """cache_from_obj(): an object is freed to `cache`, but is of another."""
    if mm.slub_bytes:
        tell(mm, cache, pfn, object, FOUND_WRONG_CACHE, 0, 0, 0)
    else:
        complain(mm, COMPLAINT_WRONG_CACHE, object, cache)


def check_freed_slab(mm, cache, pfn):
    """free_slab(): the checks of an empty slab before its pages go back."""
    s = cache_at(mm, cache)
    slab_pad_check(mm, cache, pfn)
    object = page_address(mm, pfn) + s.red_left_pad
    for index in range(pfn_to_page(mm, pfn).objects):
        check_object(mm, cache, pfn, object, SLUB_RED_INACTIVE)
        object += s.size

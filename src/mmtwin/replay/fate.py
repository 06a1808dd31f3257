"""Where the kernel has a page that the twin gave out and the kernel did not: what the recording
says of it next tells.
"""

from importlib.resources import files

import cython

from mmtwin.kernel.constants import parse_constants

FATES = parse_constants(files(__package__).joinpath("fate.pxd").read_text())

if not cython.compiled:
    from mmtwin.kernel.page_alloc_state import free_block_of, take_free_page
    from mmtwin.kernel.ram import pfn_to_page, virt_to_pfn
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import event_at

    globals().update(EVENT_CONSTANTS)
    globals().update(FATES)


def fate_of(mm, events, start, available, pfn):
    """FATE_* of a page, by the next of events `start` to `available` that is about it; of one in
    use with the order of its block * 256.

    A block taken from the free lists was on them; a page drained or given out without that was on
    a CPU's list; a page that is freed, or holds objects, was in use.
    """
    stop = min(available, start + FATE_WINDOW)
    for i in range(start, stop):
        event = event_at(events, i)
        if event.kind < KIND_KMALLOC or event.kind > KIND_MM_PAGE_PCPU_DRAIN:
            continue
        if event.kind <= KIND_KMEM_CACHE_FREE:
            if event.address and virt_to_pfn(mm, event.address) == pfn:
                return FATE_USED
            continue
        if event.order >= mm.nr_orders or pfn >> event.order != event.address >> event.order:
            continue
        if event.kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED:
            return FATE_BUDDY
        if event.kind == KIND_MM_PAGE_PCPU_DRAIN or event.kind == KIND_MM_PAGE_ALLOC:
            return FATE_LIST
        return FATE_USED | event.order << 8
    return FATE_UNKNOWN


def take_used(mm, events, start, available, mention, turn):
    """Takes every block out of the free lists that the kernel has in use, as the demands to come
    tell: it is freed before anything else is said of it. Returns how many blocks there were.

    Not where a vmalloc may still take it unseen. `start`: the event that is being carried out;
    `mention`: u32 by pfn, of which this call sets some to `turn`, a number not used before.
    """
    found = 0
    stop = min(available, start + FATE_WINDOW)
    for i in range(start, stop):
        event = event_at(events, i)
        if event.kind < KIND_MM_PAGE_ALLOC or event.kind > KIND_MM_PAGE_PCPU_DRAIN:
            continue
        pfn = event.address
        if event.order >= mm.nr_orders or not mm.min_pfn <= pfn <= mm.max_pfn - (1 << event.order):
            continue
        if mention[pfn] == turn:
            continue
        for place in range(1 << event.order):
            mention[pfn + place] = turn
        if event.kind != KIND_MM_PAGE_FREE or event.role != ROLE_DEMAND or i == start:
            continue
        block = free_block_of(mm, pfn)
        if block < 0:
            continue
        if pfn_to_page(mm, block).migratetype or not mm.has.vmalloc_bulk:
            found += take_free_page(mm, pfn, event.order) > 0
    return found

"""Picks, out of a block of events, those of call sites in a few functions, and the frees of the
objects that they got.
"""


import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.package_files import files

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64, as_u8, as_u64
    from mmtwin.recordings.event import CONSTANTS, as_events, event_at

    globals().update(CONSTANTS)
    globals().update(parse_constants(files(__package__).joinpath("pick.pxd").read_text()))


def range_of(ranges, count, event):
    """Where the words of the range begin that an event's call site lies in, -1 for none."""
    for i in range(count):
        place = RANGE_WORDS * i
        if ranges[place] != event.kind or event.call_site < ranges[place + 1]:
            continue
        if event.call_site < ranges[place + 2]:
            return place
    return -1


def mark_of(address):
    """The mark of an object's address; others may share it."""
    return (address ^ address >> 16) >> 4 & (MARKS - 1)


def scan(events, count, ranges, nr_ranges, task, area, marks, out):
    """Writes the numbers of the events that are picked; how many."""
    found = 0
    low = high = 0
    for i in range(nr_ranges):
        if i == 0 or ranges[RANGE_WORDS * i + 1] < low:
            low = ranges[RANGE_WORDS * i + 1]
        if ranges[RANGE_WORDS * i + 2] > high:
            high = ranges[RANGE_WORDS * i + 2]
    for i in range(count):
        event = event_at(events, i)
        if event.kind < KIND_KMALLOC or event.kind > KIND_KMEM_CACHE_FREE:
            continue
        if event.kind == KIND_KMEM_CACHE_ALLOC:
            if event.cache != task and event.cache != area:
                continue
            if event.cache < 0:
                continue
        elif event.kind == KIND_KFREE:
            if not marks[mark_of(event.address)]:
                continue
        else:
            if event.call_site < low or event.call_site >= high:
                continue
            place = range_of(ranges, nr_ranges, event)
            if place < 0:
                continue
            if ranges[place + 3]:
                marks[mark_of(event.address)] = 1
        out[found] = i
        found += 1
    return found


def pick_events(events, ranges, task, area, marks):
    """The numbers of the events that are picked, in order.

    `events`: an array of dtype EVENT; `ranges`: numpy words (u64), RANGE_WORDS for each range of
    call sites; `task`, `area`: allocations from these caches are picked too (s32, -1 for none);
    `marks`: MARKS bytes, 0 at first. Of the frees all are picked whose object may be a watched
    one.
    """
    out = np.empty(max(len(events), 1), np.int64)
    block = as_events(events.ctypes.data, len(events))
    words = as_u64(ranges.ctypes.data, len(ranges))
    numbers = as_s64(out.ctypes.data, len(out))
    bytes = as_u8(marks.ctypes.data, len(marks))
    count = len(ranges) // RANGE_WORDS
    found = scan(block, len(events), words, count, task, area, bytes, numbers)
    return out[:found]

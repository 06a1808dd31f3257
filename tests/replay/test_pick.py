"""Events picked by their call sites, and the frees of the objects they got."""

import numpy as np

from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.pick import pick_events

KMALLOC, KFREE = CONSTANTS["KIND_KMALLOC"], CONSTANTS["KIND_KFREE"]
CACHE_ALLOC = CONSTANTS["KIND_KMEM_CACHE_ALLOC"]
CACHE_FREE = CONSTANTS["KIND_KMEM_CACHE_FREE"]
PAGE_FREE = CONSTANTS["KIND_MM_PAGE_FREE"]


def block(*records: tuple[int, int, int, int]):
    """(kind, call site, address, cache)"""
    events = np.zeros(len(records), EVENT)
    for event, (kind, site, address, cache) in zip(events, records, strict=True):
        event["kind"], event["call_site"], event["address"] = kind, site, address
        event["cache"] = cache
    return events


def ranges(*words: tuple[int, int, int, int]):
    return np.array(words, dtype=np.uint64).ravel()


def picked(events, words, task: int, marks, area: int = -1) -> list[int]:
    return pick_events(events, words, task, area, marks).tolist()


def test_sites_count_for_their_kind_only() -> None:
    events = block(
        (KMALLOC, 100, 1, -1), (KMALLOC, 99, 1, -1), (KMALLOC, 110, 1, -1),
        (CACHE_FREE, 100, 1, 3), (CACHE_FREE, 205, 1, 3), (PAGE_FREE, 100, 1, -1),
        (CACHE_ALLOC, 100, 1, 7), (CACHE_ALLOC, 100, 1, 6), (KFREE, 100, 1, -1),
    )  # fmt: skip
    words = ranges((KMALLOC, 100, 110, 0), (CACHE_FREE, 200, 210, 0))
    marks = np.zeros(0x10000, np.uint8)
    assert picked(events, words, 7, marks) == [0, 4, 6]
    assert picked(events, words, -1, marks) == [0, 4]
    assert picked(events, words, 6, marks, 7) == [0, 4, 6, 7]
    assert picked(events, ranges(), -1, marks) == []
    assert picked(block(), words, 7, marks) == []


def test_frees_of_watched_objects() -> None:
    first, second = 0xFFFF888006B29180, 0xFFFF888006B29400
    events = block(
        (KFREE, 1, first, -1), (KMALLOC, 100, first, -1), (KMALLOC, 50, second, -1),
        (KFREE, 1, first, -1), (KFREE, 1, second, -1),
    )  # fmt: skip
    words = ranges((KMALLOC, 100, 110, 1), (KMALLOC, 40, 60, 0))
    marks = np.zeros(0x10000, np.uint8)
    assert picked(events, words, -1, marks) == [1, 2, 3]
    # what was watched in one block is known in the next
    assert picked(events[3:], words, -1, marks) == [0]

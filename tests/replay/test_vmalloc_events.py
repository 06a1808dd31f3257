"""What events tell of vmalloc, in the order in which addresses are taken."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.symbols import Symbols
from mmtwin.replay.vmalloc_events import Step, VmallocEvents, in_turn

KMALLOC, KFREE = CONSTANTS["KIND_KMALLOC"], CONSTANTS["KIND_KFREE"]
CACHE_ALLOC = CONSTANTS["KIND_KMEM_CACHE_ALLOC"]
TASK, AREA = 0, 1  # caches
SYMBOLS = Symbols(
    [(100, "__get_vm_area_node"), (200, "__vmalloc_node_range"), (300, "alloc_vmap_area"),
     (400, "pcpu_get_vm_areas")],
    [200, 300, 400, 500],
)  # fmt: skip


def make(names: list[str]) -> VmallocEvents:
    recording = SimpleNamespace(counts={}, symbols=SYMBOLS)
    annotated: Any = SimpleNamespace(recording=recording, names=names)
    return VmallocEvents(annotated)


def steps(*words: str) -> list[Step]:
    """`what` and pid of each, numbered."""
    return [
        Step(index, word.split()[0], int(word.split()[1]), 0) for index, word in enumerate(words)
    ]


def order(found: list[Step]) -> list[tuple[str, int]]:
    return [(step.what, step.pid) for step in found]


def test_a_task_that_is_interrupted_takes_its_addresses_later() -> None:
    turn, early = in_turn(
        steps("task 1", "struct 1", "struct 2", "area 2", "array 2", "area 1", "array 1")
    )
    assert early == []
    assert order(turn) == [
        ("task", 1), ("struct", 2), ("array", 2), ("struct", 1), ("array", 1)
    ]  # fmt: skip


def test_the_last_structure_before_the_lock_counts() -> None:
    # the second one goes in store (preload_this_cpu_lock())
    turn, _ = in_turn(
        steps("struct 1", "area 1", "struct 2", "area 2", "area 1", "array 1", "array 2")
    )
    assert order(turn) == [("struct", 2), ("struct", 1), ("array", 1), ("array", 2)]


def test_a_request_without_its_structure_waits_or_stays_where_it_is() -> None:
    turn, early = in_turn(steps("struct 1", "free 1", "area 2"))
    assert (order(turn), order(early)) == ([("free", 1)], [("struct", 1)])
    turn, early = in_turn(steps("struct 1", "struct 2", "area 2", "array 1"))
    assert order(turn) == [("struct", 1), ("struct", 2), ("array", 1)]
    assert early == []


def test_structures_are_picked_by_cache_and_function() -> None:
    told = make(["task_struct", "vmap_area"])
    records = (
        (KMALLOC, 150, 7, -1), (KMALLOC, 150, 8, -1), (CACHE_ALLOC, 350, 8, AREA),
        (CACHE_ALLOC, 450, 7, AREA), (CACHE_ALLOC, 50, 9, TASK), (CACHE_ALLOC, 350, 7, AREA),
    )  # fmt: skip
    events = np.zeros(len(records), EVENT)
    for event, (kind, site, pid, cache) in zip(events, records, strict=True):
        event["kind"], event["call_site"], event["pid"] = kind, site, pid
        event["cache"], event["address"] = cache, 0x1000 * pid
    told.feed(events, 0)
    assert order(told.take(5)) == [("struct", 8), ("another", 7), ("task", 9)]
    # what had no structure before the first stop is there behind it
    assert order(told.take(6)) == [("struct", 7)]


def test_a_recording_without_these_structures_is_taken_as_it_is() -> None:
    told = make(["task_struct"])
    events = np.zeros(1, EVENT)
    events["kind"], events["call_site"] = KMALLOC, 150
    told.feed(events, 0)
    assert [step.what for step in told.take(9)] == ["struct"]

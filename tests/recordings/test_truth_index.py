"""Where in the events a truth was taken."""

import json

import numpy as np
import pytest

from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.snapshot import Snapshot, parse_truth
from mmtwin.recordings.truth_index import Copy

FREE = CONSTANTS["KIND_KMEM_CACHE_FREE"]
ALLOC = CONSTANTS["KIND_KMALLOC"]
MARKER = CONSTANTS["KIND_MARKER"]
BASE = 0xFFFF_8880_0000_1000


def block(*changes: tuple[int, int]) -> np.ndarray:
    """A marker, these events (kind, object), a marker."""
    events = np.zeros(len(changes) + 2, EVENT)
    events["kind"] = [MARKER, *(kind for kind, _ in changes), MARKER]
    events["address"] = [0, *(BASE + 64 * number for _, number in changes), 1]
    return events


def index_of(live: list[int], *changes: tuple[int, int], at: int = 100) -> int:
    truth = {"slab": [{"slabs": [{"live": [BASE + 64 * number for number in live]}]}]}
    events = block(*changes)
    copy = Copy("start", truth, at)
    copy.look(events[:1], at)
    copy.ends(at + len(events) - 1)
    copy.look(events[1:], at + 1)
    return copy.index()


def test_no_event_between_the_markers_leaves_the_first() -> None:
    assert index_of([1, 2]) == 100


@pytest.mark.parametrize("seen", range(4))
def test_the_truth_has_seen_the_first_frees_only(seen: int) -> None:
    live = [number for number in range(3) if number >= seen]
    changes = [(FREE, number) for number in range(3)]
    assert index_of(live, *changes) == (100 if seen == 0 else 101 + seen)


def test_an_allocation_that_the_truth_has_was_before_the_copy() -> None:
    assert index_of([5], (ALLOC, 5), (FREE, 5)) == 102
    assert index_of([], (ALLOC, 5), (FREE, 5)) in (100, 103)


@pytest.mark.parametrize("parts", [("buddy",), ("buddy", "pageblocks"), ("slab",)])
def test_a_truth_that_could_not_be_read_whole_is_none(parts: tuple[str, ...]) -> None:
    data = json.dumps({part: [] for part in parts}).encode()
    assert parse_truth(data, "start") is None
    snapshot = Snapshot("start", ["truth.json"], lambda _name: data, str)
    assert not snapshot.has_truth


def test_a_whole_truth_is_there() -> None:
    data = json.dumps({part: [] for part in ("buddy", "pageblocks", "slab")}).encode()
    assert parse_truth(data, "start") == {"buddy": [], "pageblocks": [], "slab": []}

"""A large kmalloc that two events tell of, the caller's behind that of the function it calls."""

import numpy as np
import pytest

from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.roles import Annotator
from mmtwin.recordings.sites import SiteTable

BASE = 0xFFFF_8880_0000_0000
KMALLOC, PAGE = CONSTANTS["KIND_KMALLOC"], CONSTANTS["KIND_MM_PAGE_ALLOC"]
DEMAND, RESPONSE = CONSTANTS["ROLE_DEMAND"], CONSTANTS["ROLE_RESPONSE"]
LARGE = 16384
BLOCK = BASE + (8 << 12)
SOFTIRQ = 0x10


def roles_of(*rows: tuple[int, int, int, int, int]) -> list[int]:
    """The roles of a page and of the events behind it: kind, pid, flags, address, bytes."""
    events = np.zeros(1 + len(rows), EVENT)
    events[0]["kind"], events[0]["pid"] = PAGE, 7
    events[0]["address"], events[0]["order"] = 8, 2
    for event, (kind, pid, flags, address, size) in zip(events[1:], rows, strict=True):
        event["kind"], event["pid"], event["flags"] = kind, pid, flags
        event["address"], event["bytes_req"] = address, size
    annotator = Annotator(SiteTable(4096, BASE, 12, 0), 1, 8192)
    annotator.annotate(events.ctypes.data, 0, len(events), 0)
    assert events["role"][0] == CONSTANTS["ROLE_LARGE_KMALLOC"]
    return [int(role) for role in events["role"][1:]]


FIRST = (KMALLOC, 7, 0, BLOCK, LARGE)


def test_the_second_event_is_no_demand() -> None:
    assert roles_of(FIRST, FIRST) == [DEMAND, RESPONSE]


def test_an_interrupt_may_come_between() -> None:
    between = (KMALLOC, 7, SOFTIRQ, BASE + (3 << 12), 64)
    assert roles_of(FIRST, between, FIRST) == [DEMAND, DEMAND, RESPONSE]


@pytest.mark.parametrize("other", [
    (KMALLOC, 7, 0, BLOCK + (4 << 12), LARGE), (KMALLOC, 9, 0, BLOCK, LARGE),
    (KMALLOC, 7, 0, BLOCK, 2 * LARGE), (KMALLOC, 7, SOFTIRQ, BLOCK, LARGE),
])  # fmt: skip
def test_another_kmalloc_is_a_demand(other: tuple[int, int, int, int, int]) -> None:
    assert roles_of(FIRST, other) == [DEMAND, DEMAND]

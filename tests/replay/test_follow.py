"""Following the kernel's answers, event by event."""

import numpy as np
import pytest

from mmtwin.kernel.constants import PG_slab
from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.follow import Follower

KMALLOC, PAGE = CONSTANTS["KIND_KMALLOC"], CONSTANTS["KIND_MM_PAGE_ALLOC"]
GFP_KERNEL = 0xCC0


def slabs(k, name):
    number = k.mm.cache_names.index(name)
    return int(k.mm.view("cache_node")["nr_slabs"][number])


def followed(k, events):
    follower = Follower(k.mm, [-1], [1 << bit for bit in range(32)])
    follower.run(events.ctypes.data, 0, len(events), len(events))
    return follower


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_slab_of_kmalloc_is_told_by_the_size_that_was_asked(ahead):
    """A recording without a truth names no kmalloc cache: the page is the object's it was for."""
    k = Machine.boot("x86_64-6.1", memory="64M", seed=3)
    before = slabs(k, "kmalloc-1k")
    order = int(k.mm.view("cache")[k.mm.cache_names.index("kmalloc-1k")]["oo_order"])
    pfn = k.alloc_pages(order).pfn
    events = np.zeros(2, dtype=EVENT)
    events["cache"] = -1
    events["kind"] = PAGE, KMALLOC
    events["role"] = CONSTANTS["ROLE_SLAB"], CONSTANTS["ROLE_DEMAND"]
    events["address"] = pfn, k.mm.page_offset + (pfn << 12)
    events["order"], events["gfp"] = (order, 0), GFP_KERNEL
    events["ahead"] = ahead, 0
    events["bytes_req"] = 0, 1000
    followed(k, events)
    assert slabs(k, "kmalloc-1k") == before + ahead
    assert bool(k.mm.view("page")["flags"][pfn] & PG_slab) == bool(ahead)

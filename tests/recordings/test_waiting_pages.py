"""A task that takes a slab's page and is interrupted there: its page waits for its object while
others take theirs.
"""

import subprocess
import sys

import numpy as np
import pytest

from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.roles import Annotator
from mmtwin.recordings.sites import SiteTable

BASE = 0xFFFF_8880_0000_0000
OBJECT, PAGE = CONSTANTS["KIND_KMEM_CACHE_ALLOC"], CONSTANTS["KIND_MM_PAGE_ALLOC"]
FREED, BATCHED = CONSTANTS["KIND_MM_PAGE_FREE"], CONSTANTS["KIND_MM_PAGE_FREE_BATCHED"]
USER, TABLE = 0x140CCA, 0x440DC0  # gfp of a user page, of a page table
FIRST, SECOND = 10, 11  # the tasks


@pytest.mark.parametrize("gfp, others", [(USER, 500), (TABLE, 20)])
def test_a_slab_page_waits_while_another_task_takes_pages(gfp, others) -> None:
    rows = [
        (PAGE, FIRST, 7, 0xD2C40),
        *((PAGE, SECOND, 100 + number, gfp) for number in range(others)),
        (OBJECT, FIRST, BASE + (7 << 12), 0xD40),
    ]
    events = np.zeros(len(rows), EVENT)
    for event, (kind, pid, address, mask) in zip(events, rows, strict=True):
        event["kind"], event["pid"], event["address"], event["gfp"] = kind, pid, address, mask
    annotator = Annotator(SiteTable(4096, BASE, 12, 0), 1, 8192)
    annotator.annotate(events.ctypes.data, 0, len(events), 0)
    assert events["role"][0] == CONSTANTS["ROLE_SLAB"]
    assert events["ahead"][0] == others + 1


def test_a_page_of_a_block_that_was_freed_is_a_page_of_its_own() -> None:
    rows = [
        (PAGE, 6, 1), (FREED, 6, 1),  # a block of two, given back
        (PAGE, 6, 0), (OBJECT, BASE + (6 << 12), 0),  # its first page, a slab now
        (FREED, 7, 0),  # its second, taken without an event: no slab
        (FREED, 6, 0),
    ]  # fmt: skip
    events = np.zeros(len(rows), EVENT)
    for event, (kind, address, order) in zip(events, rows, strict=True):
        event["kind"], event["address"], event["order"] = kind, address, order
    Annotator(SiteTable(4096, BASE, 12, 0), 1, 8192).annotate(events.ctypes.data, 0, len(rows), 0)
    assert events["role"][-2] == CONSTANTS["ROLE_DEMAND"]
    assert events["role"][-1] == CONSTANTS["ROLE_SLAB"]


NO_PAGE = f"""
import numpy as np
from mmtwin.recordings.event import EVENT
from mmtwin.recordings.roles import Annotator
from mmtwin.recordings.sites import SiteTable

events = np.zeros(2, EVENT)
events["kind"] = {PAGE}, {FREED}
events["address"] = 2**64 - 1
annotator = Annotator(SiteTable(1 << 16, {BASE}, 12, 0), 1, 8192)
annotator.annotate(events.ctypes.data, 0, 2, 0)
del annotator
print("sound")
"""


def test_an_allocation_that_failed_is_no_page() -> None:
    """Its pfn is -1; what lies before the first page belongs to malloc(), which would abort."""
    ran = subprocess.run([sys.executable, "-c", NO_PAGE], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "sound\n"), ran.stderr


@pytest.mark.parametrize("freed", [False, True])
def test_a_large_kmalloc_that_is_told_twice_is_one(freed: bool) -> None:
    """The second event has the caller; after a free the address is given out anew."""
    kmalloc, kfree = CONSTANTS["KIND_KMALLOC"], CONSTANTS["KIND_KFREE"]
    block = BASE + (8 << 12)
    rows = [(PAGE, 8, 2, 0), (kmalloc, block, 0, 11)]
    if freed:
        rows += [(kfree, block, 0, 5), (FREED, 8, 2, 0), (PAGE, 8, 2, 0)]
    rows += [(kmalloc, block, 0, 22)]
    events = np.zeros(len(rows), EVENT)
    for event, (kind, address, order, site) in zip(events, rows, strict=True):
        event["kind"], event["address"], event["order"] = kind, address, order
        event["call_site"], event["bytes_req"] = site, 9000 if kind == kmalloc else 0
    Annotator(SiteTable(4096, BASE, 12, 0), 1, 8192).annotate(events.ctypes.data, 0, len(rows), 0)
    done = CONSTANTS["ROLE_DONE"]
    assert events["role"][0] == CONSTANTS["ROLE_LARGE_KMALLOC"] and events["ahead"][0] == 1
    assert events["role"][-1] == CONSTANTS["ROLE_DEMAND"] | (0 if freed else done)
    assert events["call_site"][1] == (11 if freed else 22)


@pytest.mark.parametrize(("before", "locked"), [(BATCHED, True), (FREED, False)])
def test_an_interrupt_within_a_list_of_frees_found_the_lists_locked(before, locked) -> None:
    """Without CONFIG_PREEMPT_COUNT all counts are 0: what the task did before and after tells."""
    rows = [(before, 1, 0), (FREED, 2, 0x10), (FREED, 3, 0x10), (BATCHED, 4, 0)]
    events = np.zeros(len(rows), EVENT)
    for event, (kind, pfn, flags) in zip(events, rows, strict=True):
        event["kind"], event["address"], event["flags"], event["pid"] = kind, pfn, flags, FIRST
    Annotator(SiteTable(4096, BASE, 12, 0), 1, 8192).annotate(events.ctypes.data, 0, len(rows), 0)
    mark = CONSTANTS["EXTRA_PCP_LOCKED"]
    assert [bool(extra & mark) for extra in events["extra"]] == [False, locked, locked, False]

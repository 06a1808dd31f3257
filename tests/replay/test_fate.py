"""A page that no event names is one miss: what the recording says later tells where the others
are.
"""

import numpy as np
import pytest

from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.fate import FATES
from tests.replay.test_engine import counted, record, replayed, unexplained

PROFILES = ["x86_64-5.10", "x86_64-6.1", "x86_64-6.12"]


def boot(profile):
    return Machine.boot(profile, memory="256M", seed=3)


def lists(k):
    """The blocks of every free list and per-CPU list, in order."""
    page, zone, pcp = k.mm.view("page"), k.mm.view("zone"), k.mm.view("pcp")
    types = k.mm.nr_migratetypes
    heads = [int(z["free_list"]) + n for z in zone for n in range(types * k.mm.nr_orders)]
    heads += [int(p["lists"]) + n for p in pcp for n in range(int(p["nr_lists"]))]
    found = []
    for head in heads:
        entry = int(page["next"][head])
        while entry != head:
            found.append((head, entry))
            entry = int(page["next"][entry])
    return found


def taken(k, orders):
    """Blocks of these orders, and the steps that taking them made."""
    with k.trace:
        pages = [k.alloc_pages(order) for order in orders]
    return pages, k.trace.read()


def freed(k, pages):
    """The steps of freeing pages."""
    with k.trace:
        for page in pages:
            k.free_pages(page)
    return k.trace.read()


def missed(engine):
    return {
        name: counted(engine, f"{name}_PREDICTED") - counted(engine, f"{name}_EXACT")
        for name in ("ZONE", "PCP", "DRAIN")
    }


@pytest.mark.parametrize("profile", PROFILES)
def test_a_page_taken_unseen_is_one_miss(profile):
    k, other = boot(profile), boot(profile)
    steps = []
    for machine in (k, other):
        first, steps = taken(machine, [0, 4, 5])
    unseen = k.alloc_pages(0)
    pages, steps = taken(k, [0] * 70 + [4] * 3)
    steps += freed(k, [unseen, *pages, *first])
    engine = replayed(other, record(steps))
    assert max(missed(engine).values()) == 1 and missed(engine)["DRAIN"] == 0
    assert unexplained(engine) == {"silent_page_alloc": 1}
    assert lists(other) == lists(k)


@pytest.mark.parametrize("profile", PROFILES[:2])
def test_a_page_freed_unseen_is_one_miss(profile):
    k, other = boot(profile), boot(profile)
    pages = {}
    for machine in (k, other):
        pages[machine], _steps = taken(machine, [0] * 40)
    k.free_pages(pages[k].pop(7))
    more, steps = taken(k, [0] * 60)
    steps += freed(k, more)
    engine = replayed(other, record(steps))
    assert max(missed(engine).values()) == 1 and missed(engine)["DRAIN"] == 0
    assert unexplained(engine) == {"silent_page_free": 1}
    assert lists(other) == lists(k)


def test_a_large_block_taken_unseen_is_missed_until_the_next_refill():
    k, other = boot("x86_64-5.10"), boot("x86_64-5.10")
    unseen = k.alloc_pages(4)
    pages, steps = taken(k, [0] * 70 + [4] * 3)
    steps += freed(k, [unseen, *pages])
    engine = replayed(other, record(steps))
    assert 1 <= missed(engine)["ZONE"] <= k.mm.view("pcp")["batch"].max()
    assert other.validate() == []


def test_the_numbers_of_fates_are_those_of_the_declaration():
    assert [FATES[f"FATE_{name}"] for name in ("UNKNOWN", "BUDDY", "LIST", "USED")] == [0, 1, 2, 3]
    assert FATES["FATE_WINDOW"] < 60_000  # what an annotated block looks ahead


def test_a_page_of_which_nothing_is_said_is_the_next_of_its_list():
    k, other = boot("x86_64-6.1"), boot("x86_64-6.1")
    (mine,), _steps = taken(other, [0])
    other.free_pages(mine)
    events = np.zeros(1, dtype=EVENT)
    events["kind"], events["role"] = CONSTANTS["KIND_MM_PAGE_ALLOC"], CONSTANTS["ROLE_DEMAND"]
    events["cache"], events["address"] = -1, other.alloc_pages(3).pfn
    engine = replayed(other, events)
    assert missed(engine)["PCP"] == 1
    assert other.alloc_pages(0) == mine
    assert k.validate() == other.validate() == []


@pytest.mark.parametrize("profile", PROFILES)
def test_a_block_that_stays_first_of_its_list_is_none(profile):
    """It was taken unseen: nothing else explains that the kernel refuses it twice."""
    k, other = boot(profile), boot(profile)
    k.alloc_pages(5)
    _pages, steps = taken(k, [5] * 8)
    engine = replayed(other, record(steps))
    assert missed(engine)["ZONE"] == 2
    assert unexplained(engine)["silent_page_alloc"] == 1
    assert lists(other) == lists(k)

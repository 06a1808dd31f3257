"""Two CPUs at the free lists: blocks come and go in the order in which the CPUs had the lock."""

import pytest
from page_steps import recorded, traced

from mmtwin.machine import Machine
from mmtwin.replay.counts import COUNTS, UNEXPLAINED
from mmtwin.replay.engine import Engine

TAKEN = 2000  # pages that CPU 0 begins with, some of which CPU 1 gives back


def boot(profile):
    return Machine.boot(profile, memory="64M", cpus=2, seed=3)


class Work:
    """One machine's pages: CPU 0 takes them, CPU 1 frees them; the steps of all that."""

    def __init__(self, k):
        self.k = k
        self.pages, self.steps = [], []
        for _ in range(TAKEN):
            self.steps += self.take()

    def take(self):
        self.k.cpu = 0
        page, steps = traced(self.k, self.k.alloc_pages, 0)
        self.pages.append(page)
        return steps

    def free(self):
        self.k.cpu = 1
        return traced(self.k, self.k.free_pages, self.pages.pop(0))[1]


def calls_before(call, wanted):
    """How many calls have no such step before one has."""
    number = 0
    while not any(name == wanted for name, *_ in call()):
        number += 1
    return number


@pytest.mark.parametrize("profile", ["x86_64-5.10", "x86_64-6.1", "x86_64-6.12"])
def test_a_cpu_that_fills_its_list_between_a_free_and_its_drain(profile):
    takes = calls_before(Work(boot(profile)).take, "mm_page_alloc_zone_locked")
    frees = calls_before(Work(boot(profile)).free, "mm_page_pcpu_drain")
    work = Work(boot(profile))
    for _ in range(takes):
        work.steps += work.take()
    for _ in range(frees):
        work.steps += work.free()
    refill, drain = work.take(), work.free()
    assert refill[0][0] == "mm_page_alloc_zone_locked" and drain[1][0] == "mm_page_pcpu_drain"
    events = recorded([*work.steps, drain[0], *refill, *drain[1:]])
    twin = boot(profile)
    engine = Engine(twin.mm, [0], [1 << bit for bit in range(32)], 8192)
    engine.run(events.ctypes.data, 0, len(events), len(events))
    counts = engine.counts()
    assert not any(counts[place] for place in UNEXPLAINED.values())
    for kind in ("ZONE", "PCP", "DRAIN"):
        assert counts[COUNTS[f"COUNT_{kind}_EXACT"]] == counts[COUNTS[f"COUNT_{kind}_PREDICTED"]]
    assert twin.mm.view("pcp")["count"].tolist() == work.k.mm.view("pcp")["count"].tolist()
    assert twin.validate() == []

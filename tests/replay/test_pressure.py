"""Zones that run short: late counters, boosts that stand and the OOM killer's victims."""

import numpy as np
import pytest

from mmtwin.kernel.constants import __GFP_DMA, ZONE_BOOSTED_WATERMARK
from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.engine import Engine
from tests.replay.test_engine import counted, record, replayed, unexplained

PROFILES = ["x86_64-5.10", "x86_64-6.1", "x86_64-6.12"]
GFP_KERNEL = 0xCC0
MS = 1_000_000


def boot(profile):
    return Machine.boot(profile, memory="128M", seed=3)


def steps_of(k, work):
    """What `work` returns, and the events that it made."""
    with k.trace:
        done = work()
    return done, k.trace.read()


def zone(k, number):
    return k.mm.view("zone")[number]


def last_zone(k):
    """The zone that requests of GFP_KERNEL prefer, and the one that they pass on to."""
    used = [n for n, z in enumerate(k.mm.view("zone")) if z["managed_pages"]]
    return used[-1], used[0]


def zones_of(k, pages):
    return [int(k.mm.view("page")["zone"][page.pfn]) for page in pages]


def near_the_mark(k, above):
    """Takes blocks, the larger first, until no more than so many pages above the low watermark
    are free. The zone that requests pass on to has unmovable pages already.
    """
    k.alloc_pages(0, gfp=GFP_KERNEL | __GFP_DMA)
    upper = zone(k, last_zone(k)[0])
    for order in (9, 6, 4):
        while upper["nr_free_pages"] - upper["watermark"][1] > above + (1 << order):
            k.alloc_pages(order)


@pytest.mark.parametrize("profile", PROFILES)
def test_which_zone_is_passed_by_is_told_by_the_late_counter(profile):
    k, other = boot(profile), boot(profile)
    for machine in (k, other):
        near_the_mark(machine, 200)
        assert int(zone(machine, last_zone(machine)[0])["stat_threshold"]) > 1

    def work():
        pages = [k.alloc_pages(0) for _ in range(220)]
        for pfn in pages[::3]:
            k.free_pages(pfn)
        return pages + [k.alloc_pages(0) for _ in range(120)]

    pages, steps = steps_of(k, work)
    assert set(zones_of(k, pages)) == set(last_zone(k))
    engine = replayed(other, record(steps), resync=False)
    for name in ("ZONE", "PCP", "DRAIN"):
        assert counted(engine, f"{name}_EXACT") == counted(engine, f"{name}_PREDICTED"), name
    assert counted(engine, "PCP_PREDICTED") > 100
    assert other.checksum() == k.checksum()


def boost(k):
    """A pageblock was stolen: the preferred zone's watermarks rise until kswapd has reclaimed. It
    has a page for one more request.
    """
    upper = zone(k, last_zone(k)[0])
    upper["watermark_boost"] = upper["nr_free_pages"] - upper["watermark"][1] - 1
    upper["flags"] |= ZONE_BOOSTED_WATERMARK


@pytest.mark.parametrize("profile", PROFILES)
def test_a_zone_passed_by_shows_that_kswapd_has_given_up(profile):
    k, other = boot(profile), boot(profile)
    k.mm.kswapd_hopeless = 1
    for machine in (k, other):
        near_the_mark(machine, 600)
        boost(machine)
    pages, steps = steps_of(k, lambda: [k.alloc_pages(0) for _ in range(150)])
    assert last_zone(k)[1] in zones_of(k, pages[1:])
    engine = replayed(other, record(steps))
    assert other.mm.kswapd_hopeless == 1
    assert zone(other, last_zone(other)[0])["watermark_boost"] > 0
    missed = counted(engine, "PCP_PREDICTED") - counted(engine, "PCP_EXACT")
    assert 1 <= missed <= 3 and counted(engine, "PCP_PREDICTED") == 150


def failed(order, pid):
    event = np.zeros(1, dtype=EVENT)
    event["kind"] = CONSTANTS["KIND_MM_PAGE_ALLOC"]
    event["role"] = CONSTANTS["ROLE_DEMAND"]
    event["address"] = 2**64 - 1
    event["order"], event["pid"], event["gfp"] = order, pid, GFP_KERNEL
    return event


@pytest.mark.parametrize(("pid", "order", "exact"), [(7, 0, 5), (8, 0, 4), (7, 4, 4)])
def test_who_fails_is_the_victim_and_may_use_half_of_the_reserve(pid, order, exact):
    """Who is not takes a page of the reserve all the same: he is the next, and missed once."""
    k, other = boot("x86_64-6.1"), boot("x86_64-6.1")
    for machine in (k, other):
        near_the_mark(machine, 0)
        while machine.alloc_pages(0, gfp="GFP_KERNEL|__GFP_NOWARN") is not None:
            pass
    k.mm.oom_victim = 1
    gfp = "GFP_KERNEL|__GFP_NORETRY"  # calls no OOM killer itself
    pages, steps = steps_of(k, lambda: [k.alloc_pages(0, gfp=gfp) for _ in range(5)])
    assert None not in pages
    events = record(steps)
    events["pid"] = pid
    engine = replayed(other, np.concatenate([failed(order, 7), events]))
    assert unexplained(engine)["failed_demand"] == 1
    assert engine.victim == pid
    assert (counted(engine, "PCP_EXACT"), counted(engine, "PCP_PREDICTED")) == (exact, 5)
    assert (other.mm.reclaims, other.mm.oom_victim) == (1, 0)  # outside a replay as before


@pytest.mark.parametrize(("pid", "silent", "behind"), [(7, 0, -1), (7, 30 * MS, 0), (0, 0, 0)])
def test_an_idle_cpu_has_added_up_what_it_held_back(pid, silent, behind):
    k = boot("x86_64-6.1")
    upper = last_zone(k)[0]
    k.mm.view("pcp")[upper * k.mm.nr_cpus]["free_diff"] = -1
    zone(k, upper)["nr_free_behind"] = -1
    events = np.concatenate([failed(0, 7), failed(0, pid)])
    events["time"] = 5 * MS, 5 * MS + silent
    engine = Engine(k.mm, [0], [1 << bit for bit in range(32)], 2 * k.profile.page_size)
    engine.run(events.ctypes.data, 0, 2, 2)
    assert zone(k, upper)["nr_free_behind"] == behind

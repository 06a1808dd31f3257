"""vmstat_update() in a replay: when it is due, and what it drains."""

import numpy as np
import pytest
from page_steps import recorded, traced

from mmtwin.kernel.page_alloc_pcp import refresh_cpu_vm_stats
from mmtwin.machine import Machine
from mmtwin.recordings.machine import RecordedMachine
from mmtwin.replay.counts import COUNTS, UNEXPLAINED
from mmtwin.replay.engine import Engine
from mmtwin.replay.timers import first_jiffy, vmstat_jiffies

MS = 1_000_000
DMESG = (
    "<6>[    0.395281] clocksource: tsc-early: mask: 0xffffffffffffffff\n"
    "<6>[    0.395339] Calibrating delay loop (skipped), value calculated using timer frequency\n"
)
# Where jiffies began on the machine of DMESG, and when its kernel was seen to drain.
START, DRAIN = 371_596_000, 4_211_596_000


@pytest.mark.parametrize(("second", "hz", "cpu", "expected"), [
    (4, 250, 0, 1008), (5, 250, 0, 1256), (6, 250, 0, 1504), (7, 250, 0, 1752),
    (8, 250, 0, 2008),  # a full second is itself no multiple that is kept
    (4, 250, 1, 1000), (4, 100, 0, 408), (4, 1000, 0, 4032),
])  # fmt: skip
def test_jiffy_of_a_run_is_rounded_as_the_wheel_does(second, hz, cpu, expected):
    assert vmstat_jiffies(second, hz, cpu) == expected


def machine(**fields):
    fields = {"clock": "global", "config": {"CONFIG_HZ": "250"}, "arch": "x86_64", **fields}
    return RecordedMachine(release="6.18.15", **fields)


def test_first_jiffy_is_estimated_from_the_calibration():
    assert first_jiffy(machine(), DMESG) == pytest.approx(START, abs=8 * MS)
    assert first_jiffy(machine(arch="arm64"), DMESG) == 395_339_000
    assert first_jiffy(machine(clock="counter"), DMESG) is None
    assert first_jiffy(machine(config={}), DMESG) is None
    assert first_jiffy(machine(), "") is None


def steps_of_pages(k, count):
    """The steps of taking so many pages and giving them back."""
    pages, steps = [], []
    for _ in range(count):
        pfn, more = traced(k, k.alloc_pages, 0)
        pages.append(pfn)
        steps += more
    for pfn in pages:
        steps += traced(k, k.free_pages, pfn)[1]
    return steps


@pytest.mark.parametrize("late", [-30 * MS, 0, 40 * MS])
def test_what_the_timer_drains_is_predicted_wherever_it_was_expected(late):
    k, other = (Machine.boot("x86_64-6.18", memory="256M", seed=3) for _ in range(2))
    steps = steps_of_pages(k, 3000)
    refresh_cpu_vm_stats(k.mm, 0)  # a second before: lowers pcp->high alone
    drains = traced(k, refresh_cpu_vm_stats, k.mm, 0)[1]
    assert len(drains) > 50
    events = np.concatenate([recorded(steps, DRAIN - 1100 * MS), recorded(drains, DRAIN)])
    engine = Engine(other.mm, [0], [1 << bit for bit in range(32)], 8192)
    engine.set_timer(START - late, 250, now=DRAIN - 1101 * MS)
    engine.run(events.ctypes.data, 0, len(events), len(events))
    counts = engine.counts()
    drained = sum(name == "mm_page_pcpu_drain" for name, *_ in steps + drains)
    assert counts[COUNTS["COUNT_DRAIN_EXACT"]] == drained
    assert counts[COUNTS["COUNT_DRAIN_PREDICTED"]] == drained
    assert not any(counts[place] for place in UNEXPLAINED.values())
    for field in ("count", "high"):
        assert other.mm.view("pcp")[field].tolist() == k.mm.view("pcp")[field].tolist()
    assert other.validate() == []
    assert engine.start == pytest.approx(START, abs=MS)


def test_a_run_that_was_due_waits_for_the_worker_to_get_the_cpu():
    k, other = (Machine.boot("x86_64-6.18", memory="256M", seed=3) for _ in range(2))
    held = [traced(k, k.alloc_pages, 0) for _ in range(60)]
    steps = [step for _page, taken in held for step in taken] + steps_of_pages(k, 3000)
    refresh_cpu_vm_stats(k.mm, 0)  # a second before
    before = []
    for page, _taken in held:  # a task's, which the worker has to wait for
        before += traced(k, k.free_pages, page)[1]
    drains = traced(k, refresh_cpu_vm_stats, k.mm, 0)[1]
    assert len(drains) > 50
    parts = ((steps, -1100), (before, -4), (drains, 0))
    events = np.concatenate([recorded(part, DRAIN + when * MS) for part, when in parts])
    events["pid"][-len(drains) :] = 9
    engine = Engine(other.mm, [0], [1 << bit for bit in range(32)], 8192)
    engine.set_timer(START - 5 * MS, 250, now=DRAIN - 1101 * MS)
    engine.run(events.ctypes.data, 0, len(events), len(events))
    counts = engine.counts()
    assert counts[COUNTS["COUNT_DRAIN_EXACT"]] == counts[COUNTS["COUNT_DRAIN_PREDICTED"]]
    assert not any(counts[place] for place in UNEXPLAINED.values())
    for field in ("count", "high"):
        assert other.mm.view("pcp")[field].tolist() == k.mm.view("pcp")[field].tolist()


def test_drains_that_the_twin_lacks_tell_where_its_mark_should_be():
    k, other = (Machine.boot("x86_64-6.18", memory="256M", seed=3) for _ in range(2))
    steps = steps_of_pages(k, 3000)
    refresh_cpu_vm_stats(k.mm, 0)
    drains = traced(k, refresh_cpu_vm_stats, k.mm, 0)[1]
    assert len(drains) > 50
    more = steps_of_pages(k, 40)
    assert any(name == "mm_page_pcpu_drain" for name, *_ in more)
    parts = enumerate((steps, drains, more))
    events = np.concatenate([recorded(part, second * 1000 * MS) for second, part in parts])
    events["pid"][len(steps) : len(steps) + len(drains)] = 9  # a worker's
    engine = Engine(other.mm, [0], [1 << bit for bit in range(32)], 8192)
    engine.run(events.ctypes.data, 0, len(events), len(events))
    counts = engine.counts()
    assert counts[UNEXPLAINED["external_drain"]] == len(drains)
    assert not any(counts[n] for name, n in UNEXPLAINED.items() if name != "external_drain")
    for field in ("count", "high"):
        assert other.mm.view("pcp")[field].tolist() == k.mm.view("pcp")[field].tolist()
    assert other.validate() == []


def test_a_run_that_drains_nothing_keeps_the_twins_pages():
    k, other = (Machine.boot("x86_64-6.18", memory="256M", seed=3) for _ in range(2))
    steps = steps_of_pages(k, 3000)
    before = other.mm.view("pcp")["count"].copy()
    events = np.concatenate([recorded(steps, MS), recorded(steps_of_pages(k, 1), 5_000 * MS)])
    engine = Engine(other.mm, [0], [1 << bit for bit in range(32)], 8192)
    engine.set_timer(START, 250, now=0)
    engine.run(events.ctypes.data, 0, len(events), len(events))
    assert engine.counts()[UNEXPLAINED["drain_missed"]] > 0
    assert engine.counts()[UNEXPLAINED["external_drain"]] == 0
    assert other.mm.view("pcp")["count"].tolist() == k.mm.view("pcp")["count"].tolist()
    assert before.tolist() != other.mm.view("pcp")["count"].tolist()
    assert other.validate() == []


@pytest.mark.parametrize("profile", ["x86_64-5.10", "x86_64-6.1"])
def test_a_run_that_is_due_within_a_refill_comes_behind_it(profile):
    k, other = (Machine.boot(profile, memory="256M", seed=3) for _ in range(2))
    steps = steps_of_pages(k, 40)
    names = [name for name, *_ in steps]
    assert names[:2] == ["mm_page_alloc_zone_locked"] * 2
    events = recorded(steps, DRAIN + 100 * MS)
    events["time"][0] = DRAIN - 100 * MS
    engine = Engine(other.mm, [0], [1 << bit for bit in range(32)], 8192)
    engine.set_timer(START, 250, now=DRAIN - 101 * MS)
    engine.run(events.ctypes.data, 0, len(events), len(events))
    counts = engine.counts()
    assert counts[COUNTS["COUNT_ZONE_EXACT"]] == counts[COUNTS["COUNT_ZONE_PREDICTED"]] > 0
    assert not any(counts[place] for place in UNEXPLAINED.values())
    assert other.mm.view("pcp")["count"].tolist() == k.mm.view("pcp")["count"].tolist()

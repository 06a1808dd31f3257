"""The timer of a CPU's counters in a replay: no event tells of it, but it lowers pcp->high.

vmstat_update() runs on each CPU about once a second and calls decay_pcp_high() (51a755c56dc0,
6.7), which drains what is above the new mark. The second it keeps to is that of jiffies
(round_jiffies_relative()), so where jiffies began tells every run: first an estimate from the
boot's messages, then what the drains show that it made itself.
"""

import re
from importlib.resources import files
from typing import Any

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.machine.recorded import static_text
from mmtwin.replay.pages import Pages

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64
    from mmtwin.kernel.constants import PG_pcp
    from mmtwin.kernel.page_alloc_buddy import fold_free_pages
    from mmtwin.kernel.page_alloc_pcp import refresh_cpu_vm_stats
    from mmtwin.kernel.page_alloc_state import pcp_that_holds
    from mmtwin.kernel.ram import pcp_of, pfn_to_page
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import as_events, event_at
    from mmtwin.replay.counts import COUNTS
    from mmtwin.replay.late_counters import was_idle
    from mmtwin.replay.mend import queue_of
    from mmtwin.replay.pages import collect
    from mmtwin.replay.queues import QUEUES, empty

    globals().update(EVENT_CONSTANTS)
    globals().update(COUNTS)
    globals().update(QUEUES)
    globals().update(parse_constants(files(__package__).joinpath("timers.pxd").read_text()))

    def rested(timers, event):
        """A CPU that was idle before this event added up then (quiet_vmstat())."""
        cpu = event.cpu if event.cpu < timers.mm.nr_cpus else 0
        if was_idle(timers.mm.nr_cpus, event.pid, event.time - timers.seen_at[cpu]):
            fold_free_pages(timers.mm, cpu)
        timers.seen_at[cpu] = event.time

NEVER = (1 << 63) - 1
SECOND = 1_000_000_000
LONGEST_HZ = 4  # digits
CLOCKS = ("local", "global", "mono", "mono_raw", "boot", "uptime")  # in ns, from about the boot on
CALIBRATING = re.compile(r"^(?:<\d+>)?\[ *(\d+)\.(\d{6})\] Calibrating delay loop", re.M)
IRQ_TICKS = 5.5  # jiffies that timer_irq_works() sees before the delay loop is calibrated (x86)


def first_jiffy(machine: Any, dmesg: str) -> int | None:
    """When jiffies were INITIAL_JIFFIES, in ns of the recording's clock: an estimate, right to a
    few ticks. None where the clock is none or no message tells.

    `machine`: the RecordedMachine. The timer runs when the delay loop is calibrated
    (start_kernel()); on x86 check_timer() has by then waited until 5 ticks had come.
    """
    found = CALIBRATING.search(dmesg)
    if not found or machine.clock not in CLOCKS or not hz_of(machine.config):
        return None
    at = int(found[1]) * SECOND + int(found[2]) * 1000
    ticks = IRQ_TICKS if machine.arch == "x86_64" else 0
    return at - int(ticks * SECOND) // hz_of(machine.config)


def set_timer(engine: Any, recording: Any, profile: Any) -> None:
    """Lets a replay's engine run vmstat_update() where the kernel's did: it adds up counters, and
    drains page lists (6.7 and later).
    """
    start = first_jiffy(recording.machine, static_text(recording, "dmesg"))
    if start is not None:
        engine.set_timer(start, hz_of(recording.machine.config))


def hz_of(config: dict[str, str]) -> int:
    """CONFIG_HZ, 0 if the configuration does not say it."""
    text = config.get("CONFIG_HZ", "")
    return int(text) if text.isdecimal() and len(text) <= LONGEST_HZ else 0


def vmstat_jiffies(second: int, hz: int, cpu: int) -> int:
    """In which jiffy vmstat_update() of a CPU runs that was asked for at a full second (of
    jiffies).

    round_jiffies_relative() spreads the CPUs by 3 jiffies; the wheel of timers rounds what is
    63 jiffies away or more up to the next 8, from 504 on to the next 64 (calc_index(),
    500462a9de65, 4.8).
    """
    wanted = second * hz - 3 * cpu
    grain = 64 if hz >= 504 else 8 if hz >= 63 else 1
    return (wanted // grain + 1) * grain


class Timers(Pages):
    """Pages, and vmstat_update() of each CPU: it runs at the first event of no interrupt that is
    not before it is due.
    """

    def __init__(self, mm, gfp_bits, resync, bulk_sites):
        Pages.__init__(self, mm, gfp_bits, resync, bulk_sites)
        due = np.full(mm.nr_cpus, NEVER, dtype=np.int64)
        last = np.full(mm.nr_cpus, -NEVER, dtype=np.int64)
        self._buffers["due"] = due
        self._buffers["last"] = last
        seen_at = np.zeros(mm.nr_cpus, dtype=np.int64)
        self._buffers["seen_at"] = seen_at
        self.seen_at = as_s64(seen_at.ctypes.data, len(seen_at))
        self.due = as_s64(due.ctypes.data, len(due))
        self.last = as_s64(last.ctypes.data, len(last))
        self.never = NEVER
        self.next_due = NEVER
        self.hz = 0
        self.start = 0
        self.first = 0
        self.grain = 8
        self.drained = self.by_free = False
        self.last_pid = -1

    def set_timer(self, start, hz, now=0):
        """vmstat_update() runs from `now` ns on, once a second: `start` ns are INITIAL_JIFFIES
        (see `first_jiffy`), `hz` jiffies a second.
        """
        self.start = start
        self.hz = hz
        # include/linux/jiffies.h: 300 seconds before 32 bits of them overflow
        self.first = (1 << 32) - 300 * hz
        self.grain = vmstat_jiffies(0, hz, 0)
        self._set_due(now)

    def _due_at(self, second, cpu):
        """When the run is due, in ns, that was asked for at a full second (of jiffies)."""
        run = ((second * self.hz - 3 * cpu) // self.grain + 1) * self.grain
        return self.start + (run - self.first) * SECOND_NS // self.hz

    def _due_after(self, after, cpu):
        """When the first run behind `after` ns is due on a CPU."""
        second = self.first // self.hz + 1
        if after > self.start:
            second += (after - self.start) // SECOND_NS - 1
        while self._due_at(second, cpu) <= after:
            second += 1
        return self._due_at(second, cpu)

    def _set_due(self, after):
        """Every CPU's next run: the first behind `after` ns."""
        for cpu in range(self.mm.nr_cpus):
            self.due[cpu] = self._due_after(after, cpu)
        self._find_next()

    def _find_next(self):
        self.next_due = self.never
        for cpu in range(self.mm.nr_cpus):
            if self.due[cpu] < self.next_due:
                self.next_due = self.due[cpu]

    def _vmstat_update(self, event):
        """vmstat_update() on every CPU whose time has come, as often as it has, behind a refill
        that goes on.
        """
        for cpu in range(self.mm.nr_cpus):
            if not empty(queue_of(self, cpu, QUEUE_KERNEL_ZONE)):
                continue
            while self.due[cpu] <= event.time:
                if self.resync and self.mm.has.pcp_auto_tune:
                    drains = self._drains_at(cpu, event.time + SLACK_NS)
                    if drains < 0:
                        self._keep_pages(cpu)
                    elif event.time < drains <= self.due[cpu] + SLACK_NS:
                        self.due[cpu] = drains
                        break
                self.last[cpu] = self.due[cpu]
                refresh_cpu_vm_stats(self.mm, cpu)
                collect(self, cpu)
                self.drained = not empty(queue_of(self, cpu, QUEUE_TWIN_DRAIN))
                self.due[cpu] = self._due_after(self.due[cpu], cpu)
        self._find_next()

    def _drains_at(self, cpu, until):
        """When pages leave a CPU's lists that no free of the same task drove out: then the worker
        runs, which may have had to wait for the CPU. 0 if a free drives some out before; -1 if
        none leave before a time.
        """
        pid = event_at(self.events, self.now - 1).pid if self.now else -1
        for i in range(self.now, self.available):
            event = event_at(self.events, i)
            if event.time > until:
                return -1
            if event.cpu != cpu:
                continue
            if event.kind == KIND_MM_PAGE_PCPU_DRAIN:
                return event.time if event.pid != pid else 0
            pid = event.pid
        return -1

    def _keep_pages(self, cpu):
        """The kernel drains nothing at this run: its pcp->high is not as low as the twin's, but so
        high that an eighth less (decay_pcp_high(), 51a755c56dc0, 6.7) still holds all pages.
        """
        for number in range(self.mm.nr_zones):
            pcp = pcp_of(self.mm, number, cpu)
            high = pcp.high - (pcp.high >> 3)
            if high < pcp.high_min:
                high = pcp.high_min
            if pcp.count > high and pcp.high_max > pcp.high_min:
                self.count[UNEXPLAINED_DRAIN_MISSED] += pcp.count - high
                pcp.high = min(pcp.count + pcp.count // 7 + 2, pcp.high_max)

    def _drain_event(self, event):
        """A page left a per-CPU list. Where that comes about when vmstat_update() is due, it is
        that, and shows when it runs.
        """
        cpu = event.cpu
        if self.hz and cpu < self.mm.nr_cpus and self.mm.has.pcp_auto_tune:
            if self.drained:
                self._keep_to(event.time, self.last[cpu])
            elif empty(queue_of(self, cpu, QUEUE_TWIN_DRAIN)):
                if self._keep_to(event.time, self.due[cpu]):
                    self.due[cpu] = event.time
                    self._vmstat_update(event)
            self.drained = False
        if self.resync and self.mm.has.pcp_auto_tune and event.address < self.mm.max_pfn:
            if empty(queue_of(self, cpu, QUEUE_TWIN_DRAIN)):
                self._lower_high(event)
        Pages._drain_event(self, event)

    def _lower_high(self, event):
        """The kernel drains a page where the twin does not: its pcp->high is not above what its
        lists hold. The timer drains down to it (decay_pcp_high()), a free does so once it is
        reached (free_unref_page_commit()).
        """
        if not pfn_to_page(self.mm, event.address).flags & PG_pcp:
            return
        pcp = pcp_that_holds(self.mm, event.address)
        before = event_at(self.events, self.now - 1 if self.now else 0)
        if before.kind != KIND_MM_PAGE_PCPU_DRAIN or before.pid != event.pid:
            self.by_free = before.pid == event.pid
        elif self.by_free:
            return
        high = pcp.count if self.by_free else pcp.count - 1
        if pcp.high > high >= pcp.high_min:
            pcp.high = high

    def _keep_to(self, time, expected):
        """A run was seen: those to come are as much earlier or later. Whether it can be that."""
        off = time - expected
        if off > SLACK_NS or off < -SLACK_NS:
            return False
        self.start += off
        self._set_due(time)
        return True

    def _recall(self, address, start, stop):
        """Events before the start's state: also what they show of the timer."""
        Pages._recall(self, address, start, stop)
        if not self.hz or start >= stop:
            return
        if not self.mm.has.pcp_auto_tune:
            self._set_due(event_at(as_events(address, stop), stop - 1).time)
            return
        events = as_events(address, stop)
        for i in range(start, stop):
            event = event_at(events, i)
            if event.kind == KIND_MM_PAGE_PCPU_DRAIN and event.pid != self.last_pid:
                # another task's than before, so no free of its own caused it
                self._set_due(event.time - SECOND_NS // 2)
                cpu = event.cpu if event.cpu < self.mm.nr_cpus else 0
                self._keep_to(event.time, self.due[cpu])
            self.last_pid = event.pid
        self._set_due(event_at(events, stop - 1).time)

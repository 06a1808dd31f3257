"""Counters of vmstat as meminfo shows them: CPUs add up late what they changed.

What a CPU changes of a counter is added to the sum when it exceeds a threshold, about once a
second, and when the CPU goes idle (mod_zone_state(), vmstat_update(), quiet_vmstat() of
mm/vmstat.c).

When that is, is guessed where no event tells. So beside the guess stands what a CPU may hold back
at least and at most: it may have added up at any instant, and holds back no more than the
threshold.
"""

import cython
import numpy as np

if not cython.compiled:
    from importlib.resources import files

    from mmtwin.kernel.casts import as_s64, as_u64
    from mmtwin.kernel.constants import parse_constants

    globals().update(parse_constants(files(__package__).joinpath("late_counters.pxd").read_text()))

    def was_idle(nr_cpus, pid, silence):
        """Whether a CPU was idle before an event, `silence` ns after its last one: it finds the
        CPU idle, or none came for long.
        """
        return pid == 0 or silence > (TWO_TICKS if nr_cpus > 1 else LONG)

    def undisturbed(late, cpu, time):
        """Whether rested() and add_up() have nothing to do at an event of a task: that is noted.
        Never where there are several CPUs.
        """
        if late.nr_cpus != 1 or time >= late.due[0] or time > late.seen_at[0] + LONG:
            return False
        late.seen_at[0] = time
        return True


class LateCounters:
    """NR_COUNTERS counters of a machine with `nr_cpus` CPUs, each of which holds back up to
    `threshold`. `tick`: the clock's units in a second, 0 where it tells no time. `told`: events
    say when a CPU adds up, see `fold()`; else it is guessed. `lists`: of each counter, how
    many zones have one of their own; one if it is the node's.
    """

    def __init__(self, nr_cpus, threshold, tick, lists=None):
        cpus = max(nr_cpus, 1)
        shown = np.zeros(NR_COUNTERS, dtype=np.int64)
        diff = np.zeros(cpus * NR_COUNTERS, dtype=np.int64)
        least, most = np.zeros((2, cpus * NR_COUNTERS), dtype=np.int64)
        zones = np.array(lists or [1] * NR_COUNTERS, dtype=np.int64)
        due = np.zeros(cpus, dtype=np.uint64)
        seen = np.zeros(cpus, dtype=np.int64)
        seen_at = np.zeros(cpus, dtype=np.uint64)
        self._buffers = {
            "shown": shown, "diff": diff, "due": due, "seen": seen, "seen_at": seen_at,
            "least": least, "most": most, "lists": zones,
        }  # fmt: skip
        self.shown = as_s64(shown.ctypes.data, NR_COUNTERS)
        self.diff = as_s64(diff.ctypes.data, len(diff))
        self.least = as_s64(least.ctypes.data, len(least))
        self.most = as_s64(most.ctypes.data, len(most))
        self.due = as_u64(due.ctypes.data, cpus)
        self.seen = as_s64(seen.ctypes.data, cpus)
        self.seen_at = as_u64(seen_at.ctypes.data, cpus)
        self.nr_cpus = nr_cpus
        self.threshold = threshold
        self.limit = threshold or MOST_THRESHOLD
        self.lists = as_s64(zones.ctypes.data, NR_COUNTERS)
        self.tick = tick
        self.told = False
        self.count = 0
        for counter in range(NR_COUNTERS):
            self.open_bounds(counter)

    def value(self, counter):
        """What meminfo shows of a counter."""
        return int(self._buffers["shown"][counter])

    def bounds(self, counter):
        """Least and most that meminfo may show of a counter: they meet where events tell."""
        total = self.value(counter)
        if self.told:
            return total, total
        total += int(self._buffers["diff"][counter::NR_COUNTERS].sum())
        least, most = (
            int(self._buffers[name][counter::NR_COUNTERS].sum()) for name in ("least", "most")
        )
        return total - most, total - least

    def open_bounds(self, counter):
        """A counter is known, but not what each CPU holds back of it: up to the threshold."""
        limit = self.limit * int(self._buffers["lists"][counter])
        self._buffers["least"][counter::NR_COUNTERS] = -limit
        self._buffers["most"][counter::NR_COUNTERS] = limit

    def correct(self, counter, change):
        """The sum was wrong by `change`; what CPUs hold back stays."""
        self._buffers["shown"][counter] += change

    def know(self, counter, value, told):
        """A counter is `value` and meminfo says `told`: the first CPU holds the rest back."""
        behind = value - told - int(self._buffers["diff"][counter::NR_COUNTERS].sum())
        self._buffers["diff"][counter] += behind
        self._buffers["shown"][counter] = told
        if self.nr_cpus > 1:
            self.open_bounds(counter)
        else:
            held = int(self._buffers["diff"][counter])
            self._buffers["least"][counter] = min(held, 0)
            self._buffers["most"][counter] = max(held, 0)

    def change(self, counter, cpu, delta, overstep):
        """A CPU changes a counter by `delta`: mod_zone_state(). With `overstep` it goes half the
        threshold further, so that the next changes stay its own.
        """
        place = cpu * NR_COUNTERS + counter
        self._may_change(counter, place, delta, overstep)
        sum = self.diff[place] + delta
        most = self.threshold
        if -most <= sum <= most:
            self.diff[place] = sum
            return
        self.diff[place] = 0
        if overstep:
            self.diff[place] = -(most >> 1) if delta > 0 else most >> 1
        self.shown[counter] += sum - self.diff[place]

    def _may_change(self, counter, place, delta, overstep):
        """What a CPU may hold back after a change: before and after it, it may have added up.
        Zones that count apart may each have done so without the others.
        """
        lists = self.lists[counter]
        limit = self.limit * lists
        least, most = self.least[place], self.most[place]
        if lists > 1:
            least += delta if delta < 0 else 0
            most += delta if delta > 0 else 0
        else:
            least = least + delta if least + delta < 0 else 0
            most = most + delta if most + delta > 0 else 0
        if overstep and most > self.limit and least > -(self.limit >> 1):
            least = -(self.limit >> 1)
        if overstep and least < -self.limit and most < self.limit >> 1:
            most = self.limit >> 1
        self.least[place] = least if least > -limit else -limit
        self.most[place] = most if most < limit else limit

    def change_pages(self, counter, cpu, pages):
        """A CPU's pages come, as the largest blocks that they have, or go one by one:
        vm_area_alloc_pages(), vm_area_free_pages().
        """
        part = MOST_PARTS if pages > 0 else -1
        if pages > MOST_PARTS or pages < -MOST_PARTS:
            part = pages
        while pages:
            while part > pages > 0:
                part >>= 1
            self.change(counter, cpu, part, False)
            pages -= part

    def add_up(self, cpu, time):
        """A CPU adds up what it held back, once in a tick of its own events: vmstat_update()."""
        if self.tick != 0 and not self.told and time >= self.due[cpu]:
            self.due[cpu] = time - time % self.tick + self.tick
            self._fold(cpu)

    def rested(self, cpu, pid, time):
        """An event of a CPU: before, it was idle and added up (quiet_vmstat()) if the event finds
        it idle, if it was silent for long, or while another one had many events.
        """
        if self.told:
            return
        if was_idle(self.nr_cpus, pid, time - self.seen_at[cpu] if self.tick else 0):
            self._fold(cpu)
        self.seen_at[cpu] = time
        if self.nr_cpus > 1:
            self.count += 1
            self.seen[cpu] = self.count
            for other in range(self.nr_cpus):
                if self.count - self.seen[other] == SILENT:
                    self._fold(other)

    def fold(self, cpu):
        """A CPU adds up, as an event tells (`told`); nothing for one that the machine lacks."""
        if 0 <= cpu < self.nr_cpus:
            self._fold(cpu)

    def _fold(self, cpu):
        for counter in range(NR_COUNTERS):
            place = cpu * NR_COUNTERS + counter
            self.shown[counter] += self.diff[place]
            self.diff[place] = 0

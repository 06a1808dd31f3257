"""What CPUs hold back of a counter: the bounds hold whenever they add up."""

import random

import pytest

from mmtwin.kernel import lists
from mmtwin.replay.late_counters import LateCounters

COMPILED = not lists.__file__.endswith(".py")
STACKS, TABLES = 0, 1


class Kernel:
    """mod_zone_state() of a few CPUs, each of which has a diff for each of `lists` zones."""

    def __init__(self, cpus: int, lists: int, threshold: int, overstep: int) -> None:
        self.threshold, self.overstep = threshold, overstep
        self.diffs = [[0] * lists for _ in range(cpus)]
        self.shown = 0

    def change(self, cpu: int, place: int, delta: int) -> None:
        sum = self.diffs[cpu][place] + delta
        most, rest = self.threshold, 0
        if abs(sum) > most:
            if self.overstep:
                rest = -(most >> 1) if delta > 0 else most >> 1
            self.shown += sum - rest
            sum = rest
        self.diffs[cpu][place] = sum

    def fold(self, cpu: int, place: int) -> None:
        self.shown += self.diffs[cpu][place]
        self.diffs[cpu][place] = 0


@pytest.mark.skipif(COMPILED, reason="change() is not called from Python where it is compiled")
@pytest.mark.parametrize("zones", [1, 3])
@pytest.mark.parametrize("overstep", [0, 1])
@pytest.mark.parametrize("cpus", [1, 3])
def test_a_kernel_that_adds_up_at_any_time_is_within_the_bounds(
    zones: int, overstep: int, cpus: int
) -> None:
    for seed in range(20):
        chance = random.Random(seed)
        late = LateCounters(cpus, 6, 0, (1, zones, 1))
        kernel = Kernel(cpus, zones, 6, overstep)
        often = chance.random() / 2
        for _ in range(150):
            cpu, place = chance.randrange(cpus), chance.randrange(zones)
            delta = chance.choice((-9, -2, -1, 1, 1, 4))
            kernel.change(cpu, place, delta)
            late.change(TABLES, cpu, delta, overstep)
            if chance.random() < often:
                kernel.fold(chance.randrange(cpus), place)
            least, most = late.bounds(TABLES)
            assert least <= kernel.shown <= most


def test_where_a_counter_begins_each_cpu_may_hold_back_the_threshold() -> None:
    late = LateCounters(2, 8, 0, (1, 3, 1))
    assert late.bounds(STACKS) == (-16, 16)
    assert late.bounds(TABLES) == (-48, 48)
    late.correct(STACKS, 100)
    assert late.bounds(STACKS) == (84, 116)


def test_what_meminfo_told_is_held_back_or_added_up() -> None:
    late = LateCounters(1, 8, 0)
    late.know(TABLES, 20, 17)
    assert late.bounds(TABLES) == (17, 20)
    late.know(TABLES, 20, 22)
    assert late.bounds(TABLES) == (20, 22)


def test_an_unknown_threshold_is_the_highest_that_a_kernel_takes() -> None:
    assert LateCounters(1, 0, 0).bounds(STACKS) == (-125, 125)


def test_where_events_tell_the_bounds_meet() -> None:
    late = LateCounters(4, 8, 0)
    late.told = True
    late.correct(STACKS, 64)
    assert late.bounds(STACKS) == (64, 64)

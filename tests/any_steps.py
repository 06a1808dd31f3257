"""Property tests of runs of steps: 200 runs of 50, which hypothesis draws and shrinks.

With MMTWIN_LONG=1 they are 5,000 of 200 drawn from seeds, without hypothesis, whose own work would
be most of the time; MMTWIN_LONG=3000:200 begins at the seed 3,000.
"""

import os
import random
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mmtwin.kernel.mm

LONG = os.environ.get("MMTWIN_LONG", "")
COMPILED = not (mmtwin.kernel.mm.__file__ or "").endswith(".py")
MOST = 1 << 30
# What to do, and two numbers that choose with what.
Step = tuple[str, int, int]
Test = Callable[[int, list[Step]], None]


def any_steps(names: Sequence[str], runs: int = 200, steps: int = 50) -> Callable[[Test], object]:
    """A test of runs of steps: `test(number, steps)`, where `number` chooses the machine and each
    step is one of `names` and two numbers. Uncompiled, a tenth of the runs, of half the steps.
    """

    def make(test: Test) -> object:
        if LONG:
            return all_seeds(test, names)
        count, length = (runs, steps) if COMPILED else (runs // 10, steps // 2)
        number = st.integers(0, MOST)
        drawn = st.lists(st.tuples(st.sampled_from(list(names)), number, number),
                         min_size=length, max_size=length)
        settled = settings(max_examples=count, deadline=None,
                           suppress_health_check=list(HealthCheck))

        def run(number: int, steps: list[Step]) -> None:
            test(number, steps)

        return settled(given(number, drawn)(run))

    return make


def all_seeds(test: Test, names: Sequence[str]) -> Callable[[], None]:
    """The test that goes through the seeds."""
    first, _, length = LONG.partition(":")

    def run() -> None:
        for seed in range(int(first) if length else 0, 5000):
            draws = random.Random(seed)
            steps = [(draws.choice(names), draws.randrange(MOST), draws.randrange(MOST))
                     for _ in range(int(length or 200))]
            try:
                test(seed, steps)
            except Exception as error:
                raise AssertionError(f"seed {seed}") from error

    return run

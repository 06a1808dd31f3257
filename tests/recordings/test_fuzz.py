"""A few hundred mutations for each reader; fuzz.py runs as many as one likes."""

import tempfile
from pathlib import Path

import fuzz
import pytest

RUNS = 150
ROOM = tempfile.TemporaryDirectory()
READERS = {name: (seeds, reader) for name, seeds, reader in fuzz.readers(Path(ROOM.name))}


@pytest.mark.parametrize("name", READERS)
def test_events_or_one_error(name: str) -> None:
    seeds, reader = READERS[name]
    for seed in seeds:
        reader(seed)  # unchanged, each is read
    outcomes = fuzz.run(reader, seeds, name, 1, RUNS)
    assert outcomes["error"] > 0
    assert outcomes.total() == RUNS


def test_a_run_is_the_same_again() -> None:
    import random

    first, second = (fuzz.mutate(random.Random("x 0 1"), bytes(range(256))) for _ in range(2))
    assert first == second != bytes(range(256))

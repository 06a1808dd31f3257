"""The cache model behind `explain prefetch`, and what a replay gives."""

import pytest

from mmtwin.recordings import default_recording_path, open_recording
from mmtwin.replay.prefetch import CacheModel, Run, measure


def test_a_set_keeps_the_most_recent() -> None:
    cache = CacheModel(2 * 64 * 4, 2)  # four sets of two
    assert [cache.touch(line) for line in (0, 4, 0, 8, 0, 4)] == [
        False, False, True, False, True, False,
    ]  # fmt: skip
    assert cache.touch(1) is False


def test_prefetched_pointers_are_hits() -> None:
    plain, ahead = (Run(1024, 2, prefetch) for prefetch in (False, True))
    for run in (plain, ahead):
        for place in range(0, 64 * 256, 256):
            run.alloc(1 << 20 | place, 1 << 20 | place + 256, 128, 8)
    assert plain.misses == plain.reads == 64
    assert (ahead.misses, ahead.fetched) == (1, 64)


def test_a_replay(compiled: bool) -> None:
    if not compiled:
        pytest.skip("a whole recording, uncompiled")
    with open_recording(default_recording_path()) as recording:
        found = measure(recording)
    assert found["reads"] > 39_000
    assert 0 < found["misses_with"] < found["misses_without"] / 2


def test_a_cache_that_cannot_be() -> None:
    with open_recording(default_recording_path()) as recording, pytest.raises(ValueError):
        measure(recording, 1000, 3)

"""Whole replays of the shipped recording (a guest's boot and workload), from each start.

These go over 245 thousand events: only the compiled run does. The uncompiled one has the engine's
own tests.
"""

import pytest

from mmtwin.kernel import lists
from mmtwin.procfs import slabinfo
from mmtwin.recordings import default_recording_path, open_recording
from mmtwin.replay import ReplayError, replay
from mmtwin.replay.run import Replay, choose_start

COMPILED = not lists.__file__.endswith(".py")
needs_speed = pytest.mark.skipif(not COMPILED, reason="minutes, uncompiled")


@pytest.fixture(scope="module")
def recording():
    with open_recording(default_recording_path()) as opened:
        yield opened


def share(pair):
    return pair["exact"] / pair["predicted"]


@needs_speed
def test_predicts_the_kernel_from_its_truth(recording):
    figures = replay(recording).to_dict()
    fidelity = figures["fidelity"]
    assert share(fidelity["bytes_alloc"]) == 1
    assert share(fidelity["pfn"]["zone"]) == 1
    assert share(fidelity["pfn"]["pcp"]) == 1
    assert share(fidelity["objects"]) > 0.997
    assert fidelity["geometry"]["exact"] == fidelity["geometry"]["caches"] > 200
    start, end = fidelity["snapshots"][0], fidelity["snapshots"][-1]
    for kind in ("free_lists", "pcp_lists"):
        assert end[kind]["identical"] == end[kind]["lists"]
    assert end["slabs"]["twin"] == end["slabs"]["kernel"]
    assert start["slabinfo"]["exact"] == start["slabinfo"]["caches"]
    assert start["free_lists"]["identical"] == start["free_lists"]["lists"]
    assert figures["events"]["consumed"] + 101_335 == figures["recording"]["events"]
    assert figures["statistics"]["caches"][0]["bytes"] > 1 << 20


@needs_speed
def test_same_run_twice_is_the_same(recording):
    first, second = (replay(recording, statistics=False) for _ in range(2))
    assert first.counts == second.counts
    assert bytes(first.mm.view("page")) == bytes(second.mm.view("page"))


@needs_speed
@pytest.mark.parametrize("start", ["snapshots", "empty"])
def test_rebuilds_the_state_from_proc_or_from_nothing(recording, start):
    run = Replay(recording, start=start, statistics=False)
    twin = []
    compare = run._compare_slabinfo
    run._compare_slabinfo = lambda name: (twin.append(slabinfo.show(run.state)), compare(name))
    end = run.run().to_dict()["fidelity"]["snapshots"][-1]
    assert end["buddyinfo"]["exact"] == end["buddyinfo"]["rows"]
    kernel = slabinfo.parse(recording.snapshots["end"].text("slabinfo"))
    slabs = sum(row.num_slabs for row in kernel)
    assert abs(sum(row.num_slabs for row in twin[-1]) - slabs) < slabs * 0.01


def test_start_that_is_not_there_is_one_clear_error(recording):
    with pytest.raises(ReplayError, match="choose from"):
        choose_start(recording, "yesterday")
    with pytest.raises(ReplayError, match="no mode"):
        replay(recording, mode="guess")


@needs_speed
def test_a_snapshot_without_its_files_is_not_compared(recording, monkeypatch):
    end = recording.snapshots["end"]
    monkeypatch.setattr(end, "files", [file for file in end.files if "info" not in file])
    last = replay(recording).to_dict()["fidelity"]["snapshots"][-1]
    assert last["name"] == "end" and last["slab_lists"]["caches"] > 0
    assert "slabinfo" not in last and "buddyinfo" not in last

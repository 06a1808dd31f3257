"""Where maple nodes come from when the processes cannot tell."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from mmtwin.kernel import lists
from mmtwin.recordings import default_recording_path, open_recording
from mmtwin.recordings.errors import RecordingError
from mmtwin.replay import run
from mmtwin.replay.node_source import LEAST, Trust, grace_period


@pytest.mark.parametrize("missed, lost", [(0, False), (LEAST // 4, False), (LEAST // 2, True)])
def test_a_script_is_judged_by_its_last_requests(missed, lost):
    misses = [0, 1000]
    engine = SimpleNamespace(cache_misses=lambda: misses)
    script = SimpleNamespace(cache=1, asked=0)
    trust = Trust(engine, script)
    trust.missed = 1000
    script.asked = LEAST - 1
    assert not trust.is_lost()  # too few to judge
    script.asked, misses[1] = LEAST, 1000 + missed
    assert trust.is_lost() == lost
    script.asked += LEAST
    assert not trust.is_lost()  # what came before is forgotten


class Lost:
    """Processes that cannot be followed."""

    nodes = SimpleNamespace(known=True)

    def __init__(self, annotated, first):
        pass

    def advance(self, block, script):
        raise RecordingError("files.json", "missing")


@pytest.mark.skipif(lists.__file__.endswith(".py"), reason="minutes, uncompiled")
def test_nodes_are_inferred_where_processes_cannot_be_followed(monkeypatch):
    with open_recording(default_recording_path()) as recording:
        plain = run.Replay(recording).run().to_dict()["fidelity"]
        monkeypatch.setattr(run, "has_processes", lambda recording: True)
        monkeypatch.setattr(run, "ProcessDemands", Lost)
        job = run.Replay(recording)
        assert job.script is not None
        assert job.run().to_dict()["fidelity"] == plain
        assert job.script is None


@pytest.mark.skipif(lists.__file__.endswith(".py"), reason="minutes, uncompiled")
@pytest.mark.parametrize("lost", [False, True])
def test_trees_that_events_tell_of_are_followed_until_lost(monkeypatch, lost):
    real = run.profile_of
    given = {"maple_bulk": 0, "maple_store_type": 1}
    monkeypatch.setattr(run, "profile_of", lambda recording: replace(real(recording), given=given))
    monkeypatch.setattr(Trust, "is_lost", lambda self: lost)
    with open_recording(default_recording_path()) as recording:
        job = run.Replay(recording)
        assert job.told is not None and job.engine.maple is job.script
        job.run()
        assert (job.engine.maple is job.script) != lost
        assert (job.script is None) == lost


def test_a_grace_period_lasts_as_many_jiffies_as_the_kernel_waits_at_first() -> None:
    assert [grace_period(hz) for hz in (100, 250, 300, 1000, 0)] == [
        10_000_000, 4_000_000, 6_666_666, 3_000_000, 4_000_000,
    ]  # fmt: skip

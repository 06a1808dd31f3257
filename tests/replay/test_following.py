"""The state at an instant by the kernel's own answers: begun at the last truth before it."""

import pytest

from mmtwin import Machine
from mmtwin.kernel import lists
from mmtwin.recordings import open_recording
from mmtwin.recordings.ahead import Ahead
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.opening import default_recording_path
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.following import Following, last_truth
from mmtwin.replay.instants import find_moment
from mmtwin.replay.run import Replay

SHIPPED = str(default_recording_path())


def test_the_last_truth_before_an_event() -> None:
    with open_recording(None) as recording:
        annotated = Annotated(recording)
        start, end = (annotated.truth_index[name] for name in ("start", "end"))
        assert last_truth(annotated, start - 1) == ""
        assert last_truth(annotated, start) == last_truth(annotated, end - 1) == "start"
        assert last_truth(annotated, end) == "end"
        state = Machine(Following(annotated, end).run())
        assert state.checksum() == Machine.at(recording, "DUMP end").checksum()


def test_a_machine_of_a_path_is_that_of_the_open_recording() -> None:
    with open_recording(None) as recording:
        expected = Machine.at(recording, "DUMP start").checksum()
    assert Machine.at(SHIPPED, "DUMP start").checksum() == expected
    with pytest.raises(RecordingError, match="does not exist"):
        Machine.at(SHIPPED + "/nothing", "DUMP start")


def test_between_truths_it_is_what_a_replay_that_follows_has() -> None:
    with open_recording(None) as recording:
        stop = find_moment(recording, "phase files").index
        mine = Following(Annotated(recording, keep=True), stop).run()
        job = Replay(recording, mode="follow", statistics=False)
        for block in job.annotated.blocks():
            job.carry_out(block, 0, min(max(stop - block.first, 0), block.ready))
        job.state.contents = 1
        assert Machine(mine).checksum() == Machine(job.state).checksum()


@pytest.mark.skipif(lists.__file__.endswith(".py"), reason="half a minute, uncompiled")
def test_a_recording_read_ahead() -> None:
    ahead = Ahead(SHIPPED)
    with ahead.recording() as recording:
        annotated = ahead.annotated()
        kept = [block.events[: block.ready].tobytes() for block in annotated.blocks()]
        again = [block.events[: block.ready].tobytes() for block in Annotated(recording).blocks()]
        assert kept == again
    ahead = Ahead(SHIPPED + "/nothing")
    with pytest.raises(RecordingError, match="does not exist"):
        ahead.recording()


@pytest.mark.parametrize("mark", ["phase files", "SNAPDONE start"])
def test_without_a_truth_it_begins_as_a_replay_does(mark: str) -> None:
    with open_recording(None) as recording:
        for snapshot in recording.snapshots.values():
            snapshot._has_truth = False
        stop = find_moment(recording, mark).index
        mine = Following(Annotated(recording, keep=True), stop)
        job = Replay(recording, mode="follow", statistics=False)
        assert (mine.truth, mine.snapshot, mine.first) == ("", "start", job.first)
        for block in job.annotated.blocks():
            job.carry_out(block, 0, min(max(stop - block.first, 0), block.ready))
        job.state.contents = 1
        assert Machine(mine.run()).checksum() == Machine(job.state).checksum()
        with pytest.raises(ReplayError, match="lies before event"):
            Following(Annotated(recording), mine.first - 1)

"""What is kept of a recording's starts gives the state that following it gives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mmtwin.machine import Machine
from mmtwin.machine.kept import kept_place
from mmtwin.recordings import annotate as annotating
from mmtwin.recordings import open_recording
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.opening import default_recording_path
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.following import Following
from mmtwin.replay.instants import find_moment
from mmtwin.replay.kept_starts import files_of_start, keep_starts, kept_machine

SHIPPED = str(default_recording_path())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MMTWIN_CACHE", str(tmp_path / "kept"))
    yield tmp_path / "kept"


@pytest.mark.parametrize("truths", [True, False])
def test_what_is_kept_is_what_is_worked_out(folder: Path, truths: bool) -> None:
    with open_recording(None) as recording:
        for snapshot in recording.snapshots.values():
            snapshot._has_truth = snapshot._has_truth and truths
        annotated = Annotated(recording, keep=True)
        assert kept_machine(SHIPPED, "end") is None
        keep_starts(SHIPPED, annotated)
        for mark in ("phase files", "#150000", "SNAP end", "end"):
            stop = find_moment(recording, mark).index
            kept = kept_machine(SHIPPED, mark)
            assert kept is not None
            assert kept.checksum() == Machine(Following(annotated, stop).run()).checksum()
            assert kept.mm.contents == 1
        assert kept_machine(SHIPPED, "#0") is None  # before the first state there is
        with pytest.raises(ReplayError, match="nearest markers: 'phase files'"):
            kept_machine(SHIPPED, "phase file")
        with pytest.raises(ReplayError, match="has 244704 events"):
            kept_machine(SHIPPED, "#999999")


def test_damage_is_as_if_nothing_were_kept(folder: Path) -> None:
    with open_recording(None) as recording:
        keep_starts(SHIPPED, Annotated(recording, keep=True))
    place = kept_place(SHIPPED, "moments")
    assert place is not None
    assert kept_machine(SHIPPED, "end") is not None
    for each in (*files_of_start(place, "end"), place):
        data = each.read_bytes()
        for bad in (b"", data[:-8], data[:100], b"\0" * 128, b"{" + data[1:64] + b"\n"):
            each.write_bytes(bad)
            assert kept_machine(SHIPPED, "end") is None
        each.write_bytes(data)
    assert kept_machine(SHIPPED, "end") is not None
    files_of_start(place, "end")[0].unlink()
    assert kept_machine(SHIPPED, "end") is None


def test_a_long_recording_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotating, "MOST_KEPT", 1000)
    with open_recording(None) as recording:
        keep_starts(SHIPPED, Annotated(recording))
    assert kept_machine(SHIPPED, "end") is None

"""The states that a replay can begin with: a truth, what /proc shows, or the first event."""

from mmtwin.kernel.mm import MM
from mmtwin.machine.history import History
from mmtwin.machine.recorded import (
    first_snapshot,
    layout_of_recording,
    machine_at_boot,
    machine_at_proc,
    machine_at_truth,
)
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.recording import Recording
from mmtwin.replay.errors import ReplayError
from mmtwin.versions.profiles import Profile

STARTS = ("auto", "truth", "snapshots", "empty")


def choose_start(recording: Recording, start: str) -> tuple[str, str]:
    """(kind of start, its snapshot's name, "" for none). Raises ReplayError if the recording has
    none such.
    """
    if start not in STARTS:
        raise ReplayError(f"no start {start!r}; choose from {', '.join(STARTS)}")
    texts = [marker.text for marker in recording.markers]
    truths = [n for n, s in recording.snapshots.items() if s.has_truth and f"DUMP {n}" in texts]
    pages = [
        n for n, s in recording.snapshots.items()
        if "kpageflags" in s and f"SNAPB {n}/kpageflags" in texts
    ]  # fmt: skip
    truths.sort(key=lambda name: texts.index(f"DUMP {name}"))
    pages.sort(key=lambda name: texts.index(f"SNAPB {name}/kpageflags"))
    if truths and start in ("auto", "truth"):
        return "truth", truths[0]
    if pages and start in ("auto", "snapshots"):
        return "snapshots", pages[0]
    if start in ("auto", "empty"):
        return "empty", ""
    raise ReplayError(f"{recording.path} holds no {start}; use --start auto")


def first_event(annotated: Annotated, start: str, snapshot: str) -> int:
    """The number of the event that a start's state is just before."""
    if start == "empty":
        return 0
    if start == "truth":
        return annotated.truth_index[snapshot]
    return _pages_index(annotated.recording, snapshot)


def machine_at_start(annotated: Annotated, profile: Profile, start: str, snapshot: str) -> MM:
    """The machine as it was there. Raises ReplayError if no snapshot tells of it."""
    recording = annotated.recording
    if not recording.snapshots:
        raise ReplayError(
            f"{recording.path} has no snapshot to begin with, and none to compare with; "
            "mmtwin what-if carries its demands out all the same"
        )
    if start == "truth":
        return machine_at_truth(recording, snapshot, profile=profile)
    layout = layout_of_recording(recording, profile=profile, page_offset=annotated.page_offset)
    if start == "empty":
        mark = first_snapshot(recording).name
        history = _history(annotated, 0, _pages_index(recording, mark))
        return machine_at_boot(recording, history, layout, profile)
    history = _history(annotated, _pages_index(recording, snapshot), recording.nr_events)
    return machine_at_proc(recording, snapshot, layout, profile, history)


def _pages_index(recording: Recording, name: str) -> int:
    """Where in the events a snapshot's kpageflags was read."""
    return recording.marker(f"SNAPB {name}/kpageflags").index


def _history(annotated: Annotated, start: int, stop: int) -> History:
    """What the events from `start` to `stop` tell of the state before them."""
    history = History(
        annotated.nr_pages, annotated.page_offset, annotated.page_shift, CONSTANTS,
        annotated.names,
    )  # fmt: skip
    for block in annotated.blocks():
        first, last = max(start - block.first, 0), min(stop - block.first, block.ready)
        if last > first:
            history.add(block.events[first:last])
        if block.first + block.ready >= stop:
            break
    return history

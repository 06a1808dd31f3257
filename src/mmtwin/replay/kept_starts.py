"""A recording's starts in files: what its state at any instant is made from in no time.

Of a recording that is not too long three kinds of files are kept (`machine/kept.py` says where):
its markers and the times of its events, and of each start that was asked for the state there and
the annotated events behind it. An instant is that state, followed up to there.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from mmtwin.machine.kept import kept_place, make_room, was_used
from mmtwin.machine.machine import Machine
from mmtwin.machine.saved_state import BadState, can_save, load_state, save_state
from mmtwin.recordings.event import EVENT
from mmtwin.recordings.stream import Marker
from mmtwin.replay.follow import Follower
from mmtwin.replay.instants import find_moment

if TYPE_CHECKING:
    from mmtwin.recordings.annotate import Annotated
    from mmtwin.replay.following import Following

ALIGN = 64  # of what stands behind the line of JSON
TIME = np.dtype([("time", "<u8")])


def kept_machine(source: str, mark: str) -> Machine | None:
    """The machine of a recording at an instant, from what is kept of it; None if that is not
    enough. Raises ReplayError for an instant that the recording does not have.
    """
    place = kept_place(source, "moments")
    if place is None or not place.exists():
        return None
    with suppress(BadState, OSError):
        head, times = read_rows(place, TIME)
        stop = find_moment(KeptMoments(source, head, times), mark).index
        starts = [start for start in head["starts"] if start[0] <= stop]
        if starts:
            return followed(place, max(starts)[1], stop)
    return None


def followed(place: Path, snapshot: str, stop: int) -> Machine:
    """The state at a start, followed up to event `stop`. Raises BadState or OSError."""
    events_place, state_place = files_of_start(place, snapshot)
    head, events = read_rows(events_place, EVENT)
    machine = load_state(state_place)
    mm = machine.mm
    mm.contents = 0
    begin, end = head["first"] - head["row"], stop - head["row"]
    if not 0 <= begin <= end <= len(events):
        raise BadState(f"{events_place}: not the events up to {stop}")
    Follower(mm, head["cache_of"], head["bits"]).run(events.ctypes.data, begin, end, len(events))
    mm.contents = 1
    for each in (place, events_place, state_place):
        was_used(each)
    return machine


def keep_starts(source: str, annotated: "Annotated") -> None:
    """Keeps the states that the instants of a recording are followed from, if it is not too long.

    `annotated` has kept the events: nothing is read again.

    Raises ValueError as they cannot be made, OSError if they cannot be written.
    """
    from mmtwin.recordings.annotate import MOST_KEPT
    from mmtwin.replay.following import Following
    from mmtwin.replay.starts import choose_start, first_event

    recording = annotated.recording
    place = kept_place(source, "moments")
    if place is None or recording.nr_events > MOST_KEPT:
        return
    starts = [(at, name) for name, at in annotated.truth_index.items()]
    if not starts:
        start, snapshot = choose_start(recording, "auto")
        starts = [(first_event(annotated, start, snapshot), snapshot)]
    for at, name in starts:
        keep_start(place, name, Following(annotated, at))
    moments = {
        "markers": [[each.index, each.time, each.text] for each in recording.markers],
        "clock": recording.machine.clock, "starts": starts, "rows": recording.nr_events,
    }  # fmt: skip
    write_rows(place, moments, annotated.times())
    make_room(place.parent)


def keep_start(place: Path, name: str, following: "Following") -> None:
    """Keeps one: its state, and the events behind it, those from `first` on in rows from `row`."""
    machine = Machine(following.mm)
    if not can_save(machine):
        raise ValueError("more than arrays and counters")
    events_place, state_place = files_of_start(place, name)
    blocks = [
        (block.first, block.events[: block.ready].copy())
        for block in following.annotated.blocks(since=following.truth)
    ]
    head = {
        "row": blocks[0][0], "first": following.first, "cache_of": following.cache_of,
        "bits": following.gfp_bits, "rows": sum(len(events) for _first, events in blocks),
    }  # fmt: skip
    write_rows(events_place, head, [events for _first, events in blocks])
    save_state(machine, state_place)


def files_of_start(place: Path, snapshot: str) -> tuple[Path, Path]:
    """Beside the file of a recording's moments: those of the events and the state of a start."""
    name = f"{place.name}-{snapshot.encode().hex()[:64]}"
    return place.with_name(name + "-events"), place.with_name(name + "-state")


class KeptMoments:
    """As much of a Recording as find_moment() asks for, from the file."""

    def __init__(self, source: str, head: dict[str, Any], times: Any) -> None:
        self.path = source
        self.markers = [Marker(*each) for each in head["markers"]]
        self.machine = SimpleNamespace(clock=head["clock"])
        self.nr_events = len(times)
        self._times = times

    def chunks(self) -> Iterator[Any]:
        """The events at once, with nothing but their times."""
        yield self._times


def write_rows(path: Path, head: dict[str, Any], rows: Iterable[Any]) -> None:
    """Writes a line of JSON, that says how many rows follow, and these beside their place, then
    renames the file.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    line = json.dumps(head).encode()
    with open(part, "wb") as file:
        file.write(line.ljust(-(-(len(line) + 1) // ALIGN) * ALIGN - 1) + b"\n")
        for each in rows:
            file.write(each.tobytes())
    os.replace(part, path)


def read_rows(path: Path, dtype: Any) -> tuple[dict[str, Any], Any]:
    """What write_rows() wrote. Raises BadState if it is not whole, OSError if it is not there."""
    data = np.fromfile(path, np.uint8)
    end = int((data[: 1 << 20] == ord("\n")).argmax()) + 1 if len(data) else 0
    if end % ALIGN or (len(data) - end) % dtype.itemsize:
        raise BadState(f"{path} is not whole")
    try:
        head = json.loads(data[:end].tobytes())
    except ValueError as error:
        raise BadState(f"{path}: {error}") from None
    rows = data[end:].view(dtype)
    if not isinstance(head, dict) or head.get("rows") != len(rows):
        raise BadState(f"{path} is not whole")
    return head, rows

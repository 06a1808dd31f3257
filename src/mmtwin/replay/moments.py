"""Any instant of a recording: found by marker, event number or time, and the twin's state then."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mmtwin.kernel.mm import MM
from mmtwin.procfs.write import Base
from mmtwin.recordings.recording import Recording
from mmtwin.replay.run import Replay, ReplayError
from mmtwin.replay.vmalloc_rows import rows_at

EVENT = re.compile(r"#(\d+)")
TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?(s|ms|us|ns)?")
NANOSECONDS = {None: 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
BASES = ("zoneinfo", "meminfo", "vmstat", "sys_kernel_slab")


@dataclass(frozen=True)
class Moment:
    """An instant: before event `index`; `time` of that event, `marker` its text if it is one."""

    index: int
    time: int
    marker: str = ""


def find_moment(recording: Recording, text: str) -> Moment:
    """The instant that a user names.

    `text`: a marker's text ("SNAP end"), `#N` for event number N, or a time since the first event
    ("1.25", "1250ms"; a count with the counter clock). Raises ReplayError for none of these.
    """
    for marker in recording.markers:
        if marker.text == text.strip():
            return Moment(marker.index, marker.time, marker.text)
    event = EVENT.fullmatch(text.strip())
    if event:
        return _at_event(recording, int(event[1]))
    time = TIME.fullmatch(text.strip())
    if time:
        counted = recording.machine.clock == "counter"
        unit = 1 if counted and not time[2] else NANOSECONDS[time[2]]
        return _at_time(recording, round(float(time[1]) * unit))
    texts = list(dict.fromkeys(marker.text for marker in recording.markers))
    near = difflib.get_close_matches(text, texts, 3, 0.5) or texts[:3]
    raise ReplayError(
        f"{text!r} is no marker of {recording.path}, no #EVENT and no time"
        + (f"; nearest markers: {', '.join(map(repr, near))}" if near else "")
    )


def _at_event(recording: Recording, number: int) -> Moment:
    first = 0
    for events in recording.chunks():
        if number < first + len(events):
            return Moment(number, int(events["time"][number - first]))
        first += len(events)
    raise ReplayError(f"{recording.path} has {first} events, none of number {number}")


def _at_time(recording: Recording, since: int) -> Moment:
    first, begin, last = 0, None, 0
    for events in recording.chunks():
        if not len(events):
            continue
        times = events["time"]
        begin = int(times[0]) if begin is None else begin
        last = int(times[-1])
        if last - begin >= since:
            place = int((times - begin >= since).argmax())
            return Moment(first + place, int(times[place]))
        first += len(events)
    if begin is None:
        raise ReplayError(f"{recording.path} has no events")
    raise ReplayError(f"{recording.path} ends {(last - begin) / 1e9:g} s after its first event")


def state_at(
    recording: Recording,
    moment: Moment,
    mode: str = "follow",
    start: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> tuple[MM, Base]:
    """The twin as it stands before an event, and the texts that its /proc is completed from.

    `mode`, `start`: as for `replay()`. `progress(done, total)` in events. Raises ReplayError if
    the moment lies before the state that the twin starts from.
    """
    job = Replay(recording, mode=mode, start=start, statistics=False)
    if moment.index < job.first:
        raise ReplayError(
            f"event {moment.index} lies before event {job.first}, where the state to start from "
            "was taken; start from empty"
        )
    looks = job.vmalloc_stops(moment.index)
    for block in job.annotated.blocks():
        end = min(max(moment.index - block.first, 0), block.ready)
        done = 0
        while looks and looks[0][0] <= block.first + end:
            index, look = looks.pop(0)
            job.carry_out(block, done, index - block.first)
            done = index - block.first
            look()
        job.carry_out(block, done, end)
        if progress:
            progress(min(block.first + block.ready, moment.index), moment.index)
        if moment.index <= block.first + block.ready:
            break
    job.state.contents = 1
    rows = rows_at(job.vmalloc, recording, moment.index) if job.vmalloc else None
    return job.state, replace(base_of(recording, job.snapshot), vmallocinfo=rows)


def base_of(recording: Recording, name: str) -> Base:
    """The kernel's own texts of a snapshot ("" for none), for what the twin does not hold."""
    snapshot = recording.snapshots.get(name)
    texts: dict[str, Any] = {}
    if snapshot is not None:
        texts = {file: snapshot.bytes(file) for file in BASES if file in snapshot}
    return Base.parse(texts)

"""Any instant of a recording, found by marker, event number or time."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from mmtwin.replay.errors import ReplayError

EVENT = re.compile(r"#(\d+)")
TIME = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?(s|ms|us|ns)?")
END = "end"
NANOSECONDS = {None: 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True)
class Moment:
    """An instant: before event `index`; `time` of that event, `marker` its text if it is one.

    At the end of a recording `index` is the number of its events, `time` the last one's.
    """

    index: int
    time: int
    marker: str = ""


class Timed(Protocol):
    """As much of a Recording as is needed to find an instant."""

    path: Any
    machine: Any

    @property
    def markers(self) -> list[Any]:
        """Its markers: `index`, `time`, `text`."""

    @property
    def nr_events(self) -> int:
        """How many there are."""

    def chunks(self) -> Iterator[Any]:
        """The events, with their times."""


def find_moment(recording: Timed, text: str) -> Moment:
    """The instant that a user names.

    `text`: a marker's text ("SNAP end"), `#N` for event number N, a time since the first event
    ("1.25", "1250ms"; a count with the counter clock), or "end", behind the last event. Raises
    ReplayError for none of these.
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
    if text.strip() == END:
        return _at_end(recording)
    texts = list(dict.fromkeys(marker.text for marker in recording.markers))
    near = difflib.get_close_matches(text, texts, 3, 0.5) or texts[:3]
    raise ReplayError(
        f"{text!r} is no marker of {recording.path}, no #EVENT and no time"
        + (f"; nearest markers: {', '.join(map(repr, near))}" if near else "")
    )


def _at_event(recording: Timed, number: int) -> Moment:
    first = 0
    for events in recording.chunks():
        if number < first + len(events):
            return Moment(number, int(events["time"][number - first]))
        first += len(events)
    raise ReplayError(
        f"{recording.path} has {first} events, none of number {number}; the last is "
        f"#{first - 1}, behind it is {END!r}"
    )


def _at_end(recording: Timed) -> Moment:
    last = 0
    for events in recording.chunks():
        if len(events):
            last = int(events["time"][-1])
    return Moment(recording.nr_events, last)


def _at_time(recording: Timed, since: int) -> Moment:
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
    ends = f"{(last - begin) / 1e9:g} s" if recording.machine.clock != "counter" else last - begin
    raise ReplayError(
        f"{recording.path} ends {ends} after its first event; its last instant is {END!r}"
    )

"""From decoded blocks to one stream of events: the CPUs merged by time, events numbered, chunks
cut.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmtwin.recordings.event import CONSTANTS, EVENT

Events = npt.NDArray[np.void]
# From a number of rows to an array of so many events, to be written to.
Room = Callable[[int], Events]
MARKER = CONSTANTS["KIND_MARKER"]
OTHER = CONSTANTS["KIND_OTHER"]
WORDS = EVENT.itemsize // 8


def words(events: Events) -> npt.NDArray[np.uint64]:
    """The same memory as rows of eight numbers: numpy copies records field by field, rows of
    numbers at once.
    """
    return events.view(np.uint64).reshape(-1, WORDS)


def own(events: Events) -> Events:
    """A copy."""
    copy: Events = words(events).copy().reshape(-1).view(EVENT)
    return copy


class Marker(NamedTuple):
    """A line written to trace_marker: number and time of its event, and its text without the
    newline.
    """

    index: int  # type: ignore[assignment]
    time: int
    text: str


class Loss(NamedTuple):
    """Events lost on a CPU before the event `index`; `count` is -1 where the kernel did not say
    how many.
    """

    index: int  # type: ignore[assignment]
    cpu: int
    count: int  # type: ignore[assignment]


@dataclass
class Summary:
    """What one pass over all events finds out."""

    nr_events: int = 0
    markers: list[Marker] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    rows: Counter[int] = field(default_factory=Counter)


@dataclass
class Lane:
    """What one CPU's decoder has handed over besides records, in the CPU's own order."""

    markers: deque[str] = field(default_factory=deque)
    others: deque[tuple[int, bytes]] = field(default_factory=deque)
    losses: deque[tuple[int, int]] = field(
        default_factory=deque
    )  # (events of this CPU before it, count)
    decoded: int = 0
    apart: bool = True  # whether markers or events of KIND_OTHER may be in the last block
    numbered: int = 0


def merge(streams: list[Iterator[Events]]) -> Iterator[Events]:
    """Merges streams by time.

    Each keeps its own order; at equal times the earlier stream comes first.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    empty = np.zeros(0, EVENT)
    blocks = [empty for _ in streams]
    keys = [empty["time"] for _ in streams]
    latest = [0 for _ in streams]
    live = set(range(len(streams)))
    while True:
        for at in sorted(live):
            while at in live and not len(blocks[at]):
                block = next(streams[at], None)
                if block is None:
                    live.discard(at)
                elif len(block):
                    # a CPU's time may step back; its order must not
                    key = np.maximum(np.maximum.accumulate(block["time"]), np.uint64(latest[at]))
                    blocks[at], keys[at], latest[at] = block, key, int(key[-1])
        if not live:
            break
        limit, slowest = min((latest[at], at) for at in live)
        parts = []
        for at, key in enumerate(keys):
            count = int(
                np.searchsorted(key, np.uint64(limit), "right" if at <= slowest else "left")
            )
            parts.append((blocks[at][:count], key[:count]))
            blocks[at], keys[at] = blocks[at][count:], key[count:]
        yield in_order(parts)
    rest = in_order(list(zip(blocks, keys, strict=True)))
    if len(rest):
        yield rest


def in_order(parts: list[tuple[Events, npt.NDArray[Any]]]) -> Events:
    """Several CPUs' events as one array, by key, then by CPU."""
    parts = [part for part in parts if len(part[0])]
    if len(parts) == 1:
        return parts[0][0]
    if not parts:
        return np.zeros(0, EVENT)
    order = np.argsort(np.concatenate([key for _events, key in parts]), kind="stable")
    merged: Events = (
        np.concatenate([words(events) for events, _key in parts])[order].reshape(-1).view(EVENT)
    )
    return merged


class Numbering:
    """Gives events their place in the recording; `summary` grows with them.

    The number of a marker (its place in `markers`) is put into its `address`, the row of an event
    of KIND_OTHER in its table into `bytes_req`.
    """

    def __init__(self, lanes: dict[int, Lane]) -> None:
        self.lanes = lanes
        self.summary = Summary()

    def number(
        self, events: Events, carried: frozenset[int]
    ) -> dict[int, list[tuple[int, int, bytes]]]:
        """Numbers a block in place.

        Returns {name number: [(row of the block, event id, bytes)]} of the events whose names are
        `carried`.
        """
        summary = self.summary
        if len(self.lanes) == 1 and not any(lane.apart for lane in self.lanes.values()):
            self._place_losses(events, summary.nr_events)
            summary.nr_events += len(events)
            return {}
        kinds = np.ascontiguousarray(events["kind"])
        first = summary.nr_events
        for row in np.flatnonzero(kinds == MARKER).tolist():
            events["address"][row] = len(summary.markers)
            text = self.lanes[int(events["cpu"][row])].markers.popleft()
            summary.markers.append(Marker(first + row, int(events["time"][row]), text))
        sides: dict[int, list[tuple[int, int, bytes]]] = {}
        for row in np.flatnonzero(kinds == OTHER).tolist():
            name = int(events["cache"][row])
            events["bytes_req"][row] = summary.rows[name]
            summary.rows[name] += 1
            if name in carried:
                number, data = self.lanes[int(events["cpu"][row])].others.popleft()
                sides.setdefault(name, []).append((row, number, data))
        self._place_losses(events, first)
        summary.nr_events += len(events)
        return sides

    def _place_losses(self, events: Events, first: int) -> None:
        """Finds the event before which each loss lies."""
        for cpu, lane in self.lanes.items():
            if not lane.losses and len(self.lanes) == 1:
                lane.numbered += len(events)
                continue
            rows = np.flatnonzero(events["cpu"] == cpu)
            while lane.losses and lane.losses[0][0] < lane.numbered + len(rows):
                before, count = lane.losses.popleft()
                self.summary.losses.append(
                    Loss(first + int(rows[before - lane.numbered]), cpu, count)
                )
            lane.numbered += len(rows)

    def finish(self) -> None:
        """Losses behind the last event."""
        for cpu, lane in self.lanes.items():
            for _before, count in lane.losses:
                self.summary.losses.append(Loss(self.summary.nr_events, cpu, count))
            lane.losses.clear()
        self.summary.losses.sort()


def cut(blocks: Iterator[Events], size: int) -> Iterator[Events]:
    """The same events in arrays of exactly `size`, the last one smaller.

    Each array is the caller's own.
    """
    room = np.empty(size, EVENT)
    filled = 0
    for block in blocks:
        while len(block):
            count = min(size - filled, len(block))
            words(room)[filled : filled + count] = words(block[:count])
            filled += count
            block = block[count:]
            if filled == size:
                yield room
                room, filled = np.empty(size, EVENT), 0
    if filled:
        yield own(room[:filled])

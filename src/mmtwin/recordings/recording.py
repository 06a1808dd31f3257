"""A recording, whatever its format: machine, events in time order, markers, losses, snapshots,
symbols.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.machine import RecordedMachine
from mmtwin.recordings.snapshot import Snapshot
from mmtwin.recordings.stream import Events, Loss, Marker, Room, Summary, cut, own
from mmtwin.recordings.symbols import Symbols

if TYPE_CHECKING:
    import polars as pl

CHUNK = 1 << 18
Tables = dict[str, "pl.DataFrame"]


class Recording:
    """One recording, open for reading.

    `path` is what was opened, `kind` "lab", "ftrace", "perf" or "mmtwin", `machine` a
    RecordedMachine, `snapshots` {name: Snapshot}. What only a pass over all events can tell
    (`nr_events`, `names`, `markers`, `lost`, `losses`, `counts`) is worked out when it is first
    asked for. Use it as a context manager, or call close().
    """

    kind = ""

    def __init__(self, path: Path, machine: RecordedMachine) -> None:
        self.path = path
        self.machine = machine
        self.snapshots: dict[str, Snapshot] = {}
        self._names: list[str] = []
        self._summary: Summary | None = None

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Recording {self.path}: {self.kind}, {self.machine.release or 'unknown kernel'}>"

    # what each format gives

    def _pass(
        self, wanted: frozenset[str] | None, summary: list[Summary], room: Room | None = None
    ) -> Iterator[tuple[Events, Tables]]:
        """All events, numbered, in blocks of any size, valid until the next; `summary` gets the
        pass's Summary before the first, and that is complete after the last.

        `wanted` names the tables to come along with each block's events; None stands for all.
        `room`: as in blocks().
        """
        raise NotImplementedError

    def _lost(self, summary: Summary) -> dict[int, int]:
        """{cpu: events lost}, CPUs without loss left out."""
        lost: dict[int, int] = {}
        for loss in summary.losses:
            lost[loss.cpu] = lost.get(loss.cpu, 0) + max(loss.count, 1)
        return lost

    def _static_names(self) -> Iterable[str]:
        return ()

    def _static(self, name: str) -> str:
        raise KeyError(name)

    def close(self) -> None:
        """Gives back what the recording holds open (a temporary folder, if there is one)."""

    # events

    def chunks(self, size: int = CHUNK) -> Iterator[Events]:
        """All events in time order over all CPUs, as arrays of dtype EVENT of `size` events (the
        last is smaller).

        Memory does not depend on the recording's length. Raises RecordingError at a place that
        cannot be read.
        """
        if size < 1:
            raise ValueError(f"a chunk of {size} events")
        return cut(self.blocks(), size)

    def blocks(self, room: Room | None = None) -> Iterator[Events]:
        """As chunks(), in blocks of any size; each is overwritten by the next.

        `room(rows)`: where so many events may be put; a block may lie there, or elsewhere.
        """
        return (events for events, _tables in self._stream(frozenset(), room))

    def chunks_with_tables(self) -> Iterator[tuple[Events, Tables]]:
        """As chunks(), in blocks of any size, each with the side tables of its events (rows by
        `index`).
        """
        for events, tables in self._stream(None):
            yield own(events), tables

    def _stream(
        self, wanted: frozenset[str] | None, room: Room | None = None
    ) -> Iterator[tuple[Events, Tables]]:
        found: list[Summary] = []
        yield from self._pass(wanted, found, room)
        if self._summary is None:
            self._summary = found[0]

    def blocks_with_markers(self) -> Iterator[tuple[Events, list[Marker]]]:
        """As blocks(), each with the markers so far, its own among them. Whoever needs no more of
        the summary saves the pass that finds it.
        """
        found: list[Summary] = []
        done = 0
        for events, _tables in self._pass(frozenset(), found):
            done += len(events)
            markers = found[0].markers  # a recording with an index knows the later ones as well
            yield events, markers[: bisect_left(markers, done, key=attrgetter("index"))]
        if self._summary is None:
            self._summary = found[0]

    def table(self, name: str) -> "pl.DataFrame":
        """The fields of an event that the record has no place for ("vma_store"), one row for each.

        `index` is the event's number, `time`, `common_cpu`, `common_pid` as in its record. Raises
        KeyError if the recording has no event of that name.
        """
        if name not in self.tables:
            raise KeyError(name)
        return self.tables_named([name])[name]

    def tables_named(self, names: Iterable[str]) -> dict[str, "pl.DataFrame"]:
        """The same for several events at once, in one pass; those that did not occur are left out.
        """
        import polars as pl

        parts: dict[str, list[pl.DataFrame]] = {}
        for _events, tables in self._stream(frozenset(names)):
            for name, table in tables.items():
                parts.setdefault(name, []).append(table)
        return {name: pl.concat(found, how="diagonal_relaxed") for name, found in parts.items()}

    @property
    def summary(self) -> Summary:
        """What one pass over all events finds out."""
        if self._summary is None:
            for _events, _tables in self._stream(frozenset()):
                pass
        assert self._summary is not None
        return self._summary

    @property
    def nr_events(self) -> int:
        """Number of events, markers included."""
        return self.summary.nr_events

    @property
    def names(self) -> list[str]:
        """Names of caches and of events of KIND_OTHER; an event's `cache` is a number in it."""
        _ = self.summary
        return self._names

    def number_of(self, name: str) -> int:
        """A name's number in `names`, to which it is added if it is not there."""
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)

    @property
    def markers(self) -> list[Marker]:
        """Lines written to trace_marker: (event number, time, text)."""
        return self.summary.markers

    @property
    def losses(self) -> list[Loss]:
        """Where events were lost: (event number, CPU, how many)."""
        return self.summary.losses

    @cached_property
    def lost(self) -> dict[int, int]:
        """{cpu: events lost}; {} if none were."""
        return self._lost(self.summary)

    @property
    def counts(self) -> dict[str, int]:
        """{event name as the kernel has it: how many}."""
        return dict(self.summary.counts)

    @property
    def tables(self) -> list[str]:
        """Names of the side tables."""
        names = self.names
        return [names[number] for number in sorted(self.summary.rows)]

    def marker(self, text: str) -> Marker:
        """The first marker of that text. Raises KeyError if there is none."""
        for marker in self.markers:
            if marker.text == text:
                return marker
        raise KeyError(text)

    # texts

    @property
    def statics(self) -> list[str]:
        """Names of the texts that hold for the whole recording ("iomem", "dmesg", "config")."""
        return sorted(self._static_names())

    def static(self, name: str) -> str:
        """Such a text. Raises KeyError if there is none of that name."""
        return self._static(name)

    @cached_property
    def files(self) -> dict[str, Any]:
        """The files that processes mapped: path -> `dev`, `inode`, `size`, `elf_head_base64`; {}
        if it does not say.
        """
        return {}

    @cached_property
    def symbols(self) -> Symbols:
        """Kernel functions by address; empty where the recording has none."""
        return Symbols([])

    @cached_property
    def sys_kernel_slab(self) -> dict[str, dict[str, str]]:
        """/sys/kernel/slab: {cache: {attribute: text}}; an alias is {"@link": its target}.

        {} where it is missing.
        """
        for name in ("stopped", *sorted(self.snapshots)):
            snapshot = self.snapshots.get(name)
            if snapshot and "sys_kernel_slab" in snapshot:
                return parse_sys_kernel_slab(
                    snapshot.text("sys_kernel_slab"), f"{self.path}/{name}/sys_kernel_slab"
                )
        return {}


def parse_sys_kernel_slab(text: str, where: str) -> dict[str, dict[str, str]]:
    """Lines `cache attribute value` and `name @link target` as {cache: {attribute: value}}."""
    caches: dict[str, dict[str, str]] = {}
    place = 0
    for line in text.split("\n"):
        words = line.split(" ", 2)
        if line and len(words) < 2:
            raise RecordingError(where, f"no `cache attribute value`: {line!r:.60}", place)
        if line:
            caches.setdefault(words[0], {})[words[1]] = words[2].strip() if len(words) > 2 else ""
        place += len(line) + 1
    return caches

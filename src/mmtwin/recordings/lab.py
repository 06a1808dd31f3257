"""The lab's data sets, packed or unpacked: raw ring-buffer pages with their format files,
snapshots, truth.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmtwin.recordings.archive import Store, open_store, pieces
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.event import EVENT
from mmtwin.recordings.formats import Format, PageLayout, parse_format, parse_header_page
from mmtwin.recordings.interner import Interner
from mmtwin.recordings.machine import HEADER_PAGE, read_machine, read_meta
from mmtwin.recordings.recording import Recording, Tables
from mmtwin.recordings.ring_buffer import PageDecoder
from mmtwin.recordings.shapes import parse_json
from mmtwin.recordings.snapshot import Snapshot
from mmtwin.recordings.stream import Events, Lane, Numbering, Room, Summary, merge, own
from mmtwin.recordings.symbols import Symbols, parse_kallsyms
from mmtwin.recordings.tables import table_of

FORMAT = re.compile(r"trace/events/([^/]+)/([^/]+)/format")
RAW = re.compile(r"trace/cpu(0|[1-9]\d{0,3})\.raw")
TRUTH = re.compile(r"([^/]+)\.truth\.json\.gz")
STAT = re.compile(r"^(overrun|commit overrun|dropped events): (\d{1,18})$", re.M)
BATCH = 1 << 19  # bytes of pages decoded at once
NOT_SNAPSHOTS = frozenset({"trace", "static"})


class LabRecording(Recording):
    """A lab data set with raw pages."""

    kind = "lab"

    def __init__(self, path: Path, store: Store | None = None) -> None:
        self.store = store or open_store(path)
        self.meta = read_meta(self.store)
        super().__init__(path, read_machine(self.store, self.meta))
        self.snapshots = read_snapshots(self.store)
        self._raw = {int(m[1]): name for name in self.store.sizes if (m := RAW.fullmatch(name))}
        if not self._raw:
            raise RecordingError(self.store.where("trace"), "no cpuN.raw: no events")
        self._interner = Interner(self._add_name)

    def _add_name(self, name: bytes) -> int:
        self._names.append(name.decode("utf-8", "replace"))
        return len(self._names) - 1

    @cached_property
    def formats(self) -> dict[int, Format]:
        """{event id: Format} of the format files."""
        formats = {}
        for name in sorted(self.store.sizes):
            match = FORMAT.fullmatch(name)
            if match:
                layout = parse_format(self.store.text(name), match[1], self.store.where(name))
                formats[layout.id] = layout
        return formats

    def number_of(self, name: str) -> int:
        """A name's number in `names`, to which it is added if it is not there."""
        return self._interner.number(name.encode())

    @cached_property
    def layout(self) -> PageLayout:
        """The ring buffer's pages."""
        name = HEADER_PAGE
        if name not in self.store.sizes:
            raise RecordingError(
                self.store.where(name), "missing: the raw pages cannot be read without it"
            )
        return parse_header_page(self.store.text(name), self.store.where(name))

    def _pass(
        self, wanted: frozenset[str] | None, summary: list[Summary], room: Room | None = None
    ) -> Iterator[tuple[Events, Tables]]:
        carried: set[int] = set()

        def carry(name: str) -> bool:
            if wanted is not None and name not in wanted:
                return False
            carried.add(self._interner.number(name.encode()))
            return True

        decoder = PageDecoder(self.formats, self.layout, self._interner, carry)
        lanes = {cpu: Lane() for cpu in sorted(self._raw)}
        if len(lanes) > 1:
            self.store.seekable(list(self._raw.values()))
        numbering = Numbering(lanes)
        summary.append(numbering.summary)
        own_room = room if len(lanes) == 1 else None
        streams = [self._decode(decoder, cpu, lane, own_room) for cpu, lane in lanes.items()]
        for events in merge(streams):
            sides = numbering.number(events, frozenset(carried))
            yield (
                events,
                {
                    self._names[name]: self._table(events, rows, numbering)
                    for name, rows in sides.items()
                },
            )
        numbering.finish()
        numbering.summary.counts.update(decoder.counts())

    def _decode(
        self, decoder: PageDecoder, cpu: int, lane: Lane, room_for: Room | None
    ) -> Iterator[Events]:
        """One CPU's pages as blocks of records; what else they hold goes to its lane."""
        name = self._raw[cpu]
        batch = min(BATCH, self.store.sizes[name])
        batch = max(batch // self.layout.size, 1) * self.layout.size
        rows = decoder.rows_at_most(batch)
        room = np.empty(0 if room_for else rows, EVENT)
        position = 0
        with closing(self.store.open(name)) as source:
            for data in pieces(source, batch, decoder.slack):
                size = len(data)
                whole = size - size % self.layout.size
                room = room_for(rows) if room_for else room
                address = np.frombuffer(data, np.uint8).ctypes.data
                count = decoder.decode(address, whole, cpu, room.ctypes.data, len(room))
                self._hand_over(decoder, data, room, lane)
                lane.decoded += count
                lane.apart = decoder.nr_apart > 0
                if count:
                    yield own(room[:count]) if len(self._raw) > 1 else room[:count]
                if decoder.failure is not None:
                    raise RecordingError(
                        self.store.where(name), decoder.failure, position + decoder.failed_at
                    )
                if whole < size:
                    raise RecordingError(
                        self.store.where(name), "ends inside a page", position + whole
                    )
                position += whole
        if position != self.store.sizes[name]:
            message = f"changed while it was read: {self.store.sizes[name]} bytes, now {position}"
            raise RecordingError(self.store.where(name), message, position)

    def _hand_over(
        self, decoder: PageDecoder, data: memoryview, room: Events, lane: Lane
    ) -> None:
        for row, count in decoder.losses:
            lane.losses.append((lane.decoded + row, count if count < 1 << 63 else -1))
        for row, start, end in decoder.payloads().tolist():
            event = bytes(data[start:end])
            number = int.from_bytes(event[:2], "little")
            if room["kind"][row]:
                buf = next(item for item in self.formats[number].fields if item.name == "buf")
                text = event[buf.offset :].split(b"\0", 1)[0]
                lane.markers.append(text.decode("utf-8", "replace").removesuffix("\n"))
            else:
                lane.others.append((number, event))

    def _table(
        self, events: Events, rows: list[tuple[int, int, bytes]], numbering: Numbering
    ) -> Any:
        """The side table of one event's rows of a block."""
        places = np.array([row for row, _number, _data in rows])
        first = numbering.summary.nr_events - len(events)
        chosen = events[places]
        base = {
            "index": (places + first).astype(np.uint64),
            "time": np.ascontiguousarray(chosen["time"]),
            "common_cpu": np.ascontiguousarray(chosen["cpu"]),
            "common_pid": np.ascontiguousarray(chosen["pid"]),
        }
        return table_of(self.formats.get(rows[0][1]), base, [data for _row, _number, data in rows])

    def _lost(self, summary: Summary) -> dict[int, int]:
        """What the pages say, or what the kernel counted (cpuN.stats) where that is more."""
        lost = super()._lost(summary)
        for cpu in self._raw:
            name = f"trace/cpu{cpu}.stats"
            if name in self.store.sizes:
                counted = {key: int(value) for key, value in STAT.findall(self.store.text(name))}
                dropped = counted.get("dropped events", 0) + counted.get("commit overrun", 0)
                total = max(lost.get(cpu, 0), counted.get("overrun", 0) + dropped)
                if total:
                    lost[cpu] = total
        return lost

    def _static_names(self) -> Iterable[str]:
        return (
            name.removeprefix("static/") for name in self.store.sizes if name.startswith("static/")
        )

    def _static(self, name: str) -> str:
        return self.store.text(f"static/{name}")

    @cached_property
    def symbols(self) -> Symbols:
        """Kernel functions by address (static/kallsyms)."""
        name = "static/kallsyms"
        if name not in self.store.sizes:
            return Symbols([])
        return parse_kallsyms(self.store.text(name), self.store.where(name))

    @cached_property
    def files(self) -> dict[str, Any]:
        """files.json: the files that processes mapped, by path; {} where there is none."""
        if "files.json" not in self.store.sizes:
            return {}
        where = self.store.where("files.json")
        value = parse_json(self.store.read("files.json"), where)
        if not isinstance(value, dict):
            raise RecordingError(where, "not a JSON object", 0)
        return value

    def close(self) -> None:
        """Removes what was written to a temporary folder."""
        self.store.close()


def read_snapshots(store: Store) -> dict[str, Snapshot]:
    """The snapshots of a data set: every folder but trace/ and static/, and the truths beside
    them.
    """
    found: dict[str, dict[str, str]] = {}
    for name in store.sizes:
        truth = TRUTH.fullmatch(name)
        folder, slash, file = name.partition("/")
        if truth:
            found.setdefault(truth[1], {})["truth.json.gz"] = name
        elif slash and folder not in NOT_SNAPSHOTS:
            found.setdefault(folder, {})[file] = name
    return {folder: snapshot_of(store, folder, files) for folder, files in found.items()}


def snapshot_of(store: Store, folder: str, files: dict[str, str]) -> Snapshot:
    """One snapshot; `files` has the store's name of each."""
    return Snapshot(
        folder,
        files,
        lambda file: store.read(files[file]),
        lambda file: store.where(files.get(file, folder)),
    )

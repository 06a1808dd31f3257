"""mmtwin's own recordings: a folder of recording.json, Parquet parts, symbols and snapshots.

The format is docs/recording-format.md; writer.py writes it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmtwin.recordings.archive import WINDOW_LIMIT
from mmtwin.recordings.columns import events_of, read_checked, read_frame
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.machine import RecordedMachine, parse_config
from mmtwin.recordings.recording import Recording, Tables
from mmtwin.recordings.shapes import NUMBERS, parse_json, shape_fault
from mmtwin.recordings.snapshot import Snapshot
from mmtwin.recordings.stream import Events, Loss, Marker, Room, Summary
from mmtwin.recordings.symbols import Symbols

if TYPE_CHECKING:
    import polars as pl

SCHEMA = 1
INDEX = "recording.json"
INDEX_LIMIT = 1 << 28
FILE_LIMIT = 1 << 30  # bytes of one unpacked text or array
PART = {"file": "text", "rows": int, "sha256": "text"}
FILES = {"*": {"file": "text", "size": int, "sha256": "text"}}
SHAPE = {
    "format": "text",
    "schema": int,
    "machine": {"*": None},
    "nr_events": int,
    "names": ["text"],
    "markers": [None],
    "losses": [NUMBERS],
    "lost": {"*": int},
    "counts": {"*": int},
    "parts": [PART],
    "tables": {"*": [PART]},
    "symbols?": PART,
    "statics": FILES,
    "snapshots": {"*": FILES},
    "files?": {"*": None},
}


class NativeRecording(Recording):
    """A recording in mmtwin's own format."""

    kind = "mmtwin"

    def __init__(self, path: Path) -> None:
        self._index = read_index(path)
        index = self._index
        where = path / INDEX
        machine = RecordedMachine.from_json(index["machine"], where)
        if "config" in index["statics"]:
            text = self._bytes(path, index["statics"]["config"]).decode("utf-8", "replace")
            machine = RecordedMachine(**{**machine.__dict__, "config": parse_config(text)})
        super().__init__(path, machine)
        self._names = list(index["names"])
        self._summary = Summary(
            nr_events=index["nr_events"],
            markers=[Marker(number, time, text) for number, time, text in index["markers"]],
            losses=[Loss(*loss) for loss in index["losses"]],
            counts=Counter(index["counts"]),
            rows=Counter(
                {
                    self._names.index(name): sum_rows(parts)
                    for name, parts in index["tables"].items()
                }
            ),
        )
        for name, files in index["snapshots"].items():
            self.snapshots[name] = self._snapshot(name, files)

    def _snapshot(self, name: str, files: dict[str, Any]) -> Snapshot:
        def read(file: str) -> bytes:
            return self._bytes(self.path, files[file])

        return Snapshot(
            name,
            files,
            read,
            lambda file: str(self.path / files.get(file, {"file": name})["file"]),
        )

    @staticmethod
    def _bytes(path: Path, entry: dict[str, Any]) -> bytes:
        """A packed file's content."""
        import zstandard

        place = inside(path, entry["file"])
        data = read_checked(place, entry["sha256"])
        if not 0 <= entry["size"] <= FILE_LIMIT:
            raise RecordingError(place, f"{entry['size']} bytes in one file")
        try:
            unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
            with unpacker.stream_reader(data) as file:
                content = file.read(entry["size"] + 1)
        except zstandard.ZstdError as error:
            raise RecordingError(place, f"damaged: {error}", 0) from None
        if len(content) != entry["size"]:
            raise RecordingError(place, f"{len(content)} bytes where {entry['size']} are due", 0)
        return content

    def _pass(
        self, wanted: frozenset[str] | None, summary: list[Summary], room: Room | None = None
    ) -> Iterator[tuple[Events, Tables]]:
        summary.append(self.summary)
        done = 0
        events = np.zeros(0, EVENT)
        for entry in self._index["parts"]:
            place = inside(self.path, entry["file"])
            frame = read_frame(place, entry)
            events = events_of(frame, place)
            self._check(frame, place)
            done += len(events)
            yield events, {}
        if done != self._index["nr_events"]:
            raise RecordingError(
                self.path / INDEX, f"nr_events: {self._index['nr_events']}, the parts have {done}"
            )
        for name in self._index["tables"]:
            if wanted is None or name in wanted:
                for table in self._table_parts(name):
                    yield events[:0], {name: table}

    def _check(self, frame: "pl.DataFrame", place: Path) -> None:
        """Numbers that others use as an index must be one.

        The columns have been seen to be numbers.
        """
        if not frame.height:
            return
        cache = frame["cache"].to_numpy()
        if int(cache.min()) < -1 or int(cache.max()) >= len(self._names):
            raise RecordingError(place, "column cache: a number that no name has", 0)
        markers = frame["address"].to_numpy()[frame["kind"].to_numpy() == CONSTANTS["KIND_MARKER"]]
        if len(markers) and int(markers.max()) >= len(self._index["markers"]):
            raise RecordingError(place, "column address: a marker that is not there", 0)

    def _table_parts(self, name: str) -> Iterator["pl.DataFrame"]:
        for entry in self._index["tables"][name]:
            yield read_frame(inside(self.path, entry["file"]), entry)

    def table(self, name: str) -> "pl.DataFrame":
        """The fields of an event that the record has no place for; KeyError for another name."""
        import polars as pl

        if name not in self._index["tables"]:
            raise KeyError(name)
        return pl.concat(list(self._table_parts(name)), how="diagonal_relaxed")

    def _lost(self, summary: Summary) -> dict[int, int]:
        return {int(cpu): count for cpu, count in self._index["lost"].items()}

    def _static_names(self) -> Iterable[str]:
        return list(self._index["statics"])

    def _static(self, name: str) -> str:
        return self._bytes(self.path, self._index["statics"][name]).decode("utf-8", "replace")

    @cached_property
    def files(self) -> dict[str, Any]:
        """The files that processes mapped, by path; {} where it does not say."""
        return dict(self._index.get("files") or {})

    @cached_property
    def symbols(self) -> Symbols:
        """Kernel functions by address (symbols.parquet)."""
        import polars as pl

        entry = self._index.get("symbols")
        if not entry:
            return Symbols([])
        place = inside(self.path, entry["file"])
        frame = read_frame(place, entry)
        if frame.schema != {"address": pl.UInt64, "end": pl.UInt64, "name": pl.String}:
            raise RecordingError(place, "not the columns address, end, name", 0)
        frame = frame.drop_nulls().unique("address").sort("address")
        return Symbols(
            zip(frame["address"].to_list(), frame["name"].to_list(), strict=True),
            frame["end"].to_list(),
        )


def sum_rows(parts: list[dict[str, Any]]) -> int:
    """Rows of a table's parts."""
    return sum(part["rows"] for part in parts)


def inside(folder: Path, name: str) -> Path:
    """A file of the recording's folder. Raises RecordingError for a name that leads out of it."""
    parts = Path(name).parts
    if not parts or "\0" in name or Path(name).is_absolute() or ".." in parts:
        raise RecordingError(folder / INDEX, f"{name!r:.80} is no file of this folder")
    return folder / name


def read_index(path: Path) -> dict[str, Any]:
    """The recording.json of a folder, checked."""
    where = path / INDEX
    try:
        if where.stat().st_size > INDEX_LIMIT:
            raise RecordingError(where, f"more than {INDEX_LIMIT} bytes")
        data = where.read_bytes()
    except OSError as error:
        raise RecordingError(where, f"cannot be read: {error.strerror}") from None
    index = parse_json(data, where)
    if not isinstance(index, dict) or index.get("format") != "mmtwin recording":
        raise RecordingError(where, "not the index of an mmtwin recording", 0)
    if index.get("schema") != SCHEMA:
        raise RecordingError(
            where, f"schema {index.get('schema')!r:.40}; this mmtwin reads schema {SCHEMA}", 0
        )
    fault = shape_fault(index, SHAPE, "recording") or index_fault(index)
    if fault:
        raise RecordingError(where, fault, 0)
    return dict(index)


def index_fault(index: dict[str, Any]) -> str:
    """What is wrong with an index of the right shape, "" if nothing is."""
    for marker in index["markers"]:
        if not isinstance(marker, list) or [type(value) for value in marker] != [int, int, str]:
            return f"recording.markers: {json.dumps(marker):.60} is not [event, time, text]"
        if not (0 <= marker[0] < index["nr_events"] and 0 <= marker[1] < 1 << 64):
            return f"recording.markers: {json.dumps(marker):.60} is out of range"
    if any(len(loss) != 3 for loss in index["losses"]):
        return "recording.losses: an entry that is not [event, cpu, count]"
    for cpu in index["lost"]:
        if not (
            cpu.removeprefix("-").isascii() and cpu.removeprefix("-").isdigit() and len(cpu) < 8
        ):
            return f"recording.lost: {cpu!r:.40} is no CPU"
    names = set(index["names"])
    if missing := next((name for name in index["tables"] if name not in names), ""):
        return f"recording.tables: {missing!r:.60} is not among the names"
    return ""

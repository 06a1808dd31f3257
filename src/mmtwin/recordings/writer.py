"""Writes a recording in mmtwin's own format (docs/recording-format.md)."""

import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmtwin.recordings.columns import frame_of, write_frame
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.native import INDEX, SCHEMA
from mmtwin.recordings.opening import open_recording
from mmtwin.recordings.recording import Recording
from mmtwin.recordings.stream import cut
from mmtwin.recordings.symbols import Symbols

if TYPE_CHECKING:
    import polars as pl

PART_ROWS = 1 << 19
TABLE_ROWS = 1 << 17
LEVEL = 9
# Not part of a recording: symbols have a table of their own, the kernel's BTF is a tool's
# business.
NOT_KEPT = frozenset({"kallsyms", "btf_vmlinux"})
Progress = Callable[[int], object]
Keep = Callable[[str, str], bool]


def keep_all(_snapshot: str, _file: str) -> bool:
    """Keeps every file of every snapshot."""
    return True


def import_recording(
    source: str | Path | Recording,
    destination: str | Path,
    progress: Progress | None = None,
    *,
    keep: Keep = keep_all,
    called_symbols: bool = False,
) -> Path:
    """Writes any recording as an mmtwin recording: the folder `destination`, which must not exist.

    The folder appears when it is complete, or not at all. `progress(events)` is called now and
    then. `keep(snapshot, file)` says which files of snapshots are kept (snapshot "static" for the
    texts that hold throughout); `called_symbols` keeps only the functions that events name.
    Returns the folder. Raises RecordingError for a source that cannot be read or a destination
    that is there.
    """
    target = Path(destination)
    if target.exists():
        raise RecordingError(target, "is there already")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    recording = source if isinstance(source, Recording) else open_recording(source)
    try:
        partial.mkdir(parents=True)
        writer = Writer(recording, partial, keep, progress or (lambda _events: None))
        writer.write(called_symbols)
        partial.rename(target)
    except OSError as error:
        raise RecordingError(target, f"cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if recording is not source:
            recording.close()
    return target


class Writer:
    """One recording on its way into a folder."""

    def __init__(self, recording: Recording, folder: Path, keep: Keep, progress: Progress) -> None:
        self.recording = recording
        self.folder = folder
        self.keep = keep
        self.progress = progress
        self.parts: list[dict[str, Any]] = []
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.waiting: dict[str, list[pl.DataFrame]] = defaultdict(list)
        self.call_sites: set[int] = set()
        self.done = 0

    def write(self, called_symbols: bool) -> None:
        """Writes all files, recording.json last."""
        for events in cut(self._events(), PART_ROWS):
            path = self.folder / f"events-{len(self.parts):05}.parquet"
            self.parts.append(write_frame(frame_of(events), path))
            self.call_sites.update(np.unique(events["call_site"]).tolist())
            self.done += len(events)
            self.progress(self.done)
        for name in list(self.waiting):
            self._flush(name)
        recording = self.recording
        index = {
            "format": "mmtwin recording",
            "schema": SCHEMA,
            "machine": {**recording.machine.as_json(), "config": {}},
            "nr_events": self.done,
            "names": recording.names,
            "markers": [list(marker) for marker in recording.markers],
            "losses": [list(loss) for loss in recording.losses],
            "lost": {str(cpu): count for cpu, count in recording.lost.items()},
            "counts": recording.counts,
            "parts": self.parts,
            "tables": self.tables,
            "symbols": self._symbols(called_symbols),
            "statics": self._statics(),
            "snapshots": {name: self._snapshot(name) for name in sorted(recording.snapshots)},
            "files": recording.files or None,
        }
        text = json.dumps(index, indent=1, ensure_ascii=False)
        (self.folder / INDEX).write_text(text + "\n", encoding="utf-8")

    def _events(self) -> Any:
        """Passes events on and puts their side tables away."""
        for events, tables in self.recording.chunks_with_tables():
            for name, table in tables.items():
                self.waiting[name].append(table)
                if sum(part.height for part in self.waiting[name]) >= TABLE_ROWS:
                    self._flush(name)
            yield events

    def _flush(self, name: str) -> None:
        """Writes the rows of a side table that wait."""
        import polars as pl

        parts = self.tables.setdefault(name, [])
        table = pl.concat(self.waiting.pop(name), how="diagonal_relaxed")
        number = list(self.tables).index(name)
        safe = re.sub(r"[^A-Za-z0-9_]", "_", name)[:60]
        parts.append(
            write_frame(table, self.folder / f"other-{number:03}-{safe}-{len(parts):05}.parquet")
        )

    def _symbols(self, called: bool) -> dict[str, Any] | None:
        import polars as pl

        symbols: Symbols = self.recording.symbols
        if not len(symbols):
            return None
        frame = pl.DataFrame(
            {
                "address": symbols.addresses,
                "end": [min(end, (1 << 64) - 1) for end in symbols.ends],
            },
            schema={"address": pl.UInt64, "end": pl.UInt64},
        ).with_columns(name=pl.Series(symbols.names, dtype=pl.String))
        if called:
            starts = np.array(symbols.addresses, np.uint64)
            sites = np.array(sorted(self.call_sites), np.uint64)
            rows = np.unique(np.searchsorted(starts, sites, "right")) - 1
            frame = frame[rows[rows >= 0].tolist()]
        return write_frame(frame, self.folder / "symbols.parquet")

    def _statics(self) -> dict[str, Any]:
        names = [
            name
            for name in self.recording.statics
            if name not in NOT_KEPT and self.keep("static", name)
        ]
        return {
            name: self._pack(f"static/{name}", self.recording.static(name).encode())
            for name in names
        }

    def _snapshot(self, name: str) -> dict[str, Any]:
        snapshot = self.recording.snapshots[name]
        files = {}
        for file in snapshot.files:
            if self.keep(name, file):
                data = snapshot.bytes(file)
                if file == "truth.json.gz":
                    from mmtwin.recordings.snapshot import unzip

                    file, data = "truth.json", unzip(data, str(self.recording.path / file))
                files[file] = self._pack(f"snapshots/{name}/{file}", data)
        return files

    def _pack(self, name: str, data: bytes) -> dict[str, Any]:
        """Writes a file, packed; what the index says of it."""
        import zstandard

        parts = [
            part if re.fullmatch(r"[\w.-]{1,100}", part) and part.strip(".") else "_"
            for part in name.split("/")
        ]
        place = self.folder.joinpath(*parts).with_name(parts[-1] + ".zst")
        number = 0
        while place.exists():
            number += 1
            place = place.with_name(f"{parts[-1]}.{number}.zst")
        place.parent.mkdir(parents=True, exist_ok=True)
        packed = zstandard.ZstdCompressor(level=LEVEL).compress(data)
        place.write_bytes(packed)
        return {
            "file": place.relative_to(self.folder).as_posix(),
            "size": len(data),
            "sha256": hashlib.sha256(packed).hexdigest(),
        }

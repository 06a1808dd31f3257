"""Event records as Parquet columns and back."""

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.event import EVENT
from mmtwin.recordings.parquet_check import check_parquet
from mmtwin.recordings.stream import Events

if TYPE_CHECKING:
    import polars as pl

ROWS_LIMIT = 1 << 22  # of one part; a file that claims more is refused
ROWS_AT_ONCE = 1 << 11  # their records stay in the cache while the columns are laid into them
TYPES = {name: np.zeros(0, EVENT)[name].dtype for name in EVENT.names or ()}
LEVEL = 6  # zstd; 12 is 1 % smaller and takes three times as long


def write_frame(frame: "pl.DataFrame", path: Path) -> dict[str, Any]:
    """Writes a table as a Parquet file; what the list of files says of it."""
    frame.write_parquet(path, compression="zstd", compression_level=LEVEL, statistics=False)
    return {
        "file": path.name,
        "rows": frame.height,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def read_checked(path: Path, sha256: str) -> bytes:
    """A file that must have a digest. Raises RecordingError if it is missing or differs."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(path, f"cannot be read: {error.strerror}") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RecordingError(path, "not the file that was written: its SHA-256 differs", 0)
    return data


def read_frame(path: Path, entry: dict[str, Any]) -> "pl.DataFrame":
    """A Parquet file of the list of files. Raises RecordingError if it is damaged."""
    return parse_frame(read_checked(path, entry["sha256"]), entry["rows"], path)


def parse_frame(data: bytes, rows: int, path: Path) -> "pl.DataFrame":
    """A Parquet file from its bytes, if it has that many rows.

    Raises RecordingError for anything else.
    """
    import polars as pl

    if not 0 <= rows <= ROWS_LIMIT:
        raise RecordingError(path, f"{rows} rows in one file")
    check_parquet(data, rows, path)
    try:
        found = pl.scan_parquet(io.BytesIO(data)).select(pl.len()).collect().item()
        if found != rows:
            raise RecordingError(path, f"{found} rows where {rows} are due", 0)
        return pl.read_parquet(io.BytesIO(data))
    except (RecordingError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # polars also panics, which is no Exception
        raise RecordingError(
            path, f"no Parquet file: {str(error).splitlines()[:1]!s:.200}", 0
        ) from None


def frame_of(events: Events) -> "pl.DataFrame":
    """Event records as a table, one column for each field."""
    import polars as pl

    return pl.DataFrame({name: np.ascontiguousarray(events[name]) for name in EVENT.names or ()})


def events_of(frame: "pl.DataFrame", path: Path) -> Events:
    """Event records from a table.

    Raises RecordingError if a column is missing, empty or of the wrong type.
    """
    columns = {}
    for name in EVENT.names or ():
        column = frame.get_column(name, default=None)
        if column is None:
            raise RecordingError(path, f"no column {name}", 0)
        if column.null_count() or not column.dtype.is_integer():
            raise RecordingError(path, f"column {name}: not a number in every row", 0)
        columns[name] = column.to_numpy()
        if columns[name].dtype != TYPES[name]:
            raise RecordingError(
                path, f"column {name}: {columns[name].dtype} where {TYPES[name]} is due", 0
            )
    events = np.empty(frame.height, EVENT)
    for start in range(0, frame.height, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        block = events[rows]
        for name, values in columns.items():
            block[name] = values[rows]
    return events

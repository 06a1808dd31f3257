"""Whether a Parquet file's own counts can be: looked at before polars takes memory by them.

Only what a reader allocates by: the footer's rows and chunks, and the header of every page
(parquet.thrift of Apache Parquet, in Thrift's compact protocol).
"""

from pathlib import Path
from typing import Any, TypeGuard

from mmtwin.recordings.errors import RecordingError

MAGIC = b"PAR1"
DEPTH = 16
PAGE_LIMIT = 1 << 28  # bytes of one unpacked page
TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, _MAP, STRUCT = range(1, 13)


class Thrift:
    """Structures of the compact protocol as {field number: value}, from data[at:end]."""

    def __init__(self, data: bytes, at: int, end: int, path: Path) -> None:
        self.data = data
        self.at = at
        self.end = end
        self.path = path

    def fail(self, message: str) -> RecordingError:
        """The error at this place."""
        return RecordingError(self.path, f"no Parquet file: {message}", self.at)

    def byte(self) -> int:
        """The next byte."""
        if self.at >= self.end:
            raise self.fail("it ends inside a header")
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        """An unsigned number of seven bits a byte."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise self.fail("a number without end")

    def value(self, kind: int, depth: int) -> Any:
        """A value of a type."""
        if depth > DEPTH:
            raise self.fail("structures inside structures")
        if kind in (TRUE, FALSE):
            return kind == TRUE
        if kind == BYTE:
            return self.byte()
        if kind in (I16, I32, I64):
            value = self.varint()
            return value >> 1 ^ -(value & 1)
        if kind in (DOUBLE, BINARY):
            size = 8 if kind == DOUBLE else self.varint()
            if size > self.end - self.at:
                raise self.fail("a text longer than the file")
            self.at += size
            return None
        if kind in (LIST, SET):
            head = self.byte()
            count = head >> 4 if head >> 4 != 15 else self.varint()
            if count > self.end - self.at:
                raise self.fail("a list longer than the file")
            inner = head & 15
            if inner in (TRUE, FALSE):
                inner = BYTE
            return [self.value(inner, depth + 1) for _ in range(count)]
        if kind == STRUCT:
            return self.struct(depth + 1)
        raise self.fail(f"a value of type {kind}")

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """A structure."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self.byte():
            if head >> 4:
                number += head >> 4
            else:
                number = self.value(I16, depth)
            fields[number] = self.value(head & 15, depth)
        return fields


def number_in(value: object, least: int, most: int) -> TypeGuard[int]:
    """Whether a value is a number in a range."""
    return type(value) is int and least <= value <= most


def check_parquet(data: bytes, rows: int, path: Path) -> None:
    """Raises RecordingError if a flat Parquet file of so many rows cannot have what it claims."""
    size = len(data)
    footer = int.from_bytes(data[-8:-4], "little")
    if size < 12 or data[:4] != MAGIC or data[-4:] != MAGIC or footer > size - 12:
        raise RecordingError(path, "no Parquet file: no mark at its start or end", 0)
    start = size - 8 - footer
    thrift = Thrift(data, start, size - 8, path)
    meta = thrift.struct()
    groups = meta.get(4)
    if meta.get(3) != rows or not isinstance(groups, list):
        raise RecordingError(path, f"{meta.get(3)!r:.40} rows where {rows} are due", start)
    left = rows
    for group in groups:
        columns = group.get(1) if isinstance(group, dict) else None
        own = group.get(3) if isinstance(group, dict) else None
        if not isinstance(columns, list) or not number_in(own, 0, left):
            raise thrift.fail("a row group without its rows")
        left -= own
        for column in columns:
            chunk = column.get(3) if isinstance(column, dict) else None
            if not isinstance(chunk, dict):
                raise thrift.fail("a column without its place")
            check_chunk(data, start, chunk, own, path)
    if left:
        raise thrift.fail(f"{left} rows are missing")


def check_chunk(data: bytes, end: int, chunk: dict[int, Any], rows: int, path: Path) -> None:
    """The pages of one column of one row group, before the footer at `end`."""
    begin, packed = chunk.get(9), chunk.get(7)
    if chunk.get(11) is not None:
        begin = chunk[11]
    if not number_in(begin, 4, end) or not number_in(packed, 0, end - begin):
        raise RecordingError(path, "no Parquet file: a column outside the file", end)
    thrift = Thrift(data, begin, begin + packed, path)
    left = rows
    if chunk.get(5) != rows:
        raise thrift.fail("a column with another number of rows")
    while thrift.at < begin + packed:
        page = thrift.struct()
        bodies = [page[key] for key in (5, 7, 8) if isinstance(page.get(key), dict)]
        count = bodies[0].get(1) if bodies else None
        if not number_in(page.get(3), 0, begin + packed - thrift.at):
            raise thrift.fail("a page longer than its column")
        if not number_in(page.get(2), 0, PAGE_LIMIT) or not number_in(count, 0, rows):
            raise thrift.fail("a page with more than can be")
        if page.get(1) != 2:
            left -= count
        if page.get(1) not in (0, 2, 3) or left < 0:
            raise thrift.fail("a page of unknown kind, or too many of them")
        thrift.at += page[3]
    if left:
        raise thrift.fail(f"{left} rows of a column are missing")

"""Side tables: the fields of events that the event record has no place for, as polars columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmtwin.recordings.formats import NUMBER_SIZES, Field, Format

if TYPE_CHECKING:
    import polars as pl

BASE = ("index", "time", "common_cpu", "common_pid")


def column_name(name: str, taken: Sequence[str]) -> str:
    """A field's name as a column; one that is taken gets `field_` in front."""
    while name in taken:
        name = f"field_{name}"
    return name


def text_of(data: bytes) -> str:
    """A C string."""
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")


def located(item: Field, data: bytes) -> bytes:
    """The bytes of a field that are not a plain number; cut off where the event ends."""
    if item.location:
        where = int.from_bytes(data[item.offset : item.offset + 4], "little")
        start = (where & 0xFFFF) + (item.offset + item.size if item.location == "rel" else 0)
        return data[start : start + (where >> 16)]
    return data[item.offset : item.offset + item.size if item.size else len(data)]


def column(item: Field, events: list[bytes], fixed: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """The values of one field and their polars type.

    `fixed` has the first bytes of every event as rows.
    """
    import polars as pl

    if item.count is None and not item.location and item.size in NUMBER_SIZES:
        code = f"<{'i' if item.signed else 'u'}{item.size}"
        part = np.ascontiguousarray(fixed[:, item.offset : item.offset + item.size])
        return part.view(code).ravel(), None
    values = [located(item, data) for data in events]
    if item.is_text:
        return [text_of(value) for value in values], pl.String
    return values, pl.Binary


def table_of(layout: Format | None, base: dict[str, Any], events: list[bytes]) -> "pl.DataFrame":
    """The events of one kind as a table: BASE's columns, then one for each field of the format.

    An event without a format has the one column `data` (its bytes).
    """
    import polars as pl

    columns = dict(base)
    if layout is None:
        return pl.DataFrame({**columns, "data": pl.Series(events, dtype=pl.Binary)})
    end = layout.end
    fixed = np.frombuffer(b"".join(data[:end] for data in events), np.uint8).reshape(
        -1, max(end, 1)
    )
    for item in layout.fields:
        values, kind = column(item, events, fixed)
        columns[column_name(item.name, list(columns))] = pl.Series(values=values, dtype=kind)
    return pl.DataFrame(columns)

"""JSON from outside: parsed and held against the shape it should have."""

import json
from typing import Any

from mmtwin.recordings.errors import RecordingError

NUMBERS = [int]


def parse_json(data: bytes | str, where: object) -> Any:
    """A JSON text. Raises RecordingError if it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RecordingError(
            where, f"not JSON: {error!s:.200}", getattr(error, "pos", 0)
        ) from None


def shape_fault(value: object, shape: Any, place: str) -> str:
    """Where a JSON value differs from a shape, "" if nowhere.

    Shapes: `int`; "text"; `bool`; [shape] a list; {"*": shape} an object of any keys; {key: shape}
    one with those keys at least ("key?" may be missing or null); None anything.
    """
    if shape is None:
        return ""
    if shape is int:
        return (
            ""
            if type(value) is int and -(1 << 63) <= value < 1 << 64
            else f"{place}: no 64-bit number"
        )
    if shape is bool:
        return "" if isinstance(value, bool) else f"{place}: neither true nor false"
    if shape == "text":
        return "" if isinstance(value, str) else f"{place}: no text"
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{place}: no list"
        if shape == NUMBERS and all(type(item) is int for item in value):
            good = not value or (min(value) >= -(1 << 63) and max(value) < 1 << 64)
            return "" if good else f"{place}: a number of more than 64 bits"
        faults = (shape_fault(item, shape[0], f"{place}[{at}]") for at, item in enumerate(value))
        return next(filter(None, faults), "")
    if not isinstance(value, dict):
        return f"{place}: no object"
    if "*" in shape:
        faults = (shape_fault(item, shape["*"], f"{place}.{key}") for key, item in value.items())
        return next(filter(None, faults), "")
    for key, inner in shape.items():
        name = key.removesuffix("?")
        item = value.get(name)
        if item is None and key.endswith("?"):
            continue
        fault = (
            f"{place}.{name}: missing"
            if item is None and inner
            else shape_fault(item, inner, f"{place}.{name}")
        )
        if fault:
            return fault
    return ""

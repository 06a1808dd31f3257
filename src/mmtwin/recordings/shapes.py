"""JSON from outside: parsed and held against the shape it should have."""

import json
from collections.abc import Sequence
from itertools import chain
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
    if all_fit([value], shape):
        return ""
    fault = fault_in(value, shape)
    return f"{place}{fault}" if fault else ""


def all_fit(values: Sequence[Any], shape: Any) -> bool:
    """Whether values surely have a shape: they are looked at in columns, which is quick."""
    types = set(map(type, values))
    if shape is None or not values:
        return True
    if shape is int:
        return types == {int} and min(values) >= -(1 << 63) and max(values) < 1 << 64
    if isinstance(shape, list):
        return types == {list} and all_fit(list(chain.from_iterable(values)), shape[0])
    if shape is bool or shape == "text":
        return types == {str if shape == "text" else bool}
    if types != {dict}:
        return False
    if "*" in shape:
        return all_fit(list(chain.from_iterable(each.values() for each in values)), shape["*"])
    for key, inner in shape.items():
        name = key.removesuffix("?")
        column = [each.get(name) for each in values]
        if name != key:
            column = [item for item in column if item is not None]
        if not all_fit(column, inner):
            return False
    return True


def fault_in(value: object, shape: Any) -> str:
    """The fault with its place inside the value: "[3].pfn: no text"."""
    if shape is None:
        return ""
    if shape is int:
        good = type(value) is int and -(1 << 63) <= value < 1 << 64
        return "" if good else ": no 64-bit number"
    if isinstance(shape, list):
        return fault_in_list(value, shape[0])
    if shape is bool:
        return "" if isinstance(value, bool) else ": neither true nor false"
    if shape == "text":
        return "" if isinstance(value, str) else ": no text"
    if not isinstance(value, dict):
        return ": no object"
    if "*" in shape:
        inner = shape["*"]
        for key, item in value.items():
            if fault := fault_in(item, inner):
                return f".{key}{fault}"
        return ""
    for key, inner in shape.items():
        name = key.removesuffix("?")
        item = value.get(name)
        if inner is int and type(item) is int and -(1 << 63) <= item < 1 << 64:
            continue  # the most frequent by far
        if item is None:
            if inner and name == key:
                return f".{name}: missing"
        elif fault := fault_in(item, inner):
            return f".{name}{fault}"
    return ""


def fault_in_list(value: object, inner: Any) -> str:
    """fault_in() of a list whose items have one shape."""
    if not isinstance(value, list):
        return ": no list"
    if not value:
        return ""
    if inner is int and set(map(type, value)) <= {int}:
        good = min(value) >= -(1 << 63) and max(value) < 1 << 64
        return "" if good else ": a number of more than 64 bits"
    for at, item in enumerate(value):
        if fault := fault_in(item, inner):
            return f"[{at}]{fault}"
    return ""

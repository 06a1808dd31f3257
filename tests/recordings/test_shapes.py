"""Shapes of JSON: looked at in columns, and, where that finds something, item by item."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtwin.recordings.shapes import all_fit, fault_in, shape_fault

SHAPE = {"a": int, "b?": "text", "c": [{"d": [int], "e?": bool}], "f": {"*": [int]}}
GOOD: dict[str, Any] = {"a": 1, "c": [{"d": [2, 3]}, {"d": [], "e": True}], "f": {"x": [4]}}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 65), 1 << 65) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from("abcdefx"), inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from("abcdef"), VALUES), st.sampled_from("abcdefx"))
def test_both_ways_agree(changes: dict[str, Any], key: str) -> None:
    for value in (changes, GOOD | changes, GOOD | {key: changes.get(key)}):
        assert all_fit([value], SHAPE) == (fault_in(value, SHAPE) == "")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        ({"a": 1 << 64}, "x.a: no 64-bit number"),
        ({"b": 3}, "x.b: no text"),
        ({"c": [{"d": [1, None]}]}, "x.c[0].d[1]: no 64-bit number"),
        ({"f": {"y": 3}}, "x.f.y: no list"),
        ({"a": None}, "x.a: missing"),
    ],
)
def test_the_fault_is_named(change: dict[str, Any], fault: str) -> None:
    assert shape_fault(GOOD | change, SHAPE, "x") == fault

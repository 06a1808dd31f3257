"""Recordings to test on: cut from guests, or put together from them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the helpers beside this file

from recording_sets import lab_set, packed


@pytest.fixture
def unpacked_set(tmp_path: Path) -> Path:
    """An unpacked data set with snapshots and truth."""
    return lab_set(tmp_path / "set")


@pytest.fixture
def packed_set(tmp_path: Path) -> Path:
    """The same, packed."""
    return packed(lab_set(tmp_path / "unpacked"), tmp_path / "packed")

"""Instants of a recording: by marker, by event, by time."""

from pathlib import Path

import pytest

from mmtwin import open_recording
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.moments import Moment, find_moment

LINES = (
    "kmalloc: call_site=one+0xf7/0x3f0 ptr=ffff8880069f8c00 bytes_req=60 bytes_alloc=64 "
    "gfp_flags=GFP_KERNEL node=-1 accounted=false",
    "tracing_mark_write: SNAP end",
    "kfree: call_site=two+0xd0/0x150 ptr=ffff8880069f8c00",
    "tracing_mark_write: SNAP end",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    header = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 4/4   #P:1\n#\n"
    lines = (
        f"            init-1       [000] d..1.     1.{place}00000: {line}\n"
        for place, line in enumerate(LINES)
    )
    (tmp_path / "trace").write_text(header + "".join(lines))
    return tmp_path / "trace"


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("SNAP end", 1),  # the first of that text
        ("#2", 2),
        ("0", 0),
        ("0.1", 1),
        ("150ms", 2),
        ("0.3s", 3),
        ("300000us", 3),
        ("200000000 ns", 2),
    ],
)
def test_find(path: Path, text: str, index: int) -> None:
    with open_recording(path) as recording:
        marker = LINES[index].partition(": ")[2] if text == "SNAP end" else ""
        time = 1_000_000_000 + index * 100_000_000
        assert find_moment(recording, text) == Moment(index, time, marker)


def test_the_end_is_behind_the_last_event(path: Path) -> None:
    with open_recording(path) as recording:
        assert find_moment(recording, "end") == Moment(4, 1_300_000_000)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("SNAP and", "nearest markers: 'SNAP end'"),
        ("#4", "has 4 events"),
        ("0.4", "ends 0.3 s after"),
        ("", "no time"),
        ("-1", "no time"),
    ],
)
def test_what_is_not_there(path: Path, text: str, answer: str) -> None:
    with open_recording(path) as recording, pytest.raises(ReplayError, match=answer):
        find_moment(recording, text)

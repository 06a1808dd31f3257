"""Texts of a recording that were cut or changed: one line that names the file, the place and what
to do.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from mmtwin.cli.main import main
from mmtwin.recordings import default_recording_path

LONGEST = 260  # columns of a line
NUMBER = re.compile(rb"(?<![\w.])\d+(?![\w.])")


def change_file(recording: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    """Changes a file of a snapshot and its entry in the index, as who edits a recording would."""
    index = json.loads((recording / "recording.json").read_text())
    snapshot, _, file = name.partition("/")
    entry = index["statics"][file] if snapshot == "static" else index["snapshots"][snapshot][file]
    place = recording / entry["file"]
    data = change(zstandard.ZstdDecompressor().decompress(place.read_bytes(), 1 << 27))
    place.write_bytes(zstandard.ZstdCompressor().compress(data))
    entry["size"], entry["sha256"] = len(data), hashlib.sha256(place.read_bytes()).hexdigest()
    (recording / "recording.json").write_text(json.dumps(index))


def cut(lines: int) -> Callable[[bytes], bytes]:
    """Only the first lines are left."""
    return lambda data: b"\n".join(data.split(b"\n")[:lines]) + b"\n"


def half(data: bytes) -> bytes:
    """The text ends in the middle of a line."""
    return data[: len(data) // 2]


def without_column(data: bytes) -> bytes:
    """Every line without its last word."""
    return b"\n".join(line.rpartition(b" ")[0] for line in data.split(b"\n"))


def negative(data: bytes) -> bytes:
    """Every number below 0."""
    return NUMBER.sub(rb"-\g<0>", data)


def huge(data: bytes) -> bytes:
    """Every number of more than 64 bits."""
    return NUMBER.sub(b"99999999999999999999999", data)


def large(data: bytes) -> bytes:
    """Every number one of 63 bits."""
    return NUMBER.sub(b"4611686018427387904", data)


def zero(data: bytes) -> bytes:
    """Every number 0."""
    return NUMBER.sub(b"0", data)


def nothing(_data: bytes) -> bytes:
    """No byte is left."""
    return b""


def in_truth(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """The truth with something of it changed."""

    def changed(data: bytes) -> bytes:
        truth = json.loads(data)
        change(truth)
        return json.dumps(truth).encode()

    return changed


def cache(**fields: Any) -> Callable[[bytes], bytes]:
    """The truth with fields of the cache kmalloc-1k changed."""
    return in_truth(lambda truth: [
        each.update(fields) for each in truth["slab"] if each["name"] == "kmalloc-1k"
    ])  # fmt: skip


# (file, change, what the line says, options of `mmtwin replay`)
CASES: list[tuple[str, Callable[[bytes], bytes], str, str]] = [
    ("start/zoneinfo", nothing, "zoneinfo shows no zone with pages", ""),
    ("start/zoneinfo", cut(40), "line 1: node 0, zone DMA ends before", ""),
    ("start/zoneinfo", half, "node 0, zone DMA ends before `start_pfn`", ""),
    ("start/zoneinfo", without_column, "zoneinfo shows no zone with pages", ""),
    ("start/zoneinfo", negative, "zoneinfo shows no zone with pages", ""),
    ("start/zoneinfo", lambda data: data.replace(b"managed  ", b"managed  9"),
     "spanned, present and managed contradict each other", ""),
    ("start/zoneinfo", huge, "no machine has a node 99999999999999999999999", ""),
    ("start/zoneinfo", large, "no machine has a node 4611686018427387904", ""),
    ("start/zoneinfo", zero, "zoneinfo shows no zone with pages", ""),
    ("start/pagetypeinfo", nothing, "line 1: no `Page block order: N`", ""),
    ("start/pagetypeinfo", huge, "line 1: no `Page block order: N`", "--from snapshots"),
    ("start/kpageflags", nothing, "0 pages of 65504, which zoneinfo shows", ""),
    ("start/kpageflags", lambda data: data[:800], "100 pages of 65504", "--from snapshots"),
    ("start/kpageflags", lambda data: data[:-3], "ends inside an entry", ""),
    ("start/slabinfo", cut(1), "line 1: the text ends where the names of the columns", ""),
    ("start/slabinfo", half, "no ' : tunables ... : slabdata ...'", ""),
    ("start/slabinfo", half, "not a line of slabinfo: 'files_cache", "--from snapshots"),
    ("start/slabinfo", negative, "line 3: '-0' is no number of tunables", ""),
    ("start/slabinfo", without_column, "line 1: not version 2.1 of the format", ""),
    ("start/slabinfo", negative, "line 3: 'fsverity_info' cannot have such", "--from snapshots"),
    ("start/slabinfo", huge, "cannot have such numbers", "--from snapshots"),
    ("start/slabinfo", zero, "cannot have such numbers", "--from snapshots"),
    ("start/buddyinfo", negative, "line 1: '-0' is no node number", ""),
    ("start/buddyinfo", huge, "line 1: '99999999999999999999999' is no node number", ""),
    ("start/meminfo", half, "no 'name: value kB'", ""),
    ("start/meminfo", negative, "is no value", ""),
    ("start/vmallocinfo", lambda data: b"x\n" + data, "line 1: no 'start-end size'", ""),
    ("start/truth.json", half, "not JSON", ""),
    ("start/truth.json", nothing, "not JSON", ""),
    ("start/truth.json", cache(size=-1), "objects of kmalloc-1k cannot be of -1 bytes", ""),
    ("start/truth.json", cache(oo=0), "slabs of kmalloc-1k cannot be of oo 0x0", ""),
    ("start/truth.json", cache(offset=-1), "cache kmalloc-1k: a number that is too large or", ""),
    ("start/truth.json", cache(cpu_partial=-1), "cache kmalloc-1k: a number that is too", ""),
    ("start/truth.json", cache(name=None), ".name: missing", ""),
    ("start/truth.json", in_truth(lambda t: t["buddy"][-1].update(name="x")),
     "the truth has a zone 'x' that zoneinfo has not", ""),
    ("start/truth.json", in_truth(lambda t: t["buddy"][-1].update(free={"0,0": [-5]})),
     "free block -5 of list 0,0 cannot be", ""),
    ("start/truth.json", in_truth(lambda t: t["buddy"][-1]["pcp"][0].update(count=1 << 62)),
     "zone DMA32: a number that is too large or too small for its place", ""),
    ("start/truth.json", in_truth(lambda t: t["buddy"][-1]["pcp"][0]["lists"].update({"99": [5]})),
     "no per-CPU list 99 on this machine", ""),
    ("static/version", lambda data: b"\x00\x01", "no kernel release in", ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message", "options"), CASES)
def test_damage_is_named(
    name: str, change: Callable[[bytes], bytes], message: str, options: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("MMTWIN_CACHE", "")
    recording = tmp_path / "r"
    shutil.copytree(default_recording_path(), recording)
    change_file(recording, name, change)
    assert main(["replay", str(recording), "--no-statistics", *options.split()]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    lines = [line for line in told.err.splitlines() if "uncompiled" not in line]
    assert lines[0].startswith("mmtwin: error: ")
    assert message in lines[0]
    assert name.partition("/")[2] in lines[0].replace(str(tmp_path), "")
    assert "Error" not in lines[0]
    if "truth" not in name and not name.startswith("static"):
        ends = "ends inside an entry" in lines[0]  # of an array: a byte is named
        assert ends or "cut or changed since it was written" in lines[1]
    assert len(lines) <= 2
    assert all(len(line) <= LONGEST + len(str(tmp_path)) for line in lines)

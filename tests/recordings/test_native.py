"""mmtwin's own format: what is imported is what was there, and what is damaged is named."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from recording_sets import FIXTURES, lab_set, packed

import mmtwin.recordings.writer as writer
from mmtwin.recordings import (
    Recording,
    RecordingError,
    default_recording_path,
    import_recording,
    open_recording,
)
from mmtwin.recordings.event import EVENT

SOURCES = ["x86-6.1-text", "x86-6.1-smp2", "x86-6.1-process", "x86-5.10"]
SAME = ("machine", "names", "markers", "losses", "lost", "counts", "nr_events", "tables", "files")


def check_same(ours: Recording, theirs: Recording) -> None:
    """Two recordings tell the same."""
    whole = np.concatenate([*theirs.chunks(), np.zeros(0, EVENT)])
    assert np.concatenate([*ours.chunks(100), np.zeros(0, EVENT)]).tobytes() == whole.tobytes()
    for name in SAME:
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in theirs.tables:
        assert ours.table(name).equals(theirs.table(name))
    for name, snapshot in theirs.snapshots.items():
        kept = [file for file in snapshot.files if "truth" not in file]
        assert [file for file in ours.snapshots[name].files if "truth" not in file] == kept
        assert all(ours.snapshots[name].bytes(file) == snapshot.bytes(file) for file in kept)
        assert ours.snapshots[name].truth == snapshot.truth
    for name in set(theirs.statics) - writer.NOT_KEPT:
        assert ours.static(name) == theirs.static(name)
    for address in theirs.symbols.addresses:
        assert ours.symbols.name(address + 1) == theirs.symbols.name(address + 1)


@pytest.mark.parametrize("name", SOURCES)
def test_import_is_the_same(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PART_ROWS", 64)
    monkeypatch.setattr(writer, "TABLE_ROWS", 16)
    source = packed(lab_set(tmp_path / "set", name), tmp_path / "packed")
    seen: list[int] = []
    target = import_recording(source, tmp_path / "imported", seen.append)
    with open_recording(source) as theirs, open_recording(target) as ours:
        assert ours.kind == "mmtwin"
        check_same(ours, theirs)
        assert seen[-1] == theirs.nr_events and len(seen) > 1
    again = import_recording(target, tmp_path / "again")
    with open_recording(again) as ours, open_recording(target) as theirs:
        check_same(ours, theirs)


def test_markers_come_with_their_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # whoever learns up to a marker of a later part would read behind the part's end
    monkeypatch.setattr(writer, "PART_ROWS", 64)
    source = lab_set(tmp_path / "set", "x86-5.10")
    with open_recording(import_recording(source, tmp_path / "imported")) as ours:
        done, parts = 0, 0
        for events, markers in ours.blocks_with_markers():
            done, parts = done + len(events), parts + 1
            assert markers == [marker for marker in ours.markers if marker.index < done]
        assert done == ours.nr_events and parts > 1 and len(markers) == len(ours.markers) > 0
        assert ours.markers[-1].index >= 64


def test_text_is_imported_with_its_symbols(tmp_path: Path) -> None:
    source = FIXTURES / "x86-6.1-text/trace/trace.txt"
    target = import_recording(source, tmp_path / "imported")
    with open_recording(source) as theirs, open_recording(target) as ours:
        check_same(ours, theirs)
        assert len(ours.symbols) > 10


def test_users_read_the_parts_with_polars(tmp_path: Path) -> None:
    target = import_recording(FIXTURES / "x86-6.1-smp2", tmp_path / "imported")
    frame = pl.read_parquet(target / "events-*.parquet")
    events = np.concatenate(list(open_recording(target).chunks()))
    assert frame.columns == list(EVENT.names or ())
    assert frame["address"].to_list() == events["address"].tolist()


def test_called_symbols_alone_tell_no_wrong_name(tmp_path: Path) -> None:
    source = lab_set(tmp_path / "set")
    lines = [f"{0xFFFFFFFF81000000 + 4096 * number:x} T f{number}" for number in range(4096)]
    (source / "static/kallsyms").write_text("\n".join(lines) + "\n")
    target = import_recording(source, tmp_path / "imported", called_symbols=True)
    ours, theirs = open_recording(target).symbols, open_recording(source).symbols
    sites = {int(site) for chunk in open_recording(source).chunks() for site in chunk["call_site"]}
    assert all(ours.name(site) == theirs.name(site) for site in sites)
    assert 0 < len(ours) < len(theirs)
    missing = next(a for a in theirs.addresses if a not in set(ours.addresses))
    assert ours.find(missing + 1) is None


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    source = lab_set(tmp_path / "set")
    raw = source / "trace/cpu0.raw"
    raw.write_bytes(raw.read_bytes()[:-5])
    with pytest.raises(RecordingError, match="ends inside a page"):
        import_recording(source, tmp_path / "imported")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]
    (tmp_path / "imported").mkdir()
    with pytest.raises(RecordingError, match="is there already"):
        import_recording(FIXTURES / "x86-5.10", tmp_path / "imported")


def test_a_changed_file_is_named(tmp_path: Path) -> None:
    whole = import_recording(lab_set(tmp_path / "set"), tmp_path / "imported")
    for file in sorted(path for path in whole.rglob("*") if path.is_file()):
        if file.name == "recording.json":
            continue
        folder = tmp_path / "changed"
        shutil.copytree(whole, folder)
        place = folder / file.relative_to(whole)
        data = bytearray(place.read_bytes())
        data[len(data) // 2] ^= 1
        place.write_bytes(data)
        with pytest.raises(RecordingError, match=file.name.replace(".", r"\.")) as caught:
            read_all(folder)
        assert "SHA-256" in str(caught.value)
        shutil.rmtree(folder)


def read_all(folder: Path) -> None:
    """Reads everything that a recording holds."""
    with open_recording(folder) as recording:
        list(recording.chunks())
        for name in recording.tables:
            recording.table(name)
        for snapshot in recording.snapshots.values():
            _ = [snapshot.bytes(file) for file in snapshot.files], snapshot.truth
        _ = recording.symbols, [recording.static(name) for name in recording.statics]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": 2}, "schema 2"),
        ({"format": "?"}, "not the index"),
        ({"nr_events": 3}, "the parts have"),
        ({"names": []}, "no name has"),
        ({"markers": []}, "a marker that is not there"),
        ({"machine": {"cpus": "2"}}, "machine.cpus"),
        ({"parts": [{"file": "../x", "rows": 1, "sha256": ""}]}, "no file of this folder"),
        ({"parts": [{"file": "events-00000.parquet", "rows": -1, "sha256": ""}]}, "SHA-256"),
        ({"lost": {"x": 1}}, "is no CPU"),
        ({"tables": {"nothing": []}}, "not among the names"),
    ],
)
def test_a_wrong_index_is_named(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    target = import_recording(FIXTURES / "x86-6.1-text", tmp_path / "imported")
    index = json.loads((target / "recording.json").read_text())
    (target / "recording.json").write_text(json.dumps({**index, **change}))
    with pytest.raises(RecordingError, match=complaint):
        read_all(target)


def test_the_shipped_recording() -> None:
    folder = default_recording_path()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 3 << 20
    assert sum(path.stat().st_size for path in files) < 3 << 20
    with open_recording() as recording:
        assert recording.machine.version == "6.1"
        assert sum(map(len, recording.chunks())) == recording.nr_events == 244704
        assert recording.lost == {}
        assert recording.marker("DUMP start").index < recording.marker("DUMP end").index
        for name in ("start", "end"):
            truth = recording.snapshots[name].truth
            assert truth is not None and len(truth["slab"]) > 100
            assert recording.snapshots[name].array("kpageflags").size == 65536
        first = next(recording.chunks(100))
        names = {
            recording.symbols.name(int(site)).partition("+")[0] for site in first["call_site"]
        }
        assert "__trace_define_field" in names
        assert recording.sys_kernel_slab["kmalloc-64"]["object_size"] == "64"

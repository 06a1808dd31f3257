"""The lab's data sets: every field against a second reader; CPUs, losses, snapshots."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naive_pages import events as naive_events
from recording_sets import FIXTURES, lab_set, packed

from mmtwin.recordings import RecordingError, open_recording
from mmtwin.recordings.annotate import slab_order
from mmtwin.recordings.constants import NUMBERS
from mmtwin.recordings.event import CONSTANTS, EVENT, KIND_OF_NAME
from mmtwin.recordings.recording import Recording

SETS = sorted(path.parent.name for path in FIXTURES.glob("*/meta.json"))
PLACES = {
    "address": ("ptr", "pfn"),
    "call_site": ("call_site",),
    "gfp": ("gfp_flags",),
    "pid": ("common_pid",),
    "flags": ("common_flags",),
    "preempt": ("common_preempt_count",),
    "node": ("node",),
    "bytes_req": ("bytes_req", "fallback_order", "mm_id"),
    "bytes_alloc": ("bytes_alloc", "fallback_migratetype"),
    "order": ("order", "alloc_order", "member"),
    "migratetype": ("migratetype", "alloc_migratetype"),
    "extra": ("accounted", "percpu_refill", "change_ownership", "curr"),
}
ABSENT = {"node": -1, "migratetype": -1}


def all_events(recording: Recording, size: int = 1 << 18) -> np.ndarray[Any, Any]:
    """All events in one array."""
    return np.concatenate([*recording.chunks(size), np.zeros(0, EVENT)])


def cpus_of(name: str) -> list[int]:
    """The CPUs of a fixture."""
    return sorted(int(path.stem[3:]) for path in (FIXTURES / name).glob("trace/cpu*.raw"))


def check_event(recording: Recording, event: Any, name: str, fields: dict[str, Any]) -> None:
    """One record against the fields that the second reader sees."""
    kind = int(event["kind"])
    assert kind == KIND_OF_NAME.get(name, 0)
    if kind == CONSTANTS["KIND_MARKER"]:
        assert recording.markers[int(event["address"])].text == fields["buf"].rstrip("\n")
        return
    if kind == CONSTANTS["KIND_OTHER"]:
        assert recording.names[int(event["cache"])] == name
        return
    for place, sources in PLACES.items():
        value = next((fields[source] for source in sources if source in fields), None)
        if value is None:
            value = ABSENT.get(place, 2 if name.endswith("_node") and place == "extra" else 0)
            if place == "address":
                value = fields["size"]
        bits = 8 * EVENT[place].itemsize
        assert int(event[place]) & ((1 << bits) - 1) == value & ((1 << bits) - 1), (name, place)
    if "name" in fields:
        assert recording.names[int(event["cache"])] == fields["name"]
    else:
        assert event["cache"] == -1


@pytest.mark.parametrize("name", SETS)
def test_every_field(name: str) -> None:
    with open_recording(FIXTURES / name) as recording:
        found = all_events(recording)
        merged = []
        for cpu in cpus_of(name):
            size = recording.machine.page_size
            merged += [(*event, cpu) for event in naive_events(FIXTURES / name, cpu, size)]
        merged.sort(key=lambda event: event[0])
        assert len(found) == recording.nr_events == len(merged) > 50
        for event, (time, event_name, fields, cpu) in zip(found, merged, strict=True):
            assert (int(event["time"]), int(event["cpu"])) == (time, cpu)
            check_event(recording, event, event_name, fields)
        names = [event_name for _time, event_name, _fields, _cpu in merged]
        assert recording.counts == {event_name: names.count(event_name) for event_name in names}


def test_machines() -> None:
    seen = {}
    for name in SETS:
        machine = open_recording(FIXTURES / name).machine
        seen[name] = (machine.version, machine.arch, machine.page_size, machine.clock)
    assert seen["x86-5.10"] == ("5.10", "x86_64", 4096, "global")
    assert seen["x86-7.3"] == ("7.3", "x86_64", 4096, "global")
    assert seen["arm64-6.1"] == ("6.1", "arm64", 4096, "global")
    assert seen["arm64-16k-6.12"] == ("6.12", "arm64", 16384, "global")
    assert seen["x86-6.1-smp2"] == ("6.1", "x86_64", 4096, "counter")


def test_page_size_is_the_configuration_s(tmp_path: Path) -> None:
    folder = lab_set(tmp_path / "set", "arm64-16k-6.12")
    for switch in ("CONFIG_PAGE_SHIFT=14", "CONFIG_ARM64_16K_PAGES=y"):
        (folder / "static/config").write_text(switch + "\n")
        assert open_recording(folder).machine.page_size == 16384


def test_two_cpus_are_merged_by_time() -> None:
    found = all_events(open_recording(FIXTURES / "x86-6.1-smp2"))
    assert (np.diff(found["time"].astype(np.int64)) >= 0).all()
    assert len(np.flatnonzero(np.diff(found["cpu"].astype(int)))) > 10
    for cpu in (0, 1):
        alone = naive_events(FIXTURES / "x86-6.1-smp2", cpu, 4096)
        assert found["time"][found["cpu"] == cpu].tolist() == [event[0] for event in alone]


@pytest.mark.parametrize("size", [1, 7, 100, 1 << 18])
def test_chunks_are_the_same_events(size: int) -> None:
    recording = open_recording(FIXTURES / "x86-6.1-smp2")
    whole = all_events(recording)
    chunks = list(recording.chunks(size))
    assert {len(chunk) for chunk in chunks[:-1]} <= {size}
    assert np.concatenate(chunks).tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", ["x86-6.1-text", "x86-6.1-smp2", "x86-6.1-process"])
def test_packed_is_as_unpacked(tmp_path: Path, name: str) -> None:
    loose = open_recording(lab_set(tmp_path / "set", name))
    with open_recording(packed(tmp_path / "set", tmp_path / "packed")) as tight:
        assert all_events(tight).tobytes() == all_events(loose).tobytes()
        assert tight.machine == loose.machine
        assert tight.markers == loose.markers
        assert tight.files == loose.files == {"/init": {"dev": "00:02", "inode": 7}}
        assert tight.statics == loose.statics
        assert tight.symbols.name(0xFFFFFFFF81002034) == "init_once+0x4"
        for key, snapshot in loose.snapshots.items():
            assert tight.snapshots[key].files == snapshot.files
            assert tight.snapshots[key].truth == snapshot.truth


def test_side_tables() -> None:
    recording = open_recording(FIXTURES / "x86-6.1-process")
    reference = naive_events(FIXTURES / "x86-6.1-process", 0, 4096)
    found = all_events(recording)
    assert {"page_fault_user", "vma_store", "sys_enter_mmap"} <= set(recording.tables)
    for name in recording.tables:
        table = recording.table(name)
        rows = [(number, fields) for number, (_, n, fields) in enumerate(reference) if n == name]
        assert table["index"].to_list() == [number for number, _fields in rows]
        for column in table.columns[4:]:
            key = column.removeprefix("field_")
            assert table[column].to_list() == [fields[key] for _number, fields in rows]
        events = found[table["index"].to_numpy()]
        assert events["bytes_req"].tolist() == list(range(len(rows)))
    with pytest.raises(KeyError):
        recording.table("kmalloc")


def test_snapshots(unpacked_set: Path) -> None:
    recording = open_recording(unpacked_set)
    start = recording.snapshots["start"]
    assert start.text("slabinfo").startswith("slabinfo")
    assert start.array("kpageflags").shape == (8,)
    assert start.array("proc/1/pagemap.u64x3").shape == (2, 2)
    assert start.processes == [1]
    assert start.has_truth and not recording.snapshots["stopped"].has_truth
    assert start.truth is not None
    assert start.truth["slab"][0]["slabs"][0]["live"] == [18446612682215301120]
    assert recording.sys_kernel_slab == {
        ":0001328": {"object_size": "1328", "ctor": ""},
        "kmalloc-64": {"order": "0"},
        "A-0": {"@link": ":0001328"},
    }
    assert recording.machine.config == {"CONFIG_A": "y", "CONFIG_B": "n", "CONFIG_C": "x y"}
    with pytest.raises(KeyError):
        start.text("nothing")


def test_lost_events_are_counted_and_placed(unpacked_set: Path) -> None:
    raw = bytearray((unpacked_set / "trace/cpu0.raw").read_bytes())
    first = open_recording(FIXTURES / "x86-6.1-text")
    pages = [len(c) for c in page_counts(first)]
    commit = struct.unpack_from("<Q", raw, 4096 + 8)[0]
    struct.pack_into("<Q", raw, 8, struct.unpack_from("<Q", raw, 8)[0] | 1 << 31)
    room = 4096 - 16 - (commit & 0xFFFFF)
    stored = room >= 8
    struct.pack_into("<Q", raw, 4096 + 8, commit | 1 << 31 | (1 << 30 if stored else 0))
    if stored:
        struct.pack_into("<Q", raw, 4096 + 16 + (commit & 0xFFFFF), 41)
    (unpacked_set / "trace/cpu0.raw").write_bytes(raw)
    recording = open_recording(unpacked_set)
    assert recording.losses == [(0, 0, -1), (pages[0], 0, 41 if stored else -1)]
    assert recording.lost == {0: 42 if stored else 2}
    assert recording.nr_events == sum(pages)
    (unpacked_set / "trace/cpu0.stats").write_text("overrun: 100\ndropped events: 7\n")
    assert open_recording(unpacked_set).lost == {0: 107}


def page_counts(recording: Recording) -> list[list[Any]]:
    """The events of a one-CPU fixture, page by page."""
    folder = recording.path
    whole = naive_events(folder, 0, 4096)
    raw = (folder / "trace/cpu0.raw").read_bytes()
    starts = [struct.unpack_from("<Q", raw, at)[0] for at in range(0, len(raw), 4096)]
    ends = [*starts[1:], 1 << 64]
    return [[e for e in whole if a <= e[0] < b] for a, b in zip(starts, ends, strict=True)]


def test_an_event_without_its_format_is_kept(unpacked_set: Path) -> None:
    import shutil

    shutil.rmtree(unpacked_set / "trace/events/kmem/kfree")
    recording = open_recording(unpacked_set)
    whole = open_recording(FIXTURES / "x86-6.1-text")
    name = next(n for n in recording.tables if n.startswith("event-"))
    assert recording.counts[name] == whole.counts["kfree"]
    table = recording.table(name)
    kfree = all_events(whole)[table["index"].to_numpy()]
    data = [struct.unpack_from("<QQ", row, 8) for row in table["data"].to_list()]
    assert data == list(zip(kfree["call_site"].tolist(), kfree["address"].tolist(), strict=True))


@pytest.mark.parametrize("cut", [4095, 4097, 5000, 8191])
def test_a_cut_raw_file_is_one_error(unpacked_set: Path, cut: int) -> None:
    raw = unpacked_set / "trace/cpu0.raw"
    raw.write_bytes(raw.read_bytes()[:cut])
    with pytest.raises(RecordingError, match=r"cpu0\.raw, byte \d+: ends inside a page"):
        list(open_recording(unpacked_set).chunks())


def test_a_raw_file_that_another_program_changes_is_one_error(unpacked_set: Path) -> None:
    raw = unpacked_set / "trace/cpu0.raw"
    size = raw.stat().st_size
    recording = open_recording(unpacked_set)
    raw.write_bytes(raw.read_bytes()[:4096])
    message = rf"cpu0\.raw, byte 4096: changed while it was read: {size} bytes, now 4096"
    with pytest.raises(RecordingError, match=message):
        list(recording.chunks())


def test_the_order_of_a_smaller_slab_follows_from_the_page_size() -> None:
    cache = {"oo": 2 << 16 | 64, "size": 1024}
    assert [slab_order(cache, {"objects": count}, 16384) for count in (64, 32, 16)] == [2, 1, 0]
    assert slab_order(cache, {"objects": 4}, 4096) == 0


def test_places_of_the_record_are_those_of_the_compiled_code() -> None:
    for name, offset in NUMBERS.items():
        if name.startswith("PLACE_"):
            assert EVENT.fields is not None
            assert EVENT.fields[name.removeprefix("PLACE_").lower()][1] == offset
    assert NUMBERS["EVENT_SIZE"] == EVENT.itemsize == 64


def test_nothing_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="does not exist"):
        open_recording(tmp_path / "none")
    with pytest.raises(RecordingError, match="not a recording"):
        open_recording(tmp_path)
    (tmp_path / "trace").write_text("hello\n")
    with pytest.raises(RecordingError, match="neither ftrace text nor perf"):
        open_recording(tmp_path / "trace")

"""ftrace text and perf script text: against the raw pages of the same events, and line by line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording_sets import FIXTURES

from mmtwin.recordings import RecordingError, open_recording
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.recording import Recording

HEADER = "# tracer: nop\n#\n# entries-in-buffer/entries-written: 5/5   #P:2\n#\n"
KFREE = "kfree: call_site=do_exit+0xd0/0x150 ptr=ffff888006a03500\n"


def all_events(recording: Recording) -> np.ndarray[Any, Any]:
    """All events in one array."""
    return np.concatenate([*recording.chunks(), np.zeros(0, EVENT)])


def written(folder: Path, text: str) -> Recording:
    """A text, opened."""
    (folder / "some.file").write_text(text)
    return open_recording(folder / "some.file")


def test_text_is_the_raw_pages() -> None:
    raw = open_recording(FIXTURES / "x86-6.1-text")
    text = open_recording(FIXTURES / "x86-6.1-text/trace/trace.txt", raw.machine)
    assert (text.kind, raw.kind) == ("ftrace", "lab")
    ours, theirs = all_events(text), all_events(raw)
    for name in EVENT.names or ():
        if name not in ("time", "call_site"):
            assert ours[name].tolist() == theirs[name].tolist(), name
    assert (ours["time"] // 1000).tolist() == ((theirs["time"] + 500) // 1000).tolist()
    assert text.names == raw.names
    assert text.counts == raw.counts
    assert [marker.text for marker in text.markers] == [marker.text for marker in raw.markers]
    assert text.lost == {}


def test_call_sites_keep_their_names() -> None:
    text = open_recording(FIXTURES / "x86-6.1-text/trace/trace.txt")
    lines = (FIXTURES / "x86-6.1-text/trace/trace.txt").read_text().splitlines()
    events = all_events(text)
    sites = [line.partition("call_site=")[2].partition("/0x")[0] for line in lines if ": " in line]
    for event, site in zip(events, sites[-len(events) :], strict=True):
        assert not site or text.symbols.name(int(event["call_site"])) == site


def test_machine_is_guessed() -> None:
    machine = open_recording(FIXTURES / "x86-6.1-text/trace/trace.txt").machine
    assert (machine.version, machine.arch, machine.cpus) == ("6.1", "x86_64", 1)


PREFIXES = {
    "          <idle>-0       [001] d.h1.     0.000123: ": (0, 1, 0x09, 1, 123_000),
    "    a-1 [000] b-77      [001] DNH2.     7.123456: ": (77, 1, 0xBD, 2, 7_123_456_000),
    "          <...>-4194304 [012] ..sa3  1234.5: ": (4194304, 12, 0x10, 0x3A, 1234_500_000_000),
    "      init-1       (      1) [000] .....     1.000000: ": (1, 0, 0, 0, 1_000_000_000),
    "      init-1       (-------) [000] .nZ.     1.000000: ": (1, 0, 0x4C, 0, 1_000_000_000),
    "      init-1       [000]     1.000000001: ": (1, 0, 0, 0, 1_000_000_001),
    "      init-1       [000] bpz.2  596841: ": (1, 0, 0xE0, 0x20, 596841),
    "      init-1       [000] XBs3.  596841: ": (1, 0, 0x36, 3, 596841),
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_beginnings_of_ftrace_lines(tmp_path: Path, prefix: str) -> None:
    event = all_events(written(tmp_path, HEADER + prefix + KFREE))[0]
    found = tuple(int(event[name]) for name in ("pid", "cpu", "flags", "preempt", "time"))
    assert found == PREFIXES[prefix]
    assert event["address"] == 0xFFFF888006A03500


LINE = "init-1       [000] .....     1.000000: "
VALUES = {
    "kmalloc: call_site=f+0x1/0x20 [ext4] ptr=ffff888000000001 bytes_req=7 bytes_alloc=8"
    " gfp_flags=GFP_KERNEL|__GFP_ZERO node=-1 accounted=true": {
        "bytes_req": 7, "bytes_alloc": 8, "gfp": 0xDC0, "node": -1, "extra": 0,
    },
    "kmem_cache_alloc: call_site=f+0x1/0x20 ptr=ffff888000000001 name=a b c bytes_req=1"
    " bytes_alloc=2 gfp_flags=none node=3 accounted=true": {"extra": 1, "node": 3, "cache": 0},
    "kmalloc: call_site=f+0x1/0x20 ptr=0 bytes_req=1 bytes_alloc=8 gfp_flags=none node=300": {
        "node": 127,
    },
    "kmalloc_node: call_site=f+0x1/0x20 ptr=(nil) bytes_req=1 bytes_alloc=8"
    " gfp_flags=GFP_KERNEL node=0": {"extra": 2, "address": 0, "node": 0},
    "mm_page_alloc: page=ffffea0000000000 pfn=0x10 order=3 migratetype=1"
    " gfp_flags=GFP_HIGHUSER": {"address": 16, "order": 3, "migratetype": 1, "gfp": 0x100CC2},
    "mm_page_alloc: page=00000000 pfn=4096 order=0 migratetype=2 gfp_flags=0x100": {
        "address": 4096, "gfp": 0x100,
    },
    "mm_page_alloc_extfrag: page=ffffea0000000000 pfn=0x7000 alloc_order=0 fallback_order=10"
    " pageblock_order=9 alloc_migratetype=0 fallback_migratetype=1 fragmenting=0"
    " change_ownership=1": {"bytes_req": 10, "bytes_alloc": 1, "extra": 1, "address": 0x7000},
    "rss_stat: mm_id=4294967295 curr=1 type=MM_SHMEMPAGES size=-4096B": {
        "bytes_req": 0xFFFFFFFF, "order": 3, "extra": 1, "address": (1 << 64) - 4096,
    },
    "rss_stat: mm_id=5 curr=0 member=1 size=8192B": {"order": 1, "address": 8192},
    "kmem_cache_free: call_site=f+0x1/0x2 ptr=ffff888000000001 name=task_struct(9:x y)": {
        "cache": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("text", VALUES)
def test_values(tmp_path: Path, text: str) -> None:
    recording = written(tmp_path, HEADER + LINE + text + "\n")
    event = all_events(recording)[0]
    assert {name: int(event[name]) for name in VALUES[text]} == VALUES[text]
    if " name=" in text:
        assert recording.names == [text.partition(" name=")[2].partition(" bytes_req")[0]]


def test_other_events_and_system_calls(tmp_path: Path) -> None:
    lines = [
        "sched_switch: prev_comm=a b prev_pid=1 ==> next_comm=c next_pid=2",
        "sys_brk(brk: 55e4c0)",
        "sys_brk -> 0x55e4c0",
        "page_fault_user: address=0x7ffe ip=0x40 error_code=0x6",
        "page_fault_user: address=0x8000 ip=0x41 error_code=0x6",
    ]
    recording = written(tmp_path, HEADER + "".join(f"{LINE}{line}\n" for line in lines))
    assert recording.tables == ["sched_switch", "sys_enter_brk", "sys_exit_brk", "page_fault_user"]
    faults = recording.table("page_fault_user")
    assert faults["address"].to_list() == ["0x7ffe", "0x8000"]
    assert faults["index"].to_list() == [3, 4]
    assert recording.table("sys_enter_brk")["brk"].to_list() == ["55e4c0"]
    assert recording.table("sched_switch")["prev_comm"].to_list() == ["a b"]
    assert recording.table("sched_switch")["text"].to_list() == [lines[0].partition(": ")[2]]
    rows = all_events(recording)
    assert rows["bytes_req"].tolist() == [0, 0, 0, 0, 1]


def test_losses_markers_and_lines_between(tmp_path: Path) -> None:
    text = (
        HEADER.replace("5/5", "5/105")
        + "CPU:1 [LOST 42 EVENTS]\n"
        + LINE + KFREE
        + "##### CPU 1 buffer started ####\n"
        + "CPU:0 [LOST EVENTS]\n"
        + LINE + "tracing_mark_write:  two words \n"
        + "and a second line\n"
        + LINE + KFREE
    )  # fmt: skip
    recording = written(tmp_path, text)
    assert recording.nr_events == 3
    assert recording.markers == [(1, 1_000_000_000, " two words \nand a second line")]
    assert recording.losses == [(0, -1, 57), (0, 1, 42), (1, 0, -1)]
    assert recording.lost == {1: 42, 0: 1, -1: 57}


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    text = HEADER + LINE + KFREE + "what is this\n"
    with pytest.raises(RecordingError, match=rf"some\.file, byte {len(text) - 13}: no event"):
        all_events(written(tmp_path, text))
    with pytest.raises(RecordingError, match="byte"):
        gfp = "mm_page_alloc: page=0 pfn=0x1 order=0 migratetype=0 gfp_flags=GFP_NEVER\n"
        all_events(written(tmp_path, HEADER + LINE + gfp))


def test_pieces_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mmtwin.recordings.trace_file as trace_file

    path = FIXTURES / "x86-6.1-text/trace/trace.txt"
    whole = all_events(open_recording(path))
    for size in (256, 1000, 4097):
        monkeypatch.setattr(trace_file, "PIECE", size)
        assert all_events(open_recording(path)).tobytes() == whole.tobytes()


def perf_line(line: str) -> str:
    """An ftrace line as `perf script` prints it."""
    head, _, rest = line.partition(": ")
    task, _, cpu = head.rpartition("[")
    comm, _, pid = task.strip().rpartition("-")
    number, *_flags, time = cpu.replace("]", " ").split()
    rest = rest.replace("ptr=", "ptr=0x")
    return f"{comm:>16} {pid.strip():>5} [{number}] {time}: kmem:{rest}\n"


def test_perf_script_is_the_same_events(tmp_path: Path) -> None:
    path = FIXTURES / "x86-6.1-text/trace/trace.txt"
    lines = [
        line
        for line in path.read_text().splitlines()
        if line[0] != "#" and "tracing_mark" not in line
    ]
    recording = written(tmp_path, "".join(map(perf_line, lines)))
    assert recording.kind == "perf"
    text = open_recording(path)
    theirs = all_events(text)
    theirs = theirs[theirs["kind"] != CONSTANTS["KIND_MARKER"]]
    ours = all_events(recording)
    for name in EVENT.names or ():
        if name not in ("flags", "preempt"):
            assert ours[name].tolist() == theirs[name].tolist(), name


def test_perf_lines_of_other_forms(tmp_path: Path) -> None:
    text = (
        "# captured on: today\n"
        "a name 12/34 [003] 1.000001:          1 kmem:kfree: call_site=0xffffffff81000010"
        " ptr=0xffff888000000010\n"
        "init     1 [000]     5.082450: PERF_RECORD_LOST lost 9\n"
        "init     1 [000]     5.082450: syscalls:sys_enter_brk: brk: 0x10\n"
    )
    recording = written(tmp_path, text)
    event = all_events(recording)[0]
    assert (event["pid"], event["cpu"], event["call_site"]) == (34, 3, 0xFFFFFFFF81000010)
    assert recording.lost == {0: 9}
    assert recording.table("sys_enter_brk")["brk"].to_list() == ["0x10"]

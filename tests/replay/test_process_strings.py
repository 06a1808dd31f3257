"""An open is named by another open of the same constant string of the same program."""

import struct
from types import SimpleNamespace

import pytest

from mmtwin.procfs.maps import MapsArea
from mmtwin.recordings.process_events import Step
from mmtwin.replay import process_strings
from mmtwin.replay.process_files import FileTable
from mmtwin.replay.process_starts import ExecTrace
from mmtwin.replay.process_strings import OpenedStrings

TEXT, DATA = 0x400000, 0x500000
SHOWN = MapsArea(0x7000, 0x8000, "rw-s", 0, "00:15", 3, "/tmp/lib")


def program():
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, TEXT, 64, 0, 0, 64, 56, 2,
                       0, 0, 0)
    for flags, address in ((4, TEXT), (6, DATA)):
        head += struct.pack("<IIQQQQQQ", 1, flags, 0, address, address, 4096, 4096, 4096)
    return head


@pytest.fixture
def opened(monkeypatch):
    """Opens of two processes: the second's mapping is shown by a snapshot."""
    steps = []

    def add(pid, what, *args, name="", text=""):
        steps.append(Step(len(steps), len(steps), pid, what, args, name, text))

    for pid in (1, 2):
        add(pid, "sched_process_exec", pid, pid, text="/prog")
        for number, pointer in enumerate((TEXT + 8, DATA + 8, TEXT + 20), 3):
            add(pid, "enter", -100 & (1 << 64) - 1, pointer, 2, 0, name="openat")
            add(pid, "exit", number, name="openat")
            add(pid, "enter", 0, 4096, 3, 1, number, 0, name="mmap")
            add(pid, "exit", 0x7000 + number, name="mmap")
    monkeypatch.setattr(process_strings, "process_steps", lambda _recording: iter(steps))
    files = FileTable()
    files.files["/prog"] = files._file("/prog", "00:02", 1, 8192, program())

    def shown_at(step, address, _offset):
        return SHOWN if step.pid == 2 and address in (0x7003, 0x7004) else None

    names = SimpleNamespace(files=files, shown_at=shown_at)
    traces = {step.index: ExecTrace() for step in steps if step.what == "sched_process_exec"}
    return OpenedStrings(None, names, traces, None)


def test_constant_strings_name_all_opens_of_them(opened):
    assert sorted(opened.lines) == ["open:1", "open:14"]
    assert set(opened.lines.values()) == {SHOWN}


def test_what_can_change_names_nothing(opened):
    """A string in data that the program may write: shown for one open, not the other's name."""
    assert "open:5" not in opened.keys and "open:9" in opened.keys

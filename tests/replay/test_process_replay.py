"""Recorded processes in the twin: every address, error, fault and map against the kernel's.

The recordings are the lab's, cut down to the events of processes: two builds of a program that
exercises areas (tests/programs has others), a shell, and what lives at their end.
"""

import os
import random
import shutil
from pathlib import Path

import pytest

from mmtwin.cli.main import main
from mmtwin.procfs import smaps
from mmtwin.recordings import RecordingError, open_recording
from mmtwin.replay.process_compare import check_processes, compare_committed
from mmtwin.replay.process_files import FileTable, UnknownFile
from mmtwin.replay.process_replay import ProcessReplay

FOLDER = Path(__file__).parent / "processes"
OWN = [folder for folder in os.environ.get("MMTWIN_RECORDINGS", "").split(":") if folder]
# What may differ: of pid 1, which reads its own /proc files; what no event tells; when a task's
# counters reach its mm after an exec.
NAMED = ("smaps: ", "status: ", "rss_stat: ", "calls refused by a limit")


@pytest.fixture(scope="module", params=["x86-6.1", "x86-5.10", "x86-6.12-aslr", "arm64-6.1-probe"])
def checked(request):
    with open_recording(FOLDER / request.param) as recording:
        job = ProcessReplay(recording)
        return request.param, job, check_processes(job)


def test_answers_are_the_kernels(checked):
    _name, job, figures = checked
    for kind in ("addresses", "errors", "results", "faults", "maps", "searches"):
        compared, same = job.tally.pairs[kind]
        assert compared == same > 20, (kind, job.tally.examples)
    assert [shot["maps_exact"] for shot in figures["snapshots"]] == [1, 22]
    assert all(name.startswith(NAMED) for name in job.tally.missed), job.tally.missed
    assert not figures["missing_events"]


def test_counters(checked):
    _name, job, _figures = checked
    for kind, least in (("rss_stat", 0.998), ("smaps", 0.9997), ("status", 1)):
        compared, same = job.tally.pairs[kind]
        assert compared > 300 and same >= least * compared, (kind, job.tally.examples)


class WithMeminfo:
    """A snapshot with a meminfo that its own processes' smaps add up to."""

    def __init__(self, snapshot, more=0):
        self.snapshot, self.name, self.processes = snapshot, snapshot.name, snapshot.processes
        areas = [area for pid in snapshot.processes if f"proc/{pid}/smaps" in snapshot
                 for area in smaps.parse(snapshot.bytes(f"proc/{pid}/smaps"))]
        promised = sum(area.sizes["Size"] for area in areas if "ac" in area.flags)
        # shared anonymous memory: what it has in Shmem is promised already
        shared = {area.area.inode: area.sizes["Size"] - area.sizes["Rss"]
                  for area in areas if area.area.name.startswith("/dev/zero (deleted)")}
        promised += sum(shared.values())
        self.text = (f"MemTotal: 200004 kB\nShmem: 3000 kB\nCommitLimit: 100000 kB\n"
                     f"Committed_AS: {promised + 3000 + more} kB\n").encode()

    def parsed_bytes(self, name, parse):
        return parse(self.bytes(name))

    def __contains__(self, name):
        return name == "meminfo" or name in self.snapshot

    def bytes(self, name):
        return self.text if name == "meminfo" else self.snapshot.bytes(name)


@pytest.mark.parametrize(("more", "same"), [(0, 2), (4, 1), (-4, 1)])
def test_what_is_promised(more, same):
    """Every area with VM_ACCOUNT, and each page of tmpfs."""
    with open_recording(FOLDER / "x86-6.1") as recording:
        job = ProcessReplay(recording)
        job.run_to(recording.marker("SNAP end").index)
        compare_committed(job, WithMeminfo(recording.snapshots["end"], more))
    assert job.tally.pairs["committed"] == [2, same], job.tally.examples


def test_without_fault_events():
    """arm64 has no page fault events: addresses and errors are right all the same."""
    with open_recording(FOLDER / "arm64-6.1") as recording:
        job = ProcessReplay(recording)
        figures = check_processes(job)
    for kind in ("addresses", "errors", "results", "maps"):
        compared, same = job.tally.pairs[kind]
        assert same == compared > 20
    assert job.touches.inferred > 10
    compared, same = job.tally.pairs["status"]
    assert same >= 0.93 * compared, job.tally.examples
    lacking = "page faults (exceptions:page_fault_user, or kprobes:handle_mm_fault)"
    assert figures["missing_events"] == [lacking]


def test_probed_faults():
    """A probe on handle_mm_fault() tells as much as events of faults, and what get_user_pages()
    did, which is left out.
    """
    with open_recording(FOLDER / "arm64-6.1-probe") as recording:
        probed = recording.counts["handle_mm_fault"]
        job = ProcessReplay(recording)
        check_processes(job)
        assert 0.95 * probed < job.tally.pairs["faults"][0] < probed
    assert job.touches is None and job.tables is None
    assert not [name for name in job.tally.missed if name.startswith(("smaps", "status"))]


@pytest.mark.parametrize("folder", OWN)
def test_recordings_of_ones_own(folder):
    """MMTWIN_RECORDINGS=FOLDER:FOLDER: what `mmtwin maps FOLDER --check` compares of each."""
    with open_recording(folder) as recording:
        job = ProcessReplay(recording)
        check_processes(job)
    for kind in ("addresses", "errors", "results", "maps"):
        compared, same = job.tally.pairs[kind]
        assert compared == same, (kind, job.tally.examples)


def test_processes_from_a_snapshot():
    """Tracing may begin late: who lives then comes from the snapshot."""
    with open_recording(FOLDER / "x86-6.1") as recording:
        start = recording.marker("SNAPDONE start").index
        job = ProcessReplay(recording, start=start)
        figures = check_processes(job)
    assert figures["taken_over"] == [1]
    assert job.tally.pairs["addresses"][0] == job.tally.pairs["addresses"][1] > 900
    assert figures["snapshots"][-1]["maps_exact"] == 22


def test_without_elf_heads():
    with open_recording(FOLDER / "x86-6.1") as recording:
        recording.files.clear()
        with pytest.raises(UnknownFile, match=r"/init is executed.*--root DIR"):
            ProcessReplay(recording).run()


def output(capsys, *argv):
    assert main(argv) == 0
    return capsys.readouterr().out


def test_maps_command(capsys):
    folder = str(FOLDER / "x86-6.1")
    with open_recording(folder) as recording:
        snapshot = recording.snapshots["end"]
        pid = max(snapshot.processes)
        shown = snapshot.text(f"proc/{pid}/maps")
    assert output(capsys, "maps", folder, str(pid), "--at", "SNAP end") == shown
    assert "VmRSS:\t" in output(capsys, "maps", folder, str(pid), "--status")
    assert "VmFlags: " in output(capsys, "maps", folder, str(pid), "--smaps")
    assert "top table: pfn" in output(capsys, "maps", folder, str(pid), "--tables")
    assert f"\n{pid:>7} " in output(capsys, "maps", folder)
    assert main(["maps", folder, "99999"]) == 2
    assert "no process 99999 then\nmmtwin: processes then: 2" in capsys.readouterr().err
    assert main(["maps", folder, "80", "--at", "SNAP end"]) == 2
    assert "process 80 was dead then (since event" in capsys.readouterr().err
    assert main(["maps", folder, "x"]) == 2
    assert main(["maps", folder, "2"]) == 2
    assert "kernel thread" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(6))
def test_damaged_recording_is_one_error(tmp_path, seed, capsys):
    draw = random.Random(seed)
    folder = tmp_path / "recording"
    shutil.copytree(FOLDER / "arm64-6.1", folder)
    path = draw.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    data = bytearray(path.read_bytes())
    place = draw.randrange(len(data))
    data[place : place + draw.choice((1, 50))] = draw.randbytes(draw.choice((0, 1, 20)))
    path.write_bytes(data)
    status = main(["maps", str(folder)])
    assert status in (0, 2)
    if status:
        assert capsys.readouterr().err.startswith("mmtwin: error: ")


def test_files_that_are_none(tmp_path, capsys):
    (tmp_path / "files.json").write_text('{"/a": 3}')
    with pytest.raises(RecordingError):
        FileTable().add_json_file(tmp_path / "files.json")
    assert main(["maps", str(FOLDER / "x86-6.1"), "--root", str(tmp_path / "no")]) == 2
    assert "no folder" in capsys.readouterr().err

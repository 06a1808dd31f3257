"""Real programs, recorded by record.py in guests: from the strace log alone the twin's maps at
their end are what /proc/PID/maps said, byte for byte.

Where a stack has grown beyond what exec made, no system call tells it: the lower bound of the
[stack] line is then exec's, and the programs are named here (GROWN).
"""

import json
import lzma
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mmtwin.procfs import maps, status
from mmtwin.recordings.strace import read_strace
from mmtwin.replay.process_files import FileTable
from mmtwin.replay.strace_replay import FIRST_SHMEM_INODE, StraceReplay
from mmtwin.versions.profiles import profile

DATA = Path(__file__).with_name("data")
KERNELS = sorted(path.name.removesuffix(".json.xz") for path in DATA.glob("*.json.xz"))
GROWN = {"ruby", "stack", "static"}
STACK = re.compile(r"^\w+(?=-\w+ .* \[stack\]$)", re.M)
SHARED = re.compile(r" 00:01 (\d+) +/(?:dev/zero|memfd:\w+) \(deleted\)$", re.M)
SIZES = ("VmSize", "VmData", "VmStk", "VmExe", "VmLib", "VmLck")


@cache
def recorded(kernel: str) -> dict[str, Any]:
    """The data of one kernel."""
    return dict(json.loads(lzma.decompress((DATA / f"{kernel}.json.xz").read_bytes())))


def cases() -> Iterator[Any]:
    """(kernel, number of the program)."""
    for kernel in KERNELS:
        for number, program in enumerate(recorded(kernel)["programs"]):
            yield pytest.param(kernel, number, id=f"{kernel}-{program['name']}")


def replay_of(kernel: str, program: dict[str, Any]) -> StraceReplay:
    """A program's log, ready to run in a twin of its kernel."""
    log = read_strace(program["log"].splitlines(keepends=True), program["name"], program["cwd"])
    files = FileTable()
    files.add_json(recorded(kernel)["files"], kernel)
    # The file system of shared memory counts on from one program to the next.
    inodes = [int(inode) for text in program["maps"].values() for inode in SHARED.findall(text)]
    return StraceReplay(log, files, profile(kernel), min(inodes, default=FIRST_SHMEM_INODE))


def test_enough_programs() -> None:
    for kernel in KERNELS:
        programs = recorded(kernel)["programs"]
        assert len(programs) >= 25
        assert all(program["maps"] for program in programs)
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 3 << 20


@pytest.mark.parametrize(("kernel", "number"), list(cases()))
def test_maps_at_the_end(kernel: str, number: int) -> None:
    program = recorded(kernel)["programs"][number]
    replay = replay_of(kernel, program)
    ends = sorted((replay.end_of(int(pid)), pid) for pid in program["maps"])
    for end, pid in ends:
        replay.run_to(end)
        mm: Any = replay.processes.by_pid[int(pid)].mm
        predicted, real = maps.format_maps(maps.show(mm)), program["maps"][pid]
        sizes = status.show_sizes(mm)
        lines = dict(line.split(":") for line in program["status"][pid])
        expected = {name: int(lines[name].split()[0]) for name in SIZES}
        if program["name"] in GROWN and predicted != real:
            grown = STACK.findall(predicted), STACK.findall(real)
            assert grown[0] > grown[1]
            predicted, real = STACK.sub("", predicted), STACK.sub("", real)
            more = (int(grown[0][0], 16) - int(grown[1][0], 16)) >> 10
            for name in ("VmSize", "VmStk"):
                expected[name] -= more
        assert predicted == real
        assert {name: sizes[name] for name in SIZES} == expected
    replay.run()
    assert replay.tally.exact(), replay.tally.examples
    assert sum(compared for compared, _ in replay.tally.pairs.values()) > 0
    assert not replay.tally.missed

"""Compares what record.py wrote with the twin: maps of real programs as they end, out of their
strace logs alone.

    python tests/programs/check.py FOLDER [PROFILE]

FOLDER: what record.py wrote, on this machine as well. PROFILE: the kernel it ran on (x86_64-6.1,
...); by default the release in files.json, with this machine's /proc/config.gz if it is of this
machine and can be read. Exit status 1 if a program's maps differ.

Where a stack has grown beyond what exec made, no system call tells it: the lower bound of the
[stack] line is then exec's, and the programs are named here (GROWN).
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from pack import files_of

from mmtwin.machine.host_files import host_profile
from mmtwin.procfs import maps, status
from mmtwin.recordings.strace import read_strace
from mmtwin.replay.process_files import FileTable
from mmtwin.replay.strace_replay import FIRST_SHMEM_INODE, StraceReplay
from mmtwin.versions.profiles import Profile, profile

GROWN = {"ruby", "stack", "static"}
STACK = re.compile(r"^\w+(?=-\w+ .* \[stack\]$)", re.M)
SHARED = re.compile(r" 00:01 (\d+) +/(?:dev/zero|memfd:\w+) \(deleted\)$", re.M)
SIZES = ("VmSize", "VmData", "VmStk", "VmExe", "VmLib", "VmLck")


def replay_of(program: dict[str, Any], files: dict[str, Any], kernel: Profile) -> StraceReplay:
    """A program's log, ready to run in a twin of its kernel."""
    log = read_strace(program["log"].splitlines(keepends=True), program["name"], program["cwd"])
    table = FileTable()
    table.add_json(files, kernel.name)
    # The file system of shared memory counts on from one program to the next.
    inodes = [int(inode) for text in program["maps"].values() for inode in SHARED.findall(text)]
    return StraceReplay(log, table, kernel, min(inodes, default=FIRST_SHMEM_INODE))


def differences(program: dict[str, Any], replay: StraceReplay) -> list[str]:
    """What differs between the twin and the kernel as each process of a program ends."""
    found = []
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
            if grown[0] <= grown[1]:
                found.append(f"{pid}: the stack is larger than the kernel's")
            predicted, real = STACK.sub("", predicted), STACK.sub("", real)
            more = (int(grown[0][0], 16) - int(grown[1][0], 16)) >> 10
            for name in ("VmSize", "VmStk"):
                expected[name] -= more
        if predicted != real:
            mine, own = set(predicted.splitlines()), set(real.splitlines())
            found += [f"{pid}: kernel {line}" for line in sorted(own - mine)]
            found += [f"{pid}: twin   {line}" for line in sorted(mine - own)]
        found += [f"{pid}: {name} {expected[name]} kB, twin {sizes[name]} kB"
                  for name in SIZES if sizes[name] != expected[name]]
    replay.run()
    found += [f"calls: {example}" for examples in replay.tally.examples.values()
              for example in examples] if not replay.tally.exact() else []
    return found


def kernel_of(facts: dict[str, Any]) -> Profile:
    """The profile of the kernel that a folder was recorded on."""
    release = ".".join(facts["kernel"].split(".")[:2])
    arch = {"x86_64": "x86_64", "aarch64": "arm64"}[facts["machine"]]
    found = profile(f"{arch}-{release}")
    return host_profile() if facts["kernel"] == os.uname().release else found


def main() -> int:
    """Prints a line for each program, and what differs."""
    folder = Path(sys.argv[1])
    facts = json.loads((folder / "files.json").read_text())
    kernel = profile(sys.argv[2]) if len(sys.argv) > 2 else kernel_of(facts)
    total = exact = processes = 0
    for path in sorted(folder.glob("*.json")):
        program = json.loads(path.read_text())
        if path.name == "files.json" or not program["maps"]:
            continue
        wrong = differences(program, replay_of(program, files_of(program, facts), kernel))
        total, exact = total + 1, exact + (not wrong)
        processes += len(program["maps"])
        print(f"{program['name']:16} {len(program['maps']):3} processes",
              "exact" if not wrong else "", *wrong[:8], sep="\n    " if wrong else "  ")
    print(f"{facts['kernel']}: {exact} of {total} programs exact, {processes} processes")
    return int(exact != total)


if __name__ == "__main__":
    sys.exit(main())

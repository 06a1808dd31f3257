"""Speeds of mmtwin beside the floor, as ratios in one run: `make bench [RECORDING=...]`.

The floor is what reading the events costs at all (stream their columns) and what keeping one
hash map of live addresses costs (an insert, find or erase for each event), both in C; above them
a plain C program that does the same job (c_reference.c). Raw ring-buffer pages are decoded where
RECORDING is a lab data set; the default is the recording that comes with mmtwin.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ftrace_text import write_ftrace
from perf_data import write_perf_data
from rich.console import Console

from mmtwin import Machine, open_recording
from mmtwin.kernel.fault import do_user_addr_fault
from mmtwin.kernel.fork_mm import make_tree
from mmtwin.kernel.memory_unmap import free_pgtables, unmap_vmas
from mmtwin.kernel.mm_types import File, mm_struct, vm_area_struct
from mmtwin.kernel.pgtable import pgd_alloc, pgd_free
from mmtwin.machine.boot import boot_mm
from mmtwin.recordings.annotate import Annotated
from mmtwin.replay import replay
from mmtwin.replay.run import Replay
from mmtwin.report.table import FigureTable
from mmtwin.units import count_text
from mmtwin.versions.profiles import profile

HERE = Path(__file__).parent
PROFILE = "x86_64-6.1"
CALLS = 100_000
FAULTS, BASE = 2_000, 0x40000000
SCANNED_OBJECTS, SCANNED_BYTES = 262_144, 1024
WITH_STATISTICS = "replay, with statistics"
PERF_SLABS, PERF_ALL = "perf kmem stat", "perf kmem --slab --page stat"
PERF_KMEM = {PERF_SLABS: [], PERF_ALL: ["--slab", "--page"]}


def timed(work: Callable[[], object], rounds: int) -> float:
    """Seconds of the quickest of some rounds."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def c_reference(path: str | None, folder: Path, rounds: int) -> Iterator[tuple[str, float]]:
    """(what, events/s) of the C program's three loops."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        print("bench: no C compiler: no floor", file=sys.stderr)
        return
    program = folder / "c_reference"
    source = HERE / "c_reference.c"
    subprocess.run([compiler, "-O3", "-march=native", "-o", program, source], check=True)
    events, caches = folder / "events", folder / "caches"
    with open_recording(path) as recording:
        job = Replay(recording, statistics=False)
        with events.open("wb") as file:
            for block in job.annotated.blocks():
                file.write(block.events[: block.ready].tobytes())
        write_caches(job, caches)
        pages = 2 * job.mm.max_pfn
    command = [program, events, caches, str(pages), str(rounds)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = {
        "stream": "floor: stream the columns (C)",
        "hash": "floor: one hash map operation an event (C)",
        "reference": "the same job in plain C",
    }
    for line in lines.splitlines():
        name, seconds, count = line.split()
        yield names[name], int(count) / float(seconds)


def write_caches(job: Replay, path: Path) -> None:
    """The geometry of each cache that events name, as c_reference reads it."""
    mm = job.mm
    numbers = {name: number for number, name in enumerate(mm.cache_names)}
    lines = []
    for name in job.annotated.names:
        cache = mm.view("cache")[numbers[name]] if name in numbers else None
        if cache is None or not cache["oo_objects"]:
            lines.append("8 0 0 0 0 0")
            continue
        fields = ("size", "oo_order", "oo_objects", "offset", "cpu_partial_slabs", "min_partial")
        lines.append(" ".join(str(int(cache[field])) for field in fields))
    path.write_text("\n".join(lines) + "\n")


def decode(path: str | None) -> int:
    """Reads every event; their number."""
    with open_recording(path) as recording:
        return sum(len(events) for events in recording.chunks())


def annotate(path: str | None) -> int:
    """Reads every event and tells demands from responses; their number."""
    with open_recording(path) as recording:
        return sum(block.ready for block in Annotated(recording).blocks())


def readers(path: str | None, folder: Path, rounds: int) -> Iterator[tuple[str, float]]:
    """(what, events/s) of the readers."""
    with open_recording(path) as recording:
        kind, count = recording.kind, recording.nr_events
    what = {"lab": "decode raw ring-buffer pages", "mmtwin": "read the mmtwin recording (Parquet)"}
    yield what.get(kind, f"read {kind}"), count / timed(lambda: decode(path), rounds)
    text = folder / "trace"
    with open_recording(path) as recording:
        lines = write_ftrace(text, recording)
    yield "read ftrace text", lines / timed(lambda: decode(str(text)), rounds)
    yield "tell demands from responses", count / timed(lambda: annotate(path), rounds)


def replays(path: str | None, rounds: int) -> Iterator[tuple[str, float]]:
    """(what, events/s) of replays: the events' loop, the reading of the recording in it."""
    for name, kept in ((WITH_STATISTICS, True), ("replay, fidelity only", False)):
        speeds = []
        for _ in range(rounds):
            result = replay(path, statistics=kept).to_dict()
            speeds.append(result["speed"]["events_per_second"])
        yield name, max(speeds)


def perf(path: str | None, folder: Path, rounds: int) -> Iterator[tuple[str, float]]:
    """(what, events/s) of `perf kmem stat` on the same allocations and frees, of objects and, as a
    replay's report counts them, of objects and pages; of the events that it is given.
    """
    program = shutil.which("perf")
    if program is None:
        print("bench: no perf here: no comparison with it", file=sys.stderr)
        return
    data = folder / "perf.data"
    for what, options in PERF_KMEM.items():
        with open_recording(path) as recording:
            count = write_perf_data(data, recording.chunks(), pages="--page" in options)
        command = [program, "kmem", "-i", str(data), *options, "stat"]

        def run(command: list[str] = command) -> None:
            subprocess.run(command, check=True, capture_output=True)

        run()
        yield what, count / timed(run, rounds)


def calls() -> Iterator[tuple[str, float]]:
    """(what, seconds) of single calls from Python."""
    machine = Machine.boot(PROFILE)

    def alone() -> None:
        for _ in range(CALLS):
            pass

    kmalloc, kfree = machine.kmalloc, machine.kfree
    empty = timed(alone, 5)
    objects: list[int] = []

    def allocate() -> None:
        objects.clear()
        objects.extend(kmalloc(100) for _ in range(CALLS))

    taken = []
    for _ in range(5):
        taken.append(timed(allocate, 1))
        for address in objects:
            kfree(address)
    yield "one kmalloc(100) from Python", (min(taken) - empty) / CALLS

    def pair() -> None:
        for _ in range(CALLS):
            kfree(kmalloc(100))

    yield "kmalloc(100) and kfree", (timed(pair, 5) - empty) / CALLS


def faults() -> Iterator[tuple[str, float]]:
    """(what, seconds) of page faults as a replay takes them, on a machine without contents."""
    mm = boot_mm(profile(PROFILE), "1G", contents=False)
    file = File("/bin/file", size=FAULTS << 16, shmem=True)
    file.cached = True
    kinds = {
        "a fault, anonymous memory": (0x100073, None, 12, 6),
        "a fault, a file's 16 pages around": (0x71, file, 16, 4),
    }
    for what, (flags, backing, shift, code) in kinds.items():
        times = []
        for _ in range(3):
            space = mm_struct(mm)
            space.paging.thp = 0
            make_tree(space)
            pgd_alloc(space)
            end = BASE + (FAULTS << shift)
            pgoff = 0 if backing else BASE >> 12
            vma = vm_area_struct(space, BASE, end, flags, pgoff, backing)
            space.tree.link(vma)
            begin = time.perf_counter()
            for address in range(BASE, end, 1 << shift):
                do_user_addr_fault(space, address, code)
            times.append(time.perf_counter() - begin)
            unmap_vmas(space, [vma])
            free_pgtables(space, [vma])
            pgd_free(space)
        yield what, min(times) / FAULTS


def scans(rounds: int) -> Iterator[tuple[str, float]]:
    """(what, seconds) of kmemleak's scan of 256 MiB: objects that a tree of pointers links."""
    machine = Machine.boot(PROFILE, memory="1G", DEBUG_KMEMLEAK=True)
    head = machine.global_variable("head")

    def allocate() -> None:
        objects.extend(machine.kmalloc(SCANNED_BYTES) for _ in range(SCANNED_OBJECTS))

    objects: list[int] = []
    yield "kmalloc(1024) with kmemleak", timed(allocate, 1) / SCANNED_OBJECTS
    addresses = np.array(objects, dtype=np.uint64)
    words = ((addresses - np.uint64(machine.mm.page_offset)) >> np.uint64(3)).astype(np.int64)
    ram = machine.mm.view("ram")
    for branch in (1, 2):
        below = np.arange(len(objects)) * 2 + branch
        inside = below < len(objects)
        ram[words[inside] + branch] = addresses[below[inside]]
    machine.write(head, objects[0].to_bytes(8, "little"))
    machine.sleep(10)
    yield "kmemleak scan of 256 MiB", timed(machine.kmemleak.scan, rounds)


def starts(rounds: int) -> Iterator[tuple[str, float]]:
    """(what, seconds) of whole processes."""
    script = f"from mmtwin import Machine; Machine.boot({PROFILE!r}).kmalloc(100)"
    for name, command in (
        ("mmtwin --help", [sys.executable, "-m", "mmtwin", "--help"]),
        ("process start to first kmalloc", [sys.executable, "-c", script]),
    ):

        def run(command: list[str] = command) -> None:
            subprocess.run(command, check=True, capture_output=True)

        run()
        yield name, statistics.median(timed(run, 1) for _ in range(rounds))


def speeds(path: str | None, rounds: int) -> dict[str, float]:
    """Every figure in events a second, in the order of the table."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found.update(c_reference(path, folder, rounds))
        found.update(replays(path, rounds))
        found.update(readers(path, folder, rounds))
        found.update(perf(path, folder, rounds))
    return found


def print_speeds(found: dict[str, float], console: Console) -> None:
    """The table of speeds, each beside the floor, plain C and perf."""
    against = {
        "hash map": "floor: one hash map operation an event (C)",
        "plain C": "the same job in plain C",
        "perf": PERF_SLABS,
    }
    columns = [f">x {name}" for name, row in against.items() if row in found]
    table = FigureTable("Events a second, and as a multiple", "what", ">events/s", *columns)
    for what, speed in found.items():
        ratios = [f"{speed / found[row]:.3g}" for row in against.values() if row in found]
        table.add_row(what, count_text(speed), *ratios)
    console.print(table)
    if PERF_ALL in found:
        quick = found[WITH_STATISTICS]
        console.print(
            f"A replay with statistics does {quick / found[PERF_SLABS]:.2f} times the events of "
            f"{PERF_SLABS} and {quick / found[PERF_ALL]:.2f} times those of {PERF_ALL}."
        )


def print_times(found: dict[str, float], console: Console) -> None:
    """The table of single calls and of process starts."""
    table = FigureTable("Calls and starts", "what", ">time")
    for what, seconds in found.items():
        text = f"{seconds * 1e6:.3f} us" if seconds < 1e-3 else f"{seconds:.3f} s"
        table.add_row(what, text)
    console.print(table)


def describe(path: str | None) -> str:
    """One line on the recording."""
    with open_recording(path) as recording:
        machine = recording.machine
        return (
            f"{recording.path.name}: {recording.nr_events:,} events of {machine.release} "
            f"{machine.arch}, {recording.kind} recording; numpy {np.__version__}"
        )


def main(argv: list[str] | None = None) -> int:
    """Prints every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    arguments: Any = parser.parse_args(argv)
    console = Console(highlight=False)
    console.print(describe(arguments.recording))
    print_speeds(speeds(arguments.recording, arguments.rounds), console)
    scanned = dict(scans(arguments.rounds))
    print_times({**dict(calls()), **dict(faults()), **scanned, **dict(starts(10))}, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Every process that a snapshot shows, held against the twin's: maps, smaps, status and statm."""

from collections.abc import Callable
from typing import Any, cast

from mmtwin.kernel.commit import commit_of
from mmtwin.procfs import maps, meminfo, smaps, status
from mmtwin.recordings.process_events import FAULTS, missing
from mmtwin.recordings.snapshot import Snapshot
from mmtwin.replay.process_names import snapshot_indexes
from mmtwin.replay.process_replay import ProcessReplay
from mmtwin.replay.process_tally import Tally
from mmtwin.replay.processes import Process

SCHEMA = 1


def check_processes(job: ProcessReplay) -> dict[str, Any]:
    """Replays the whole recording and compares it: what `mmtwin maps --check --json` prints."""
    moments = []
    for name, index in snapshot_indexes(job.recording):
        job.run_to(index)
        moments.append(compare_snapshot(job, job.recording.snapshots[name]))
    job.run()
    return {
        "recording": {"name": str(job.recording.path), "kernel": job.recording.machine.release,
                      "arch": job.recording.machine.arch},
        "missing_events": missing(job.recording),
        "taken_over": job.adopted,
        "random_starts": dict(sorted(job.calls.drawn.items())),
        "files_named_by_snapshots": job.names.learnt,
        "files_unnamed": job.names.unnamed,
        "snapshots": moments,
        **job.tally.to_dict(),
    }  # fmt: skip


def compare_snapshot(job: ProcessReplay, snapshot: Snapshot) -> dict[str, Any]:
    """One snapshot's processes; what differs goes to the job's tally. The replay goes on to the
    end of the snapshot: who reads it touches memory of his own on the way.
    """
    shown = exact = 0
    best: dict[tuple[int, str], Tally] = {}
    for pid in snapshot.processes:
        if f"proc/{pid}/maps" not in snapshot:
            continue
        shown += 1
        process = job.processes.by_pid.get(pid)
        where = f"{snapshot.name}/{pid}"
        if process is None or process.mm is None:
            job.tally.compare("maps", False, "maps: no such process", where)
            continue
        exact += compare_maps(job, process, snapshot.bytes(f"proc/{pid}/maps"), where)
        keep_best(best, process, snapshot)
    compare_committed(job, snapshot)
    last = f"SNAPDONE {snapshot.name}"
    until = next((mark.index for mark in job.recording.markers if mark.text == last), 0)
    while (step := job.peek()) is not None and step.index < until:
        job.run_to(step.index + 1)
        process = job.processes.by_pid.get(step.pid)
        if step.what not in FAULTS or process is None or process.mm is None:
            continue
        if (step.pid, "smaps") in best:
            keep_best(best, process, snapshot)
    for tally in best.values():
        job.tally.add(tally)
    return {"name": snapshot.name, "processes": shown, "maps_exact": exact}


def compare_committed(job: ProcessReplay, snapshot: Snapshot) -> None:
    """What is promised to all processes, where meminfo tells.

    Pages of tmpfs are promised one by one as they come (shmem_acct_block()), those of shared
    anonymous memory at once (shmem_acct_size()): so all of Shmem counts but what shared anonymous
    memory, which the twin's own promise covers, has of it. Where processes run that no event or
    text tells of, the sum is not known.
    """
    if "meminfo" not in snapshot:
        return
    theirs = snapshot.parsed_bytes("meminfo", meminfo.parse)
    if not {"Shmem", "Committed_AS", "CommitLimit"} <= set(theirs) or any(
        f"proc/{pid}/maps" in snapshot and job.processes.by_pid.get(pid) is None
        for pid in snapshot.processes
    ):
        return
    commit, kilobytes = commit_of(job.machine), job.machine.page_shift - 10
    spaces = [each.mm for each in job.processes.by_pid.values() if each.mm is not None]
    areas = (vma for mm in spaces for vma in mm.tree)
    files = {id(vma.vm_file): vma.vm_file for vma in areas if vma.vm_file is not None}
    covered = sum(file.nrpages for file in files.values() if file.promised)
    ours = (commit.committed_as - covered << kilobytes) + theirs["Shmem"].value
    kb = theirs["Committed_AS"].value
    job.tally.compare("committed", ours == kb, "meminfo: Committed_AS",
                      f"{snapshot.name}: {kb} kB, twin {ours} kB")
    commit.totalram_pages = theirs["MemTotal"].value >> kilobytes
    ours, kb = commit.vm_commit_limit() << kilobytes, theirs["CommitLimit"].value
    job.tally.compare("committed", ours == kb, "meminfo: CommitLimit",
                      f"{snapshot.name}: {kb} kB, twin {ours} kB")


def keep_best(
    best: dict[tuple[int, str], Tally], process: Process, snapshot: Snapshot
) -> None:
    """Compares a process's status and smaps as they would be now. No event tells when they were
    read: each was at the moment that it fits best.
    """
    where = f"{snapshot.name}/{process.pid}"
    for name, parse, compare in (
        ("status", status.parse, compare_status), ("smaps", smaps.parse, compare_smaps),
    ):  # fmt: skip
        file = f"proc/{process.pid}/{name}"
        if file not in snapshot:
            continue
        tally, key = Tally(), (process.pid, name)
        if key in best and not best[key].misses():
            continue
        shown: Any = snapshot.parsed_bytes(file, cast("Callable[[bytes], Any]", parse))
        compare(tally, process, shown, where)
        if key not in best or tally.misses() < best[key].misses():
            best[key] = tally


def first_difference(ours: list[str], theirs: list[str]) -> str:
    """The first line in which two texts differ."""
    for mine, other in zip(ours, theirs, strict=False):
        if mine != other:
            return f"{other.rstrip()!r}, twin {mine.rstrip()!r}"
    longer, who = (theirs, "kernel") if len(theirs) > len(ours) else (ours, "twin")
    return f"only the {who} has {longer[min(len(ours), len(theirs))].rstrip()!r}"


def compare_maps(job: ProcessReplay, process: Process, text: bytes, where: str) -> bool:
    """Whether the twin's map is the kernel's, byte for byte."""
    theirs = text.decode("utf-8", "surrogateescape")
    ours = maps.format_maps(maps.show(process.mm))
    same = ours == theirs
    example = "" if same else first_difference(ours.splitlines(), theirs.splitlines())
    return job.tally.compare("maps", same, "maps: a line differs", f"{where}: {example}")


def compare_status(tally: Tally, process: Process, shown: Any, where: str) -> None:
    """The sizes that status shows (status.parse())."""
    ours = status.show_sizes(process.mm)
    for name, kb in shown.sizes.items():
        example = f"{where}: {kb} kB, twin {ours[name]} kB"
        tally.compare("status", ours[name] == kb, f"status: {name}", example)


def compare_smaps(tally: Tally, process: Process, shown: Any, where: str) -> None:
    """Every line of smaps (smaps.parse()) of the areas that both have."""
    from mmtwin.kernel.smaps import vma_rss

    theirs = {area.area.start: area for area in shown}
    for mine in smaps.show(process.mm, vma_rss):
        other = theirs.get(mine.area.start)
        if other is None or other.area != mine.area:
            continue
        place = f"{where}: {mine.area.start:x} {mine.area.name}"
        for name, kb in other.sizes.items():
            example = f"{place}: {kb} kB, twin {mine.sizes[name]} kB"
            tally.compare("smaps", mine.sizes.get(name) == kb, f"smaps: {name}", example)
        example = f"{place}: {' '.join(other.flags)}, twin {' '.join(mine.flags)}"
        tally.compare("smaps", mine.flags == other.flags, "smaps: VmFlags", example)
        same = mine.thp_eligible == other.thp_eligible
        tally.compare("smaps", same, "smaps: THPeligible", place)

"""Any instant of a recording: found by marker, event number or time, and the twin's state then."""

from dataclasses import replace
from typing import Any

from mmtwin.kernel.mm import MM
from mmtwin.procfs.errors import ProcError
from mmtwin.procfs.write import Base
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.errors import TextError
from mmtwin.recordings.opening import open_recording
from mmtwin.recordings.recording import Recording
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.following import Following, Progress
from mmtwin.replay.instants import Moment, find_moment
from mmtwin.replay.vmalloc import VmallocReplay
from mmtwin.replay.vmalloc_rows import rows_at

__all__ = ["Moment", "base_of", "find_moment", "open_recording", "state_at"]

BASES = ("zoneinfo", "meminfo", "vmstat", "sys_kernel_slab")


def state_at(
    recording: Recording,
    moment: Moment,
    mode: str = "follow",
    start: str = "auto",
    progress: Progress | None = None,
) -> tuple[MM, Base]:
    """The twin as it stands before an event, and the texts that its /proc is completed from.

    `mode`, `start`: as for `replay()`; what follows from "auto" starts from the last truth before
    the moment. `progress(done, total)` in events. Raises ReplayError if the moment lies before
    the state that the twin starts from.
    """
    if mode == "follow" and start == "auto":
        return followed(Following(Annotated(recording, keep=True), moment.index), progress)
    from mmtwin.replay.run import Replay

    job = Replay(recording, mode=mode, start=start, statistics=False)
    if moment.index < job.first:
        raise ReplayError(
            f"event {moment.index} lies before event {job.first}, where the state to start from "
            f"was taken: '#{job.first}' is the first instant (--from empty shows others)"
        )
    looks = job.vmalloc_stops(moment.index)
    for block in job.blocks():
        end = min(max(moment.index - block.first, 0), block.ready)
        done = 0
        while looks and looks[0][0] <= block.first + end:
            index, look = looks.pop(0)
            job.carry_out(block, done, index - block.first)
            done = index - block.first
            look()
        job.carry_out(block, done, end)
        if progress:
            progress(min(block.first + block.ready, moment.index), moment.index)
        if moment.index <= block.first + block.ready:
            break
    job.state.contents = 1
    rows = rows_at(job.vmalloc, recording, moment.index) if job.vmalloc else None
    return job.state, replace(base_of(recording, job.snapshot), vmallocinfo=rows)


def followed(following: Following, progress: Progress | None) -> tuple[MM, Base]:
    """As state_at(), by the kernel's own answers; vmalloc's areas take all events."""
    annotated, index = following.annotated, following.stop
    recording = annotated.recording
    vmalloc = VmallocReplay(annotated, following.profile, False)
    if not vmalloc.usable:
        mm = following.run(progress)
        return mm, base_of(recording, following.snapshot)
    looks = looks_at_areas(recording, index)
    for block in annotated.blocks():
        end = following.carry_out(block)
        done = 0
        while looks and looks[0][0] <= block.first + end:
            at, name = looks.pop(0)
            vmalloc.feed(block.events[done : at - block.first], block.first + done)
            done = at - block.first
            vmalloc.compare(name, at)
        vmalloc.feed(block.events[done:end], block.first + done)
        if progress:
            progress(min(block.first + block.ready, index), index)
        if index <= block.first + block.ready:
            break
    following.mm.contents = 1
    rows = rows_at(vmalloc, recording, index)
    return following.mm, replace(base_of(recording, following.snapshot), vmallocinfo=rows)


def looks_at_areas(recording: Recording, stop: int) -> list[tuple[int, str]]:
    """(event, snapshot) of the readings of vmallocinfo before an event: more is learnt there."""
    found = []
    for marker in recording.markers:
        word, _, rest = marker.text.partition(" ")
        name, _, file = rest.partition("/")
        known = word in ("SNAPB", "SNAPE") and name in recording.snapshots
        if known and file == "vmallocinfo" and marker.index < stop:
            found.append((marker.index, name))
    return sorted(found, key=lambda look: look[0])


def base_of(recording: Recording, name: str) -> Base:
    """The kernel's own texts of a snapshot ("" for none), for what the twin does not hold."""
    snapshot = recording.snapshots.get(name)
    texts: dict[str, Any] = {}
    if snapshot is not None:
        texts = {file: snapshot.bytes(file) for file in BASES if file in snapshot}
    try:
        return Base.parse(texts)
    except ProcError as error:
        assert snapshot is not None
        where = snapshot.place(error.file) if error.file in snapshot else snapshot.name
        raise TextError(where, f"line {error.line}: {error.message}") from None

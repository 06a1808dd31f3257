"""What a recording's events tell of processes and their address spaces, step by step.

Of system calls (`syscalls:sys_enter_*`, `sys_exit_*`), page faults (`exceptions:page_fault_*`),
tasks (`task:*`, `sched:sched_process_*`), areas (`mmap:*`) and `kmem:rss_stat`: whichever of them
a recording has, raw or text. The events pass once, block by block.
"""

import heapq
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.recording import Recording
from mmtwin.recordings.stream import Events

if TYPE_CHECKING:
    import polars as pl

    from mmtwin.recordings.native import NativeRecording

# System calls that make, change or name areas, and those that open the files they map.
CALLS = (
    "brk", "mmap", "munmap", "mprotect", "pkey_mprotect", "mremap", "madvise", "mlock", "mlock2",
    "munlock", "mlockall", "munlockall", "mseal", "msync", "remap_file_pages", "shmat", "shmdt",
    "execve", "execveat", "fork", "vfork", "clone", "clone3", "exit", "exit_group", "prctl",
    "prlimit64", "setrlimit", "openat", "open", "openat2", "creat", "memfd_create", "close",
    "dup", "dup2", "dup3", "fcntl", "ftruncate", "unlink", "unlinkat", "personality",
    "arch_prctl", "fallocate",
)  # fmt: skip
# Other events: their fields by the names that either form has, in the order of Step.args.
FIELDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "page_fault_user": (("address",), ("error_code",)),
    "page_fault_kernel": (("address",), ("error_code",)),
    "handle_mm_fault": (("address",), ("flags",), ("regs",)),
    "task_newtask": (("pid",), ("clone_flags",)),
    "task_rename": (("pid", "common_pid"),),
    "sched_process_fork": (("parent_pid", "pid"), ("child_pid",)),
    "sched_process_exec": (("pid",), ("old_pid",)),
    "sched_process_exit": (("pid",),),
    "sched_process_free": (("pid",),),
    "exit_mmap": (("mm", "mt"),),
    "vma_store": (("mt",), ("vm_start",), ("vm_end",)),
    "vm_unmapped_area": (
        ("addr",), ("total_vm",), ("flags",), ("length", "len"), ("low_limit", "lo"),
        ("high_limit", "hi"), ("align_mask", "mask"), ("align_offset", "ofs"),
    ),
}  # fmt: skip
TEXTS = {"task_newtask": "comm", "task_rename": "newcomm", "sched_process_exec": "filename"}
HEX = {"clone_flags"}  # printed so, without 0x
MT_STORE = re.compile(r"mt_mod ([0-9a-fx]+), \(([0-9a-fx]+)\), \w+, (\d+), (\d+),?")
PLAIN = re.compile(r"(0x)?[0-9a-f]{1,16}")  # an argument as it is printed
MT_EXIT = re.compile(r"mt_mod ([0-9a-fx]+), DESTROY")
BASE = ("index", "time", "common_cpu", "common_pid", "text", "__syscall_nr", "nr")
ENTER, EXIT = "sys_enter_", "sys_exit_"
WANTED = frozenset(FIELDS) | {f"{way}{call}" for way in (ENTER, EXIT) for call in CALLS}
FORKS = ("task_newtask", "sched_process_fork")
MAPPING = ("sys_enter_mmap", "sys_enter_brk", "sys_enter_munmap", "sys_enter_mprotect")
# What an architecture without events of faults can be given: a probe on handle_mm_fault().
PROBE = "handle_mm_fault"
FAULTS = ("page_fault_user", "page_fault_kernel", PROBE)
MARKER, RSS_STAT = CONSTANTS["KIND_MARKER"], CONSTANTS["KIND_RSS_STAT"]


@dataclass(slots=True)
class Step:
    """One event. `pid` is the task that ran; `what` and `args`:

    | what | args |
    |---|---|
    | enter | the call's arguments, unsigned; `name` is the call |
    | exit | the result, below zero an errno; `name` is the call |
    | marker | none; `text` is the line |
    | rss_stat | mm_id, 1 if of the running task's mm, member, pages times page size |
    | the event's name | its numbers in the order of FIELDS; `text` its name or path |
    """

    index: int
    time: int
    pid: int
    what: str
    args: tuple[int, ...]
    name: str = ""
    text: str = ""


def missing(recording: Recording) -> list[str]:
    """The kinds of events that a recording does not have, so that what they tell is not known."""
    counts = recording.counts
    kinds = {
        "forks (task:task_newtask)": FORKS,
        "execs (sched:sched_process_exec)": ("sched_process_exec",),
        "exits (sched:sched_process_exit)": ("sched_process_exit",),
        "system calls (syscalls:sys_enter_mmap, brk, munmap, mprotect)": MAPPING,
        "page faults (exceptions:page_fault_user, or kprobes:handle_mm_fault)": FAULTS,
        "counters (kmem:rss_stat)": ("rss_stat",),
        "addresses searched for (mmap:vm_unmapped_area)": ("vm_unmapped_area",),
    }
    return [kind for kind, names in kinds.items() if not any(counts.get(name) for name in names)]


def check_process_events(recording: Recording) -> None:
    """Raises RecordingError if a recording tells too little of processes to follow any."""
    counts = recording.counts
    if not any(counts.get(name) for name in MAPPING) or not counts.get("sched_process_exec"):
        lacking = [part for part in missing(recording) if not part.startswith(("count", "addr"))]
        kinds = ", ".join(part.partition(" (")[0] for part in lacking)
        raise RecordingError(
            recording.path,
            f"no process events: {kinds} are missing; docs/recording-format.md says what to record"
        )


def process_steps(recording: Recording) -> Iterator[Step]:
    """The steps in time order. Raises RecordingError where an event cannot be read."""
    from mmtwin.recordings.native import NativeRecording

    if isinstance(recording, NativeRecording):
        yield from native_steps(recording)
        return
    markers = {marker.index: marker.text for marker in recording.markers}
    first = 0
    for events, tables in recording._stream(WANTED):
        steps = list(record_steps(events, first, markers))
        for name, table in tables.items():
            steps += table_steps(recording, name, table)
        steps.sort(key=lambda step: step.index)
        yield from steps
        first += len(events)


def native_steps(recording: "NativeRecording") -> Iterator[Step]:
    """The steps of an mmtwin recording, whose tables are files of their own, in time order."""
    def of_table(name: str) -> Iterator[Step]:
        for table in recording._table_parts(name):
            yield from table_steps(recording, name, table)

    parts: list[Iterable[Step]] = [of_table(name) for name in recording.tables if name in WANTED]
    yield from heapq.merge(main_steps(recording), *parts, key=lambda step: step.index)


def main_steps(recording: "NativeRecording") -> Iterator[Step]:
    """The markers and rss_stat events of an mmtwin recording."""
    markers = {marker.index: marker.text for marker in recording.markers}
    first = 0
    for events in recording.blocks():
        yield from record_steps(events, first, markers)
        first += len(events)


def record_steps(events: Events, first: int, markers: dict[int, str]) -> Iterator[Step]:
    """The markers and rss_stat events of a block whose first event has the number `first`."""
    kinds = np.ascontiguousarray(events["kind"])
    chosen = np.flatnonzero((kinds == MARKER) | (kinds == RSS_STAT))
    part = events[chosen]
    names = ("time", "pid", "kind", "bytes_req", "extra", "order", "address")
    columns = (part[name].tolist() for name in names)
    for row, time, pid, kind, mm_id, current, member, size in zip(
        chosen.tolist(), *columns, strict=True
    ):
        index = first + row
        if kind == MARKER:
            yield Step(index, time, pid, "marker", (), text=markers.get(index, ""))
        else:
            size = size - (1 << 64) if size >> 63 else size
            yield Step(index, time, pid, "rss_stat", (mm_id, current, member, size))


def table_steps(recording: Recording, name: str, table: "pl.DataFrame") -> Iterator[Step]:
    """The steps of one kind of event; its fields are numbers (raw) or texts."""
    base = [table[column].to_list() for column in ("index", "time", "common_pid")]
    texts = text_column(name, table)
    try:
        rows = list(zip(*columns_of(name, table), strict=True)) or [()] * len(table)
    except (ValueError, KeyError) as error:
        index = base[0][0] if base[0] else 0
        raise RecordingError(
            recording.path, f"event {index} or one behind it: {name}: {error}"
        ) from None
    what, _, call = name.rpartition("_") if name.startswith("sys_") else (name, "", "")
    if name.startswith((ENTER, EXIT)):
        what = "enter" if name.startswith(ENTER) else "exit"
        call = name.removeprefix(ENTER).removeprefix(EXIT)
    for index, time, pid, args, text in zip(*base, rows, texts, strict=True):
        yield Step(index, time, pid, what, args, call, text)


def text_column(name: str, table: "pl.DataFrame") -> list[str]:
    """The one text of an event that has any; system calls tell the names they are given since
    6.19.
    """
    column = TEXTS.get(name, "")
    if name.startswith(ENTER):
        column = next((name for name in table.columns if name.endswith("name_val")), "")
    if column not in table.columns:
        return [""] * len(table)
    return [text or "" for text in table[column].to_list()]


def columns_of(name: str, table: "pl.DataFrame") -> list[list[int]]:
    """The numbers of an event, a list for each. Raises ValueError, KeyError."""
    if name in ("vma_store", "exit_mmap") and "text" in table.columns:
        return mt_columns(name, table["text"].to_list())
    if name.startswith(EXIT):
        return [numbers(table["ret" if "ret" in table.columns else "text"].to_list(), 16, True)]
    if name.startswith(ENTER):
        found = [name for name in table.columns if name not in BASE and name[-4:] != "_val"]
        return [arguments(table[column].to_list()) for column in found]
    columns = []
    for choices in FIELDS[name]:
        column = next((choice for choice in choices if choice in table.columns), None)
        if column is None:
            raise KeyError(f"no field {choices[0]}")
        columns.append(numbers(table[column].to_list(), 16 if column in HEX else 0))
    return columns


def mt_columns(name: str, texts: list[Any]) -> list[list[int]]:
    """The numbers of vma_store and exit_mmap as text."""
    pattern = MT_STORE if name == "vma_store" else MT_EXIT
    found = [pattern.fullmatch((text or "").strip()) for text in texts]
    if not all(found):
        raise ValueError(f"not as the kernel prints it: {texts[found.index(None)]!r:.60}")
    trees = [int(match[1], 16) for match in found if match]
    if name == "exit_mmap":
        return [trees]
    starts = [int(match[3]) for match in found if match]
    # the text has the last address of the area, as the raw event has
    return [trees, starts, [int(match[4]) for match in found if match]]


def numbers(values: list[Any], base: int, signed: bool = False) -> list[int]:
    """A column as numbers: texts by C's rules (0x..., -1), or in a base of their own."""
    found = []
    for value in values:
        if isinstance(value, str):
            value = to_number(value, base)
        if value is None:
            raise ValueError("a field is missing")
        value = int(value)
        if signed and value >> 63 > 0:
            value -= 1 << 64
        found.append(value)
    return found


def arguments(values: list[Any]) -> list[int]:
    """A column of arguments; what is printed as names of flags or as a text counts as 0."""
    if values and isinstance(values[0], str):
        return [int(value, 16) if PLAIN.fullmatch(value or "") else 0 for value in values]
    return numbers(values, 16)


def to_number(text: str, base: int) -> int:
    """A number as trace text prints it. Raises ValueError."""
    text = text.strip().rstrip(",")
    if len(text) > 24:
        raise ValueError(f"{text!r:.60} is no number")
    return int(text, 16 if text.lstrip("-").startswith("0x") else base or 10)



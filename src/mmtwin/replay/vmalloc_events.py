"""What a recording's events tell of vmalloc, in order: whose address space is taken and given up.

Kernels from 6.2 on have events of their own (`vmalloc:*`). In any kernel the slab objects tell: of
struct vm_struct, of the array of pages, of struct vmap_area.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.constants import parse_constants
from mmtwin.package_files import files
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.recording import Recording
from mmtwin.recordings.stream import Events
from mmtwin.replay.pick import pick_events

KMALLOC = CONSTANTS["KIND_KMALLOC"]
KFREE = CONSTANTS["KIND_KFREE"]
KMEM_CACHE_FREE = CONSTANTS["KIND_KMEM_CACHE_FREE"]
KMEM_CACHE_ALLOC = CONSTANTS["KIND_KMEM_CACHE_ALLOC"]
COLUMNS = ("kind", "call_site", "pid", "cpu", "address", "bytes_req", "cache")
ASKED = ("struct", "array", "task")  # what a task does on its own, never an interrupt
TRACED = ("alloc_vmap_area", "free_vmap_area_noflush", "purge_vmap_area_lazy")
MARKS = parse_constants(files(__package__).joinpath("pick.pxd").read_text())["MARKS"]
# Functions that allocate what tells of vmalloc or give it back: the kind of their events, and what
# these tell. Allocations' tags renamed some (`_noprof`).
ALLOCATING = {
    "__get_vm_area_node": (KMALLOC, "struct"),
    "__vmalloc_node_range": (KMALLOC, "array"),
    "__vmalloc_area_node": (KMALLOC, "array"),
    "pcpu_get_vm_areas": (KMALLOC, "per_cpu"),
    "alloc_vmap_area": (KMEM_CACHE_ALLOC, "area"),
}
FUNCTIONS = {
    **ALLOCATING,
    **{f"{name}_noprof": told for name, told in ALLOCATING.items()},
    "__purge_vmap_area_lazy": (KMEM_CACHE_FREE, "purge"),
    "purge_vmap_node": (KMEM_CACHE_FREE, "purge"),
    "reclaim_list_global": (KMEM_CACHE_FREE, "purge"),
}


@dataclass
class Step:
    """One thing that an event tells of vmalloc; `what`:

    `task`: a task_struct was allocated, so a stack may be next; `struct`: a vm_struct, at
    `address`; `area`: the struct vmap_area for it, or one in store; `array`: the array of an
    area's pages, of `size` bytes; `per_cpu`: the vm_struct of a range for per-CPU memory; `free`:
    a kfree of `address`; `purge`: a structure of a range was given back while free ranges were
    joined; `another`: nothing. Of the kernel's own events: `alloc_vmap_area`,
    `free_vmap_area_noflush`, `purge_vmap_area_lazy` with all their `fields`.
    """

    index: int
    what: str
    pid: int
    cpu: int
    address: int = 0
    size: int = 0
    fields: dict[str, int] | None = None


class VmallocEvents:
    """Picks the events about vmalloc out of blocks; `traced`: the kernel's own are among them."""

    def __init__(self, annotated: Annotated) -> None:
        recording = annotated.recording
        self.traced = TRACED[0] in recording.counts
        self.objects = any(name.startswith("kmalloc") for name in recording.counts)
        self.steps = list(traced_steps(recording)) if self.traced else []
        self.aside: list[tuple[npt.NDArray[np.int64], Events]] = []
        self.ranges: list[tuple[int, int, int, str]] = []  # kind, first, behind the last, what
        for start, end, name in recording.symbols.functions("|".join(FUNCTIONS)):
            kind, what = FUNCTIONS[name]
            if kind == KMALLOC or not self.traced:
                self.ranges.append((kind, start, end, what))
        watched = not self.traced
        words = [
            (*part[:3], part[3] == "struct" and watched)
            for part in self.ranges if part[3] != "area"
        ]  # fmt: skip
        self.words = np.array(words, dtype=np.uint64).ravel()
        self.marks = np.zeros(MARKS, np.uint8)
        inferred = not self.traced and "task_struct" in annotated.names
        self.task = annotated.names.index("task_struct") if inferred else -1
        told = any(what == "area" for _, _, _, what in self.ranges)
        told = told and "vmap_area" in annotated.names
        self.area = annotated.names.index("vmap_area") if told else -1

    @property
    def usable(self) -> bool:
        """Whether the recording tells of vmalloc at all."""
        return self.traced or (self.objects and any(part[3] == "struct" for part in self.ranges))

    def feed(self, events: Events, first: int) -> None:
        """The next events, of which the first has the number `first`: those about vmalloc are put
        aside.
        """
        places = pick_events(events, self.words, self.task, self.area, self.marks)
        if len(places):
            self.aside.append((places + first, events[places]))

    def take(self, stop: int) -> list[Step]:
        """The steps before the event of a number, in order, each once."""
        found = []
        for indexes, events in self.aside:
            columns = (events[name].tolist() for name in COLUMNS)
            rows = zip(*columns, strict=True)
            found += [
                self._step(index, *fields)
                for index, fields in zip(indexes.tolist(), rows, strict=True)
            ]
        self.aside.clear()
        self.steps = sorted(self.steps + found, key=lambda step: step.index)
        count = bisect_left(self.steps, stop, key=lambda step: step.index)
        taken, self.steps = self.steps[:count], self.steps[count:]
        if self.area < 0:
            return taken
        taken, early = in_turn(taken)
        self.steps = early + self.steps
        return taken

    def _step(
        self, index: int, kind: int, site: int, pid: int, cpu: int, address: int, size: int,
        cache: int,
    ) -> Step:  # fmt: skip
        what = "free" if kind == KFREE else "task" if cache == self.task else "another"
        for theirs, start, end, name in self.ranges:
            if theirs == kind and start <= site < end:
                what = name
        return Step(index, what, pid, cpu, address, size if kind == KMALLOC else 0)


def in_turn(steps: list[Step]) -> tuple[list[Step], list[Step]]:
    """The steps with each request where its addresses are taken, and the requests that are not so
    far yet.

    alloc_vmap_area() takes the lock behind the allocation of its struct vmap_area, and of one in
    store where a CPU has none (preload_this_cpu_lock()). Until then other tasks may come first.
    """
    waiting: dict[int, tuple[Step, Step | None]] = {}  # by pid
    turn: list[tuple[int, Step]] = []
    for step in steps:
        asked, area = waiting.get(step.pid, (None, None))
        if step.what == "area":
            if asked is not None:
                waiting[step.pid] = asked, step
            continue
        if asked is not None and step.what in ASKED:
            turn.append((area.index if area else asked.index, asked))
            del waiting[step.pid]
        if step.what == "struct":
            waiting[step.pid] = step, None
        else:
            turn.append((step.index, step))
    turn += [(area.index, asked) for asked, area in waiting.values() if area]
    early = [asked for asked, area in waiting.values() if not area]
    return [step for _, step in sorted(turn, key=lambda each: each[0])], early


def traced_steps(recording: Recording) -> Iterable[Step]:
    """The kernel's own events of vmalloc, in order."""
    found = []
    for name, table in recording.tables_named(TRACED).items():
        for row in table.iter_rows(named=True):
            fields = {key: int(value) for key, value in row.items() if isinstance(value, int)}
            found.append(
                Step(row["index"], name, row["common_pid"], row["common_cpu"], fields=fields)
            )
    return sorted(found, key=lambda step: step.index)

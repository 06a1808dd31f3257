"""Whose page tables are whose, where no event tells the faults that asked for them: from
kmem:mm_page_alloc and kmem:mm_page_free.

A page of GFP_PGTABLE_USER belongs to the address space of the task that takes it; during fork() to
the child's (dup_mm()), during execve() to the new one (bprm_mm_init()). mm->pgtables_bytes counts
all but the top table. So VmPTE is followed, not predicted.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from mmtwin.kernel.constants import __GFP_COMP as COMP
from mmtwin.kernel.constants import load_constants
from mmtwin.kernel.paging import paging_of
from mmtwin.machine.recorded import twin_gfp_of
from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.process_events import Step
from mmtwin.recordings.recording import Recording
from mmtwin.replay.processes import CLONE_VM, Processes
from mmtwin.versions.gfp import translate_gfp

KIND_ALLOC, KIND_FREE = CONSTANTS["KIND_MM_PAGE_ALLOC"], CONSTANTS["KIND_MM_PAGE_FREE"]
GFP_PGTABLE_USER = load_constants("memory_defs.pxd")["GFP_PGTABLE_USER"]
INTERRUPT = 0x18
FORKS = ("clone", "clone3", "fork", "vfork")
BUILDING = (*FORKS, "execve", "execveat")
Change = tuple[int, int, int, bool]  # number of the event, pid, pfn, taken or given back


class Tables:
    """The tables of one recording's processes; `processes`: its twin."""

    def __init__(self, recording: Recording, processes: Processes) -> None:
        self.processes = processes
        self.coming = table_events(recording)
        self.next: Change | None = next(self.coming, None)
        self.owner: dict[int, int] = {}  # by pfn: the mm.id
        self.count: Counter[int] = Counter()
        self.building: dict[int, list[int]] = {}  # by pid: tables of an mm that is not there yet
        self.own: dict[int, int] = {}  # by mm.id: what the twin's own tables come to

    def run_to(self, index: int, calls: dict[int, Step]) -> None:
        """Up to an event; `calls`: the system calls that tasks are in."""
        while self.next is not None and self.next[0] < index:
            _index, pid, pfn, taken = self.next
            self.next = next(self.coming, None)
            self._gone(pfn)
            if not taken:
                continue
            process = self.processes.by_pid.get(pid)
            call = calls.get(pid)
            if process is None or process.mm is None or (call and call.name in BUILDING):
                self.building.setdefault(pid, []).append(pfn)
            else:
                self._belongs(pfn, process.mm.id)

    def _gone(self, pfn: int) -> None:
        owner = self.owner.pop(pfn, None)
        if owner is not None:
            self.count[owner] -= 1

    def _belongs(self, pfn: int, mm_id: int) -> None:
        self.owner[pfn] = mm_id
        self.count[mm_id] += 1

    def after(self, step: Step) -> None:
        """The twin has carried out a step: whose the tables are that were being built."""
        pid = step.pid
        if step.what == "task_newtask" and not step.args[1] & CLONE_VM:
            pid = step.args[0]
        elif step.what not in ("task_newtask", "sched_process_exec", "exit"):
            return
        process = self.processes.by_pid.get(pid)
        tables = self.building.pop(step.pid, ())
        if step.what == "exit" and step.name not in FORKS:
            return  # of an exec that failed
        if process is not None and process.mm is not None:
            for pfn in tables:
                self._gone(pfn)
                self._belongs(pfn, process.mm.id)

    def settle(self) -> None:
        """The twin's processes have as many tables as the kernel's."""
        paging = paging_of(self.processes.machine)
        top = paging.cache < 0
        for process in self.processes.alive:
            mm = process.mm
            if self.count[mm.id] and mm.id not in self.own:
                self.own[mm.id] = mm.pgtables_bytes
                mm.pgtables_bytes = (self.count[mm.id] - top) * paging.page_size

    def unsettle(self) -> None:
        """The twin goes on with its own."""
        for process in self.processes.alive:
            own = self.own.pop(process.mm.id, None)
            if own is not None:
                process.mm.pgtables_bytes = own
        self.own.clear()


def table_events(recording: Recording) -> Iterator[Change]:
    """Pages taken for tables, and their frees, in order."""
    bits = twin_gfp_of(recording)
    wanted: dict[int, bool] = {}
    tables: set[int] = set()
    first = 0
    for events in recording.blocks():
        kinds = events["kind"]
        rows = np.flatnonzero((kinds == KIND_ALLOC) | (kinds == KIND_FREE))
        part = events[rows]
        names = ("kind", "pid", "gfp", "address", "flags")
        columns = (part[name].tolist() for name in names)
        for row, kind, pid, gfp, pfn, flags in zip(rows.tolist(), *columns, strict=True):
            if kind == KIND_FREE:
                if pfn in tables:
                    tables.remove(pfn)
                    yield first + row, pid, pfn, False
                continue
            if gfp not in wanted:
                wanted[gfp] = translate_gfp(gfp, bits) & ~COMP == GFP_PGTABLE_USER
            if wanted[gfp] and not flags & INTERRUPT:
                tables.add(pfn)
                yield first + row, pid, pfn, True
        first += len(events)

"""A recording's processes in the twin: what they asked is asked again, what they got compared.

`ProcessReplay` drives `Processes` with the steps of recordings/process_events.py, up to the end or
any instant before it. A call's answer is compared when it comes back; where the twin's differs it
is counted by kind, and the twin takes the recorded one, so that one miss stays one.
"""

import re
from collections import deque
from itertools import islice
from typing import Any

from mmtwin.kernel.mm import MM
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import VM_WRITE
from mmtwin.kernel.walk import translate
from mmtwin.machine.boot import boot_mm
from mmtwin.machine.recorded import profile_of
from mmtwin.procfs.maps import MapsArea
from mmtwin.recordings.process_events import (
    FAULTS,
    PROBE,
    Step,
    check_process_events,
    process_steps,
)
from mmtwin.recordings.recording import Recording
from mmtwin.replay.process_adopt import adopt
from mmtwin.replay.process_calls import Calls
from mmtwin.replay.process_files import FileTable
from mmtwin.replay.process_names import OPENS, Names, snapshot_indexes
from mmtwin.replay.process_starts import ExecTrace, ExecTraces, drawn_by
from mmtwin.replay.process_steps import TwinSteps, unexpected
from mmtwin.replay.process_strings import OpenedStrings
from mmtwin.replay.process_tables import Tables
from mmtwin.replay.process_tally import Tally
from mmtwin.replay.process_touches import Touches
from mmtwin.replay.process_unseen import (
    GONE,
    STACK_LIMIT,
    PageEvents,
    growing,
    set_stack_limit,
    take_page,
)
from mmtwin.replay.processes import CALLS, CLONE_VM, Process, Processes

DEFAULT_MEMORY = 1 << 30
NAMING = (*OPENS, "close", "dup", "dup2", "dup3", "fcntl")
FORKS = ("clone", "clone3", "fork", "vfork")
NO_ASLR = re.compile(r"(^|\s)(norandmaps|kernel\.randomize_va_space=0)(\s|$)")
EXECS = ("execve", "execveat")
CUTTING, O_TRUNC = {"open": 0, "openat": 1}, 0o1000  # where the name is; the flags follow
FAR = 10000  # steps looked ahead
X86_PF_PRESENT, X86_PF_WRITE, X86_PF_BOTH = 1, 2, 3
FAULT_FLAG_WRITE, FAULT_FLAG_TRIED = 0x1, 0x20
U32 = (1 << 32) - 1


class ProcessReplay:
    """The processes of one recording. `files`: more of the files they execute, beside those that
    the recording tells of; `start`: events before that number are left out; `ring_size`: steps
    that the twin keeps, a power of two. Raises
    RecordingError if it tells too little of processes.
    """

    def __init__(
        self, recording: Recording, files: FileTable | None = None, start: int = 0,
        ring_size: int = 4096,
    ) -> None:  # fmt: skip
        check_process_events(recording)
        self.recording = recording
        self.profile = profile_of(recording)
        machine = recording.machine
        self.files = files or FileTable()
        self.files.page_size = machine.page_size
        self.files.shmem = "root=" not in machine.cmdline
        if recording.files:
            self.files.add_json(recording.files, recording.path)
        self.names = Names(recording, self.files)
        self.machine: MM = boot_mm(
            self.profile, machine.mem_bytes or DEFAULT_MEMORY, ring_size=ring_size
        )
        self.randomize = 0 if NO_ASLR.search(machine.cmdline) else 2
        self.processes = Processes(self.machine, self.files, self.randomize)
        self.tally = Tally()
        self.twin = TwinSteps(self.machine, self.tally)
        self.entered: dict[int, Step] = {}
        self.copied: dict[int, Any] = {}  # address spaces of children not announced yet
        self.steps = (step for step in process_steps(recording) if step.index >= start)
        self.ahead: deque[Step] = deque()
        self.strings: dict[str, MapsArea] | None = None
        self.names.by_string = self._by_string
        self.traces: dict[int, ExecTrace] | None = None
        self.unlinks: dict[int, list[str]] | None = None if self.names.gone else {}
        self.snapshots = snapshot_indexes(recording)
        self.next_snapshot = self.snapshots[0][1] if self.snapshots else 1 << 62
        self.adopted: list[int] = []
        self.index = 0
        self.dead: dict[int, int] = {}
        self.exiting = 0  # the task whose end was announced
        seen = any(recording.counts.get(name) for name in FAULTS)
        self.probed = recording.counts.get(PROBE, 0) and not any(
            recording.counts.get(name) for name in FAULTS if name != PROBE
        )
        self.touches = None if seen else Touches(self.processes)
        self.tables = None if seen else Tables(recording, self.processes)
        self.twin.silent = not seen
        self.pages = PageEvents(recording)
        self.calls = Calls(recording, self.processes, self.names, self.twin, self.touches)

    # ---- the loop

    def peek(self) -> Step | None:
        """The step that comes next, None at the end."""
        if not self.ahead:
            self.ahead.extend(islice(self.steps, 1))
        return self.ahead[0] if self.ahead else None

    def peek_of(self, pid: int) -> Step | None:
        """The next step of a task, None where none comes soon."""
        found = next((step for step in self.ahead if step.pid == pid), None)
        while found is None and len(self.ahead) < FAR and (step := next(self.steps, None)):
            self.ahead.append(step)
            found = step if step.pid == pid else None
        return found

    def run_to(self, index: int) -> None:
        """Everything before the event of a number, in order; may be called again for a later one.
        Raises UnknownFile, RecordingError.
        """
        if self.tables is not None:
            self.tables.unsettle()
        while (step := self.peek()) is not None and step.index < index:
            self.ahead.popleft()
            self._take_next(step)
        self._exited()
        if self.touches is not None:
            self.touches.settle()
        if self.tables is not None:
            self.tables.run_to(index, self.entered)
            self.tables.settle()
        self.index = index
        for path, shown in self.names.gone.items():
            if shown <= index and not self.unlinks:
                self.files.unlink(path)  # no event tells of any unlink

    def run(self) -> None:
        """Everything."""
        self.run_to(1 << 62)
        self.twin.flush_all()

    def _take_next(self, step: Step) -> None:
        if self.tables is None:
            self.take(step)
            return
        self.tables.run_to(step.index, self.entered)
        self.take(step)
        self.tables.after(step)

    def take(self, step: Step) -> None:
        """One step."""
        what = step.what
        if self.exiting and step.pid != self.exiting:
            self._exited()
        if step.index >= self.next_snapshot:
            self._meet_snapshot()
        self.twin.index = step.index
        if what == "page_fault_user" or what == "page_fault_kernel":
            self._fault(step)
        elif what == PROBE:
            self._served(step)
        elif what == "rss_stat":
            self._counted(step)
        elif what == "enter":
            self.twin.flush(step.pid)
            self.twin.searches.pop(step.pid, None)
            self.entered[step.pid] = step
            if self.touches is not None:
                self.touches.entered(step.pid)
        elif what == "exit":
            self._returned(step)
        elif what == "task_newtask":
            self._fork(step)
        elif what == "task_rename":
            process = self.processes.by_pid.get(step.args[0])
            if process is not None:
                process.comm = step.text
        elif what == "sched_process_exec":
            self._exec(step)
        elif what == "sched_process_exit":
            self._exit(step)
        elif what == "vm_unmapped_area":
            self.twin.recorded_search(step)
        elif what == "vma_store" and self.touches is not None:
            entered = self.entered.get(step.pid)
            self.touches.stored(step, entered.name if entered is not None else "")

    def _counted(self, step: Step) -> None:
        if self.touches is None:
            self.twin.recorded(step)
        else:
            self.touches.counted(step)
            self.tally.miss("rss_stat: followed, as no event tells the faults")

    def _meet_snapshot(self) -> None:
        """Processes that a snapshot shows and no event told of are taken over from it."""
        while self.snapshots and self.snapshots[0][1] <= self.next_snapshot:
            name, _index = self.snapshots.pop(0)
            snapshot = self.recording.snapshots[name]
            for pid in snapshot.processes:
                process = self.processes.by_pid.get(pid)
                unknown = process is None or process.mm is None
                if unknown and snapshot.bytes(f"proc/{pid}/maps"):
                    adopt(self.processes, self.names, snapshot, pid)
                    self.adopted.append(pid)
        self.next_snapshot = self.snapshots[0][1] if self.snapshots else 1 << 62

    # ---- tasks

    def _fork(self, step: Step) -> None:
        child, flags = step.args
        self.processes.fork(step.pid, child, flags, step.text, self.copied.pop(step.pid, None))
        if self.touches is not None and not flags & CLONE_VM:
            self.touches.new_mm(step.pid, self.processes.process(child))
        self.names.descriptors.fork(step.pid, child, flags)
        self.dead.pop(child, None)
        self.twin.took(step.pid)

    def _exec(self, step: Step) -> None:
        pid = step.args[0]
        process = self.processes.process(pid)
        comm = process.comm
        path = step.text
        file = self._program(process, path, step.index)
        drawn = self._drawn(file, step.index)
        error = self.processes.exec_(pid, path, file=file, drawn=drawn)
        process.comm = comm
        if self.touches is not None:
            self.touches.new_mm(pid, process)
        self.names.descriptors.execve(pid)
        if error:
            self.tally.miss("execs that the twin refused", f"#{step.index} {path}: {error}")
        self.entered.pop(pid, None)
        self.twin.took(pid)

    def _program(self, process: Process, path: str, index: int) -> Any:
        """The file that an exec runs."""
        if path == "/proc/self/exe" and process.mm is not None:
            return process.mm.exe_file
        found = self.files.find(path)
        if found is not None and found.head:
            return found
        trace = self._traces().get(index, ExecTrace())
        return self.files.executable(path, trace.entry or None, trace.brk or None)

    def _traces(self) -> dict[int, ExecTrace]:
        """What the events tell of each exec, by the number of its event."""
        if self.traces is None:
            self.traces = ExecTraces(self.recording, self.machine).by_index
        return self.traces

    def _by_string(self, token: str) -> MapsArea | None:
        """Names.by_string."""
        if self.strings is None:
            opened = OpenedStrings(self.recording, self.names, self._traces(), self.machine)
            self.strings = opened.lines
        return self.strings.get(token)

    def _drawn(self, file: File | None, index: int) -> dict[str, int]:
        """What an exec drew at random."""
        trace = self._traces().get(index) if self.randomize else None
        if trace is None or file is None:
            return {}
        drawn = drawn_by(trace, file, self.files, self.machine)
        self.calls.drawn.update(drawn.keys())
        return drawn

    def _exit(self, step: Step) -> None:
        """sched_process_exit: since 6.16 it comes before exit_mm() (do_exit()), whose faults and
        changes of rss_stat are still to come. The twin's task goes when another one runs.
        """
        self._exited()
        self.exiting = step.args[0]
        self.dead[self.exiting] = step.index

    def _exited(self) -> None:
        """The task that was about to exit is gone."""
        pid, self.exiting = self.exiting, 0
        process = self.processes.by_pid.get(pid)
        if process is not None:
            if process.mm is None:
                self.twin.drop(pid, "execs that failed")  # of the kernel's own helpers
            self.processes.exit(pid)
        if pid:
            self.names.descriptors.exit(pid)
            self.entered.pop(pid, None)
            self.twin.ended(pid)

    # ---- faults

    def _fault(self, step: Step) -> None:
        address, error_code = step.args
        why = self._gone(step)
        process = self._faulting(step.pid, error_code & X86_PF_WRITE != 0)
        if process is not None and process.stack_limited and error_code & X86_PF_WRITE:
            self._may_grow(process, step)
        if process is not None and error_code & X86_PF_BOTH == X86_PF_BOTH:
            self._forking(process, address)
        if process is not None and not address >> 63:
            self.twin.fault(self.processes, process, step, why)

    def _gone(self, step: Step) -> str:
        """A page that the twin has and the kernel does not goes, before what rss_stat has left
        over is counted: why the fault was not expected, "" if it was.
        """
        entered = self.entered.get(step.pid)
        process = self.processes.by_pid.get(step.pid)
        if process is None or process.mm is None or (entered and entered.name in EXECS):
            return ""
        address, error_code = step.args
        if error_code & X86_PF_PRESENT or address >> 63 or self.twin.again(step):
            return ""
        why = unexpected(process.mm, address, error_code)
        if why:
            self.processes.run(step.pid)
            take_page(self.machine, process.mm, address)
            self.tally.miss(GONE, f"#{step.index} {step.pid} {process.comm}: {address:#x}")
            self.twin.gather(step.pid)
        return why

    def _may_grow(self, process: Process, step: Step) -> None:
        """Whether a stack grew for a write, whose limit is not known: then it got a page."""
        vma = growing(process.mm, step.args[0])
        if vma is None or not self.pages.told:
            return
        coming = self.peek_of(step.pid)
        until = coming.index if coming is not None else 1 << 62
        stored = coming is not None and coming.what == "vma_store"
        granted = stored or self.pages.between(step.pid, step.index, until)
        if not granted:
            self.tally.miss(
                STACK_LIMIT, f"#{step.index} {step.pid} {process.comm}: {step.args[0]:#x}")
        set_stack_limit(process, vma, step.args[0], granted)

    def _forking(self, process: Process, address: int) -> None:
        """A page that can be written is not: a thread beside this one is in fork(), has copied
        the address space (dup_mmap()), and its child is not announced yet.
        """
        entry = translate(process.mm, address)
        if entry is None or process.mm.mm_users < 2 or not entry & process.mm.paging.write:
            return
        for pid, call in self.entered.items():
            forker = self.processes.by_pid.get(pid)
            plain = call.name == "fork" or (call.name == "clone" and not call.args[0] & CLONE_VM)
            if plain and pid not in self.copied and forker and forker.mm is process.mm:
                self.copied[pid] = self.processes.copy(pid)
                self.twin.gather(pid)
                return

    def _served(self, step: Step) -> None:
        """A probe on handle_mm_fault(): of a processor's fault, not of get_user_pages(), which
        has no registers and which the twin comes to by itself.
        """
        _address, flags, registers = step.args
        if not self.probed or not registers or flags & FAULT_FLAG_TRIED:
            return
        process = self._faulting(step.pid, flags & FAULT_FLAG_WRITE != 0)
        if process is not None:
            self.twin.served(self.processes, process, step)

    def _faulting(self, pid: int, write: bool) -> Process | None:
        """The process whose fault is the twin's too, None if it is not."""
        process = self.processes.by_pid.get(pid)
        if process is None or process.mm is None:
            return None
        entered = self.entered.get(pid)
        if entered is None or entered.name not in EXECS:
            self.twin.flush(pid)
        elif write:
            return None  # exec's own: the twin does it when the program is loaded
        return process

    # ---- system calls

    def _returned(self, step: Step) -> None:
        entered = self.entered.get(step.pid)
        if entered is None or entered.name != step.name:
            return
        del self.entered[step.pid]
        if self.touches is not None:
            self.touches.left(step.pid)
        (result,), args = step.args, entered.args
        if step.name in FORKS:
            return
        if step.name in EXECS:
            self.twin.drop(step.pid, "execs that failed")
            return
        if step.name in NAMING:
            self.names.call(entered, args, entered.text, result)
            if result >= 0 and step.name in CUTTING:
                self._opened(step, entered, result)
        elif step.name in ("unlink", "unlinkat") and result == 0:
            if entered.text:
                self.names.unlink(self.names.descriptors.path(step.pid, entered.text))
            else:
                self._unlinked(step.index)
        elif step.name == "ftruncate" and result == 0:
            self.processes.run(step.pid)
            self.names.truncated(self.machine, step.pid, args[0] & U32, args[1])
        elif step.name == "fallocate" and result == 0:
            self.processes.run(step.pid)
            self.names.allocated(self.machine, step.pid, args[0] & U32, *args[1:4])
        elif step.name in ("shmat", "shmdt"):
            self.calls.segment(step, entered, result)
        elif step.name in ("mmap", "setrlimit") or step.name in CALLS:
            self.calls.returned(step, entered, args, result)
        self.twin.took(step.pid)

    def _opened(self, step: Step, entered: Step, fd: int) -> None:
        """A file was opened: with O_TRUNC its pages go, if it is known which it is."""
        process = self.processes.by_pid.get(step.pid)
        place = CUTTING[step.name]
        if process is None or process.mm is None or not entered.args[place + 1] & O_TRUNC:
            return
        vma = process.mm.tree.vma_lookup(entered.args[place])
        constant = vma is not None and vma.vm_file is not None and not vma.vm_flags & VM_WRITE
        if entered.text or constant:
            self.processes.run(step.pid)
            self.names.cut(self.machine, entered, fd)

    def _unlinked(self, index: int) -> None:
        """A file lost its name, and no event tells which: a snapshot may show that one has. It is
        taken for the last one before the snapshot.
        """
        if self.unlinks is None:
            calls = [
                step.index for step in process_steps(self.recording)
                if step.what == "exit" and step.name.startswith("unlink") and step.args[0] == 0
            ]  # fmt: skip
            self.unlinks = {}
            for path, shown in self.names.gone.items():
                before = [call for call in calls if call < shown]
                if before:
                    self.unlinks.setdefault(before[-1], []).append(path)
        for path in self.unlinks.get(index, ()):
            self.files.unlink(path)

"""What a recording's system calls about areas did, asked of the twin again and compared."""

from collections import Counter
from typing import Any

from mmtwin.kernel.fault import set_current
from mmtwin.kernel.memory import handle_mm_fault
from mmtwin.kernel.mman import (
    MAP_32BIT,
    MAP_ANONYMOUS,
    MAP_FIXED,
    MAP_SHARED,
    MAP_TYPE,
    PROT_READ,
    PROT_WRITE,
    RLIM_INFINITY,
    RLIMIT_DEFAULTS,
    RLIMIT_STACK,
    VM_ARCH_1,
    VM_DONTDUMP,
    VM_DONTEXPAND,
    VM_IO,
    VM_PFNMAP,
)
from mmtwin.recordings.process_events import Step
from mmtwin.recordings.recording import Recording
from mmtwin.replay.process_names import Names
from mmtwin.replay.process_refused import LIMIT, MODE, hidden_limit, opened_so, with_limit
from mmtwin.replay.process_shm import Segments
from mmtwin.replay.process_steps import TwinSteps
from mmtwin.replay.process_touches import Touches
from mmtwin.replay.processes import Process, Processes
from mmtwin.versions.process_items import mnemonics

ADDRESSES = ("mmap", "brk", "mremap")
LAST_ERRNO = 4095
LIMITS = 16  # RLIM_NLIMITS


class Calls:
    """The calls of a replay's processes. `touches`: where no event tells the faults; `drawn`: how
    many random starts of each kind the replay took from the events.
    """

    def __init__(
        self, recording: Recording, processes: Processes, names: Names, twin: TwinSteps,
        touches: Touches | None = None,
    ) -> None:  # fmt: skip
        self.machine = processes.machine
        self.processes = processes
        self.names = names
        self.twin = twin
        self.tally = twin.tally
        self.touches = touches
        self.drawn: Counter[str] = Counter()
        # pci_mmap_resource_range(): remap_pfn_range(), and VM_PAT where x86 has it
        profile: Any = self.machine.profile
        pat = VM_ARCH_1 if mnemonics(profile).get(VM_ARCH_1) == "ar" else 0
        self.pci_flags = VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP | pat
        self.segments = Segments(processes, names)
        # nothing tells of a limit: any process may have one
        self.limits_told = recording.counts.get("sys_enter_prlimit64", 0) > 0
        self.searching = recording.counts.get("vm_unmapped_area", 0) > 0

    def returned(self, step: Step, entered: Step, args: tuple[int, ...], result: int) -> None:
        """A call of `args` came back with a result: it is asked of the twin, and compared."""
        process = self.processes.by_pid.get(step.pid)
        if process is None or process.mm is None:
            return
        if step.name in ("prlimit64", "setrlimit"):
            self._limit(process, args if step.name == "prlimit64" else (0, *args), result)
            return
        file = self.names.of_mapping(entered, args, result) if step.name == "mmap" else None
        if file is not None and file.path.startswith("/sys/"):
            file.vm_flags, file.noexec = self.pci_flags, 1
        if step.name == "mremap" and self.touches is not None:
            self.touches.before_mremap(process, args, result)
        mm = process.mm
        mode = self.names.mode_of(step.pid, args) if step.name == "mmap" else None
        if opened_so(mm, step.name, args, result, file, mode):
            self.tally.miss(MODE, called(step, args, result))
        hidden = (process.limited or not self.limits_told) and hidden_limit(
            process, step.name, args, result)
        if hidden:
            self.tally.miss(LIMIT, called(step, args, result))
            if step.name == "brk":
                return
        searches: list[tuple[Any, int]] = []
        total_vm, mm.tree.searches = mm.total_vm, searches
        mm.low_begin = self._low_begin(step, args)

        def call() -> int:
            return self.processes.syscall(step.pid, step.name, args, file)

        got = with_limit(mm, step.name, call) if hidden else call()
        mm.tree.searches = None
        if self.searching:
            self.twin.searched(step.pid, searches, total_vm)
        kind = "results"
        if -LAST_ERRNO <= result < 0:
            kind = "errors"
        elif step.name in ADDRESSES:
            kind = "addresses"
        example = f"{called(step, args, result)}, twin {got:#x}"
        if not self.tally.compare(kind, got == result, f"{step.name}: {kind}", example):
            self._adopt(process, step.name, args, result, got, file)
        if step.name == "mmap" and result > 0:
            self._mapped(process, entered, args, result, file)

    def _low_begin(self, step: Step, args: tuple[int, ...]) -> int:
        """Where an mmap with MAP_32BIT began to search: drawn by the call, if ASLR is on."""
        low = step.name == "mmap" and args[3] & MAP_32BIT and self.processes.context.randomize
        recorded = self.twin.searches.get(step.pid)
        if not low or not recorded:
            return 0
        self.drawn["low_begin"] += 1
        return recorded[0].args[4]

    def _limit(self, process: Process, args: tuple[int, ...], result: int) -> None:
        """prlimit64: the new limit is behind a pointer. Until a call is refused it counts as
        none; see process_refused.py.
        """
        if result == 0 and args[2] and args[0] in (0, process.pid) and args[1] < LIMITS:
            process.limited = True
            process.stack_limited |= args[1] == RLIMIT_STACK
            if args[1] in process.mm.rlimits:
                process.mm.rlimits[args[1]] = RLIMIT_DEFAULTS.get(args[1], RLIM_INFINITY)

    def segment(self, step: Step, entered: Step, result: int) -> None:
        """shmat() and shmdt()."""
        process = self.processes.by_pid.get(step.pid)
        if process is None or process.mm is None or result < 0:
            return
        if step.name == "shmdt":
            self.segments.detach(process, entered.args[0])
            return
        got = self.segments.attach(process, entered, self.twin.searches.get(step.pid, []), result)
        if got is not None:
            self.tally.compare("addresses", got == result, "shmat: addresses",
                               f"{called(step, entered.args, result)}, twin {got:#x}")

    def _mapped(
        self, process: Process, step: Step, args: tuple[int, ...], address: int, file: Any
    ) -> None:
        """What an mmap leaves to files: the inode of shared memory, where a device's memory is."""
        vma = process.mm.tree.find_vma(address)
        if vma is None or vma.vm_file is None:
            return
        zero = args[3] & MAP_ANONYMOUS or (file is not None and file.zero)
        if zero and args[3] & MAP_TYPE == MAP_SHARED:
            self.names.shmem_mapping(self.machine, step, address, vma.vm_file)
        elif file is not None and file.vm_flags & VM_PFNMAP:
            area = self.names.shown_at(step, address, args[5])
            if area is not None and area.offset != args[5]:
                vma.vm_pgoff = area.offset >> self.machine.page_shift
            # remap_pfn_range(): all of it at once, and nobody's faults
            set_current(self.machine, None)
            for place in range(vma.vm_start, vma.vm_end, 1 << self.machine.page_shift):
                handle_mm_fault(process.mm, vma, place, 0)

    def _adopt(
        self, process: Process, name: str, args: tuple[int, ...], result: int, got: int, file: Any
    ) -> None:
        """After a miss the twin has what the kernel had."""
        page = 1 << self.machine.page_shift
        pid = process.pid
        if name == "mmap":
            if got >= 0:
                self.processes.syscall(pid, "munmap", (got, args[1]))
            if result >= 0:
                forced = (result, args[1], args[2], args[3] | MAP_FIXED, args[4], args[5])
                self.processes.syscall(pid, "mmap", forced, file)
        elif name == "brk":
            self.processes.syscall(pid, "brk", (result,))
        elif name == "mremap" and result >= 0:
            if got >= 0:
                self.processes.syscall(pid, "munmap", (got, args[2]))
            length = -(-args[2] // page) * page
            anonymous = (result, length, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_FIXED | 2)
            self.processes.syscall(pid, "mmap", (*anonymous, -1, 0))


def called(step: Step, args: tuple[int, ...], result: int) -> str:
    """A call and its result, as an example shows it."""
    text = ", ".join(f"{argument:#x}" for argument in args)
    return f"#{step.index} {step.pid}: {step.name}({text}) = {result:#x}"

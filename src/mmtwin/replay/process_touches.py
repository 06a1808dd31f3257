"""What programs touched, where a recording has no page faults (arm64 has no such
events): as far as other events tell.

A stack that grew is stored anew (mmap:vma_store), from the page that was touched on. An area that
moved keeps its offset once it has pages (mm/mmap.c: copy_vma()), and then merges with none.
What is resident where nobody tells; how much, kmem:rss_stat says: it is followed, not predicted.
"""

from mmtwin.kernel.mman import MM_SWAPENTS, VM_GROWSDOWN
from mmtwin.kernel.rss_stat import add_mm_counter, exact_counters
from mmtwin.recordings.process_events import Step
from mmtwin.replay.process_steps import MEMBERS
from mmtwin.replay.processes import Process, Processes


class Touches:
    """The inference of one replay; `processes`: its twin."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.stores: dict[int, list[tuple[int, int]]] = {}  # since a task's call began
        self.inferred = 0
        # By the number that events give an mm: bytes by member, and the most of them.
        self.told: dict[int, list[int]] = {}
        self.peak: dict[int, int] = {}
        self.number: dict[int, int] = {}  # of the twin's mm.id
        self.before: dict[int, int] = {}  # resident when a task's call began
        self.other: dict[int, int] = {}  # the mm, not its own, that a task counts in

    def entered(self, pid: int) -> None:
        """A system call begins."""
        self.stores.pop(pid, None)
        self.other.pop(pid, None)
        process = self.processes.by_pid.get(pid)
        if process is not None and process.mm is not None:
            sizes = self.told.get(self.number.get(process.mm.id, -1))
            self.before[pid] = resident(sizes) if sizes else 0

    def left(self, pid: int) -> None:
        """It comes back."""
        self.before.pop(pid, None)

    # ---- how much is resident

    def counted(self, step: Step) -> None:
        """An rss_stat event."""
        number, current, member, size = step.args
        sizes = self.told.setdefault(number, [0] * len(MEMBERS))
        if size < sizes[member] and step.pid in self.before:
            # update_hiwater_rss() before an unmap, without what the task has not told yet
            self.peak[number] = max(self.peak.get(number, 0), self.before[step.pid])
        sizes[member] = size
        process = self.processes.by_pid.get(step.pid)
        if not current:
            self.other.setdefault(step.pid, number)  # of an exec: the new one first
        elif process is not None and process.mm is not None:
            self.number[process.mm.id] = number

    def new_mm(self, pid: int, process: Process) -> None:
        """What task `pid` counted in was a process's new mm: fork, exec."""
        number = self.other.pop(pid, None)
        if number is not None and process.mm is not None:
            self.number[process.mm.id] = number
            self.peak.pop(number, None)

    def settle(self) -> None:
        """The twin's processes have as much resident as the kernel's."""
        shift = self.processes.machine.page_shift
        for process in self.processes.alive:
            sizes = self.told.get(self.number.get(process.mm.id, -1))
            if sizes is None:
                continue
            for member, pages in enumerate(exact_counters(process.mm)):
                add_mm_counter(process.mm, member, (sizes[member] >> shift) - pages)
            peak = self.peak.get(self.number[process.mm.id], 0)
            process.mm.hiwater_rss = max(peak, resident(sizes)) >> shift

    # ---- what was touched

    def stored(self, step: Step, call: str) -> None:
        """An area was stored, in a `call` or, "", in none: then a fault did it."""
        process = self.processes.by_pid.get(step.pid)
        if process is None or process.mm is None or call.startswith("exec"):
            return
        _tree, start, last = step.args
        if call:
            self.stores.setdefault(process.pid, []).append((start, last + 1))
        vma = process.mm.tree.find_vma(last)
        if vma is None or vma.vm_end != last + 1 or not vma.vm_flags & VM_GROWSDOWN:
            return
        if start < vma.vm_start:
            self._touch(process, start)

    def before_mremap(self, process: Process, args: tuple[int, ...], result: int) -> None:
        """What must have been touched before an mremap() that moved an area."""
        old, _size, length = args[:3]
        if result < 0 or result == old:
            return
        page = 1 << process.mm.machine.page_shift
        vma = process.mm.tree.vma_lookup(old)
        if vma is None or vma.vm_file is not None or vma.anon_vma is not None:
            return
        alone = (result, result + -(-length // page) * page)
        if alone in self.stores.get(process.pid, ()):
            self._touch(process, old)

    def _touch(self, process: Process, address: int) -> None:
        self.inferred += 1
        self.processes.touch(process.pid, address, True)


def resident(sizes: list[int]) -> int:
    """get_mm_rss(): all but swap."""
    return sum(size for member, size in enumerate(sizes) if member != MM_SWAPENTS)

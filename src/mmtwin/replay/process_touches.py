"""What programs touched, where a recording has no page faults (arm64 before 6.16 has no such
events): as far as other events tell.

A stack that grew is stored anew (mmap:vma_store), from the page that was touched on. An area that
moved keeps its offset once it has pages (mm/mmap.c: copy_vma()), and then merges with none.
"""

from mmtwin.kernel.mman import VM_GROWSDOWN
from mmtwin.recordings.process_events import Step
from mmtwin.replay.processes import Process, Processes


class Touches:
    """The inference of one replay; `processes`: its twin."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.stores: dict[int, list[tuple[int, int]]] = {}  # since a task's call began
        self.inferred = 0

    def entered(self, pid: int) -> None:
        """A system call begins."""
        self.stores.pop(pid, None)

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

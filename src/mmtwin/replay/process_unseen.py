"""What calls that no event tells of did to processes, taken from the events behind them.

A fault on a page that the twin still has: somebody punched a hole into the file
(fallocate()), or took the page out of the address space (process_madvise()). A stack that was to
grow and got no page: a limit refused it (acct_stack_growth()), whose value prlimit64() read from
memory. Each is counted by its own name, and the twin goes on with what the kernel has.
"""

from typing import Any

import numpy as np

from mmtwin.kernel.memory_unmap import zap_page_range
from mmtwin.kernel.mman import RLIMIT_DEFAULTS, RLIMIT_STACK, VM_GROWSDOWN, VM_SHARED
from mmtwin.kernel.truncate import truncate_inode_pages_range
from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.recording import Recording
from mmtwin.replay.processes import Process

GONE = "pages that a call took of which no event tells"
STACK_LIMIT = "stacks kept from growing by a limit whose value no event tells"
PAGE_ALLOC = CONSTANTS["KIND_MM_PAGE_ALLOC"]


class PageEvents:
    """Which tasks got pages when: the mm_page_alloc events of a recording, read when they are
    first asked for.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.told = recording.counts.get("mm_page_alloc", 0) > 0
        self.index: Any = None
        self.pid: Any = None

    def _read(self) -> None:
        indexes, pids, first = [], [], 0
        for events in self.recording.blocks():
            rows = np.flatnonzero(events["kind"] == PAGE_ALLOC)
            indexes.append(rows + first)
            pids.append(np.array(events["pid"][rows]))
            first += len(events)
        self.index = np.concatenate(indexes) if indexes else np.empty(0, np.int64)
        self.pid = np.concatenate(pids) if pids else np.empty(0, np.int64)

    def between(self, pid: int, first: int, last: int) -> bool:
        """Whether a task got a page behind event `first` and before event `last`."""
        if self.index is None:
            self._read()
        begin, end = np.searchsorted(self.index, (first, last))
        return bool((self.pid[begin:end] == pid).any())


def take_page(machine: Any, mm: Any, address: int) -> None:
    """The page at an address goes, as the kernel's did: out of the file where the area shares it,
    else out of the address space alone.
    """
    page = 1 << machine.page_shift
    address &= -page
    vma = mm.tree.vma_lookup(address)
    if vma is None:
        return
    if vma.vm_file is not None and vma.vm_flags & VM_SHARED:
        index = vma.vm_pgoff + (address - vma.vm_start) // page
        truncate_inode_pages_range(machine, vma.vm_file, index, index + 1)
    else:
        zap_page_range(vma, address, address + page)


def growing(mm: Any, address: int) -> Any:
    """The stack that a fault at an address is to make larger, None if it makes none."""
    vma = mm.tree.find_vma(address)
    if vma is None or vma.vm_start <= address or not vma.vm_flags & VM_GROWSDOWN:
        return None
    return vma


def set_stack_limit(process: Process, vma: Any, address: int, granted: bool) -> None:
    """RLIMIT_STACK, as far as one answer tells it: the stack may reach down to an address, or have
    no more than it has.
    """
    page = 1 << process.mm.machine.page_shift
    needed = vma.vm_end - (address & -page)
    limit = max(RLIMIT_DEFAULTS[RLIMIT_STACK], needed) if granted else vma.vm_end - vma.vm_start
    process.mm.rlimits[RLIMIT_STACK] = limit

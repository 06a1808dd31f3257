"""What calls without an event did, from the events behind them."""

from types import SimpleNamespace

import numpy as np
import pytest

from mmtwin.kernel.filemap import cached_pages
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import RLIMIT_STACK
from mmtwin.kernel.walk import translate
from mmtwin.machine.boot import boot_mm
from mmtwin.machine.elf_image import elf_image
from mmtwin.recordings.event import CONSTANTS
from mmtwin.replay.process_files import FileTable
from mmtwin.replay.process_unseen import PageEvents, growing, set_stack_limit, take_page
from mmtwin.replay.processes import Processes
from mmtwin.versions.profiles import profile

PAGE, SIGSEGV = 4096, 11
ALLOC = CONSTANTS["KIND_MM_PAGE_ALLOC"]
WRITE = 6


@pytest.fixture
def processes():
    machine = boot_mm(profile("x86_64-6.1"), "64M")
    files = FileTable()
    processes = Processes(machine, files)
    processes.exec_(7, "/demo", file=files._file("/demo", "00:02", 5, 8192, elf_image()))
    return processes


def test_page_events_of_a_task():
    dtype = [("kind", "u1"), ("pid", "u4")]
    blocks = [
        np.array([(ALLOC, 7), (0, 7), (ALLOC, 8)], dtype),
        np.array([(0, 7), (ALLOC, 7)], dtype),
    ]
    recording = SimpleNamespace(counts={"mm_page_alloc": 3}, blocks=lambda: iter(blocks))
    pages = PageEvents(recording)
    assert pages.told
    assert pages.between(7, 0, 1)
    assert not pages.between(7, 1, 4)
    assert pages.between(8, 1, 4)
    assert pages.between(7, 1, 1 << 62)
    nothing = PageEvents(SimpleNamespace(counts={}, blocks=lambda: iter(())))
    assert not nothing.told and not nothing.between(7, 0, 9)


def test_a_shared_page_goes_out_of_its_file(processes):
    mm = processes.by_pid[7].mm
    file = File("/tmp/x", size=4 * PAGE, shmem=True)
    shared = processes.syscall(7, "mmap", (0, 4 * PAGE, 3, 1, 3, 0), file)
    private = processes.syscall(7, "mmap", (0, 4 * PAGE, 3, 0x22, -1, 0))
    for page in range(4):
        processes.touch(7, shared + page * PAGE, True)
        processes.touch(7, private + page * PAGE, True)
    take_page(processes.machine, mm, shared + PAGE + 5)
    take_page(processes.machine, mm, private + 5)
    take_page(processes.machine, mm, 0x1000)  # nothing is there
    assert [index for index, _pfn in cached_pages(file)] == [0, 2, 3]
    gone = [page for page in range(4) if translate(mm, shared + page * PAGE) is None]
    assert gone == [1]
    gone = [page for page in range(4) if translate(mm, private + page * PAGE) is None]
    assert gone == [0]


def test_a_stack_grows_as_the_kernel_let_it(processes):
    process = processes.by_pid[7]
    mm = process.mm
    stack = mm.tree.find_vma(mm.start_stack)
    below = stack.vm_start - 3 * PAGE
    assert growing(mm, below) is stack
    assert growing(mm, stack.vm_start) is None
    set_stack_limit(process, stack, below, False)
    assert processes.fault(7, below, WRITE).signal == SIGSEGV
    set_stack_limit(process, stack, below, True)
    assert processes.fault(7, below, WRITE).signal == 0
    assert mm.rlimits[RLIMIT_STACK] == 8 << 20
    far = stack.vm_end - (12 << 20)
    set_stack_limit(process, stack, far, True)
    assert mm.rlimits[RLIMIT_STACK] == 12 << 20


def test_children_have_the_limits_of_their_parent(processes):
    processes.by_pid[7].limited = processes.by_pid[7].stack_limited = True
    processes.fork(7, 8, 0)
    assert processes.by_pid[8].limited and processes.by_pid[8].stack_limited

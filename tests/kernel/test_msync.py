"""msync() and mincore(). A kernel of 6.18 (x86-64, ext4 and tmpfs) answered the same calls so, and
took a fault for each page that is said here to be clean.
"""

from typing import Any

import process_machine as process
import pytest

from mmtwin.kernel import gup
from mmtwin.kernel.constants import PG_dirty
from mmtwin.kernel.memory import page_of
from mmtwin.kernel.memory_validate import validate
from mmtwin.kernel.mincore import sys_mincore
from mmtwin.kernel.mlock import do_mlock
from mmtwin.kernel.mman import MS_ASYNC, MS_INVALIDATE, MS_SYNC
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.msync import do_msync
from mmtwin.kernel.pgtable import entry_slot
from mmtwin.recordings.strace import read_strace
from mmtwin.replay.processes import CALLS
from tests.kernel.area_machine import VERSIONS, anon, file, space

PAGE = 4096
AT = 0x10000000
ENOMEM, EFAULT, EBUSY, EINVAL = 12, 14, 16, 22
LAST = (1 << 64) - PAGE
every_version = pytest.mark.parametrize("version", VERSIONS)
some_kernels = pytest.mark.parametrize("name", ["x86_64-5.10", "x86_64-6.1", "arm64-6.12"])


@every_version
def test_msync_errors(version: str) -> None:
    mm = space(version)
    anon(mm, 2, AT)
    anon(mm, 1, AT + 3 * PAGE)
    assert do_msync(mm, AT, PAGE, 8) == -EINVAL, "an unknown flag"
    assert do_msync(mm, AT, PAGE, MS_SYNC | MS_ASYNC) == -EINVAL
    assert do_msync(mm, AT + 1, PAGE, MS_SYNC) == -EINVAL, "within a page"
    assert do_msync(mm, AT, LAST, MS_SYNC) == -ENOMEM, "beyond 64 bits"
    assert do_msync(mm, AT, 0, MS_SYNC) == 0
    assert do_msync(mm, AT - PAGE, 0, MS_SYNC) == 0, "nothing is asked of what is not mapped"
    assert do_msync(mm, AT, PAGE + 1, 0) == 0, "two pages"
    assert do_msync(mm, AT, 4 * PAGE, MS_SYNC) == -ENOMEM, "a gap"
    assert do_msync(mm, AT + 4 * PAGE, PAGE, MS_SYNC) == -ENOMEM, "nothing above"
    assert do_msync(mm, AT - PAGE, PAGE, MS_SYNC) == -ENOMEM, "nothing below"


@every_version
def test_msync_of_locked_areas(version: str) -> None:
    mm = space(version)
    anon(mm, 1, AT)
    anon(mm, 2, AT + 2 * PAGE)
    assert do_mlock(mm, AT + 3 * PAGE, PAGE) == 0
    assert do_msync(mm, AT, PAGE, MS_INVALIDATE) == 0
    assert do_msync(mm, AT + 3 * PAGE, PAGE, MS_SYNC) == 0
    assert do_msync(mm, AT, 4 * PAGE, MS_ASYNC | MS_INVALIDATE) == -EBUSY, "it goes over the gap"
    assert do_msync(mm, AT, 4 * PAGE, MS_ASYNC) == -ENOMEM, "that ends at the gap"


def test_a_line_of_a_log() -> None:
    line = "7 msync(0x10000000, 4096, MS_SYNC|MS_INVALIDATE) = -1 EBUSY (Device busy)\n"
    step = next(step for step in read_strace([line]).steps if step.name == "msync")
    assert (step.args, step.result) == ((AT, PAGE, MS_SYNC | MS_INVALIDATE), -EBUSY)
    assert CALLS["msync"] is do_msync


def shared(name: str, **attributes: int) -> tuple[Any, Any]:
    """(an address space, a file of 64 pages that it maps shared at AT)."""
    mm = process.new_mm(process.machine(name))
    mm.task_size = 1 << 47
    backing = file(**attributes)
    assert sys_mmap(mm, backing, AT, 8 * PAGE, 3, 0x11, 0) == AT
    return mm, backing


def writable(mm: Any, address: int) -> bool:
    """Whether an entry lets write at once, in hardware too: a write would be no fault."""
    entry = int(mm.machine.view("ram")[entry_slot(mm, address, 0)])
    return bool(entry & mm.paging.write) and not entry & mm.paging.readonly


def dirty(mm: Any, address: int) -> bool:
    return bool(mm.machine.view("page")["flags"][page_of(mm, address)] & PG_dirty)


@some_kernels
def test_written_pages_are_clean(name: str) -> None:
    mm, _backing = shared(name)
    child = process.fork(mm)
    for page in range(4):
        for one in (mm, child):
            assert gup.access_process_vm(one, AT + page * PAGE, b"abcd") == 4
    assert all(writable(mm, AT + page * PAGE) for page in range(4))
    assert do_msync(mm, AT + PAGE, 2 * PAGE, MS_ASYNC) == 0
    assert writable(mm, AT + PAGE), "MS_ASYNC does nothing"
    assert do_msync(mm, AT + PAGE, 2 * PAGE, MS_SYNC) == 0
    for one in (mm, child):
        assert [writable(one, AT + page * PAGE) for page in range(4)] == [True, False, False, True]
    assert [dirty(mm, AT + page * PAGE) for page in range(4)] == [True, False, False, True]
    assert gup.access_process_vm(child, AT + PAGE, b"efgh") == 4
    assert writable(child, AT + PAGE) and not writable(mm, AT + PAGE)
    assert dirty(mm, AT + PAGE)
    assert validate(mm.machine, [mm, child]) == []


@some_kernels
def test_tmpfs_writes_nothing(name: str) -> None:
    mm, _backing = shared(name, shmem=1)
    assert gup.access_process_vm(mm, AT, b"abcd") == 4
    assert do_msync(mm, AT, PAGE, MS_SYNC) == 0
    assert writable(mm, AT)


@some_kernels
def test_mincore(name: str) -> None:
    mm, backing = shared(name)
    anon_at = AT + 8 * PAGE
    assert sys_mmap(mm, None, anon_at, 4 * PAGE, 3, 0x32, 0) == anon_at
    free = process.free_pages(mm.machine)
    assert sys_mincore(mm, AT, 12 * PAGE) == (0, bytes(12))
    assert process.free_pages(mm.machine) == free, "its buffer goes back"
    assert gup.access_process_vm(mm, anon_at + PAGE, b"a") == 1
    assert gup.access_process_vm(mm, AT + 2 * PAGE, b"a") == 1
    error, found = sys_mincore(mm, AT, 12 * PAGE)
    assert error == 0 and found[8:] == bytes([0, 1, 0, 0]) and found[2] == 1
    assert mm.machine.view("page")["refcount"][page_of(mm, AT + 2 * PAGE)] >= 2
    other = process.new_mm(mm.machine)
    other.task_size = 1 << 47
    assert sys_mmap(other, backing, AT, 8 * PAGE, 1, 0x2, 0) == AT
    assert sys_mincore(other, AT, 8 * PAGE) == (0, found[:8]), "in the cache, though not mapped"
    backing.f_mode, other.privileged = 1, False
    assert sys_mincore(other, AT, 8 * PAGE) == (0, bytes([1] * 8)), "it is not told"
    backing.f_mode = 3
    backing.cached = True
    assert sys_mincore(other, AT, 8 * PAGE) == (0, bytes([1] * 8))


@some_kernels
def test_mincore_errors(name: str) -> None:
    mm, _backing = shared(name)
    top = mm.task_size
    assert sys_mincore(mm, AT + 1, PAGE) == (-EINVAL, b"")
    assert sys_mincore(mm, top - PAGE, 2 * PAGE) == (-ENOMEM, b"")
    assert sys_mincore(mm, AT, LAST) == (-ENOMEM, b"")
    assert sys_mincore(mm, AT, PAGE, top) == (-EFAULT, b"")
    assert sys_mincore(mm, AT, 0) == (0, b"")
    assert sys_mincore(mm, AT + 6 * PAGE, 4 * PAGE) == (-ENOMEM, bytes(2)), "those before the gap"
    assert sys_mincore(mm, AT - PAGE, PAGE) == (-ENOMEM, b"")
    assert sys_mincore(mm, AT + PAGE, 2 * PAGE - 1) == (0, bytes(2))

"""MADV_COLLAPSE, khugepaged as a call, MADV_COLD, and copy on write of blocks of pages."""

import process_machine as process
import pytest

from mmtwin.kernel import gup
from mmtwin.kernel.constants import PG_active
from mmtwin.kernel.khugepaged import khugepaged_scan_mm
from mmtwin.kernel.madvise import do_madvise
from mmtwin.kernel.memory import page_of
from mmtwin.kernel.memory_validate import validate
from mmtwin.kernel.mman import (
    MADV_COLD,
    MADV_COLLAPSE,
    MADV_GUARD_INSTALL,
    MADV_NOHUGEPAGE,
)
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.mprotect import do_mprotect
from mmtwin.kernel.paging import is_block
from mmtwin.kernel.pgtable import entry_slot
from mmtwin.kernel.swap import lru_add_drain

PAGE = 4096
BLOCK = 512 * PAGE
AT = 0x40000000
EINVAL = 22


def make(name, thp=0):
    space = process.new_mm(process.machine(name, memory="128M"))
    space.task_size, space.paging.thp = 1 << 47, thp
    assert sys_mmap(space, None, AT, 4 * BLOCK, 3, 0x32, 0) == AT
    return space


def huge(space, address):
    """Whether a PMD maps an address."""
    slot = entry_slot(space, address, 1)
    return slot >= 0 and is_block(space.paging, int(space.machine.view("ram")[slot]))


def fill(space, base, pages):
    for page in pages:
        assert gup.access_process_vm(space, base + page * PAGE, b"page %4d" % page) == 9


@pytest.mark.parametrize("name", ["x86_64-6.1", "x86_64-6.12", "x86_64-7.3", "arm64-6.12"])
def test_collapse(name):
    space = make(name)
    fill(space, AT, range(0, 512, 3))
    tables, anonymous = space.pgtables_bytes, 171
    child = process.fork(space)
    assert do_madvise(space, AT, BLOCK, MADV_COLLAPSE) in (0, -EINVAL)
    if has_no_writable(name):
        assert not huge(space, AT), "after fork no entry is writable"
        fill(space, AT, [0])
        assert do_madvise(space, AT, BLOCK, MADV_COLLAPSE) == 0
    assert huge(space, AT) and not huge(child, AT)
    assert validate(space.machine, [space, child]) == []
    for page in range(512):
        expected = b"page %4d" % page if page % 3 == 0 else bytes(9)
        assert gup.access_process_vm(space, AT + page * PAGE, 9) == expected
    assert space.pgtables_bytes == tables and anonymous
    assert do_madvise(space, AT, BLOCK, MADV_COLLAPSE) == 0, "it is one already"
    assert do_madvise(space, AT, 3 * BLOCK, MADV_COLLAPSE) == -EINVAL, "nothing is there"
    for each in (child, space):
        process.exit_mm(each)
    process.settle(space.machine)
    users = space.machine.view("page")["users"][: space.machine.max_pfn]
    assert int((users == 4).sum()) == 0


def has_no_writable(name):
    return name.rpartition("-")[2] != "7.3"


def test_collapse_refused():
    space = make("x86_64-7.3")
    fill(space, AT, [1])
    assert do_madvise(space, AT + BLOCK - PAGE, PAGE, MADV_GUARD_INSTALL) == 0
    assert do_madvise(space, AT, BLOCK, MADV_COLLAPSE) == -EINVAL
    fill(space, AT + BLOCK, [1])
    assert do_madvise(space, AT + BLOCK, BLOCK, MADV_NOHUGEPAGE) == 0
    assert do_madvise(space, AT + BLOCK, BLOCK, MADV_COLLAPSE) == -EINVAL
    old = make("x86_64-5.10")
    assert do_madvise(old, AT, BLOCK, MADV_COLLAPSE) == -EINVAL, "not known yet"


@pytest.mark.parametrize("name", process.PROFILES)
def test_khugepaged(name):
    space = make(name)
    fill(space, AT, [7])
    fill(space, AT + 2 * BLOCK, range(512))
    assert khugepaged_scan_mm(space) == 0, "transparent_hugepage/enabled is never"
    space.paging.thp = 2
    assert khugepaged_scan_mm(space) == 2
    assert [huge(space, AT + n * BLOCK) for n in range(4)] == [True, False, True, False]
    assert khugepaged_scan_mm(space) == 0
    assert validate(space.machine, [space]) == []
    assert gup.access_process_vm(space, AT + 7 * PAGE, 9) == b"page    7"
    assert do_mprotect(space, AT, PAGE, 1) == 0  # splits it
    assert not huge(space, AT) and validate(space.machine, [space]) == []


@pytest.mark.parametrize("name", process.PROFILES)
def test_cold(name):
    space = make(name)
    fill(space, AT, [0, 1])
    lru_add_drain(space.machine)
    pages = space.machine.view("page")
    first = page_of(space, AT)
    from mmtwin.kernel.swap import lru_of
    sizes = lru_of(space.machine).sizes()
    assert do_madvise(space, AT, 2 * PAGE, MADV_COLD) == 0
    assert not int(pages["flags"][first]) & PG_active
    assert lru_of(space.machine).sizes()[0] >= sizes[0]
    entry = int(space.machine.view("ram")[entry_slot(space, AT, 0)])
    assert not entry & space.paging.young
    assert validate(space.machine, [space]) == []


@pytest.mark.parametrize(("name", "reused"), [("x86_64-6.12", False), ("x86_64-7.3", True)])
def test_a_block_whose_other_user_is_gone_is_written_in_place(name, reused):
    space = make(name, 2)
    fill(space, AT, [0])
    child = process.fork(space)
    assert do_mprotect(space, AT, PAGE, 1) == 0  # the PMD is split
    assert do_mprotect(space, AT, PAGE, 3) == 0
    process.exit_mm(child)
    process.settle(space.machine)
    before = page_of(space, AT + 5 * PAGE)
    fill(space, AT, [5])
    assert (page_of(space, AT + 5 * PAGE) == before) == reused
    assert validate(space.machine, [space]) == []

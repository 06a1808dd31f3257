"""Page faults, fork and unmap: what each kind of fault maps, counts and gives back."""

import process_machine as process
import pytest

from mmtwin.kernel import fault, filemap, gup, memory, rmap
from mmtwin.kernel.mm_types import File

BASE = 0x400000
PAGE = 4096


@pytest.fixture(params=process.PROFILES)
def mm(request):
    return process.machine(request.param)


def test_demand_zero(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + 64 * PAGE)
    assert memory.handle_mm_fault(space, vma, BASE + 5, 1) == 0
    pfn = memory.page_of(space, BASE)
    assert mm.view("page")["mapcount"][pfn] == 1
    assert gup.access_process_vm(space, BASE, 16) == bytes(16)
    assert rmap.rmap_walk(mm, pfn)[0][:2] == (vma, BASE)


def test_zero_page_then_own(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + 64 * PAGE)
    memory.handle_mm_fault(space, vma, BASE, 0)
    assert memory.page_of(space, BASE) == space.paging.zero_pfn
    memory.handle_mm_fault(space, vma, BASE, 1)
    assert memory.page_of(space, BASE) != space.paging.zero_pfn


def test_fork_copies_on_write_and_gives_all_back(mm):
    space = process.new_mm(mm)
    warm = process.area(space, BASE, BASE + 64 * PAGE)
    memory.handle_mm_fault(space, warm, BASE, 1)
    process.exit_mm(space)
    process.settle(mm)
    before = process.free_pages(mm)
    space = process.new_mm(mm)
    process.area(space, BASE, BASE + 64 * PAGE)
    assert gup.access_process_vm(space, BASE + PAGE - 2, b"hello") == 5
    child = process.fork(space)
    pfn = memory.page_of(space, BASE)
    assert memory.page_of(child, BASE) == pfn
    assert len(rmap.rmap_walk(mm, pfn)) == 2
    assert gup.access_process_vm(child, BASE + PAGE - 2, b"HELLO") == 5
    assert gup.access_process_vm(space, BASE + PAGE - 2, 5) == b"hello"
    assert memory.page_of(child, BASE) != pfn
    process.exit_mm(child)
    process.exit_mm(space)
    process.settle(mm)
    assert process.free_pages(mm) == before
    assert space.counters() == [0, 0, 0, 0]
    assert space.pgtables_bytes == 0


def test_file_pages_come_around(mm):
    space = process.new_mm(mm)
    file = File("/bin/sh", size=40 * PAGE, shmem=True)
    file.cached = True
    process.area(space, BASE, BASE + 40 * PAGE, process.PRIVATE_R, file)
    result = fault.do_user_addr_fault(space, BASE + 17 * PAGE, error_code(mm, 4))
    assert result.minor
    around = space.paging.fault_around_bytes // space.paging.page_size
    mapped = [n for n in range(40) if memory.page_of(space, BASE + n * PAGE) >= 0]
    assert mapped == list(range(16, 16 + around))
    assert len(filemap.cached_pages(file)) == around
    beyond = fault.do_user_addr_fault(space, BASE + 41 * PAGE, error_code(mm, 4))
    assert (beyond.signal, beyond.si_code) == (fault.SIGSEGV, fault.SEGV_MAPERR)


def error_code(mm, x86):
    """An error code of x86, or the ESR of the same access."""
    if not mm.view("has")[0].pgtable_arm64:
        return x86
    kind = fault.EC_IABT_LOW if x86 & 0x10 else fault.EC_DABT_LOW
    return kind << fault.ESR_EC_SHIFT | (fault.ESR_WNR if x86 & 2 else 0) | 7


def test_populate(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + 8 * PAGE)
    assert gup.populate_vma_page_range(vma, BASE, BASE + 8 * PAGE) == 8
    assert all(memory.page_of(space, BASE + n * PAGE) >= 0 for n in range(8))

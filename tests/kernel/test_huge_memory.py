"""Huge pages of anonymous memory: mapped, split, copied, given back."""

import process_machine as process
import pytest

from mmtwin.kernel import gup, memory, smaps
from mmtwin.kernel.mman import VM_NOHUGEPAGE

PAGE = 4096
HUGE = 512 * PAGE
BASE = 0x40000000


@pytest.fixture(params=("x86_64-5.10", "x86_64-6.1", "x86_64-7.3", "arm64-5.13"))
def mm(request):
    machine = process.machine(request.param)
    process.new_mm(machine).paging.thp = 2
    return machine


def test_one_fault_maps_a_pmd(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + 2 * HUGE)
    assert memory.handle_mm_fault(space, vma, BASE + 3 * PAGE, 1) == 0
    assert space.counters()[1] + space_task(space)[1] == 512
    assert memory.walk(space, BASE)[-1].level == 1
    assert memory.page_of(space, BASE + 5 * PAGE) == memory.page_of(space, BASE) + 5
    assert smaps.vma_rss(vma)["AnonHugePages"] == HUGE
    assert smaps.vma_rss(vma)["Private_Dirty"] == HUGE


def space_task(space):
    return space.paging.current.counts()


def test_partial_unmap_splits(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + HUGE)
    assert gup.access_process_vm(space, BASE + 7 * PAGE, b"seven") == 5
    pfn = memory.page_of(space, BASE)
    memory.zap_page_range(vma, BASE, BASE + 4 * PAGE)
    assert memory.page_of(space, BASE + 7 * PAGE) == pfn + 7
    assert memory.page_of(space, BASE) == -1
    assert gup.access_process_vm(space, BASE + 7 * PAGE, 5) == b"seven"
    assert smaps.vma_rss(vma)["Rss"] == HUGE - 4 * PAGE
    assert smaps.vma_rss(vma)["AnonHugePages"] == 0


def test_fork_shares_and_write_splits(mm):
    space = process.new_mm(mm)
    process.area(space, BASE, BASE + HUGE)
    gup.access_process_vm(space, BASE, b"parent")
    child = process.fork(space)
    assert memory.page_of(child, BASE) == memory.page_of(space, BASE)
    gup.access_process_vm(child, BASE, b"child!")
    assert gup.access_process_vm(space, BASE, 6) == b"parent"
    assert gup.access_process_vm(child, BASE, 6) == b"child!"
    assert memory.page_of(child, BASE + PAGE) == memory.page_of(space, BASE + PAGE)
    process.exit_mm(child)
    process.exit_mm(space)
    assert space.counters()[1] == child.counters()[1] == 0
    assert space.pgtables_bytes == child.pgtables_bytes == 0


def test_nothing_leaks(mm):
    space = process.new_mm(mm)
    process.area(space, BASE, BASE + HUGE)
    gup.access_process_vm(space, BASE, b"x")
    process.exit_mm(space)
    process.settle(mm)
    before = process.free_pages(mm)
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + 2 * HUGE)
    gup.access_process_vm(space, BASE, b"x")
    gup.access_process_vm(space, BASE + HUGE, b"x")
    child = process.fork(space)
    memory.zap_page_range(vma, BASE + PAGE, BASE + HUGE + PAGE)
    process.exit_mm(space)
    process.exit_mm(child)
    process.settle(mm)
    assert process.free_pages(mm) == before
    assert space.paging.deposits == {}


def test_huge_zero_page(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + HUGE)
    memory.handle_mm_fault(space, vma, BASE, 0)
    assert memory.page_of(space, BASE) == space.paging.huge_zero_pfn
    assert smaps.vma_rss(vma)["Rss"] == 0
    gup.access_process_vm(space, BASE + 3, b"own")
    assert gup.access_process_vm(space, BASE, 8) == b"\0\0\0own\0\0"
    assert memory.page_of(space, BASE + PAGE) == space.paging.zero_pfn


def test_not_where_it_is_not_wanted(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + HUGE, process.PRIVATE_RW | VM_NOHUGEPAGE)
    memory.handle_mm_fault(space, vma, BASE, 1)
    assert memory.walk(space, BASE)[-1].level == 0


def test_smaller_folios(mm):
    space = process.new_mm(mm)
    space.paging.mthp = 1 << 4
    vma = process.area(space, BASE, BASE + HUGE // 2)
    memory.handle_mm_fault(space, vma, BASE + 18 * PAGE, 1)
    first = memory.page_of(space, BASE + 16 * PAGE)
    assert [memory.page_of(space, BASE + n * PAGE) for n in range(16, 32)] == list(
        range(first, first + 16)
    )
    assert memory.page_of(space, BASE + 32 * PAGE) == -1
    assert smaps.vma_rss(vma)["Rss"] == 16 * PAGE

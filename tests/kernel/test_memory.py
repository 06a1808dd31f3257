"""Page faults, fork and unmap: what each kind of fault maps, counts and gives back."""

import process_machine as process
import pytest

from mmtwin.kernel import fault, filemap, gup, memory, rmap, rss_stat, smaps
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import VM_GROWSDOWN, VM_NOHUGEPAGE

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
    kind = 0x20 if x86 & 0x10 else 0x24
    return kind << 26 | (0x40 if x86 & 2 else 0) | 7


def test_populate(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + 8 * PAGE)
    assert gup.populate_vma_page_range(vma, BASE, BASE + 8 * PAGE) == 8
    assert all(memory.page_of(space, BASE + n * PAGE) >= 0 for n in range(8))


def test_signals(mm):
    space = process.new_mm(mm)
    process.area(space, BASE, BASE + 8 * PAGE, process.PRIVATE_R)
    short = File("/tmp/short", size=PAGE)
    process.area(space, 2 * BASE, 2 * BASE + 8 * PAGE, process.PRIVATE_RW, short)
    cases = [
        (BASE, 6, fault.SIGSEGV, fault.SEGV_ACCERR),
        (BASE - 1, 4, fault.SIGSEGV, fault.SEGV_MAPERR),
        (2 * BASE + 4 * PAGE, 6, fault.SIGBUS, fault.BUS_ADRERR),
    ]
    for address, code, signal, si_code in cases:
        result = fault.do_user_addr_fault(space, address, error_code(mm, code))
        assert (result.signal, result.si_code, result.minor) == (signal, si_code, False)
    assert fault.do_user_addr_fault(space, 2 * BASE, error_code(mm, 4)).major
    assert fault.do_user_addr_fault(space, BASE, error_code(mm, 4)).minor


def test_stack_grows(mm):
    space = process.new_mm(mm)
    stack = process.area(space, 2 * BASE, 2 * BASE + 4 * PAGE, process.PRIVATE_RW | VM_GROWSDOWN)
    result = fault.do_user_addr_fault(space, 2 * BASE - 2 * PAGE, error_code(mm, 6))
    assert result.minor
    assert stack.vm_start == 2 * BASE - 2 * PAGE


def test_moved_entries_keep_their_pages(mm):
    space = process.new_mm(mm)
    old = process.area(space, BASE, BASE + 4 * PAGE)
    new = process.area(space, 3 * BASE, 3 * BASE + 4 * PAGE)
    gup.access_process_vm(space, BASE + PAGE, b"moved")
    assert memory.move_page_tables(old, BASE, new, 3 * BASE, 4 * PAGE) == 4 * PAGE
    assert memory.page_of(space, BASE + PAGE) == -1
    pfn = memory.page_of(space, 3 * BASE + PAGE)
    assert bytes(mm.view("ram").view("u1")[pfn * PAGE : pfn * PAGE + 5]) == b"moved"


def test_free_pages_are_lazy(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + 4 * PAGE)
    gup.access_process_vm(space, BASE, b"there")
    memory.madvise_free_range(vma, BASE, BASE + 4 * PAGE)
    assert smaps.vma_rss(vma)["LazyFree"] == PAGE
    assert gup.access_process_vm(space, BASE, 5) == b"there"


@pytest.mark.parametrize("count", [1, 70])
def test_rss_is_late(mm, count):
    space = process.new_mm(mm)
    process.area(space, BASE, BASE + 128 * PAGE)
    for page in range(count):
        fault.do_user_addr_fault(space, BASE + page * PAGE, error_code(mm, 6))
    split = mm.view("has")[0].rss_split
    # until 6.1 the 66th fault tells of the 65 before it; then parts of 32 and more are told
    told = (65 if count > 65 else 0) if split else count // 32 * 32
    if mm.view("has")[0].rss_sum_shown:
        assert rss_stat.get_mm_counter(space, 1) == count
    else:
        assert space.counters()[1] == told
    rss_stat.sync_mm_rss(space)
    assert rss_stat.exact_counters(space)[1] == count


def test_mprotect_and_the_write_bit(mm):
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + 4 * PAGE)
    gup.access_process_vm(space, BASE, b"x")
    assert memory.change_protection(vma, BASE, BASE + 4 * PAGE, vma.vm_flags) == 1
    # before 6.0 even what stays writable faults once more
    writable = mm.view("has")[0].wp_reuse >= 2
    assert ("write" in memory.walk(space, BASE)[-1].flags) == writable
    memory.change_protection(vma, BASE, BASE + 4 * PAGE, process.PRIVATE_R)
    assert "write" not in memory.walk(space, BASE)[-1].flags
    assert gup.access_process_vm(space, BASE, 1) == b"x"


def test_dontneed_gives_back_empty_tables(mm):
    """A table of PTEs that MADV_DONTNEED empties whole goes since 6.14, with PT_RECLAIM."""
    space = process.new_mm(mm)
    span = 512 * PAGE
    flags = process.PRIVATE_RW | VM_NOHUGEPAGE
    vma = process.area(space, BASE, BASE + 2 * span, flags)
    for address in (BASE, BASE + 300 * PAGE, BASE + span):
        memory.handle_mm_fault(space, vma, address, 1)
    tables = space.pgtables_bytes
    memory.zap_page_range(vma, BASE, BASE + span - PAGE)
    assert space.pgtables_bytes == tables, "part of it"
    memory.zap_page_range(vma, BASE, BASE + span)
    assert tables - space.pgtables_bytes == (PAGE if mm.view("has")[0].reclaim_pt else 0)
    memory.handle_mm_fault(space, vma, BASE, 1)
    assert space.pgtables_bytes == tables and memory.page_of(space, BASE + span) >= 0
    process.exit_mm(space)
    assert space.pgtables_bytes == 0


def test_new_pages_are_referenced(mm):
    """folio_add_lru() in a fault, from 7.3 on: MADV_FREE leaves the mark."""
    space = process.new_mm(mm)
    vma = process.area(space, BASE, BASE + 4 * PAGE)
    memory.handle_mm_fault(space, vma, BASE, 1)
    memory.madvise_free_range(vma, BASE, BASE + PAGE)
    marked = PAGE if mm.view("has")[0].lru_fault_referenced else 0
    assert smaps.vma_rss(vma)["Referenced"] == marked
    assert smaps.vma_rss(vma)["LazyFree"] == PAGE

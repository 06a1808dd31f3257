"""Walks through page tables against cases computed by hand, for each architecture and page size.

An address is given by the indexes that its tables should show; the address itself is put together
here from the shifts of the architecture's manual, not by the code under test.
"""

from dataclasses import replace

import process_machine as process
import pytest

from mmtwin.kernel import memory
from mmtwin.kernel.layout import Layout
from mmtwin.kernel.mm import MM
from mmtwin.kernel.paging import Paging

# name: profile, page shift, address bits, shifts from the top table to the PTEs, indexes
CASES = {
    "x86-64, 4 levels": ("x86_64-6.1", 12, 48, (39, 30, 21, 12), (0xFF, 0x1FF, 0x1FE, 0x123)),
    "x86-64, 5 levels": ("x86_64-6.1", 12, 57, (48, 39, 30, 21, 12), (0xFF, 1, 2, 3, 4)),
    "arm64 4K, 39 bits": ("arm64-5.13", 12, 39, (30, 21, 12), (0x1FF, 0x100, 7)),
    "arm64 4K, 48 bits": ("arm64-5.13", 12, 48, (39, 30, 21, 12), (0x1FF, 0, 0x1FF, 1)),
    "arm64 16K, 47 bits": ("arm64-5.13", 14, 47, (36, 25, 14), (0x7FF, 0x400, 0x7FE)),
    "arm64 16K, 48 bits": ("arm64-5.13", 14, 48, (47, 36, 25, 14), (1, 0x7FF, 3, 0x7FE)),
    "arm64 64K, 42 bits": ("arm64-5.13", 16, 42, (29, 16), (0x1FFF, 0x1000)),
    "arm64 64K, 48 bits": ("arm64-5.13", 16, 48, (42, 29, 16), (0x3F, 0x1FFF, 5)),
    "arm64 64K, 52 bits": ("arm64-5.13", 16, 52, (42, 29, 16), (0x3FF, 0x1FFF, 5)),
}
X86_TABLE = 0x67  # present, write, user, accessed, dirty
X86_PAGE = 0x8000000000000867  # the same, soft-dirty, not executable


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request):
    return CASES[request.param]


def paging_of_case(case):
    """The Paging of a machine with these tables: an MM without memory to speak of."""
    name, shift, bits, _, _ = case
    machine = process.machine(name, memory="64M")
    layout = Layout(
        min_pfn=0, max_pfn=1024, page_offset=0, page_shift=shift, va_bits=bits,
        pageblock_order=9, nr_orders=11, nr_migratetypes=6, migrate_isolate=5,
        features={field: getattr(machine.view("has")[0], field) for field in ("pgtable_arm64",)},
    )
    return Paging(MM(layout))


def test_indexes(case):
    paging = paging_of_case(case)
    _, shift, _, shifts, indexes = case
    address = sum(index << place for index, place in zip(indexes, shifts, strict=True)) + 0xABC
    assert paging.levels == len(shifts)
    assert [paging.shift(level) for level in range(paging.levels)] == list(reversed(shifts))
    found = [paging.index(address, level) for level in reversed(range(paging.levels))]
    assert tuple(found) == indexes
    assert paging.page_size == 1 << shift


def test_walk_x86():
    mm = process.machine("x86_64-6.1")
    space = process.new_mm(mm)
    address = 0xFF << 39 | 0x1FF << 30 | 0x1FE << 21 | 0x123 << 12 | 0x456
    vma = process.area(space, address & ~0xFFF, (address & ~0xFFF) + 4096)
    memory.handle_mm_fault(space, vma, address, 1)
    steps = memory.walk(space, address)
    assert [step.name for step in steps] == ["PGD", "PUD", "PMD", "PTE"]
    assert [step.index for step in steps] == [0xFF, 0x1FF, 0x1FE, 0x123]
    words = mm.view("ram")
    table = space.pgd
    for step in steps:
        entry = int(words[table * 512 + step.index])
        assert step.entry == entry
        assert step.table == mm.page_offset + table * 4096 & (1 << 64) - 1
        assert entry & ~0x000FFFFFFFFFF000 == (X86_PAGE if step.level == 0 else X86_TABLE)
        table = entry >> 12 & 0xFFFFFFFFFF
    assert table == memory.page_of(space, address)
    assert steps[-1].flags == (
        "present", "write", "user", "accessed", "dirty", "soft-dirty", "nx",
    )  # fmt: skip
    assert space.pgtables_bytes == 3 * 4096


def test_walk_arm64():
    mm = process.machine("arm64-5.13")
    space = process.new_mm(mm)
    address = 0x0000AAAAAAAAB000
    vma = process.area(space, address, address + 4096)
    memory.handle_mm_fault(space, vma, address, 1)
    steps = memory.walk(space, address)
    bits = mm.view("has")[0]
    assert [step.index for step in steps] == [
        address >> place & 0x1FF for place in (39, 30, 21, 12)[4 - len(steps):]
    ]
    # table descriptors: type 3, PXNTable since 5.13; the page: UXN PXN DBM dirty, nG AF SH AP1
    for step in steps[:-1]:
        assert step.entry & ~0x0000FFFFFFFFF000 == 3 | bits.pgtable_table_pxn << 59
    assert steps[-1].entry & ~0x0000FFFFFFFFF000 == 0x00E8000000000F43
    assert "read-only" not in steps[-1].flags


@pytest.mark.parametrize(
    ("name", "shifts", "indexes"),
    [
        ("arm64-16k-6.12", (36, 25, 14), (0x3FF, 0x400, 0x7FE)),
        ("arm64-64k-6.12", (42, 29, 16), (0x3F, 0x1FFF, 0x1001)),
        ("arm64-16k-5.10", (47, 36, 25, 14), (0, 0x7FF, 1, 0x7FF)),
    ],
)
def test_walk_of_larger_pages(name, shifts, indexes):
    mm = process.machine(name, memory="1G")
    before = process.free_pages(mm)
    space = process.new_mm(mm)
    address = sum(index << place for index, place in zip(indexes, shifts, strict=True))
    size = 1 << shifts[-1]
    vma = process.area(space, address, address + size)
    memory.handle_mm_fault(space, vma, address + 77, 1)
    steps = memory.walk(space, address + 77)
    assert tuple(step.index for step in steps) == indexes
    assert [step.table for step in steps][1:] == [
        mm.page_offset + (step.pfn << shifts[-1]) & (1 << 64) - 1 for step in steps[:-1]
    ]
    assert steps[-1].pfn == memory.page_of(space, address)
    assert space.pgtables_bytes == (len(shifts) - 1) * size
    process.exit_mm(space)
    process.settle(mm)
    assert process.free_pages(mm) == before


def test_missing_tables_end_the_walk():
    space = process.new_mm(process.machine())
    steps = memory.walk(space, 0x7F0000000000)
    assert len(steps) == 1
    assert steps[0].pfn == -1
    assert replace(steps[0], index=0).index == 0

"""ioremap(): alignment, page tables, what is refused, and its row of vmallocinfo."""

from typing import Any

import pytest

from mmtwin import Machine
from mmtwin.machine import Complaint
from mmtwin.procfs import vmallocinfo

NAMES = ("x86_64-5.10", "arm64-5.13", "x86_64-6.1", "x86_64-6.12", "arm64-7.3")
DEVICE = 0xFEB00000


def state(k: Machine) -> Any:
    return k.mm.vmalloc


@pytest.mark.parametrize("name", NAMES)
def test_a_device_is_mapped_where_its_size_says(name: str) -> None:
    k = Machine.boot(name, memory="128M")
    page = 1 << int(k.mm.page_shift)
    address = k.ioremap(DEVICE + 0x123, 3 * page)
    area = k.vm_area(address)
    assert area is not None and len(area) == 5 * page  # an offset, and a guard page
    assert address - area.start == 0x123 and area.start % (4 * page) == 0
    assert k.vmalloc_to_pfn(address) == DEVICE // page
    assert k.vmalloc_to_pfn(address + 3 * page) == DEVICE // page + 3
    row = next(row for row in vmallocinfo.show(k) if row.flags == ("ioremap",))
    assert (row.phys, row.pages, row.size) == (DEVICE, None, 5 * page)
    k.iounmap(address)
    assert k.vmalloc_to_pfn(address) == -1
    assert k.validate() == []


@pytest.mark.parametrize("name", NAMES)
def test_large_ones_are_mapped_by_large_entries(name: str) -> None:
    k = Machine.boot(name, memory="128M")
    k.vmalloc(1)
    before = len(state(k).tables.pages[0])
    size = 3 * int(state(k).tables.pmd_size)
    address = k.ioremap(DEVICE & -size.bit_length() & -(1 << 26), size)
    assert len(state(k).tables.pages[0]) == before
    assert k.vmalloc_to_pfn(address + size - 1) >= 0 > k.vmalloc_to_pfn(address + size)
    k.iounmap(address)
    assert k.vmalloc_to_pfn(address) == -1
    assert k.validate() == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_refused(name: str) -> None:
    k = Machine.boot(name, memory="128M")
    assert k.ioremap(DEVICE, 0) == 0
    assert k.ioremap((1 << 64) - 4096, 8192) == 0
    assert k.ioremap(DEVICE, 1 << 63) == 0
    ram = int(k.alloc_pages(0) or 0) << int(k.mm.page_shift)
    before = len(k.complaints)
    assert k.ioremap(ram, 64) == 0
    assert len(k.complaints) == before + 1
    for bad in (k.vmalloc(4096), int(k.mm.vmalloc_start) + (1 << 30)):
        with pytest.raises(Complaint):
            k.iounmap(bad)
    with pytest.raises(ValueError):
        k.ioremap(-1, 4096)
    assert k.validate() == []

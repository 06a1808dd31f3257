"""vm_map_ram(): blocks of each CPU, what is purged when, and any calls against a naive model."""

from typing import Any

import pytest
from any_steps import Step, any_steps

from mmtwin import Machine
from mmtwin.machine import Complaint
from mmtwin.procfs import vmallocinfo

NAMES = ("x86_64-5.10", "x86_64-6.1", "x86_64-6.12", "arm64-7.3", "arm64-16k-6.12")


def machine(name: str, **config: Any) -> Machine:
    return Machine.boot(name, memory="64M", cpus=2, **config)


def state(k: Machine) -> Any:
    return k.mm.vmalloc


def pages_of(k: Machine, count: int) -> list[int]:
    return [int(k.alloc_pages(0) or -1) for _ in range(count)]


@pytest.mark.parametrize("name", NAMES)
def test_requests_follow_one_another_in_a_block(name: str) -> None:
    k = machine(name)
    page, pages = 1 << int(k.mm.page_shift), pages_of(k, 64)
    block = int(k.mm.view("has")[0].vmap_block_pages)
    first = k.vm_map_ram(pages[:3])
    assert first % (block * page) == 0
    assert k.vm_map_ram(pages[:1]) == first + 4 * page  # three pages take four
    assert [k.vmalloc_to_pfn(first + n * page) for n in range(4)] == [*pages[:3], -1]
    k.cpu = 1  # has a list of its own
    other = k.vm_map_ram(pages[:1])
    assert other // (block * page) != first // (block * page)
    k.cpu = 0
    assert k.vm_map_ram(pages) == first + 5 * page
    rows = [row for row in vmallocinfo.show(k) if row.bare == "vm_map_ram"]
    assert [row.size for row in rows] == [block * page] * 2
    assert k.validate() == []


def test_the_size_of_a_block() -> None:
    sizes = {"x86_64-6.1": (256, 96), "x86_64-6.12": (256, 136), "arm64-6.1": (1024, 96),
             "arm64-7.3": (1024, 232)}
    for name, (pages, bytes_) in sizes.items():
        has = machine(name).mm.view("has")[0]
        assert (has.vmap_block_pages, has.vmap_block_bytes) == (pages, bytes_), name


@pytest.mark.parametrize("name", NAMES)
def test_many_pages_are_an_area(name: str) -> None:
    k = machine(name)
    page, pages = 1 << int(k.mm.page_shift), pages_of(k, 65)
    address = k.vm_map_ram(pages)
    assert k.vm_area(address) == range(address, address + 65 * page)
    assert [row.bare for row in vmallocinfo.show(k)].count("vm_map_ram") == 1
    k.vm_unmap_ram(address, 65)
    assert k.vmalloc_to_pfn(address) == -1 and k.vm_area(address) is None
    assert k.validate() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_block_that_is_all_dirty_is_freed(name: str) -> None:
    k = machine(name)
    count = int(k.mm.view("has")[0].vmap_block_pages) // 64
    pages = pages_of(k, 64)
    addresses = [k.vm_map_ram(pages) for _ in range(count)]
    assert state(k).free_blocks[0] == []
    for address in addresses:
        assert len(state(k).blocks) == 1
        k.vm_unmap_ram(address, 64)
    assert state(k).blocks == {} and k.vm_area(addresses[0]) is None
    assert k.validate() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_fragmented_block_is_purged(name: str) -> None:
    """Since 6.5 vm_unmap_aliases() leaves it alone as long as more than a quarter is free."""
    k = machine(name)
    page, pages = pages_of(k, 1), pages_of(k, 64)
    block = int(k.mm.view("has")[0].vmap_block_pages)
    k.vm_unmap_ram(k.vm_map_ram(page), 1)
    k.vm_unmap_aliases()
    spared = int(k.mm.view("has")[0].vmap_block_threshold)
    assert len(state(k).blocks) == spared
    for _ in range(block * 3 // 4 // 64):
        k.vm_unmap_ram(k.vm_map_ram(pages), 64)
    used = k.vm_map_ram(page)
    k.vm_unmap_aliases()
    assert len(state(k).blocks) == 1  # something is mapped
    k.vm_unmap_ram(used, 1)
    k.vm_unmap_aliases()
    assert state(k).blocks == {}
    assert k.validate() == []


def test_bad_calls_are_complaints() -> None:
    for name in NAMES:
        k = machine(name)
        pages = pages_of(k, 2)
        assert k.vm_map_ram([]) == 0
        address = k.vm_map_ram(pages)
        size = 1 << int(k.mm.page_shift)
        for bad, count in ((0, 1), (address + 1, 1), (address + size, 1), (address, 3),
                           (address, 65), (address, 0), (k.vmalloc(size), 1), (1 << 40, 70)):
            with pytest.raises(Complaint):
                k.vm_unmap_ram(bad, count)
        k.vm_unmap_ram(address, 2)
        with pytest.raises(Complaint):
            k.vm_unmap_ram(address, 2)
        with pytest.raises(ValueError):
            k.vm_map_ram([1 << 50])
        assert k.validate() == []


def test_kasan_knows_what_is_mapped() -> None:
    k = machine("x86_64-6.1", KASAN=True)
    address = k.vm_map_ram(pages_of(k, 1))
    assert k.shadow(address, 8) == b"\0"
    k.vm_unmap_ram(address, 1)
    assert k.shadow(address, 8) == b"\xf8"
    assert k.validate() == []


CALLS = ("map", "map", "unmap", "unmap", "aliases", "vmalloc", "vfree")
COUNTS = (1, 2, 3, 5, 17, 33, 64, 65, 100)


class Maps:
    """The model: {address: pages} of what vm_map_ram() gave, and areas of vmalloc() beside it."""

    def __init__(self, number: int) -> None:
        self.k = machine(NAMES[number % len(NAMES)])
        self.shift, self.pages = int(self.k.mm.page_shift), pages_of(self.k, 100)
        self.mapped: dict[int, int] = {}
        self.areas: list[int] = []

    def step(self, what: str, one: int, two: int) -> None:
        """A call, on one CPU or the other."""
        self.k.cpu, count = two % 2, COUNTS[one % len(COUNTS)]
        if what == "map":
            self.map(count)
        elif what == "unmap" and self.mapped:
            address = list(self.mapped)[one % len(self.mapped)]
            self.holds(address)
            self.k.vm_unmap_ram(address, self.mapped.pop(address))
            assert self.k.vmalloc_to_pfn(address) == -1
        elif what == "aliases":
            self.k.vm_unmap_aliases()
        elif what == "vmalloc":
            self.areas.append(self.k.vmalloc(count << self.shift, "GFP_KERNEL|__GFP_NOWARN"))
        elif what == "vfree" and self.areas:
            self.k.vfree(self.areas.pop())

    def map(self, count: int) -> None:
        """What is mapped lies in nothing else that is."""
        address = self.k.vm_map_ram(self.pages[:count])
        assert address
        end = address + (count << self.shift)
        for start, length in self.mapped.items():
            assert end <= start or start + (length << self.shift) <= address
        self.mapped[address] = count

    def holds(self, address: int) -> None:
        """Each of its pages is where it was put."""
        for place in range(self.mapped[address]):
            assert self.k.vmalloc_to_pfn(address + (place << self.shift)) == self.pages[place]


@any_steps(CALLS)
def test_any_calls_leave_a_valid_state(number: int, steps: list[Step]) -> None:
    maps = Maps(number)
    for step in steps:
        maps.step(*step)
    for address in maps.mapped:
        maps.holds(address)
    assert maps.k.validate() == []

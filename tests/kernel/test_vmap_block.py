"""vm_map_ram(): blocks of each CPU, what is purged when, and any calls against a naive model."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmtwin import Machine
from mmtwin.kernel import page_alloc
from mmtwin.machine import Complaint
from mmtwin.procfs import vmallocinfo

NAMES = ("x86_64-5.10", "x86_64-6.1", "x86_64-6.12", "arm64-7.3", "arm64-16k-6.12")
COMPILED = not (page_alloc.__file__ or "").endswith(".py")
LONG = bool(os.environ.get("MMTWIN_LONG"))
RUNS, STEPS = (5000, 200) if LONG else (200, 50) if COMPILED else (25, 25)


def machine(name: str, **config: Any) -> Machine:
    return Machine.boot(name, memory="128M", cpus=2, **config)


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


CALL = st.tuples(st.sampled_from(["map", "map", "unmap", "unmap", "aliases", "vmalloc", "vfree"]),
                 st.sampled_from([1, 2, 3, 5, 17, 33, 64, 65, 100]), st.integers(0, 1))


@settings(max_examples=RUNS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(NAMES), st.lists(CALL, max_size=STEPS))
def test_any_calls_leave_a_valid_state(name: str, calls: list[tuple[str, int, int]]) -> None:
    k = machine(name)
    shift, pages = int(k.mm.page_shift), pages_of(k, 100)
    mapped: dict[int, int] = {}
    areas: list[int] = []
    for what, count, cpu in calls:
        k.cpu = cpu
        if what == "map":
            address = k.vm_map_ram(pages[:count])
            assert address
            taken = range(address, address + (count << shift))
            for start, length in mapped.items():
                assert not range(max(start, taken.start), min(start + (length << shift),
                                                              taken.stop))
            mapped[address] = count
        elif what == "unmap" and mapped:
            address = sorted(mapped)[count % len(mapped)]
            k.vm_unmap_ram(address, mapped.pop(address))
            assert k.vmalloc_to_pfn(address) == -1
        elif what == "aliases":
            k.vm_unmap_aliases()
        elif what == "vmalloc":
            areas.append(k.vmalloc(count << shift))
        elif what == "vfree" and areas:
            k.vfree(areas.pop())
        for address, length in mapped.items():
            assert k.vmalloc_to_pfn(address + (length - 1 << shift)) == pages[length - 1]
    assert k.validate() == []

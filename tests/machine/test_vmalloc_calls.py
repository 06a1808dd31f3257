"""A Machine's vmalloc calls: who calls, what is read and written, bad input."""

import pytest

from mmtwin.machine import Machine
from mmtwin.procfs import meminfo, vmallocinfo
from mmtwin.versions.address_space import address_space
from mmtwin.versions.profiles import profile


@pytest.fixture
def k() -> Machine:
    return Machine.boot("x86_64-6.12", memory="256M")


def test_vmallocinfo_names_the_caller(k: Machine) -> None:
    with k.frame("driver_probe+0x1f/0x90"):
        address = k.vmalloc(100_000)
    assert k.proc["vmallocinfo"].decode() == (
        "0xffffc90000000000-0xffffc9000001a000  106496 driver_probe+0x1f/0x90 pages=25 vmalloc "
        "N0=25\n"
    )
    k.vfree(address)
    text = "0xffffc90000000000-0xffffc9000001a000  106496 unpurged vm_area\n"
    assert k.proc["vmallocinfo"].decode() == text
    assert vmallocinfo.format_vmallocinfo(vmallocinfo.parse(text)) == text
    k.vm_unmap_aliases()
    assert k.proc["vmallocinfo"] == b""


def test_meminfo_counts_pages(k: Machine) -> None:
    before = meminfo.parse(k.proc["meminfo"])
    assert before["VmallocTotal"].value == 34359738367  # as on x86-64 machines
    k.vmalloc(40960)
    after = meminfo.parse(k.proc["meminfo"])
    assert after["VmallocUsed"].value - before["VmallocUsed"].value == 40
    assert after["PageTables"].value - before["PageTables"].value == 4  # the PMD table


def test_reads_and_writes_go_through_the_page_tables(k: Machine) -> None:
    address = k.vzalloc(3 * 4096)
    k.write(address + 4090, bytes(range(20)))
    assert k.read(address + 4088, 24) == bytes(2) + bytes(range(20)) + bytes(2)
    second = k.mm.page_offset + (k.vmalloc_to_pfn(address + 4096) << 12)
    assert k.read(second, 14) == bytes(range(6, 20))
    assert k.read(address, 0) == b""
    with pytest.raises(ValueError, match="page fault"):
        k.read(address + 3 * 4096 - 2, 4)  # the guard page
    k.vfree(address)
    with pytest.raises(ValueError, match="page fault"):
        k.write(address, b"late")


@pytest.mark.parametrize("bad", [-1, 1 << 64])
def test_numbers_that_are_no_sizes_or_addresses(k: Machine, bad: int) -> None:
    for call in (k.vmalloc, k.vzalloc, k.kvmalloc, k.vfree, k.kvfree, k.vmalloc_to_pfn):
        with pytest.raises(ValueError, match="unsigned 64-bit"):
            call(bad)
    with pytest.raises(ValueError, match=r"no such page|must be a 64-bit number"):
        k.vmap([bad])


def test_user_memory_is_zeroed(k: Machine) -> None:
    assert k.read(k.vmalloc_user(5000), 5000) == bytes(5000)
    assert b"pages=2 vmalloc user N0=2" in k.proc["vmallocinfo"]
    assert k.vmap([]) == 0


# VmallocTotal of recorded machines, in kB.
TOTALS = {
    "x86_64-5.10": 34359738367,
    "x86_64-7.3": 34359738367,
    "arm64-5.10": 135290159040,
    "arm64-6.1": 133143592960,
    "arm64-16k-6.12": 68447887360,
    "arm64-16k-7.3": 68447887360,
}


@pytest.mark.parametrize("name", TOTALS)
def test_vmalloc_space_is_as_large_as_recorded_ones(name: str) -> None:
    facts = profile(name)
    space = address_space(facts.version, facts.arch, facts.page_size, facts.config)
    assert (space.vmalloc_end - space.vmalloc_start) >> 10 == TOTALS[name]


def test_five_levels_of_page_tables() -> None:
    facts = profile("x86_64-6.12")
    space = address_space("6.12", "x86_64", 4096, facts.config, 0xFF11000000000000)
    assert (space.vmalloc_start, space.va_bits) == (0xFFA0000000000000, 57)

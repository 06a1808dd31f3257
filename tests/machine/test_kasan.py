"""KASAN through the Machine: every bug is found, named, and shown with its object and call path.

What lib/test_kasan.c (mm/kasan/kasan_test.c) and the SLUB unit test (lib/slub_kunit.c) do to the
kernel, done to the twin.
"""

import random
import re

import pytest
from kasan_machine import NAMES, OLD, boot, kind_of, release_of, report_of, uaf

from mmtwin import Machine
from mmtwin.kernel import slub


@pytest.fixture(scope="module", params=NAMES)
def k(request: pytest.FixtureRequest) -> Machine:
    return boot(request.param)


def first_of_slab(k: Machine, address: int) -> bool:
    """Whether an object is its slab's first: before it lies a page that may be anything."""
    page = k.page(k.virt_to_pfn(address))
    return "slab" in k.page(page.head).flags and k.page_address(page.head) == address


def behind_another(k: Machine, size: int) -> int:
    """The address of a new object before which lies another object or its slab's padding."""
    address = k.kmalloc(size)
    while first_of_slab(k, address):
        address = k.kmalloc(size)
    return address


# ---- the table


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 16, 33, 63, 64, 96, 100, 128, 129, 192, 500,
                                  1000, 2048, 4000, 4096, 8000, 8192, 8193, 20000])
def test_one_byte_out_of_bounds_right_before_and_behind(k: Machine, size: int) -> None:
    with k.frame("probe"):
        address = behind_another(k, size)
    assert k.write(address, bytes(size)) is None and k.read(address, size) == bytes(size)
    with k.frame("overrun"):
        behind = report_of(k.write, address + size, b"x")
    assert kind_of(behind) == "slab-out-of-bounds"
    assert "BUG: KASAN: slab-out-of-bounds in overrun\n" in behind
    assert f"Write of size 1 at addr {address + size:016x} by task swapper/0/0" in behind
    large = size > 2 << int(k.mm.page_shift)
    if not large:
        assert f"belongs to the object at {address:016x}" in behind
        assert "Allocated by task 0:\n" in behind and "\n probe\n" in behind
    if not large:
        assert kind_of(report_of(k.read, address - 1, 1)) == "slab-out-of-bounds"
    k.kfree(address)


def test_double_free(k: Machine) -> None:
    with k.frame("probe"):
        address = k.kmalloc(100)
    with k.frame("remove"):
        k.kfree(address)
    with k.frame("remove_again"):
        report = report_of(k.kfree, address)
    old = release_of(k) in ("5.10", "5.13")
    assert kind_of(report) == ("double-free or invalid-free" if old else "double-free")
    assert ("Free of addr" in report) != old
    assert " in remove_again\n" in report
    assert f"object at {address:016x}\n which belongs to the cache kmalloc-128 of size" in report
    allocated, freed = report.split("Allocated by task 0:")[1].split("Freed by task 0:")
    assert "\n probe\n" in allocated and "\n remove\n" in freed


def test_use_after_free(k: Machine) -> None:
    with k.frame("probe"):
        address = k.kmalloc(200)
    with k.frame("remove"):
        k.kfree(address)
    with k.frame("timer"):
        report = report_of(k.read, address + 16, 8)
    assert kind_of(report) == uaf(k)
    assert f"Read of size 8 at addr {address + 16:016x}" in report
    assert "located 16 bytes inside of\n" in report
    assert "\n probe\n" in report.split("Freed by")[0]
    assert "\n remove\n" in report.split("Freed by")[1]
    rows = [line for line in report.splitlines() if line.startswith(f">{address & ~127:016x}")]
    assert rows and " fb" in rows[0]


def test_invalid_free(k: Machine) -> None:
    address = k.kmalloc(100)
    report = report_of(k.kfree, address + 1)
    old = release_of(k) in ("5.10", "5.13")
    assert kind_of(report) == ("double-free or invalid-free" if old else "invalid-free")
    assert f"belongs to the object at {address:016x}" in report
    k.kfree(address)


# ---- mm/kasan/kasan_test.c


def test_kmalloc_oob_right(k: Machine) -> None:
    size = 128 - 8 - 5
    address = k.kmalloc(size)
    for offset in (size, size + 5):
        report_of(k.write, address + offset, b"x")
    report_of(k.read, address + size + 8 + 5, 1)
    k.kfree(address)


def test_kmalloc_oob_left(k: Machine) -> None:
    address = behind_another(k, 15)
    report_of(k.read, address - 1, 1)
    k.kfree(address)


def test_pages_of_a_large_kmalloc(k: Machine) -> None:
    size = (2 << int(k.mm.page_shift)) + 10
    address = k.kmalloc(size)
    report_of(k.write, address + size, b"\0")
    report = report_of(k.kfree, address + 1)
    assert kind_of(report).endswith("invalid-free")
    report = report_of(k.read, address, 1)  # the block was freed all the same
    assert kind_of(report) == "use-after-free"
    assert "belongs to the object" not in report
    assert k.page(k.virt_to_pfn(address)).use == "free"


def test_pagealloc_uaf(k: Machine) -> None:
    page = k.alloc_pages(4)
    assert page is not None
    k.write(page.address, bytes(100))
    k.free_pages(page)
    assert kind_of(report_of(k.read, page.address, 1)) == "use-after-free"


@pytest.mark.parametrize("base", [0, 1])
def test_krealloc_more_and_less(k: Machine, base: int) -> None:
    base *= 2 << int(k.mm.page_shift)
    for first, second in ((base + 201, base + 235), (base + 235, base + 201)):
        address = k.krealloc(k.kmalloc(first), second)
        k.write(address, bytes(second))
        report_of(k.write, address + second, b"x")
        report_of(k.write, address + (second + 7 & ~7), b"x")
        k.kfree(address)


def test_krealloc_uaf(k: Machine) -> None:
    address = k.kmalloc(201)
    k.kfree(address)
    report = report_of(k.krealloc, address, 235)
    assert kind_of(report) == uaf(k)
    report_of(k.read, address, 1)


def test_oob_across_granules(k: Machine) -> None:
    address = k.kmalloc(13)
    report_of(k.write, address, bytes(16))
    for size in (2, 4, 8, 16):
        other = k.kmalloc(128 - 7)
        report_of(k.write, other + 121 - size + 1, bytes(size))
        k.kfree(other)
    k.kfree(address)


def test_kmalloc_uaf_in_the_second_object(k: Machine) -> None:
    first, second = k.kmalloc(43), k.kmalloc(43)
    k.kfree(first)
    assert f"belongs to the object at {first:016x}" in report_of(k.read, first + 40, 1)
    k.kfree(second)


def test_kmem_cache_oob_double_and_invalid_free(k: Machine) -> None:
    cache = k.kmem_cache_create("test_cache", 200)
    address = k.kmem_cache_alloc(cache)
    report = report_of(k.read, address + 200, 1)
    assert kind_of(report) == "slab-out-of-bounds"
    assert "cache test_cache of size 200" in report
    report_of(k.kmem_cache_free, cache, address + 1)
    k.kmem_cache_free(cache, address)
    assert "double-free" in kind_of(report_of(k.kmem_cache_free, cache, address))
    k.kmem_cache_destroy(cache)


def test_objects_in_bulk(k: Machine) -> None:
    cache = k.kmem_cache_create("test_bulk", 300)
    objects = slub.kmem_cache_alloc_bulk(k.mm, cache.number, 0xCC0, 40)
    for address in objects:
        k.write(address, bytes(300))
        report_of(k.write, address + 300, b"x")
    before = len(k.complaints)
    slub.kmem_cache_free_bulk(k.mm, cache.number, objects)
    assert len(k.complaints) == before
    for address in objects:
        assert kind_of(report_of(k.read, address, 1)) == uaf(k)
    before = len(k.complaints)
    slub.kmem_cache_free_bulk(k.mm, cache.number, objects[:1])
    assert ["double-free" in each.report for each in k.complaints[before:]] == [True]
    assert k.kasan is not None
    assert {(cache.number, address) for address in objects} <= set(k.kasan.quarantine.objects())
    k.kmem_cache_destroy(cache)
    assert not [name for number, name in k.kasan.quarantine.objects() if number == cache.number]
    assert k.validate() == []


def test_kmem_cache_rcu_objects_may_be_used_after_the_free(k: Machine) -> None:
    cache = k.kmem_cache_create("test_rcu", 200, 0, "SLAB_TYPESAFE_BY_RCU")
    address = k.kmem_cache_alloc(cache)
    k.kmem_cache_free(cache, address)
    k.read(address, 200)
    k.kmem_cache_destroy(cache)


def test_ksize_unpoisons_until_it_only_reports(k: Machine) -> None:
    address = k.kmalloc(128 - 8 - 5)
    assert k.ksize(address) == 128
    if release_of(k) in OLD:
        k.write(address + 127, b"x")
    else:
        report_of(k.write, address + 115, b"x")
    k.kfree(address)
    report_of(k.ksize, address)
    report_of(k.read, address, 1)


def test_addresses_without_a_shadow(k: Machine) -> None:
    for address, kind in ((0, "null-ptr-deref"), (0x4000_0000, "user-memory-access"),
                          (0x0200_0000_0000_0000, "wild-memory-access")):
        assert kind_of(report_of(k.read, address, 1)) == kind


# ---- lib/slub_kunit.c under KASAN: the write itself is reported, before SLUB looks


def test_slub_unit_test(k: Machine) -> None:
    cache = k.kmem_cache_create("TestSlub", 64, 0, "SLAB_RED_ZONE|SLAB_POISON")
    address = k.kmem_cache_alloc(cache)
    assert kind_of(report_of(k.write, address + 64, b"\x12")) == "slab-out-of-bounds"
    k.kmem_cache_free(cache, address)
    for offset in (cache.offset if cache.offset < 64 else 8, 0, 50):
        assert kind_of(report_of(k.write, address + offset, b"\x78")) == uaf(k)
    report_of(k.write, address + 64, b"\xab")
    k.kmem_cache_destroy(cache)
    small = k.kmalloc(18)  # kmalloc-32
    for offset in (18, 19):
        assert kind_of(report_of(k.write, small + offset, b"\xab")) == "slab-out-of-bounds"
    k.kfree(small)


# ---- nothing where nothing is wrong


@pytest.mark.parametrize("seed", range(10))
def test_fault_free_runs_report_nothing(seed: int) -> None:
    k = boot(NAMES[seed % len(NAMES)], cpus=2, memory="128M")
    rng = random.Random(seed)
    live: list[tuple[int, int]] = []
    for _ in range(600):
        k.cpu = rng.randrange(2)
        if live and rng.random() < 0.45:
            address, size = live.pop(rng.randrange(len(live)))
            k.read(address, size)
            k.kfree(address)
        else:
            size = rng.choice((1, 8, 24, 100, 700, 5000, 40000))
            address = k.kmalloc(size)
            k.write(address, bytes(size))
            live.append((address, size))
    assert k.complaints == []
    assert k.validate() == []


def test_the_quarantine_keeps_objects_and_gives_them_back() -> None:
    k = boot("x86_64-6.1", memory="128M")
    assert k.kasan is not None
    quarantine = k.kasan.quarantine
    address = k.kmalloc(4096)
    k.kfree(address)
    assert address not in {k.kmalloc(4096) for _ in range(50)}
    assert quarantine.bytes() == 8192
    for _ in range(2000):
        k.kfree(k.kmalloc(4096))
    managed = int(k.mm.view("zone")["managed_pages"].sum()) * 4096
    assert quarantine.max_size == managed // 32 - (1 << 20)
    assert quarantine.bytes() <= managed // 32 + (1 << 20)
    assert k.validate() == []
    cache = k.cache("kmalloc-4k")
    k.kmem_cache_shrink(cache)
    assert quarantine.bytes() == 0
    assert k.validate() == []


def test_caches_do_not_merge_and_grow() -> None:
    k = boot("x86_64-6.12")
    first = k.kmem_cache_create("first", 100)
    assert k.kmem_cache_create("second", 100).number != first.number
    plain = Machine.boot("x86_64-6.12", memory="256M")
    assert k.kasan is not None
    sizes = k.kasan.memory()["caches"]
    for name, (with_it, without) in sizes.items():
        if name.startswith("kmalloc-"):
            assert without == plain.cache(name).size < with_it == k.cache(name).size


def test_an_eighth_of_the_ram_is_shadow() -> None:
    with_it, without = boot("arm64-6.1", memory="1G"), Machine.boot("arm64-6.1", memory="1G")
    managed = [int(m.mm.view("zone")["managed_pages"].sum()) for m in (without, with_it)]
    assert managed[0] - managed[1] == (1 << 30) // 8 // 4096
    assert with_it.kasan is not None
    assert with_it.kasan.memory()["shadow"] == 1 << 27
    # the shadow lies in the machine's own RAM
    place = with_it.kasan.shadow.ranges[0][2]
    address = with_it.kmalloc(20)
    offset = (address - with_it.page_address(with_it.kasan.shadow.ranges[0][0])) >> 3
    shadow = with_it.page_address(place) + offset
    assert with_it.read(shadow, 4) == with_it.shadow(address, 32) == b"\0\0\4\xfc"


def test_one_report_unless_multi_shot_and_what_kasan_fault_says() -> None:
    k = Machine.boot("x86_64-6.1", memory="128M", KASAN=True)
    address = k.kmalloc(10)
    report_of(k.write, address + 10, b"x")
    k.write(address + 10, b"x")  # the second bug is not reported any more
    assert len(k.complaints) == 1
    k = Machine.boot("x86_64-6.1", memory="128M", KASAN=True,
                     cmdline={"kasan_multi_shot": "", "kasan.fault": "report"})
    address = k.kmalloc(10)
    k.write(address + 10, b"x")
    k.write(address + 11, b"x")
    assert [each.name for each in k.complaints] == ["KASAN", "KASAN"]
    assert "Tainted: G    B" in k.complaints[1].report
    k = Machine.boot("x86_64-6.12", memory="128M", KASAN=True, cmdline={"kasan.fault": "panic"})
    assert "kasan.fault=panic set" in report_of(k.read, k.kmalloc(8) + 8, 1)


def test_extra_info_says_where_and_when() -> None:
    k = boot("x86_64-6.12", memory="128M", cpus=2, KASAN_EXTRA_INFO=True)
    k.sleep(12.5)
    k.cpu = 1
    address = k.kmalloc(100)
    k.sleep(1)
    k.kfree(address)
    report = report_of(k.read, address, 1)
    now = re.findall(r"(\w+) by task 0 on cpu 1 at (\d+)\.(\d+)s:", report)
    assert [word for word, *_ in now] == ["Allocated", "Freed"]
    assert int(now[1][1]) - int(now[0][1]) == 1


def test_without_kasan_nothing_is_there() -> None:
    k = Machine.boot("x86_64-6.1", memory="128M")
    assert k.kasan is None and k.mm.checkers == 0
    assert k.check_memory_region(k.kmalloc(1), 100)
    with pytest.raises(ValueError, match="no KASAN"):
        k.shadow(k.kmalloc(1), 8)
    with pytest.raises(ValueError, match="no KASAN"):
        Machine.boot("arm64-16k-6.1", KASAN=True)

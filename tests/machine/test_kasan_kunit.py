"""The kernel's own tests of KASAN, one by one: mm/kasan/kasan_test.c of 6.1, in its order.

`CASES` has each test that generic KASAN runs; `ELSEWHERE` says of every other one why it is not
here. What an instrumented function does (memset(), a bit operation, a string function) is done as
the accesses that its instrumentation checks.
"""

from collections.abc import Callable
from typing import Any

import pytest
from kasan_machine import boot, kind_of, report_of

from mmtwin import Machine
from mmtwin.kernel import slub
from mmtwin.kernel.vmalloc_defs import GFP_KERNEL

GRANULE = 8  # KASAN_GRANULE_SIZE
WORD_BITS = 64
BUG = "slab-out-of-bounds"
FREED = "use-after-free"
Case = Callable[[Machine], None]
CASES: dict[str, Case] = {}
ELSEWHERE = {
    "pagealloc_oob_right": "needs tags: pages have no red zones",
    "kmalloc_uaf3": "needs tags",
    "kasan_global_oob_left": "needs clang",
    "kasan_bitops_tags": "needs tags",
    "kmem_cache_double_destroy": "the twin's caches are records, no objects of a slab",
    "vmalloc_helpers_tags": "needs tags",
    "vmap_tags": "needs software tags",
    "vm_map_ram_tags": "needs software tags",
    "match_all_not_assigned": "needs tags",
    "match_all_ptr_tag": "needs tags",
    "match_all_mem_tag": "needs tags",
}
# As KUNIT_CASE() lists them.
KUNIT_CASES = [
    "kmalloc_oob_right", "kmalloc_oob_left", "kmalloc_node_oob_right",
    "kmalloc_pagealloc_oob_right", "kmalloc_pagealloc_uaf", "kmalloc_pagealloc_invalid_free",
    "pagealloc_oob_right", "pagealloc_uaf", "kmalloc_large_oob_right", "krealloc_more_oob",
    "krealloc_less_oob", "krealloc_pagealloc_more_oob", "krealloc_pagealloc_less_oob",
    "krealloc_uaf", "kmalloc_oob_16", "kmalloc_uaf_16", "kmalloc_oob_in_memset",
    "kmalloc_oob_memset_2", "kmalloc_oob_memset_4", "kmalloc_oob_memset_8",
    "kmalloc_oob_memset_16", "kmalloc_memmove_negative_size", "kmalloc_memmove_invalid_size",
    "kmalloc_uaf", "kmalloc_uaf_memset", "kmalloc_uaf2", "kmalloc_uaf3", "kfree_via_page",
    "kfree_via_phys", "kmem_cache_oob", "kmem_cache_accounted", "kmem_cache_bulk",
    "kasan_global_oob_right", "kasan_global_oob_left", "kasan_stack_oob",
    "kasan_alloca_oob_left", "kasan_alloca_oob_right", "ksize_unpoisons_memory", "ksize_uaf",
    "kmem_cache_double_free", "kmem_cache_invalid_free", "kmem_cache_double_destroy",
    "kasan_memchr", "kasan_memcmp", "kasan_strings", "kasan_bitops_generic",
    "kasan_bitops_tags", "kmalloc_double_kzfree", "vmalloc_helpers_tags", "vmalloc_oob",
    "vmap_tags", "vm_map_ram_tags", "match_all_not_assigned", "match_all_ptr_tag",
    "match_all_mem_tag",
]  # fmt: skip


@pytest.fixture(scope="module", params=("x86_64-6.1", "arm64-6.1"))
def k(request: pytest.FixtureRequest) -> Machine:
    return boot(request.param)


def case(test: Case) -> Case:
    CASES[test.__name__] = test
    return test


def fails(k: Machine, kind: str, call: Callable[..., Any], *arguments: Any) -> None:
    """KUNIT_EXPECT_KASAN_FAIL(): one report, of this kind."""
    before = len(k.complaints)
    assert kind_of(report_of(call, *arguments)) == kind
    assert len(k.complaints) == before + 1


def page_size(k: Machine) -> int:
    return 1 << int(k.mm.page_shift)


def largest_cached(k: Machine) -> int:
    """KMALLOC_MAX_CACHE_SIZE"""
    return 2 * page_size(k)


@case
def kmalloc_oob_right(k: Machine) -> None:
    size = 128 - GRANULE - 5
    address = k.kmalloc(size)
    fails(k, BUG, k.write, address + size, b"x")
    fails(k, BUG, k.write, address + size + 5, b"y")
    fails(k, BUG, k.read, address + size + GRANULE + 5, 1)
    k.kfree(address)


@case
def kmalloc_oob_left(k: Machine) -> None:
    others = [k.kmalloc(15) for _ in range(2)]  # the slab's first object has a page before it
    address = max(others)
    fails(k, BUG, k.read, address - 1, 1)
    for other in others:
        k.kfree(other)


@case
def kmalloc_node_oob_right(k: Machine) -> None:
    address = k.kmalloc_node(4096, node=0)
    fails(k, BUG, k.read, address + 4096, 1)
    k.kfree(address)


@case
def kmalloc_pagealloc_oob_right(k: Machine) -> None:
    size = largest_cached(k) + 10
    address = k.kmalloc(size)
    fails(k, BUG, k.write, address + size, b"\0")
    k.kfree(address)


@case
def kmalloc_pagealloc_uaf(k: Machine) -> None:
    address = k.kmalloc(largest_cached(k) + 10)
    k.kfree(address)
    fails(k, FREED, k.read, address, 1)


@case
def kmalloc_pagealloc_invalid_free(k: Machine) -> None:
    address = k.kmalloc(largest_cached(k) + 10)
    fails(k, "invalid-free", k.kfree, address + 1)


@case
def pagealloc_uaf(k: Machine) -> None:
    page = k.alloc_pages(4)
    assert page is not None
    k.free_pages(page)
    fails(k, FREED, k.read, page.address, 1)


@case
def kmalloc_large_oob_right(k: Machine) -> None:
    size = largest_cached(k) - 256
    address = k.kmalloc(size)
    fails(k, BUG, k.write, address + size, b"\0")
    k.kfree(address)


def krealloc_more(k: Machine, first: int, second: int) -> None:
    address = k.krealloc(k.kmalloc(first), second)
    for offset in (first - 1, first, first + (second - first) // 2, second - 1):
        k.write(address + offset, b"x")
    for offset in (second, -(-second // GRANULE) * GRANULE):
        fails(k, BUG, k.write, address + offset, b"x")
    k.kfree(address)


def krealloc_less(k: Machine, first: int, second: int) -> None:
    address = k.krealloc(k.kmalloc(first), second)
    middle = second + (first - second) // 2
    k.write(address + second - 1, b"x")
    for offset in (second, -(-second // GRANULE) * GRANULE, middle, first - 1, first):
        fails(k, BUG, k.write, address + offset, b"x")
    k.kfree(address)


@case
def krealloc_more_oob(k: Machine) -> None:
    krealloc_more(k, 201, 235)


@case
def krealloc_less_oob(k: Machine) -> None:
    krealloc_less(k, 235, 201)


@case
def krealloc_pagealloc_more_oob(k: Machine) -> None:
    krealloc_more(k, largest_cached(k) + 201, largest_cached(k) + 235)


@case
def krealloc_pagealloc_less_oob(k: Machine) -> None:
    krealloc_less(k, largest_cached(k) + 235, largest_cached(k) + 201)


@case
def krealloc_uaf(k: Machine) -> None:
    address = k.kmalloc(201)
    k.kfree(address)
    fails(k, FREED, k.krealloc, address, 235)
    fails(k, FREED, k.read, address, 1)


@case
def kmalloc_oob_16(k: Machine) -> None:
    first, second = k.kmalloc(16 - 3), k.kmalloc(16)
    fails(k, BUG, k.write, first, k.read(second, 16))
    k.kfree(first)
    k.kfree(second)


@case
def kmalloc_uaf_16(k: Machine) -> None:
    first, second = k.kmalloc(16), k.kmalloc(16)
    k.kfree(second)
    fails(k, FREED, k.read, second, 16)
    k.kfree(first)


def memset(k: Machine, offset: int, size: int) -> None:
    """memset() that ends behind an object of 128 - 8 bytes."""
    address = k.kmalloc(128 - GRANULE)
    fails(k, BUG, k.write, address + offset, bytes(size))
    k.kfree(address)


@case
def kmalloc_oob_in_memset(k: Machine) -> None:
    memset(k, 0, 128)


@case
def kmalloc_oob_memset_2(k: Machine) -> None:
    memset(k, 128 - GRANULE - 1, 2)


@case
def kmalloc_oob_memset_4(k: Machine) -> None:
    memset(k, 128 - GRANULE - 3, 4)


@case
def kmalloc_oob_memset_8(k: Machine) -> None:
    memset(k, 128 - GRANULE - 7, 8)


@case
def kmalloc_oob_memset_16(k: Machine) -> None:
    memset(k, 128 - GRANULE - 15, 16)


@case
def kmalloc_memmove_negative_size(k: Machine) -> None:
    address = k.kmalloc(64)
    fails(k, "out-of-bounds", k.check_memory_region, address + 4, (1 << 64) - 2)
    k.kfree(address)


@case
def kmalloc_memmove_invalid_size(k: Machine) -> None:
    address = k.kmalloc(64)
    fails(k, BUG, k.check_memory_region, address + 4, 64)
    k.kfree(address)


@case
def kmalloc_uaf(k: Machine) -> None:
    address = k.kmalloc(10)
    k.kfree(address)
    fails(k, FREED, k.read, address + 8, 1)


@case
def kmalloc_uaf_memset(k: Machine) -> None:
    address = k.kmalloc(33)
    k.kfree(address)
    fails(k, FREED, k.write, address, bytes(33))


@case
def kmalloc_uaf2(k: Machine) -> None:
    first = k.kmalloc(43)
    k.kfree(first)
    second = k.kmalloc(43)
    fails(k, FREED, k.read, first + 40, 1)
    assert first != second
    k.kfree(second)


@case
def kfree_via_page(k: Machine) -> None:
    address = k.kmalloc(8)
    pfn = k.virt_to_pfn(address)
    k.kfree(k.page_address(pfn) + address % page_size(k))


@case
def kfree_via_phys(k: Machine) -> None:
    address = k.kmalloc(8)
    phys = address - int(k.mm.page_offset) & (1 << 64) - 1
    k.kfree(int(k.mm.page_offset) + phys & (1 << 64) - 1)


@case
def kmem_cache_oob(k: Machine) -> None:
    cache = k.kmem_cache_create("test_cache", 200)
    address = k.kmem_cache_alloc(cache)
    fails(k, BUG, k.read, address + 200, 1)
    k.kmem_cache_free(cache, address)
    k.kmem_cache_destroy(cache)


@case
def kmem_cache_accounted(k: Machine) -> None:
    cache = k.kmem_cache_create("test_cache", 200, 0, "SLAB_ACCOUNT")
    for _ in range(5):
        k.kmem_cache_free(cache, k.kmem_cache_alloc(cache))
        k.sleep(0.1)
    k.kmem_cache_destroy(cache)


@case
def kmem_cache_bulk(k: Machine) -> None:
    cache = k.kmem_cache_create("test_cache", 200)
    objects = slub.kmem_cache_alloc_bulk(k.mm, cache.number, GFP_KERNEL, 10)
    for address in objects:
        k.write(address, b"*")
        k.write(address + 199, b"*")
    slub.kmem_cache_free_bulk(k.mm, cache.number, objects)
    k.kmem_cache_destroy(cache)


@case
def kasan_global_oob_right(k: Machine) -> None:
    address = k.global_variable("global_array", 10)
    k.write(address, bytes(10))
    fails(k, "global-out-of-bounds", k.read, address + 13, 1)


@case
def kasan_stack_oob(k: Machine) -> None:
    task = k.fork("kunit_try_catch", kernel=True)
    assert task is not None
    with task.frame("kasan_stack_oob", {"stack_array": 10}) as frame:
        fails(k, "stack-out-of-bounds", k.read, frame["stack_array"] + 10, 1)
    k.exit(task)


def alloca(k: Machine, offset: int) -> None:
    """A read beside ten bytes of a stack, taken by alloca()."""
    page = k.alloc_pages(0)
    assert page is not None and k.kasan is not None
    k.kasan.poison_alloca(page.address + 64, 10)
    k.write(page.address + 64, bytes(10))
    fails(k, "alloca-out-of-bounds", k.read, page.address + 64 + offset, 1)
    fails(k, "alloca-out-of-bounds", k.read, page.address + 64 + 63, 1)
    assert k.read(page.address + 128, 8) == bytes(8)
    k.kasan.unpoison_stack(page.address, page_size(k))
    k.free_pages(page)


@case
def kasan_alloca_oob_left(k: Machine) -> None:
    alloca(k, -1)


@case
def kasan_alloca_oob_right(k: Machine) -> None:
    alloca(k, 10)


@case
def ksize_unpoisons_memory(k: Machine) -> None:
    address = k.kmalloc(123)
    size = k.ksize(address)
    k.write(address + 123, b"x")
    fails(k, BUG, k.read, address + size, 1)
    k.kfree(address)


@case
def ksize_uaf(k: Machine) -> None:
    address = k.kmalloc(128 - GRANULE)
    k.kfree(address)
    fails(k, FREED, k.ksize, address)
    fails(k, FREED, k.read, address, 1)
    fails(k, FREED, k.read, address + 128 - GRANULE, 1)


@case
def kmem_cache_double_free(k: Machine) -> None:
    cache = k.kmem_cache_create("test_cache", 200)
    address = k.kmem_cache_alloc(cache)
    k.kmem_cache_free(cache, address)
    fails(k, "double-free", k.kmem_cache_free, cache, address)
    k.kmem_cache_destroy(cache)


@case
def kmem_cache_invalid_free(k: Machine) -> None:
    cache = k.kmem_cache_create("test_cache", 200, 0, "SLAB_TYPESAFE_BY_RCU")
    address = k.kmem_cache_alloc(cache)
    fails(k, "invalid-free", k.kmem_cache_free, cache, address + 1)
    k.kmem_cache_free(cache, address)
    k.kmem_cache_destroy(cache)


def byte_by_byte(k: Machine, address: int, size: int) -> None:
    for offset in range(size):
        k.read(address + offset, 1)


@case
def kasan_memchr(k: Machine) -> None:
    address = k.kzalloc(24)
    fails(k, BUG, byte_by_byte, k, address, 25)
    k.kfree(address)


@case
def kasan_memcmp(k: Machine) -> None:
    address = k.kzalloc(24)
    for start in (0, 8, 16):  # memcmp() compares words first
        k.read(address + start, 8)
    fails(k, BUG, byte_by_byte, k, address + 24, 1)
    k.kfree(address)


@case
def kasan_strings(k: Machine) -> None:
    address = k.kzalloc(24)
    k.kfree(address)
    for _function in ("strchr", "strrchr", "strcmp", "strncmp", "strlen", "strnlen"):
        fails(k, FREED, byte_by_byte, k, address + 16, 1)


@case
def kasan_bitops_generic(k: Machine) -> None:
    address = k.kzalloc(8 + 1)
    for bit, functions in ((WORD_BITS, 8), (WORD_BITS + 8, 8)):
        word = address + bit // WORD_BITS * 8
        for _ in range(functions):
            fails(k, BUG, k.check_memory_region, word, 8, True)
    k.kfree(address)


@case
def kmalloc_double_kzfree(k: Machine) -> None:
    address = k.kmalloc(16)
    k.write(address, bytes(k.ksize(address)))
    k.kfree(address)
    fails(k, FREED, k.ksize, address)  # kfree_sensitive() asks ksize() first


@case
def vmalloc_oob(k: Machine) -> None:
    size = page_size(k) // 2 - GRANULE - 5
    address = k.vmalloc(size)
    k.write(address, b"\0")
    k.write(address + size - 1, b"\0")
    fails(k, "vmalloc-out-of-bounds", k.read, address + size, 1)
    fails(k, "vmalloc-out-of-bounds", k.read, address + size + 5, 1)
    k.write(k.page_address(k.vmalloc_to_pfn(address)), b"\0")
    k.vfree(address)


@pytest.mark.parametrize("name", CASES)
def test_case(k: Machine, name: str) -> None:
    before = len(k.complaints)
    CASES[name](k)
    if name in ("kfree_via_page", "kfree_via_phys", "kmem_cache_accounted", "kmem_cache_bulk"):
        assert len(k.complaints) == before
    else:
        assert len(k.complaints) > before


def test_every_test_of_the_kernel_is_here_or_said_why_not() -> None:
    assert sorted([*CASES, *ELSEWHERE]) == sorted(KUNIT_CASES)

"""kmalloc: sizes, types, large blocks, krealloc, and what kfree refuses."""

import pytest
from slub_machine import GFP_KERNEL, VERSIONS, kmalloc_machine

from mmtwin.kernel import page_alloc, slab_common, slab_index, slab_kmalloc, slub_cache
from mmtwin.kernel.constants import (
    __GFP_ACCOUNT,
    __GFP_COMP,
    __GFP_DMA,
    __GFP_RECLAIMABLE,
    COMPLAINT_DOUBLE_FREE,
    COMPLAINT_INVALID_OBJECT,
    COMPLAINT_NOT_SLAB,
    KFREE_ANY,
    KFREE_HEAD,
    USE_FREE,
    USE_LARGE_KMALLOC,
)
from mmtwin.kernel.slub_cache import SlabError
from mmtwin.kernel.slub_defs import KMALLOC_BUCKETS, KMALLOC_INDEXES, ZERO_SIZE_PTR
from mmtwin.kernel.slub_validate import validate
from mmtwin.kernel.trace import read_steps
from mmtwin.versions.features import features_of


def cache_name(mm, size: int, gfp: int = GFP_KERNEL) -> str:
    return mm.cache_names[slab_index.kmalloc_slab(mm, size, gfp)]


def kmalloc(mm, size: int, gfp: int = GFP_KERNEL) -> int:
    return slab_common.__kmalloc_node(mm, size, gfp, -1)


SIZES = [(1, 8), (8, 8), (9, 16), (64, 64), (65, 96), (96, 96), (97, 128), (129, 192), (193, 256)]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_size_has_its_class(version: str) -> None:
    mm = kmalloc_machine(version)
    for size, bytes_alloc in SIZES:
        assert cache_name(mm, size) == f"kmalloc-{bytes_alloc}"
        assert slab_common.ksize(mm, kmalloc(mm, size)) == bytes_alloc
    assert cache_name(mm, 513) == "kmalloc-1k"
    assert cache_name(mm, 8192) == "kmalloc-8k"
    validate(mm)


def test_runtime_and_constant_paths_agree() -> None:
    mm = kmalloc_machine()
    for size in range(1, 8193):
        index = slab_index.kmalloc_index(mm, size)
        rounded = slab_common.kmalloc_size_roundup(mm, size)
        assert rounded == slab_kmalloc.KMALLOC_INFO[index][0] >= size
    assert slab_common.kmalloc_size_roundup(mm, 0) == 0
    assert slab_common.kmalloc_size_roundup(mm, 8193) == 16384


def test_arm64_before_6_5_begins_at_128() -> None:
    mm = kmalloc_machine("5.10", kmalloc_minalign=128)
    assert [cache_name(mm, size) for size in (1, 96, 129, 192, 257)] == [
        "kmalloc-128",
        "kmalloc-128",
        "kmalloc-256",
        "kmalloc-256",
        "kmalloc-512",
    ]


def test_run_time_alignment_aliases_small_sizes() -> None:
    mm = kmalloc_machine("6.12", kmalloc_dma_align=64)
    assert cache_name(mm, 8) == cache_name(mm, 64) == "kmalloc-64"
    assert cache_name(mm, 96) == "kmalloc-128"
    assert cache_name(mm, 192) == "kmalloc-192"


@pytest.mark.parametrize(
    ("version", "gfp", "name"),
    [
        ("5.10", __GFP_ACCOUNT, "kmalloc-64"),
        ("6.1", __GFP_ACCOUNT, "kmalloc-cg-64"),
        ("6.1", __GFP_RECLAIMABLE | __GFP_ACCOUNT, "kmalloc-rcl-64"),
        ("6.1", __GFP_DMA | __GFP_RECLAIMABLE, "dma-kmalloc-64"),
        ("7.3", __GFP_ACCOUNT, "kmalloc-cg-64"),
    ],
)
def test_flags_choose_the_type(version: str, gfp: int, name: str) -> None:
    accounted = {"kmalloc_cgroup": 1} if version != "5.10" else {}
    mm = kmalloc_machine(version, **accounted)
    assert cache_name(mm, 64, GFP_KERNEL | gfp) == name


@pytest.mark.parametrize(
    ("version", "alone"), [("5.13", False), ("6.1", True), ("6.18", True), ("7.3", False)]
)
def test_without_memcg_kmem_accounted_objects_are_normal_ones(version: str, alone: bool) -> None:
    config = features_of(version, "x86_64", 4096, {"CONFIG_MEMCG": "y"})
    names = ("kmalloc_cgroup", "kmalloc_unmergeable")
    accounted = {name: config[name] for name in names}
    accounted |= {"memcg_kmem": 0, "slab_merge": 1, "usercopy_unmergeable": 0}
    mm = kmalloc_machine(version, **accounted)
    assert cache_name(mm, 64, GFP_KERNEL | __GFP_ACCOUNT) == "kmalloc-64"
    assert not any(name.startswith("kmalloc-cg") for name in mm.cache_names)
    assert (slub_cache.find_mergeable(mm, "buffers", 64, 64, 0) < 0) == alone
    validate(mm)


@pytest.mark.parametrize(
    ("version", "first"), [("5.17", "dma-kmalloc-96"), ("6.1", "dma-kmalloc-8")]
)
def test_caches_for_dma_were_created_by_index(version: str, first: str) -> None:
    mm = kmalloc_machine(version, kmalloc_cgroup=1)
    assert next(name for name in mm.cache_names if name.startswith("dma-")) == first


def test_call_sites_choose_among_random_caches() -> None:
    mm = kmalloc_machine("6.12", kmalloc_random=15)
    mm.random_kmalloc_seed = 12345
    types = {slab_index.kmalloc_type(mm, GFP_KERNEL, site) for site in range(0, 65536, 64)}
    assert types == set(range(16))


def test_no_bytes_are_an_address_of_their_own() -> None:
    mm = kmalloc_machine()
    assert kmalloc(mm, 0) == ZERO_SIZE_PTR
    slab_common.kfree(mm, ZERO_SIZE_PTR)
    slab_common.kfree(mm, 0)
    assert slab_common.ksize(mm, ZERO_SIZE_PTR) == 0
    assert mm.complaints == []


@pytest.mark.parametrize("version", VERSIONS)
def test_large_sizes_take_pages(version: str) -> None:
    mm = kmalloc_machine(version)
    address = kmalloc(mm, 8193)
    assert (address - mm.page_offset) % 16384 == 0
    assert slab_common.ksize(mm, address) == 16384
    slab_common.kfree(mm, address)
    slab_common.kfree(mm, address)
    assert [complaint["kind"] for complaint in mm.complaints] == [COMPLAINT_NOT_SLAB]
    assert kmalloc(mm, 1 << 40) == 0
    validate(mm)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_large_kmalloc_is_traced_twice_since_6_11(version: str) -> None:
    mm = kmalloc_machine(version)
    mm.step_mask = 1 << 6  # STEP_KMALLOC
    address = kmalloc(mm, 8193)
    told = [(args[0] & (1 << 64) - 1, *args[1:3]) for _, _, _, args in read_steps(mm)]
    assert told == [(address, 8193, 16384)] * (1 if version in ("5.10", "5.13", "6.1") else 2)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_address_inside_a_large_block_frees_all_of_it(version: str) -> None:
    mm = kmalloc_machine(version)
    for offset in (8, 4096 + 8):
        address = kmalloc(mm, 8193)
        pfn = (address - mm.page_offset) >> mm.page_shift
        slab_common.kfree(mm, address + offset)
        refused = offset > 4096 and mm.view("has")[0].kfree_pages == KFREE_HEAD
        assert (mm.view("page")["users"][pfn] == USE_LARGE_KMALLOC) == refused
        assert len(mm.complaints) == refused
    validate(mm)


@pytest.mark.parametrize("version", VERSIONS)
def test_pages_that_kmalloc_did_not_give(version: str) -> None:
    mm = kmalloc_machine(version)
    kind = mm.view("has")[0].kfree_pages
    for gfp in (GFP_KERNEL, GFP_KERNEL | __GFP_COMP):
        compound = gfp != GFP_KERNEL and kind <= KFREE_ANY
        before = len(mm.complaints)
        pfn = page_alloc.alloc_pages(mm, gfp, 2, -1)
        slab_common.kfree(mm, mm.page_offset + (pfn << mm.page_shift))
        free = mm.view("page")["users"][pfn : pfn + 4] == USE_FREE
        assert len(mm.complaints) - before == (not compound)
        assert free[0] == (compound or kind == KFREE_ANY)
        assert free[1:].all() == free[1:].any() == compound


def test_krealloc_moves_only_to_grow() -> None:
    mm = kmalloc_machine(contents=True)
    first = kmalloc(mm, 100)
    place = (first - mm.page_offset) >> 3
    mm.view("ram")[place] = 0xABCDEF
    assert slab_common.krealloc(mm, first, 128, GFP_KERNEL) == first
    moved = slab_common.krealloc(mm, first, 129, GFP_KERNEL)
    assert moved != first
    assert mm.view("ram")[(moved - mm.page_offset) >> 3] == 0xABCDEF
    assert kmalloc(mm, 100) == first
    assert slab_common.krealloc(mm, moved, 0, GFP_KERNEL) == ZERO_SIZE_PTR
    assert slab_common.ksize(mm, slab_common.krealloc(mm, 0, 10, GFP_KERNEL)) == 16
    validate(mm)


def test_allocation_zeroes() -> None:
    mm = kmalloc_machine(contents=True)
    first = kmalloc(mm, 64)
    place = (first - mm.page_offset) >> 3
    mm.view("ram")[place : place + 8] = 7
    slab_common.kfree(mm, first)
    assert kmalloc(mm, 64) == first
    assert not mm.view("ram")[place : place + 8].any()


def test_kfree_refuses_what_is_no_object() -> None:
    mm = kmalloc_machine()
    address = kmalloc(mm, 100)
    slab_common.kfree(mm, address + 8)
    slab_common.kfree(mm, address)
    slab_common.kfree(mm, address)
    assert [complaint["kind"] for complaint in mm.complaints] == [
        COMPLAINT_INVALID_OBJECT,
        COMPLAINT_DOUBLE_FREE,
    ]
    validate(mm)


def test_buckets_are_caches_of_their_own() -> None:
    mm = kmalloc_machine("6.12", kmalloc_buckets=1)
    kind = slab_kmalloc.kmem_buckets_create(mm, "msg_msg", usersize=4096)
    assert kind == KMALLOC_BUCKETS
    cache = int(mm.view("kmalloc_cache")[kind * KMALLOC_INDEXES + 6])
    assert mm.cache_names[cache] == "msg_msg-64"
    assert slab_kmalloc.kmem_buckets_create(kmalloc_machine("6.1"), "msg_msg") == 0


def test_slub_begins_once() -> None:
    with pytest.raises(SlabError):
        slab_kmalloc.kmem_cache_init(kmalloc_machine())

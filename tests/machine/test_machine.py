"""The Machine: booted from every profile, driven by hand, checked at its edge."""

from typing import Any

import numpy as np
import pytest

from mmtwin import Machine
from mmtwin.kernel.constants import PG_buddy
from mmtwin.kernel.page_alloc import free_pages_core
from mmtwin.machine import Complaint
from mmtwin.machine.boot_caches import boot_caches
from mmtwin.machine.truth_pages import free_lists
from mmtwin.versions.profiles import profile, profile_names

SMALL = "128M"


@pytest.fixture
def k() -> Machine:
    return Machine.boot("x86_64-6.1", memory=SMALL)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_boots_valid_and_serves(name: str) -> None:
    k = Machine.boot(name, memory="256M", cpus=2)
    assert k.validate() == []
    address = k.kmalloc(100)
    assert k.ksize(address) >= 100
    assert "slab" in k.page(k.virt_to_pfn(address)).flags
    k.kfree(address)
    page = k.alloc_pages(1)
    assert page is not None
    k.free_pages(page, 1)
    assert k.validate() == []
    assert k.complaints == []


def test_the_same_boot_is_the_same_state() -> None:
    first, second = (Machine.boot("arm64-5.13", memory=SMALL) for _ in range(2))
    assert first.checksum() == second.checksum()
    other = Machine.boot("arm64-5.13", memory=SMALL, seed=2)
    assert other.checksum() != first.checksum()
    assert first.kmalloc(8) == second.kmalloc(8)
    assert first.checksum() == second.checksum()


def test_boot_frees_memory_as_free_pages_core_does() -> None:
    k = Machine.boot("x86_64-6.1", memory="64M")
    fresh = Machine.boot("x86_64-6.1", memory="64M")
    # one zone's boot memory again, block after block through the kernel's own function
    number = int(fresh.mm.view("page")["zone"][256])
    pages = fresh.mm.view("page")
    lists = free_lists(fresh.mm, number)
    heads = sorted(
        (pfn, int(key.split(",")[0])) for key, pfns in lists.items() for pfn in pfns
    )
    zone = fresh.mm.view("zone")[number]
    for key, pfns in lists.items():
        order, kind = (int(word) for word in key.split(","))
        head = int(zone["free_list"]) + order * fresh.mm.nr_migratetypes + kind
        pages["next"][head] = pages["prev"][head] = head
        for pfn in pfns:
            pages["flags"][pfn] -= PG_buddy
            pages["users"][pfn : pfn + (1 << order)] = 0
    zone["nr_free"][:] = 0
    zone["nr_free_pages"] = zone["managed_pages"] = 0
    for pfn, order in heads:
        free_pages_core(fresh.mm, pfn, order)
    assert free_lists(fresh.mm, number) == free_lists(k.mm, number)
    assert zone["nr_free_pages"] == k.mm.view("zone")[number]["nr_free_pages"]


def test_nodes_have_memory_and_cpus() -> None:
    k = Machine.boot("x86_64-6.1", memory="1G", cpus=4, nodes=2)
    assert k.validate() == []
    assert list(k.mm.view("cpu_node")) == [0, 0, 1, 1]
    k.cpu = 3
    page = k.alloc_pages(0)
    assert page is not None
    assert page.node == 1


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"profile": "x86_64-9.9"}, "no profile 'x86_64-9.9'"),
        ({"memory": "1M"}, "64 MiB to 16 TiB"),
        ({"memory": "lots"}, "not a size"),
        ({"cpus": 0}, "0 CPUs"),
        ({"nodes": 2}, "2 nodes"),
        ({"slab_random": True}, "not a configuration switch"),
    ],
)
def test_a_machine_that_cannot_be_is_one_clear_error(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        Machine.boot(**{"memory": SMALL, **settings})


def test_boot_caches_have_debians_geometry(k: Machine) -> None:
    known = {cache.name: cache for cache in boot_caches(profile("x86_64-6.1"))}
    mine = {cache.name: cache for cache in k.caches}
    assert known.keys() <= mine.keys()
    for name, cache in known.items():
        assert (mine[name].object_size, mine[name].align) == (cache.object_size, cache.align), name


def test_configuration_changes_the_machine() -> None:
    plain = Machine.boot("x86_64-6.1", memory=SMALL, SLAB_FREELIST_RANDOM=False)
    page = plain.page(plain.virt_to_pfn(plain.kmalloc(2048)))
    assert plain.kmalloc(2048) - page.address in (2048, 4096, 6144)
    debug = Machine.boot("x86_64-6.1", memory=SMALL, cmdline={"slub_debug": "Z"})
    assert debug.cache("kmalloc-64").red_left_pad == 64


def test_ram_is_bytes(k: Machine) -> None:
    address = k.kmalloc(64)
    k.write(address + 3, b"abc")
    assert k.read(address + 2, 5) == b"\0abc\0"
    assert k.read(address, 0) == b""
    page = k.alloc_pages(0, "GFP_KERNEL|__GFP_ZERO")
    assert page is not None
    assert k.read(page.address, 4096) == bytes(4096)


@pytest.mark.parametrize("address", [0, 16, 1 << 63, -1, 1 << 64, 0xFFFF888000000000])
def test_addresses_are_checked_at_the_edge(k: Machine, address: int) -> None:
    with pytest.raises(ValueError, match=r"address|no RAM"):
        k.read(address, 1)
    with pytest.raises(ValueError, match=r"address|no RAM"):
        k.write(address, b"x")


def test_reading_beyond_ram(k: Machine) -> None:
    last = k.page(k.mm.max_pfn - 1).address
    with pytest.raises(ValueError, match=r"no RAM|not in the direct map"):
        k.read(last, 1 << 20)
    with pytest.raises(ValueError, match=r"no RAM|not in the direct map"):
        k.read(k.kmalloc(8), 1 << 40)


def test_pages_show_what_they_are(k: Machine) -> None:
    page = k.alloc_pages(2, "GFP_KERNEL|__GFP_COMP")
    assert page is not None
    assert (page.order, page.refcount, page.zone, page.node) == (2, 1, "DMA32", 0)
    tail = k.page(page.pfn + 3)
    assert tail.flags == ["tail"]
    assert tail.head == page.pfn
    k.free_pages(page)
    assert page.use == "free"
    assert k.page(page) == page
    with pytest.raises(ValueError, match="no such page"):
        k.page(1 << 40)
    with pytest.raises(ValueError, match="not in the direct map"):
        k.virt_to_pfn(4096)


def test_free_pages_twice_is_a_complaint(k: Machine) -> None:
    page = k.alloc_pages(0)
    assert page is not None
    k.free_pages(page)
    with pytest.raises(Complaint, match="Bad page state"):
        k.free_pages(page)


def test_caches_are_created_used_and_destroyed(k: Machine) -> None:
    cache = k.kmem_cache_create("mine", 100, flags="SLAB_HWCACHE_ALIGN|SLAB_NO_MERGE")
    assert (cache.size, cache.object_size) == (128, 100)
    objects = [k.kmem_cache_alloc("mine") for _ in range(cache.oo_objects + 1)]
    assert len(set(objects)) == len(objects)
    with pytest.raises(Complaint, match="Wrong slab cache"):
        k.kmem_cache_free("filp", objects[0])
    for address in objects[1:]:
        k.kmem_cache_free(cache, address)
    k.kmem_cache_destroy(cache)
    with pytest.raises(ValueError, match="no slab cache is named 'mine'"):
        k.cache("mine")
    assert k.validate() == []
    with pytest.raises(ValueError, match="no slab flag"):
        k.kmem_cache_create("x", 8, flags="HWCACHE")


def test_destroying_a_cache_with_objects_is_a_complaint(k: Machine) -> None:
    cache = k.kmem_cache_create("mine", 100, flags="SLAB_NO_MERGE")
    k.kmem_cache_alloc(cache)
    with pytest.raises(Complaint, match="Objects remaining"):
        k.kmem_cache_destroy(cache)


def test_kfree_of_what_is_no_object_is_a_complaint(k: Machine) -> None:
    address = k.kmalloc(64)
    k.kfree(address)
    with pytest.raises(Complaint):
        k.kfree(address)
    with pytest.raises(Complaint):
        k.kfree(k.kmalloc(64) + 8)
    with pytest.raises(Complaint):
        k.kfree(1 << 40)
    page = k.alloc_pages(0)
    assert page is not None
    with pytest.raises(Complaint):
        k.kfree(page.address)
    with pytest.raises(ValueError, match="unsigned 64-bit"):
        k.kfree(-1)


def test_kmalloc_edges(k: Machine) -> None:
    assert k.kmalloc(0) == 16
    k.kfree(16)
    k.kfree(0)
    large = k.kmalloc(20000)
    assert k.page(k.virt_to_pfn(large)).order == 3
    k.kfree(large)
    assert k.kmalloc(1 << 23) == 0
    with pytest.raises(ValueError, match=r"kmalloc\(\): size must be an unsigned 64-bit"):
        k.kmalloc(-1)
    zeroed = k.kzalloc(50)
    assert k.read(zeroed, 50) == bytes(50)
    with pytest.raises(ValueError, match="no gfp flag 'GFP_X'"):
        k.kmalloc(8, "GFP_X")


def test_krealloc_keeps_the_bytes(k: Machine) -> None:
    small = k.kmalloc(32)
    k.write(small, b"0123456789abcdef0123456789abcdef")
    large = k.krealloc(small, 500)
    assert large != small
    assert k.read(large, 32) == b"0123456789abcdef0123456789abcdef"
    assert k.krealloc(large, 510) == large


def test_the_trace_ring_says_what_happened(k: Machine) -> None:
    with k.trace:
        address = k.kmalloc(100)
    k.kmalloc(100)
    steps = k.trace.read()
    kmallocs = [arguments for name, _, _, arguments in steps if name == "kmalloc"]
    assert [arguments[0] & (1 << 64) - 1 for arguments in kmallocs] == [address]
    assert kmallocs[0][1:3] == (100, 128)
    k.trace.start("kfree")
    k.kfree(address)
    assert [name for name, *_ in k.trace.read()] == ["kfree"]
    with pytest.raises(ValueError, match="no step 'free'"):
        k.trace.start("free")


def test_proc_is_the_kernels_text(k: Machine) -> None:
    k.kmalloc(100)
    assert k.proc["slabinfo"].startswith(b"slabinfo - version: 2.1\n")
    assert b"Node 0, zone    DMA32" in k.proc["buddyinfo"]
    assert set(k.proc) >= {"slabinfo", "zoneinfo", "meminfo"}
    with pytest.raises(KeyError, match="no file 'cpuinfo'"):
        k.proc["cpuinfo"]


def test_describe_is_plain(k: Machine) -> None:
    import json

    said = json.loads(json.dumps(k.describe()))
    assert said["kmalloc"]["KMALLOC_MAX_CACHE_SIZE"] == 8192
    assert said["zones"][0]["name"] == "DMA"
    assert "kernel image" in [part["what"] for part in said["reserved"]]
    assert "x86_64-6.1" in repr(k)


def test_a_policy_may_be_swapped(k: Machine) -> None:
    k.policy["calculate_order"] = lambda *arguments: 3
    cache = k.kmem_cache_create("large_slabs", 64, flags="SLAB_NO_MERGE")
    assert cache.oo_order == 3


def test_machines_from_the_recording(recording: Any) -> None:
    k = Machine.at(recording, "DUMP start")
    assert k.validate() == []
    before = int(k.mm.view("zone")["nr_free_pages"].sum())
    assert k.kmalloc(64) > 0
    shown = Machine.from_snapshots(recording, "start")
    free = int(shown.mm.view("zone")["nr_free_pages"].sum())
    assert abs(free - before) < 64
    assert shown.kmalloc(64) > 0
    assert shown.validate() == []
    with pytest.raises(ValueError, match=r"holds no truth|no marker"):
        Machine.at(recording, "DUMP nothing")


def test_checksums_see_every_byte(k: Machine) -> None:
    before = k.checksum()
    address = k.kmalloc(8)
    after = k.checksum()
    assert after != before
    k.write(address, b"\1")
    assert k.checksum() != after
    assert np.any(k.mm.view("ram"))


def test_boot_caches_are_those_of_the_recorded_kernel(k: Machine, recording: Any) -> None:
    mine = {cache.name: cache for cache in k.caches}
    for said in recording.snapshots["end"].truth["slab"]:
        cache = mine[said["name"]]
        for field in ("size", "object_size", "offset", "min_partial", "cpu_partial"):
            assert getattr(cache, field) == said[field], (said["name"], field)
        assert cache.oo_order << 16 | cache.oo_objects == said["oo"], said["name"]


def test_a_block_is_freed_with_its_own_order(k: Machine) -> None:
    before = k.mm.view("zone")["nr_free_pages"].sum()
    block = k.alloc_pages(5)
    assert block is not None
    assert k.mm.view("zone")["nr_free_pages"].sum() == before - 32
    k.free_pages(block)
    assert k.mm.view("zone")["nr_free_pages"].sum() == before

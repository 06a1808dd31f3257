"""kmemleak: what is tracked, what leaks, what is painted, what it prints."""

import re
from itertools import pairwise

import pytest
from leak_machine import GFP_KERNEL, HZ, Leaks
from slub_machine import VERSIONS, kmalloc_machine

from mmtwin.kernel import kmemleak_scan, slub, slub_cache, slub_pcs
from mmtwin.kernel.constants import CHECK_KMEMLEAK, COMPLAINT_KMEMLEAK
from mmtwin.kernel.kmemleak import SIZE_MAX
from mmtwin.kernel.slab_common import krealloc
from mmtwin.kernel.slub_slab import rcu_free_slabs
from mmtwin.kernel.slub_validate import validate

# In 7.3 a sheaf still holds what it gave out last, so that no leak shows at once.
PLAIN = [version for version in VERSIONS if version != "7.3"]


def chain(leaks: Leaks, length: int) -> list[int]:
    """Objects each of which points to the next."""
    objects = [leaks.kmalloc() for _ in range(length)]
    for one, following in pairwise(objects):
        leaks.store(one + 8, following)
    return objects


# ---- what is tracked


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_are_tracked_from_kmalloc_to_kfree(version: str) -> None:
    leaks = Leaks(version)
    leaks.kfree(leaks.kmalloc(100))  # 7.3: the sheaves that it takes stay
    before = len(leaks.k.object_list)
    small, large = leaks.kmalloc(100), leaks.kmalloc(20000)
    assert leaks.object(small).size == 128  # s->object_size
    assert leaks.object(large).size == 20000
    assert leaks.object(large).min_count == 1
    leaks.kfree(small)
    leaks.kfree(large)
    assert len(leaks.k.object_list) == before
    assert len(leaks.k.tree) == before
    assert not leaks.mm.complaints
    validate(leaks.mm)


@pytest.mark.parametrize("version", VERSIONS)
def test_objects_of_bulks_and_of_caches_are_tracked(version: str) -> None:
    leaks = Leaks(version)
    cache = slub_cache.kmem_cache_create(leaks.mm, "thing", 200, 0, 0)
    tracked = set(leaks.k.tree.at)
    one = slub.kmem_cache_alloc(leaks.mm, cache, GFP_KERNEL)
    many = slub.kmem_cache_alloc_bulk(leaks.mm, cache, GFP_KERNEL, 40)
    assert {one, *many} <= set(leaks.k.tree.at)
    assert leaks.object(one).size == 200
    slub.kmem_cache_free(leaks.mm, cache, one)
    slub.kmem_cache_free_bulk(leaks.mm, cache, many)
    assert not {one, *many} & set(leaks.k.tree.at)
    assert tracked <= set(leaks.k.tree.at)


def test_an_object_in_an_rcu_sheaf_is_tracked_until_the_grace_period_ends() -> None:
    leaks = Leaks("6.18")
    cache = slub_cache.kmem_cache_create(leaks.mm, "thing", 200, 0, 0, sheaf_capacity=8)
    objects = slub.kmem_cache_alloc_bulk(leaks.mm, cache, GFP_KERNEL, 8)
    for address in objects:
        assert slub_pcs.kfree_rcu_sheaf(leaks.mm, cache, address)
    assert set(objects) <= set(leaks.k.tree.at)
    assert not leaks.settle() & set(objects)
    slub_pcs.rcu_free_sheaves(leaks.mm, -1)
    assert not set(objects) & set(leaks.k.tree.at)
    rcu_free_slabs(leaks.mm, -1)


def test_objects_of_prefilled_sheaves_are_tracked() -> None:
    leaks = Leaks("6.18")
    cache = slub_cache.kmem_cache_create(leaks.mm, "thing", 200, 0, 0, sheaf_capacity=8)
    sheaf = slub_pcs.kmem_cache_prefill_sheaf(leaks.mm, cache, GFP_KERNEL, 4)
    address = slub_pcs.alloc_from_sheaf(leaks.mm, sheaf)
    assert leaks.object(address).size == 200
    slub_pcs.kmem_cache_return_sheaf(leaks.mm, cache, GFP_KERNEL, sheaf)


def test_its_own_objects_are_slab_objects_and_not_tracked() -> None:
    leaks = Leaks()
    cache = leaks.mm.view("cache")[leaks.k.object_cache]
    assert (cache["object_size"], cache["size"]) == (304, 304)
    addresses = {o.address for o in leaks.k.object_list}
    assert 0 not in addresses
    assert not addresses & set(leaks.k.tree.at)
    for version, size in (("5.10", 304), ("6.12", 168), ("7.3", 176)):
        machine = Leaks(version)
        assert machine.mm.view("cache")[machine.k.object_cache]["object_size"] == size


def test_with_kmemleak_off_nothing_is_called() -> None:
    mm = kmalloc_machine()
    assert mm.checkers & CHECK_KMEMLEAK == 0
    assert mm.kmemleak is None
    assert krealloc(mm, 0, 100, GFP_KERNEL)


# ---- what leaks


@pytest.mark.parametrize("version", PLAIN)
def test_a_chain_whose_head_is_dropped_leaks_as_a_whole_but_counts_what_refers(
    version: str,
) -> None:
    leaks = Leaks(version)
    objects = chain(leaks, 5)
    leaks.store(leaks.root, objects[0])
    assert leaks.settle() == set()
    leaks.store(leaks.root, 0)
    # orphans are not scanned: what only an orphan refers to has no reference either
    assert leaks.settle() == set(objects)
    assert [leaks.object(each).count for each in objects] == [0] * 5


def test_a_cycle_leaks() -> None:
    leaks = Leaks()
    objects = chain(leaks, 4)
    leaks.store(objects[-1] + 8, objects[0])
    assert leaks.settle() == set(objects)


def test_an_object_that_only_refers_to_itself_leaks() -> None:
    leaks = Leaks()
    alone = leaks.kmalloc()
    leaks.store(alone, alone + 16)
    assert leaks.settle() == {alone}


@pytest.mark.parametrize(("offset", "leaked"), [(0, 0), (63, 0), (64, 1), (-1, 1)])
def test_a_pointer_to_the_inside_counts(offset: int, leaked: int) -> None:
    leaks = Leaks()
    address = leaks.kmalloc(64)
    leaks.store(leaks.root + 8, address + offset)
    assert len(leaks.settle() & {address}) == leaked


def test_only_aligned_words_are_pointers() -> None:
    leaks = Leaks()
    address = leaks.kmalloc()
    leaks.store(leaks.root + 4, address)
    assert leaks.settle() == {address}


def test_a_last_word_that_is_cut_off_is_not_scanned() -> None:
    leaks = Leaks()
    page, address = leaks.page(0), leaks.kmalloc()
    leaks.k.alloc(page, 20, 0, GFP_KERNEL)
    leaks.store(page + 16, address)
    assert leaks.settle() == {address}
    leaks.store(page + 8, address)
    assert leaks.settle() == set()


def test_pointers_in_freed_memory_do_not_count() -> None:
    leaks = Leaks(init_on_alloc=0)
    holder, address = leaks.kmalloc(256), leaks.kmalloc(64)
    leaks.store(holder + 8, address)
    leaks.store(leaks.root, holder)
    assert leaks.settle() == set()
    leaks.kfree(holder)
    assert leaks.settle() == {address}


def test_a_pointer_counts_in_large_kmallocs_and_in_percpu_sections() -> None:
    leaks = Leaks()
    large, first, second = leaks.kmalloc(100_000), leaks.kmalloc(), leaks.kmalloc()
    section = leaks.page(1)
    leaks.k.percpu_sections.append((section, section + 8192))
    leaks.store(leaks.root, large + 50_000)
    leaks.store(large + 99_992, first)
    leaks.store(section + 8184, second)
    assert leaks.settle() == set()


def test_a_young_object_is_no_leak_yet() -> None:
    leaks = Leaks()
    address = leaks.kmalloc()
    leaks.store(address, 1)
    leaks.k.scan()
    leaks.mm.jiffies += 5 * HZ - 1
    assert leaks.k.scan() == 0
    leaks.mm.jiffies += 1
    assert leaks.k.scan() == 1
    assert leaks.k.scan() == 0  # reported once


def test_an_object_that_changed_is_grey_for_one_scan() -> None:
    leaks = Leaks()
    address = leaks.kmalloc()
    assert leaks.scan() == 1  # nothing but zeros, whose checksum is what it began with
    other = leaks.kmalloc()
    leaks.store(other, 5)
    assert leaks.scan() == 0
    assert leaks.object(other).color == "grey"
    assert leaks.object(address).color == "white"
    assert leaks.scan() == 1


def test_since_the_checksum_begins_with_none_zeros_are_seen_twice_too() -> None:
    leaks = Leaks("6.12")
    leaks.kmalloc()
    assert leaks.scan() == 0
    assert leaks.scan() == 1


def test_what_a_modified_object_refers_to_is_spared_with_it() -> None:
    leaks = Leaks()
    one, other = chain(leaks, 2)
    leaks.settle()
    third = leaks.kmalloc()
    leaks.store(one + 16, third)
    leaks.scan()
    assert leaks.object(third).color == leaks.object(other).color == "grey"


def test_a_sheaf_still_refers_to_what_it_gave_out() -> None:
    leaks = Leaks("7.3")
    cache = slub_cache.kmem_cache_create(leaks.mm, "thing", 200, 0, 0)
    before, address, behind = (
        slub.kmem_cache_alloc(leaks.mm, cache, GFP_KERNEL) for _ in range(3)
    )
    assert not leaks.settle() & {before, address, behind}
    slub.kmem_cache_free(leaks.mm, cache, before)
    slub.kmem_cache_free(leaks.mm, cache, behind)  # takes its place in the sheaf
    assert address in leaks.settle()


# ---- painting


def test_what_is_no_leak_is_scanned_and_what_is_ignored_is_not() -> None:
    leaks = Leaks()
    grey, below_grey = chain(leaks, 2)
    black, below_black = chain(leaks, 2)
    unread, below_unread = chain(leaks, 2)
    leaks.k.not_leak(grey)
    leaks.k.ignore(black)
    leaks.k.no_scan(unread)
    leaks.store(leaks.root, unread)
    assert leaks.settle() == {below_black, below_unread}
    assert [leaks.object(each).color for each in (grey, below_grey, black, unread)] == [
        "grey", "grey", "black", "grey",
    ]


def test_only_scan_areas_are_scanned() -> None:
    leaks = Leaks()
    holder, inside, outside, last = (leaks.kmalloc(128) for _ in range(4))
    for place, address in ((0, outside), (40, inside), (120, last)):
        leaks.store(holder + place, address)
    leaks.store(leaks.root, holder)
    leaks.k.scan_area(holder + 32, 16, GFP_KERNEL)
    assert leaks.settle() == {outside, last}
    leaks.k.scan_area(holder + 112, SIZE_MAX, GFP_KERNEL)
    assert leaks.settle() == {outside}
    areas = leaks.object(holder).areas
    assert [(start - holder, size) for start, size, _ in areas] == [(112, 16), (32, 16)]
    leaks.kfree(holder)
    cache = leaks.mm.view("cache")[leaks.k.scan_area_cache]
    assert cache["object_size"] == 32
    validate(leaks.mm)


def test_a_scan_area_larger_than_its_object_is_refused() -> None:
    leaks = Leaks()
    address = leaks.kmalloc(64)
    leaks.k.scan_area(address + 32, 64, GFP_KERNEL)
    assert "Scan area larger than object" in leaks.mm.complaints[-1]["text"]
    assert leaks.object(address).areas == []


def test_vmalloc_areas_need_a_second_reference_and_take_the_surplus_of_their_vm_struct() -> None:
    leaks = Leaks()
    area, memory = leaks.kmalloc(64), leaks.page(2)
    leaks.k.vmalloc(area, memory, 16384, GFP_KERNEL)
    leaks.store(area + 8, memory)  # vm_struct.addr
    leaks.store(leaks.root, area)
    assert leaks.settle() == {memory}
    leaks.store(leaks.root + 8, area)  # a surplus reference to the vm_struct
    assert leaks.settle() == set()
    leaks.store(leaks.root + 8, memory + 5000)
    assert leaks.settle() == set()
    leaks.store(leaks.root + 8, 0)
    assert leaks.settle() == {memory}


@pytest.mark.parametrize("few", [0, 16])
def test_a_vm_struct_that_points_to_itself_passes_nothing_on(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kmemleak_scan, "FEW", few)
    leaks = Leaks()
    area, memory = leaks.kmalloc(64), leaks.page(2)
    leaks.k.vmalloc(area, memory, 16384, GFP_KERNEL)
    leaks.store(area + 8, memory)
    leaks.store(area + 16, area)
    leaks.store(leaks.root, area)
    assert leaks.settle() == {memory}


def test_memory_of_memblock_is_scanned_by_its_physical_address() -> None:
    for version in ("5.10", "6.1"):
        leaks = Leaks(version)
        memory, address = leaks.page(0), leaks.kmalloc()
        leaks.store(memory + 8, address)
        assert leaks.settle() == {address}
        phys = memory - leaks.mm.page_offset & SIZE_MAX
        leaks.k.alloc_phys(phys, 4096, GFP_KERNEL)
        assert leaks.settle() == set()
        assert bool(len(leaks.k.phys_tree)) == (version == "6.1")
        if version == "6.1":
            leaks.k.ignore(phys, phys=True)
            assert leaks.settle() == {address}


def test_a_partly_freed_object_becomes_two() -> None:
    leaks = Leaks()
    start = leaks.page(0)
    leaks.k.alloc(start, 4096, 0, GFP_KERNEL)
    leaks.k.free_part(start + 1024, 512)
    parts = [o for o in leaks.k.object_list if start <= o.pointer < start + 4096]
    assert [(o.pointer - start, o.size) for o in parts] == [(0, 1024), (1536, 2560)]
    leaks.k.free_part(start, 1024)
    assert start not in leaks.k.tree.at


def test_a_transient_leak_is_spared_once() -> None:
    leaks = Leaks("6.12")
    address = leaks.kmalloc()
    leaks.scan()
    leaks.k.transient_leak(address)
    assert leaks.scan() == 0
    assert leaks.scan() == 1


def test_contents_vanish_where_the_kernel_zeroes() -> None:
    """kzalloc and init_on_alloc leave no stale pointer; krealloc takes pointers along."""
    for zeroing, leaked in ((1, 1), (0, 0)):
        leaks = Leaks("6.1", init_on_alloc=zeroing)
        target, holder = leaks.kmalloc(32), leaks.kmalloc(96)
        leaks.store(holder + 80, target)
        leaks.kfree(holder)
        again = slub.kmem_cache_alloc(
            leaks.mm, leaks.mm.cache_names.index("kmalloc-96"), GFP_KERNEL
        )
        assert again == holder
        leaks.store(leaks.root, again)
        assert len(leaks.settle()) == leaked
    moved = krealloc(leaks.mm, again, 500, GFP_KERNEL)
    assert moved != again
    leaks.store(leaks.root, moved)
    assert leaks.settle() == set()
    assert leaks.object(moved).size == 512


# ---- errors


def test_an_overlap_stops_kmemleak() -> None:
    leaks = Leaks()
    address = leaks.kmalloc(128)
    assert leaks.k.create_object(address + 64, 128, 1, GFP_KERNEL) is None
    complaint = leaks.mm.complaints[-1]
    assert complaint["kind"] == COMPLAINT_KMEMLEAK
    text = f"kmemleak: Cannot insert 0x{address + 64:x} into the object search tree"
    assert complaint["text"].startswith(text)
    assert f"kmemleak: Object 0x{address:x} (size 128):" in complaint["text"]
    assert not leaks.k.enabled
    assert not leaks.mm.checkers & CHECK_KMEMLEAK
    assert len(leaks.k.object_list) == 0
    leaks.kfree(address)
    assert leaks.scan() == 0
    validate(leaks.mm)


def test_without_memory_the_pool_serves_and_then_kmemleak_stops() -> None:
    leaks = Leaks(pages=512)
    leaks.k.mem_pool_free_count = 3
    page = leaks.page(0)
    while leaks.page(0) > leaks.mm.page_offset:
        pass
    for number in range(200):
        leaks.k.alloc(page + 8 * number, 8, 1, GFP_KERNEL)
        if not leaks.k.enabled:
            break
    assert any("Memory pool empty" in line for line in leaks.k.log)
    assert "kmemleak: Cannot allocate a kmemleak_object structure" in leaks.k.log
    assert leaks.k.mem_pool_free_count == 3  # all were given back


def test_unknown_addresses_are_complained_of() -> None:
    leaks = Leaks()
    leaks.k.not_leak(leaks.root + 4096)
    leaks.k.no_scan(leaks.root + 4096)
    leaks.k.ignore(leaks.root + 8)
    words = [each["text"].splitlines()[0] for each in leaks.mm.complaints]
    assert re.fullmatch(
        r"kmemleak: Trying to color unknown object at 0x\w+ as Grey", words[0]
    )
    assert words[1].startswith("kmemleak: Not scanning unknown object at")
    assert words[2].startswith("kmemleak: Found object by alias at")
    assert words[3].endswith("as Black")
    leaks.k.free(leaks.root + 4096)
    assert len(leaks.mm.complaints) == 4  # the kernel says it only if built with DEBUG
    leaks.k.debug = True
    leaks.k.free(leaks.root + 4096)
    assert "Freeing unknown object at" in leaks.mm.complaints[-1]["text"]

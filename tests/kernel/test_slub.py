"""SLUB's paths, one rule at a time: who gets which object, where a slab goes."""

import pytest
from slub_machine import GFP_KERNEL, VERSIONS, checksum, kmalloc_machine, slub_machine

from mmtwin.kernel import slub, slub_cache, slub_pcs, slub_shrink, slub_state
from mmtwin.kernel.constants import (
    COMPLAINT_BAD_ADDRESS,
    COMPLAINT_DOUBLE_FREE,
    COMPLAINT_INVALID_OBJECT,
    COMPLAINT_NOT_SLAB,
    COMPLAINT_OBJECT_FREE,
    COMPLAINT_OBJECTS_REMAIN,
    COMPLAINT_WRONG_CACHE,
)
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.kernel.slub_slab import rcu_free_slab, rcu_free_slabs
from mmtwin.kernel.slub_validate import Invariant, validate

CPU_SLABS = VERSIONS[:-1]
DEBUG = sum(DEFS[f"SLAB_{n}"] for n in ("CONSISTENCY_CHECKS", "RED_ZONE", "POISON", "STORE_USER"))
NO_MERGE = DEFS["SLAB_NO_MERGE"]


def kinds(mm) -> list[int]:
    return [complaint["kind"] for complaint in mm.complaints]


def make(version: str = "6.1", size: int = 256, flags: int = 0, **kwargs):
    mm = slub_machine(version, **kwargs)
    return mm, slub_cache.kmem_cache_create(mm, "thing", size, 0, flags)


def take(mm, cache, count: int) -> list[int]:
    return [slub.kmem_cache_alloc(mm, cache, GFP_KERNEL) for _ in range(count)]


def give(mm, cache, objects) -> None:
    for address in objects:
        slub.kmem_cache_free(mm, cache, address)


@pytest.mark.parametrize("version", CPU_SLABS)
def test_a_new_slab_is_shuffled_from_its_start(version: str) -> None:
    mm, cache = make(version)
    record = mm.view("cache")[cache]
    first = int(record["random_seq"])
    order = [int(place) for place in mm.view("random_seq")[first : first + 16]]
    assert sorted(order) == list(range(0, 4096, 256)) != order
    mm.next_freelist_start = 5
    objects = take(mm, cache, 16)
    base = min(objects)
    assert [address - base for address in objects] == order[5:] + order[:5]
    validate(mm)


@pytest.mark.parametrize("version", CPU_SLABS)
def test_last_freed_is_first_taken_from_the_cpu_slab(version: str) -> None:
    mm, cache = make(version)
    objects = take(mm, cache, 5)
    give(mm, cache, objects[:3])
    assert take(mm, cache, 3) == objects[2::-1]


def test_free_pointers_are_hardened() -> None:
    mm, cache = make()
    first, second = take(mm, cache, 2)
    give(mm, cache, [second, first])
    record = mm.view("cache")[cache]
    place = first + int(record["offset"])
    stored = int(mm.view("ram")[(place - mm.page_offset) >> 3])
    key = int.from_bytes(place.to_bytes(8, "little"), "big")
    assert stored == second ^ int(record["random"]) ^ key


@pytest.mark.parametrize(("version", "turned"), [("5.10", True), ("5.13", False), ("6.1", False)])
def test_deactivation_keeps_the_order_since_5_12(version: str, turned: bool) -> None:
    mm, cache = make(version)
    take(mm, cache, 12)
    pfn, free = slub_state.cpu_slab(mm, cache)
    slub_cache.flush_all(mm, cache)
    page = mm.view("page")[pfn]
    found = slub_state.read_freelist(mm, cache, page["freelist"])
    assert found == (free[::-1] if turned else free)
    assert slub_state.node_partial(mm, cache) == [pfn]
    assert (int(page["inuse"]), int(page["frozen"])) == (12, 0)
    validate(mm)


@pytest.mark.parametrize(("version", "frozen"), [("5.10", 1), ("6.1", 1), ("6.12", 0)])
def test_a_full_slab_goes_to_the_cpu_partial_list(version: str, frozen: int) -> None:
    mm, cache = make(version)
    objects = take(mm, cache, 48)
    slabs = sorted({(address - mm.page_offset) >> 12 for address in objects})
    current = slub_state.cpu_slab(mm, cache)[0]
    others = [pfn for pfn in slabs if pfn != current]
    give(mm, cache, [next(a for a in objects if (a - mm.page_offset) >> 12 == p) for p in others])
    assert slub_state.cpu_partial(mm, cache) == others[::-1]
    assert [int(mm.view("page")[pfn]["frozen"]) for pfn in others] == [frozen] * 2
    validate(mm)


@pytest.mark.parametrize(
    ("version", "limit"), [("5.10", 14), ("5.13", 14), ("6.1", 7), ("6.12", 7)]
)
def test_a_full_cpu_partial_list_drains_to_the_node(version: str, limit: int) -> None:
    mm, cache = make(version)
    objects = take(mm, cache, 16 * 24)
    by_slab: dict[int, list[int]] = {}
    for address in objects:
        by_slab.setdefault((address - mm.page_offset) >> 12, []).append(address)
    current = slub_state.cpu_slab(mm, cache)[0]
    sizes = []
    for pfn, inside in by_slab.items():
        if pfn != current:
            give(mm, cache, inside[:1])
            sizes.append(len(slub_state.cpu_partial(mm, cache)))
    assert max(sizes) == limit
    assert sizes[limit] == 1  # 5.10 counts objects: more than 13, since 5.16 slabs: 7
    assert len(slub_state.node_partial(mm, cache)) >= limit
    validate(mm)


@pytest.mark.parametrize("version", VERSIONS)
def test_empty_slabs_beyond_min_partial_are_freed(version: str) -> None:
    mm, cache = make(version, pages=1024)
    give(mm, cache, take(mm, cache, 16 * 40))
    slub_cache.flush_all(mm, cache)
    n = mm.view("cache_node")[cache]
    assert n["nr_partial"] == n["nr_slabs"] >= 4
    assert slub_shrink.kmem_cache_shrink(mm, cache) is False
    assert mm.view("cache_node")[cache]["nr_slabs"] == 0
    validate(mm)


def test_shrink_puts_the_fullest_slabs_first() -> None:
    mm, cache = make()
    by_slab: dict[int, list[int]] = {}
    for address in take(mm, cache, 64):
        by_slab.setdefault((address - mm.page_offset) >> 12, []).append(address)
    slub_cache.flush_all(mm, cache)
    for count, inside in zip((5, 2, 9, 2), by_slab.values(), strict=True):
        give(mm, cache, inside[:count])
    slub_shrink.kmem_cache_shrink(mm, cache)
    free = [16 - int(mm.view("page")[p]["inuse"]) for p in slub_state.node_partial(mm, cache)]
    assert free == [2, 2, 5, 9]
    validate(mm)


def test_typesafe_slabs_wait_for_a_grace_period() -> None:
    mm, cache = make(flags=DEFS["SLAB_TYPESAFE_BY_RCU"])
    give(mm, cache, take(mm, cache, 16 * 30))
    slub_shrink.kmem_cache_shrink(mm, cache)
    validate(mm)
    waiting = slub_state.slabs_of(mm, cache)
    assert waiting and mm.view("cache_node")[cache]["nr_slabs"] == 0
    assert rcu_free_slab(mm, waiting[1])
    assert not rcu_free_slab(mm, waiting[1])
    assert rcu_free_slabs(mm, -1) == len(waiting) - 1
    assert slub_state.slabs_of(mm, cache) == []
    validate(mm)


@pytest.mark.parametrize("version", ["6.1", "6.12", "7.3"])
def test_debug_caches_take_objects_from_the_nodes_list(version: str) -> None:
    mm, cache = make(version, flags=DEBUG)
    objects = take(mm, cache, 3)
    assert slub_state.cpu_slab(mm, cache) == (-1, [])
    assert len(slub_state.node_partial(mm, cache)) == 1
    validate(mm)
    give(mm, cache, objects)
    slub.kmem_cache_free(mm, cache, objects[0])
    assert kinds(mm) == [COMPLAINT_OBJECT_FREE]
    validate(mm)


def test_wrong_frees_are_named() -> None:
    mm, cache = make()
    other = slub_cache.kmem_cache_create(mm, "other", 512)
    first, second = take(mm, cache, 2)
    slub.kmem_cache_free(mm, other, first)  # goes back to its own cache
    slub.kmem_cache_free(mm, cache, first)
    slub.kmem_cache_free(mm, cache, second + 8)
    slub.kmem_cache_free(mm, cache, mm.page_offset + (400 << 12))
    slub.kmem_cache_free(mm, cache, 0x1000)
    assert kinds(mm) == [
        COMPLAINT_WRONG_CACHE,
        COMPLAINT_DOUBLE_FREE,
        COMPLAINT_INVALID_OBJECT,
        COMPLAINT_NOT_SLAB,
        COMPLAINT_BAD_ADDRESS,
    ]
    assert slub_state.live_objects(mm, cache) == [second]
    validate(mm)


@pytest.mark.parametrize("version", VERSIONS)
def test_bulk_gives_what_single_calls_give(version: str) -> None:
    mm, cache = make(version)
    twin, same = make(version)
    single = take(mm, cache, 40)
    bulk = slub.kmem_cache_alloc_bulk(twin, same, GFP_KERNEL, 40)
    if version in CPU_SLABS:
        assert bulk == single
    assert len(set(bulk)) == 40
    validate(twin)
    slub.kmem_cache_free_bulk(twin, same, bulk)
    assert slub_state.live_objects(twin, same) == []
    validate(twin)


@pytest.mark.parametrize("version", ["5.10", "6.1", "6.12"])
def test_a_bulk_free_leaves_the_last_of_the_array_first(version: str) -> None:
    mm, cache = make(version)
    objects = take(mm, cache, 10)
    slub.kmem_cache_free_bulk(mm, cache, objects[:4])
    assert take(mm, cache, 4) == objects[3::-1]  # slab_free_freelist_hook() turns the list round


def test_bulk_takes_all_or_nothing() -> None:
    mm, cache = make(pages=32)
    assert slub.kmem_cache_alloc_bulk(mm, cache, GFP_KERNEL | 0x2000, 16 * 33) == []
    assert slub_state.live_objects(mm, cache) == []
    validate(mm)


@pytest.mark.parametrize("version", VERSIONS)
def test_destroy_complains_of_what_remains(version: str) -> None:
    mm, cache = make(version)
    objects = take(mm, cache, 20)
    assert not slub_shrink.kmem_cache_destroy(mm, cache)
    assert kinds(mm) == [COMPLAINT_OBJECTS_REMAIN]
    mm, cache = make(version)
    give(mm, cache, take(mm, cache, 20))
    assert slub_shrink.kmem_cache_destroy(mm, cache)
    with pytest.raises(slub_cache.SlabError):
        slub_shrink.kmem_cache_destroy(mm, cache)
    validate(mm)
    assert objects


def test_merging_shares_a_cache() -> None:
    mm, cache = make(size=250)
    assert slub_cache.kmem_cache_create(mm, "alias", 252) == cache
    assert slub_cache.kmem_cache_create(mm, "far", 240) != cache
    alone = slub_cache.kmem_cache_create(mm, "alone", 252, 0, NO_MERGE)
    assert alone != cache
    assert slub_cache.kmem_cache_create(mm, "copied", 252, usersize=8) not in (cache, alone)
    assert int(mm.view("cache")[cache]["refcount"]) == 2
    assert not slub_shrink.kmem_cache_destroy(mm, cache)
    assert slub_shrink.kmem_cache_destroy(mm, cache)


@pytest.mark.parametrize("size", [0, -1, 1 << 40])
def test_impossible_caches_are_refused(size: int) -> None:
    with pytest.raises(slub_cache.SlabError):
        slub_cache.kmem_cache_create(slub_machine(), "thing", size)


def test_memory_runs_out_at_the_smallest_order() -> None:
    mm, cache = make(size=2048, pages=32)
    objects = [address for address in take(mm, cache, 80) if address]
    assert len(objects) == 64
    assert int(mm.view("cache")[cache]["oo_order"]) > int(mm.view("cache")[cache]["min_order"])
    validate(mm)


def test_nodes_are_kept_apart() -> None:
    mm = slub_machine(nodes=2, pages=256)
    cache = slub_cache.kmem_cache_create(mm, "thing", 256)
    objects = [slub.kmem_cache_alloc_node(mm, cache, GFP_KERNEL, node) for node in (0, 1, 0, 1)]
    zones = mm.view("zone")
    pages = mm.view("page")
    nodes = [
        int(zones[int(pages[(address - mm.page_offset) >> 12]["zone"])]["node"])
        for address in objects
    ]
    assert nodes == [0, 1, 0, 1]
    validate(mm)


def test_sheaves_give_back_the_last_freed() -> None:
    mm = slub_machine("6.18", 1024)
    from mmtwin.kernel.slab_kmalloc import kmem_cache_init

    kmem_cache_init(mm)
    cache = slub_cache.kmem_cache_create(mm, "vma", 192, sheaf_capacity=32)
    objects = take(mm, cache, 40)
    give(mm, cache, objects)
    assert take(mm, cache, 5) == objects[:-6:-1]
    for _ in range(12):
        give(mm, cache, take(mm, cache, 200))
        validate(mm)
    n = mm.view("cache_node")[cache * mm.nr_nodes]
    assert n["nr_full"] <= 10


@pytest.mark.parametrize("version", ["6.18", "7.3"])
def test_kfree_rcu_fills_a_sheaf_that_waits(version: str) -> None:
    mm = slub_machine(version, 1024)
    from mmtwin.kernel.slab_kmalloc import kmem_cache_init

    kmem_cache_init(mm)
    cache = slub_cache.kmem_cache_create(mm, "node", 256, 0, NO_MERGE, sheaf_capacity=32)
    objects = take(mm, cache, 32)
    assert all(slub_pcs.kfree_rcu_sheaf(mm, cache, address) for address in objects)
    validate(mm)
    assert slub_pcs.rcu_free_sheaves(mm, -1) == 1
    assert slub_state.sheaf_contents(mm, cache)["full"][0] == objects
    sheaf = slub_pcs.kmem_cache_prefill_sheaf(mm, cache, GFP_KERNEL, 8)
    assert slub_pcs.alloc_from_sheaf(mm, sheaf)
    slub_pcs.kmem_cache_return_sheaf(mm, cache, GFP_KERNEL, sheaf)
    validate(mm)


def test_validate_finds_what_is_wrong() -> None:
    mm, cache = make()
    objects = take(mm, cache, 4)
    mm.view("page")[(objects[0] - mm.page_offset) >> 12]["inuse"] += 1
    with pytest.raises(Invariant, match="inuse"):
        validate(mm)


def test_state_is_the_same_compiled_and_uncompiled() -> None:
    sums = []
    for version in VERSIONS:
        mm = slub_machine(version, 256, contents=True, cpus=2)
        cache = slub_cache.kmem_cache_create(mm, "thing", 200)
        objects = take(mm, cache, 90)
        mm.cpu = 1
        give(mm, cache, objects[::3])
        objects += take(mm, cache, 50)
        mm.cpu = 0
        give(mm, cache, objects[1:60:3])
        validate(mm)
        sums.append(checksum(mm))
    assert sums == PINNED


PINNED = [
    "1e65c9614f8cd293",
    "1e65c9614f8cd293",
    "a90983b248bf90c5",
    "ca8ff062e026c56e",
    "ca8ff062e026c56e",
    "07b43981bdbbbf36",
]


@pytest.mark.parametrize("version", ["6.18", "7.3"])
def test_caches_with_a_capacity_of_their_own_are_not_shared(version: str) -> None:
    mm = kmalloc_machine(version)
    asked = slub_cache.kmem_cache_create(mm, "asked", 320, sheaf_capacity=32)
    plain = slub_cache.kmem_cache_create(mm, "plain", 320)
    other = slub_cache.kmem_cache_create(mm, "other", 320, sheaf_capacity=32)
    assert len({asked, plain, other}) == 3
    assert slub_cache.kmem_cache_create(mm, "same", 320) == plain

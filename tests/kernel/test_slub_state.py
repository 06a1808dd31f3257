"""State read, adopted elsewhere, and put right after a wrong prediction."""

import pytest
from slub_machine import GFP_KERNEL, VERSIONS, slub_machine

from mmtwin.kernel import slub, slub_cache, slub_resync
from mmtwin.kernel.slub_state import (
    CPU_PARTIAL,
    CPU_SLAB,
    FULL,
    NODE_PARTIAL,
    adopt_cache,
    adopt_sheaf,
    adopt_slab,
    cpu_partial,
    cpu_slab,
    live_objects,
    node_partial,
    read_freelist,
    restart_slab,
    sheaf_contents,
    slabs_of,
)
from mmtwin.kernel.slub_validate import validate

CPU_SLABS = VERSIONS[:-1]


def busy(version: str):
    """A machine whose cache has slabs in all places, and its live objects."""
    mm = slub_machine(version, 1024)
    cache = slub_cache.kmem_cache_create(mm, "thing", 256)
    live = [slub.kmem_cache_alloc(mm, cache, GFP_KERNEL) for _ in range(16 * 30)]
    for place in (*range(0, 330, 7), *range(400, 480, 3)):
        slub.kmem_cache_free(mm, cache, live[place])
        live[place] = 0
    return mm, cache, [address for address in live if address]


def copy(mm, cache):
    """The same cache adopted by another machine from what the reading functions say."""
    record = mm.view("cache")[cache]
    first = int(record["random_seq"])
    seq = [int(place) for place in mm.view("random_seq")[first : first + 16]]
    fields = ("object_size", "size", "offset", "align", "flags", "random", "min_partial")
    version = {0: "5.10", 1: "6.1"}[int(mm.view("has")[0].cpu_partial_counts_slabs)]
    version = "6.12" if mm.view("has")[0].slub_delayed_freezing else version
    twin = slub_machine(version, 1024)
    same = adopt_cache(twin, "thing", seq, **{field: int(record[field]) for field in fields})
    pages = mm.view("page")
    current, free = cpu_slab(mm, cache)
    partial, node = cpu_partial(mm, cache), node_partial(mm, cache)
    rest = [p for p in slabs_of(mm, cache) if p not in (current, *partial, *node)]
    for where, slabs in ((CPU_PARTIAL, partial), (NODE_PARTIAL, node), (FULL, rest)):
        for pfn in slabs:
            page = pages[pfn]
            inside = read_freelist(mm, cache, page["freelist"])
            adopt_slab(
                twin, same, pfn, 0, 16, int(page["inuse"]), inside, where,
                pobjects=int(page["pobjects"]),
            )  # fmt: skip
    inside = read_freelist(mm, cache, pages[current]["freelist"])
    adopt_slab(twin, same, current, 0, 16, 16 - len(inside), inside, CPU_SLAB, cpu_free=free)
    return twin, same


@pytest.mark.parametrize("version", ["5.10", "6.1", "6.12"])
def test_an_adopted_machine_goes_on_as_the_first_does(version: str) -> None:
    mm, cache, live = busy(version)
    assert cpu_partial(mm, cache) and node_partial(mm, cache)
    twin, same = copy(mm, cache)
    validate(twin)
    assert live_objects(twin, same) == live_objects(mm, cache) == sorted(live)
    for address in live[::5]:
        slub.kmem_cache_free(mm, cache, address)
        slub.kmem_cache_free(twin, same, address)
    for _ in range(100):
        expected = slub_resync.next_object(mm, cache, GFP_KERNEL, -1)
        first = slub.kmem_cache_alloc(mm, cache, GFP_KERNEL)
        assert first == slub.kmem_cache_alloc(twin, same, GFP_KERNEL) == expected
    validate(mm)
    validate(twin)


@pytest.mark.parametrize("version", VERSIONS)
def test_any_free_object_can_be_taken_and_put_back(version: str) -> None:
    mm, cache, live = busy(version)
    every = range(16)
    free = [
        mm.page_offset + (pfn << 12) + place * 256
        for pfn in slabs_of(mm, cache)
        for place in every
        if mm.page_offset + (pfn << 12) + place * 256 not in live
    ]
    for address in free[::3]:
        assert slub_resync.object_state(mm, cache, address) == 0
        assert slub_resync.take_object(mm, cache, address)
        assert not slub_resync.take_object(mm, cache, address)
        assert slub_resync.object_state(mm, cache, address) == 1
        validate(mm)
    for address in free[::6]:
        assert slub_resync.put_back(mm, cache, address)
        assert not slub_resync.put_back(mm, cache, address)
        validate(mm)
    assert slub_resync.object_state(mm, cache, live[0] + 8) == -1
    assert slub_resync.object_state(mm, cache, 0x1000) == -1


@pytest.mark.parametrize("version", CPU_SLABS)
def test_the_cpu_can_be_given_another_slab(version: str) -> None:
    mm, cache, _ = busy(version)
    for pfn in (node_partial(mm, cache)[1], cpu_partial(mm, cache)[-1]):
        inside = read_freelist(mm, cache, mm.view("page")[pfn]["freelist"])
        assert slub_resync.make_cpu_slab(mm, cache, inside[0])
        assert cpu_slab(mm, cache) == (pfn, inside)
        validate(mm)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_slab_can_begin_elsewhere_after_the_fact(version: str) -> None:
    mm = slub_machine(version)
    cache = slub_cache.kmem_cache_create(mm, "thing", 256)
    mm.next_freelist_start = 2
    given = slub.kmem_cache_alloc(mm, cache, GFP_KERNEL)
    twin = slub_machine(version)
    same = slub_cache.kmem_cache_create(twin, "thing", 256)
    twin.next_freelist_start = 9
    real = [slub.kmem_cache_alloc(twin, same, GFP_KERNEL) for _ in range(16)]
    pfn = slabs_of(mm, cache)[0]
    turned = restart_slab(mm, cache, pfn, given, real[0])
    assert turned[given] == real[0]
    assert [slub.kmem_cache_alloc(mm, cache, GFP_KERNEL) for _ in range(15)] == real[1:]
    assert restart_slab(mm, cache, pfn, given + 1, real[0]) == {}


def test_adopted_sheaves_are_given_from_their_ends() -> None:
    mm = slub_machine("7.3")
    cache = adopt_cache(mm, "thing", object_size=256, sheaf_capacity=4)
    base = mm.page_offset + (64 << 12)
    objects = [base + 256 * place for place in range(16)]
    adopt_slab(mm, cache, 64, 0, 16, 16, [], FULL)
    adopt_sheaf(mm, cache, objects[:2], "main")
    adopt_sheaf(mm, cache, [], "spare")
    adopt_sheaf(mm, cache, objects[2:6], "full")
    validate(mm)
    assert sheaf_contents(mm, cache)["full"] == [objects[2:6]]
    order = [slub.kmem_cache_alloc(mm, cache, GFP_KERNEL) for _ in range(6)]
    assert order == objects[1::-1] + objects[5:1:-1]
    assert slub_resync.take_object(mm, cache, objects[8]) is False
    with pytest.raises(slub_cache.SlabError):
        adopt_sheaf(mm, cache, objects, "full")


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(slub_cache.SlabError, match="colour"):
        adopt_cache(slub_machine(), "thing", object_size=64, colour=3)

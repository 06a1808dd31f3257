"""What lives where a recording's state begins, read out of a machine's records."""

import pytest

from mmtwin.kernel.slub_cache import kmem_cache_create
from mmtwin.machine import Machine
from mmtwin.replay.demand_book import CONSTANTS as FOR
from mmtwin.replay.start_state import live_pages, names_of, slab_objects, used_pages
from mmtwin.versions.profiles import profile


def objects_of(k, cache):
    return {address: alive for address, number, alive in slab_objects(k.mm) if number == cache}


@pytest.mark.parametrize("name", ["x86_64-5.10", "x86_64-6.1", "x86_64-7.3"])
def test_objects_in_use_and_free_ones(name):
    k = Machine.boot(name, memory="64M")
    cache = kmem_cache_create(k.mm, "mine", 500, 0, 0)
    taken = [k.kmem_cache_alloc("mine") for _ in range(100)]
    gone = taken[::3]
    for address in gone:
        k.kmem_cache_free("mine", address)
    found = objects_of(k, cache)
    assert list(found) == sorted(found)
    assert {a for a, alive in found.items() if alive} == set(taken) - set(gone)
    # what was given out and given back lies free, but for a slab that a CPU takes from
    assert {a for a, alive in found.items() if not alive} & set(gone)


def test_free_objects_of_a_cpu_slab_were_never_given_out():
    k = Machine.boot("x86_64-6.1", memory="64M")
    cache = kmem_cache_create(k.mm, "mine", 500, 0, 0)
    address = k.kmem_cache_alloc("mine")
    assert objects_of(k, cache) == {address: True}
    k.kmem_cache_free("mine", address)
    # the slab is there: one of its objects stands for it
    assert list(objects_of(k, cache).values()) == [False]


def test_red_zones_lie_before_objects():
    k = Machine.boot(profile("x86_64-6.1").with_cmdline(slub_debug="FZ"), memory="64M")
    cache = kmem_cache_create(k.mm, "mine", 500, 0, 0)
    taken = {k.kmem_cache_alloc("mine") for _ in range(20)}
    assert {a for a, alive in objects_of(k, cache).items() if alive} == taken


def test_pages_in_use_are_those_given_out():
    k = Machine.boot("x86_64-6.1", memory="64M")
    before = used_pages(k.mm)
    pages = {k.alloc_pages(order, "GFP_KERNEL").pfn: order for order in (0, 0, 1, 3)}
    comp = k.alloc_pages(2, "GFP_KERNEL|__GFP_COMP").pfn
    after = used_pages(k.mm)
    taken = {pfn + n for pfn, order in pages.items() for n in range(1 << order)}
    assert set((after & ~before).nonzero()[0].tolist()) == taken | set(range(comp, comp + 4))
    blocks = {block.pfn: block for block in live_pages(k.mm)}
    # a block without a head is known page by page, a compound one as a whole
    assert taken < set(blocks) and blocks[comp].order == 2
    assert not {comp + 1, comp + 2, comp + 3} & set(blocks)
    assert blocks[comp].use == FOR["FOR_OLD"] and not blocks[comp].large
    assert blocks[comp].gfp == 0xCC0


def test_large_kmallocs_and_slabs_are_told_apart():
    k = Machine.boot("x86_64-6.18", memory="64M")
    large, small = k.kmalloc(20000), k.kmalloc(100)
    blocks = {k.mm.page_offset + (b.pfn << 12): b for b in live_pages(k.mm)}
    assert blocks[large].order == 3
    assert small & ~0xFFF not in blocks


def test_names_are_those_of_aliases_too():
    k = Machine.boot("x86_64-6.1", memory="64M")
    numbers = names_of(k.mm)
    assert numbers["pool_workqueue"] == numbers["maple_node"]
    assert k.mm.cache_names[numbers["maple_node"]] == "maple_node"

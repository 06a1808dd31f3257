"""slub_debug=: runs without a fault are silent, and any byte that must not change is missed."""

import functools
import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtwin import Machine
from mmtwin.kernel import slub
from mmtwin.machine.views import Cache

PROFILES = ["x86_64-5.10", "arm64-5.13", "x86_64-6.1", "arm64-16k-6.12", "x86_64-6.18",
            "x86_64-7.3"]
COMPILED = not (slub.__file__ or "").endswith(".py")
LONG = bool(os.environ.get("MMTWIN_LONG"))
STEPS = 20_000 if LONG else 1500 if COMPILED else 300
EXAMPLES = 5000 if LONG else 200 if COMPILED else 30
CACHES = ("kmalloc-32", "kmalloc-192", "kmalloc-1k", "dentry", "filp", "task_struct", "odd", "rcu")


def use_all(k: Machine, address: int, size: int) -> None:
    """An owner writes every byte it asked for."""
    k.write(address, bytes(number & 0xFF for number in range(size)))


@pytest.mark.parametrize("seed", range(10))
def test_a_run_without_a_fault_is_silent(seed: int) -> None:
    k = Machine.boot(PROFILES[seed % len(PROFILES)], memory="64M", cpus=2, seed=seed,
                     cmdline={"slub_debug": "FZPU"})
    draws = random.Random(seed)
    k.kmem_cache_create("odd", 700)
    k.kmem_cache_create("rcu", 88, flags="SLAB_TYPESAFE_BY_RCU|SLAB_HWCACHE_ALIGN")
    caches = [k.cache(name) for name in CACHES if name in [cache.name for cache in k.caches]]
    objects: list[tuple[int, int, str]] = []  # address, bytes, cache or ""
    for _ in range(STEPS):
        k.cpu = draws.randrange(2)
        what = draws.randrange(10)
        if what < 4:
            size = draws.choice((1, 7, 8, 40, 100, 500, 3000, 9000))
            address = k.kzalloc(size) if what == 0 else k.kmalloc(size)
            use_all(k, address, size)
            objects.append((address, size, ""))
        elif what < 6:
            cache = draws.choice(caches)
            address = k.kmem_cache_alloc(cache)
            if cache.name != "rcu":
                use_all(k, address, cache.object_size)
            objects.append((address, cache.object_size, cache.name))
        elif what == 6 and objects:
            place = draws.randrange(len(objects))
            address, size, name = objects[place]
            if not name:
                size = draws.choice((5, 64, 90, 2000))
                address = k.krealloc(address, size)
                use_all(k, address, size)
                objects[place] = address, size, ""
        elif objects:
            address, _, name = objects.pop(draws.randrange(len(objects)))
            if name:
                k.kmem_cache_free(name, address)
            else:
                k.kfree(address)
    for cache in caches:
        k.validate_slabs(cache)
        k.kmem_cache_shrink(cache)
    assert [complaint.report or str(complaint) for complaint in k.complaints] == []
    assert k.validate() == []
    assert k.slab_errors == 0


@functools.cache
def checked_machine(name: str) -> Machine:
    """One machine of a profile for all examples: each makes a cache of its own."""
    return Machine.boot(name, memory="64M", cmdline={"slub_debug": "FZPU"})


def guarded_bytes(k: Machine, cache: Cache, live: bool) -> list[int]:
    """Offsets from an object of the bytes that nobody may change, without the metadata itself."""
    tracks, metadata = 2 * k.mm.view("has")[0].track_bytes, 8 * (cache.offset >= cache.inuse)
    first = cache.inuse + metadata + (tracks if cache.flags & 0x10000 else 0)
    if cache.flags & 0x11000 == 0x11000:
        first += k.mm.view("has")[0].orig_size_bytes
    end = cache.size - cache.red_left_pad
    zones = [range(-cache.red_left_pad, 0), range(cache.object_size, cache.inuse)]
    zones.append(range(first, end))
    if not live:
        zones.append(range(cache.object_size))
    return [offset for zone in zones for offset in zone]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.data())
def test_any_changed_byte_is_found_once_and_restored(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(PROFILES))
    k = checked_machine(name)
    k.mm.complaints.clear()
    size = data.draw(st.sampled_from((8, 20, 64, 100, 700)))
    live = data.draw(st.booleans())
    cache = k.kmem_cache_create(f"victim-{len(k.mm.cache_names)}", size)
    objects = [k.kmem_cache_alloc(cache) for _ in range(3)]
    victim = data.draw(st.sampled_from(objects))
    if not live:
        k.kmem_cache_free(cache, victim)
    offset = data.draw(st.sampled_from(guarded_bytes(k, cache, live)))
    before = k.read(victim + offset, 1)[0]
    change = data.draw(st.integers(1, 255))
    k.write(victim + offset, bytes([before ^ change]))
    k.validate_slabs(cache)
    assert [complaint.name for complaint in k.complaints] == ["OVERWRITTEN"]
    assert k.complaints[0].address == victim
    assert f"First byte {before ^ change:#x} instead of {before:#x}" in k.complaints[0].report
    assert k.read(victim + offset, 1)[0] == before
    k.validate_slabs(cache)
    assert len(k.complaints) == 1
    for address in objects:
        if live or address != victim:
            k.kmem_cache_free(cache, address)
    k.kmem_cache_destroy(cache)
    assert k.validate() == []

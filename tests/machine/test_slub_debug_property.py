"""slub_debug=: runs without a fault are silent, and any byte that must not change is missed."""

import functools
import random

import pytest
from any_steps import LONG, Step, any_steps
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtwin import Machine
from mmtwin.kernel import slub
from mmtwin.machine.views import Cache

PROFILES = ["x86_64-5.10", "arm64-5.13", "x86_64-6.1", "arm64-16k-6.12", "x86_64-6.18",
            "x86_64-7.3"]
COMPILED = not (slub.__file__ or "").endswith(".py")
STEPS = 20_000 if LONG else 1500 if COMPILED else 300
EXAMPLES = 5000 if LONG else 200 if COMPILED else 30
CACHES = ("kmalloc-32", "kmalloc-192", "kmalloc-1k", "dentry", "filp", "task_struct", "odd", "rcu")


def use_all(k: Machine, address: int, size: int) -> None:
    """An owner writes every byte it asked for."""
    k.write(address, bytes(number & 0xFF for number in range(size)))


CALLS = ("kmalloc", "kmalloc", "kmalloc", "kzalloc", "cache_alloc", "cache_alloc", "krealloc",
         "free", "free", "free")
KMALLOC, KREALLOC = (1, 7, 8, 40, 100, 500, 3000, 9000), (5, 64, 90, 2000)


class Users:
    """Owners who write every byte they asked for: (address, bytes, cache or "") of objects."""

    def __init__(self, number: int) -> None:
        self.k = k = Machine.boot(PROFILES[number % len(PROFILES)], memory="64M", cpus=2,
                                  seed=number, cmdline={"slub_debug": "FZPU"})
        k.kmem_cache_create("odd", 700)
        k.kmem_cache_create("rcu", 88, flags="SLAB_TYPESAFE_BY_RCU|SLAB_HWCACHE_ALIGN")
        self.caches = [k.cache(name) for name in CACHES if name in [c.name for c in k.caches]]
        self.objects: list[tuple[int, int, str]] = []

    def step(self, what: str, one: int, two: int) -> None:
        """A call, on one CPU or the other."""
        self.k.cpu = one % 2
        if what in ("kmalloc", "kzalloc"):
            size = KMALLOC[two % len(KMALLOC)]
            self.use(getattr(self.k, what)(size), size, "")
        elif what == "cache_alloc":
            cache = self.caches[two % len(self.caches)]
            self.use(self.k.kmem_cache_alloc(cache), cache.object_size, cache.name)
        elif self.objects:
            address, _, name = self.objects.pop(two % len(self.objects))
            if name:
                self.k.kmem_cache_free(name, address)
            elif what == "krealloc":
                size = KREALLOC[one // 2 % len(KREALLOC)]
                self.use(self.k.krealloc(address, size), size, "")
            else:
                self.k.kfree(address)

    def use(self, address: int, size: int, name: str) -> None:
        if name != "rcu":
            use_all(self.k, address, size)
        self.objects.append((address, size, name))

    def nothing_was_found(self) -> None:
        for cache in self.caches:
            self.k.validate_slabs(cache)
            self.k.kmem_cache_shrink(cache)
        assert [complaint.report or str(complaint) for complaint in self.k.complaints] == []
        assert self.k.validate() == []
        assert self.k.slab_errors == 0


@pytest.mark.parametrize("seed", range(10))
def test_a_run_without_a_fault_is_silent(seed: int) -> None:
    users, draws = Users(seed), random.Random(seed)
    for _ in range(STEPS):
        users.step(draws.choice(CALLS), draws.randrange(1 << 20), draws.randrange(1 << 20))
    users.nothing_was_found()


@any_steps(CALLS)
def test_short_runs_without_a_fault_are_silent(number: int, steps: list[Step]) -> None:
    users = Users(number)
    for step in steps:
        users.step(*step)
    users.nothing_was_found()


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

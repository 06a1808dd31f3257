"""States of a cache on a CPU that lead a call down each of SLUB's ways, made by ordinary calls.

Each situation is made on a machine just booted, for the cache that serves a size.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mmtwin.kernel.constants import VM_PAGEOUTRUN
from mmtwin.kernel.slub_defs import DEFS as SLUB_DEFS
from mmtwin.machine.machine import Machine
from mmtwin.machine.views import Cache

STEADY = 4  # calls
SLABS = 8  # more than a CPU keeps of a node's list, or a node beyond min_partial
MOST_OBJECTS = 1 << 16  # allocated to empty a CPU's lists


@dataclass(frozen=True)
class Situation:
    """A state: what it is in words, how many CPUs and nodes it needs, and who makes it."""

    meaning: str
    make: Callable[[Machine, Cache], None]
    cpus: int = 1
    nodes: int = 1


def fresh(machine: Machine, cache: Cache) -> None:
    """Nothing was asked of the cache since boot."""


def warm(machine: Machine, cache: Cache) -> None:
    """One object was given out: the CPU has a slab with free objects."""
    machine.kmem_cache_alloc(cache)


def used_up(machine: Machine, cache: Cache) -> list[int]:
    """Allocates until the CPU has a slab, or sheaves, and no free object in it; the objects.

    Raises ValueError if that does not end.
    """
    objects = [machine.kmem_cache_alloc(cache)]
    while at_hand(machine, cache):
        objects.append(machine.kmem_cache_alloc(cache))
        if len(objects) > MOST_OBJECTS:
            raise ValueError(f"the lists of {cache.name} do not get empty")
    return objects


def at_hand(machine: Machine, cache: Cache) -> int:
    """How many objects a CPU can give out without a slow path."""
    mm = machine.mm
    record = mm.view("cache_cpu")[cache.number * mm.nr_cpus + machine.cpu]
    found = len(cache.cpu_slab(machine.cpu)["freelist"])
    for name in ("sheaf_main", "sheaf_spare"):
        if int(record[name]) >= 0:
            found += int(mm.view("sheaf")["size"][int(record[name])])
    return found


def empty(machine: Machine, cache: Cache) -> None:
    """The CPU's slab is used up, no list has another."""
    used_up(machine, cache)


def refilled(machine: Machine, cache: Cache) -> None:
    """The CPU's slab is used up, then another CPU frees two of its objects."""
    objects = used_up(machine, cache)
    machine.cpu = 1
    for address in objects[-2:]:
        machine.kmem_cache_free(cache, address)
    machine.cpu = 0


def cpu_partial(machine: Machine, cache: Cache) -> None:
    """The CPU's slab is used up, and one object of a slab before it was freed."""
    first = used_up(machine, cache)[-1]
    second = machine.kmem_cache_alloc(cache)
    while at_hand(machine, cache):
        second = machine.kmem_cache_alloc(cache)
    assert second != first
    machine.kmem_cache_free(cache, first)


def node_partial(machine: Machine, cache: Cache) -> None:
    """CPUs have no slab, but the node's list has: one object was freed, then the CPUs flushed."""
    machine.kmem_cache_free(cache, used_up(machine, cache)[0])
    machine.kmem_cache_shrink(cache)


def node_partials(machine: Machine, cache: Cache) -> None:
    """As node_partial(), with slabs enough that the CPU keeps more of them than it asked for."""
    of_slabs = [used_up(machine, cache)[0] for _ in range(SLABS)]
    for address in of_slabs:
        machine.kmem_cache_free(cache, address)
    machine.kmem_cache_shrink(cache)


def barn(machine: Machine, cache: Cache) -> None:
    """The CPU's sheaves are empty, the node's barn has a full one. Raises ValueError as
    fill_sheaves().
    """
    fill_sheaves(machine, cache)
    while at_hand(machine, cache):
        machine.kmem_cache_alloc(cache)


def spare_sheaf(machine: Machine, cache: Cache) -> None:
    """The CPU's main sheaf is empty, its spare one is not. Raises ValueError as fill_sheaves()."""
    fill_sheaves(machine, cache)
    mm = machine.mm
    record = mm.view("cache_cpu")[cache.number * mm.nr_cpus + machine.cpu]
    while int(mm.view("sheaf")["size"][int(record["sheaf_main"])]):
        machine.kmem_cache_alloc(cache)


def fill_sheaves(machine: Machine, cache: Cache) -> None:
    """So many objects are freed that the CPU's sheaves are full, and one of the node's barn.

    Raises ValueError for a cache without sheaves.
    """
    capacity = int(machine.mm.view("cache")["sheaf_capacity"][cache.number])
    if not capacity:
        raise ValueError(f"{cache.name} has no sheaves in this release")
    given = [machine.kmem_cache_alloc(cache) for _ in range(6 * capacity)]
    for address in given:
        machine.kmem_cache_free(cache, address)


def fill_slab(machine: Machine, cache: Cache, address: int, node: int) -> None:
    """Allocates on a node until the slab of an object has none left that is free."""
    pfn = machine.page(machine.virt_to_pfn(address)).head
    page = machine.mm.view("page")
    while page["freelist"][pfn] or page["inuse"][pfn] < page["objects"][pfn]:
        machine.kmem_cache_alloc(cache, node=node)


def last_of_slab(machine: Machine, cache: Cache, node: int = -1) -> int:
    """The only object in use of a slab on its node's partial list, which is longer than
    min_partial: who frees it gives the slab back. Raises ValueError if there is no such way.
    """
    slabs: dict[int, list[int]] = {}
    for _ in range(MOST_OBJECTS):
        address = machine.kmem_cache_alloc(cache, node=node)
        slabs.setdefault(machine.page(machine.virt_to_pfn(address)).head, []).append(address)
        if len(slabs) > cache.min_partial + SLABS:
            break
    full = [objects for objects in slabs.values() if len(objects) == cache.oo_objects]
    if not full:
        raise ValueError(f"no slab of {cache.name} gets full there: is there memory on that node?")
    for objects in full:
        machine.kmem_cache_free(cache, objects.pop())
    machine.kmem_cache_shrink(cache)
    chosen = full[0]
    for address in chosen[1:]:
        machine.kmem_cache_free(cache, address)
    return chosen[0]


def low_memory(machine: Machine, cache: Cache) -> None:
    """The CPU's slab is used up, and fewer pages are free than the low watermark, no zone has
    more: kswapd was woken.
    """
    used_up(machine, cache)
    events = machine.mm.view("vm_event")
    running = 0  # calls one after the other that woke it; pages that a CPU's list holds come first
    while running < STEADY:
        before = int(events[VM_PAGEOUTRUN])
        if machine.alloc_pages(0, "GFP_NOWAIT") is None:  # no reclaim: that drains the lists
            break
        running = running + 1 if int(events[VM_PAGEOUTRUN]) > before else 0


def no_memory(machine: Machine, cache: Cache) -> None:
    """The CPU's slab is used up, and no page is left."""
    used_up(machine, cache)
    gfp = "GFP_ATOMIC|__GFP_NOWARN|__GFP_MEMALLOC"
    for order in (6, 3, 0):
        while machine.alloc_pages(order, gfp) is not None:
            pass
    while machine.kmem_cache_alloc(cache, gfp):
        pass


def other_node(machine: Machine, cache: Cache) -> None:
    """The CPU's slab is of its own node; ask for the other with --node 1."""
    machine.kmem_cache_alloc(cache)


def is_debug(machine: Machine, cache: Cache) -> bool:
    """Whether the kernel checks a cache's objects (kmem_cache_debug()), and the twin too."""
    return bool(machine.mm.slub_bytes and cache.flags & SLUB_DEFS["SLAB_DEBUG_FLAGS"])


def need_checks(machine: Machine, cache: Cache) -> None:
    """Raises ValueError for a cache whose objects nobody checks."""
    if not is_debug(machine, cache):
        raise ValueError(f"{cache.name} has no checks: --append slub_debug=FZPU")


def overwritten(machine: Machine, cache: Cache) -> None:
    """The object that comes next was written to after it was freed. Raises ValueError as
    need_checks().
    """
    need_checks(machine, cache)
    freed, _ = machine.kmem_cache_alloc(cache), machine.kmem_cache_alloc(cache)
    machine.kmem_cache_free(cache, freed)
    machine.write(freed, b"bad")


def one_left(machine: Machine, cache: Cache) -> None:
    """A debug cache's only slab has one free object. Raises ValueError as need_checks()."""
    need_checks(machine, cache)
    page = machine.mm.view("page")
    pfn = machine.page(machine.virt_to_pfn(machine.kmem_cache_alloc(cache))).head
    while page["inuse"][pfn] + 1 < page["objects"][pfn]:
        machine.kmem_cache_alloc(cache)


SITUATIONS = {
    "fresh": Situation("just booted", fresh),
    "warm": Situation("one object was given out before", warm),
    "empty": Situation("the CPU's objects are used up", empty),
    "refilled": Situation("used up, then another CPU freed to its slab", refilled, cpus=2),
    "cpu-partial": Situation("used up, with a slab on the CPU's partial list", cpu_partial),
    "node-partial": Situation("no slab, but one on the node's partial list", node_partial),
    "node-partials": Situation("no slab, but many on the node's partial list", node_partials),
    "spare-sheaf": Situation("an empty main sheaf, a full spare one", spare_sheaf),
    "barn": Situation("empty sheaves, a full one in the node's barn", barn),
    "low-memory": Situation("used up, and free memory below the low watermark", low_memory),
    "no-memory": Situation("used up, and no free page", no_memory),
    "overwritten": Situation("the next object was written after its free", overwritten),
    "one-left": Situation("one free object in the only slab", one_left),
    "other-node": Situation("two nodes, the CPU's slab on node 0", other_node, 2, 2),
}

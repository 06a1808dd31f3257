"""The twin's lists held against a truth: what the kernel's own lists were at the same moment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmtwin.kernel.constants import PG_slab
from mmtwin.kernel.mm import MM
from mmtwin.machine.chains import list_pfns
from mmtwin.machine.truth_pages import free_lists, pcp_lists

MASK64 = (1 << 64) - 1
DIFFERENCES_KEPT = 40
LONGEST_CHAIN = 1 << 16  # objects


@dataclass
class Tally:
    """How many things were compared, how many were the same, and the names of some that were not.
    """

    total: int = 0
    same: int = 0
    differing: list[str] = field(default_factory=list)

    def add(self, name: str, same: bool) -> None:
        """Counts one comparison."""
        self.total += 1
        self.same += same
        if not same and len(self.differing) < DIFFERENCES_KEPT:
            self.differing.append(name)


@dataclass
class TruthComparison:
    """The lists of a truth, by kind. An empty list counts if either side has something on it."""

    free_lists: Tally = field(default_factory=Tally)
    pcp_lists: Tally = field(default_factory=Tally)
    slab_lists: Tally = field(default_factory=Tally)
    live_objects: Tally = field(default_factory=Tally)


def compare_truth(mm: MM, truth: Mapping[str, Any]) -> TruthComparison:
    """Compares every list of a truth, in order, with the twin's."""
    result = TruthComparison()
    numbers = zone_numbers(mm)
    for zone in truth["buddy"]:
        number = numbers.get((zone.get("node", 0), zone["start"]))
        if number is None:
            result.free_lists.add(zone["name"], False)
            continue
        compare_lists(result.free_lists, zone["name"], free_lists(mm, number), zone["free"])
        for cpu, pcp in enumerate(zone["pcp"][: mm.nr_cpus]):
            where = f"{zone['name']} cpu{cpu}"
            compare_lists(result.pcp_lists, where, pcp_lists(mm, number, cpu), pcp["lists"])
    caches = {name: number for number, name in enumerate(mm.cache_names)}
    slabs = slabs_by_cache(mm)
    for cache in truth["slab"]:
        number = caches.get(cache["name"])
        if number is None:
            result.slab_lists.add(cache["name"], False)
            continue
        compare_cache(mm, number, cache, slabs.get(number, set()), result)
    return result


def zone_numbers(mm: MM) -> dict[tuple[int, int], int]:
    """{(node, first pfn): number in mm.zone} of zones with pages."""
    zones = mm.view("zone")
    return {
        (int(zone["node"]), int(zone["start_pfn"])): number
        for number, zone in enumerate(zones)
        if zone["spanned_pages"]
    }


def compare_lists(
    tally: Tally, name: str, ours: Mapping[str, list[int]], theirs: Mapping[str, list[int]]
) -> None:
    """Compares lists by key."""
    for key in sorted({*ours, *theirs}):
        tally.add(f"{name} {key}", ours.get(key, []) == theirs.get(key, []))


def compare_cache(
    mm: MM, number: int, truth: Mapping[str, Any], ours: set[int], result: TruthComparison
) -> None:
    """One cache: CPU slabs with their free lists, partial lists, every slab's own free list and
    counters.
    """
    name = truth["name"]
    result.slab_lists.add(name, lists_of_cache(mm, number, ours) == lists_of_truth(truth))
    live = sum(len(slab["live"]) for slab in truth["slabs"])
    if ours or live:
        result.live_objects.add(name, live_count(mm, number, ours) == live)


def lists_of_truth(truth: Mapping[str, Any]) -> dict[str, Any]:
    """What a truth says of one cache, in the form of lists_of_cache().

    A cache without capacity for a sheaf has the bootstrap one that nothing enters, which is none
    (init_percpu_sheaves(), since 7.0).
    """
    cpus = []
    for cpu in truth.get("cpu") or []:
        slab = cpu.get("slab")
        freelist = cpu.get("freelist", []) if slab is not None else []
        cpus.append((-1 if slab is None else slab, freelist, cpu.get("partial") or []))
    slabs = {s["pfn"]: (s["objects"], s["inuse"], s["free"]) for s in truth["slabs"]}
    cpu_sheaves = truth.get("sheaves") if truth.get("sheaf_capacity", True) else None
    sheaves = [(cpu["main"], cpu["spare"]) for cpu in cpu_sheaves or []]
    return {
        "cpu": cpus,
        "sheaves": sheaves,
        "node": truth.get("node_partial") or [],
        "slabs": slabs,
    }


def lists_of_cache(mm: MM, number: int, slabs: set[int]) -> dict[str, Any]:
    """The twin's lists of one cache: by CPU (slab, its free list, partial list) where CPUs own
    slabs, by CPU (main sheaf, spare one) where it has sheaves, node 0, by slab.
    """
    page = mm.view("page")
    chain = free_chains(mm, number)
    cpus = []
    for cpu in range(mm.nr_cpus if mm.view("has")[0].slub_cpu_slabs else 0):
        record = mm.view("cache_cpu")[number * mm.nr_cpus + cpu]
        slab = int(record["slab"])
        partial: list[int] = []
        pfn = int(record["partial"])
        while pfn >= 0 and len(partial) <= mm.max_pfn:
            partial.append(pfn)
            pfn = int(page["next"][pfn])
        cpus.append((slab, chain(int(record["freelist"])) if slab >= 0 else [], partial))
    node = list_pfns(mm, int(mm.view("cache_node")[number * mm.nr_nodes]["partial"]))
    records = page[np.fromiter(slabs, np.int64, len(slabs))]
    columns = (records[name].tolist() for name in ("objects", "inuse", "freelist"))
    own = {
        pfn: (objects, inuse, chain(first))
        for pfn, objects, inuse, first in zip(slabs, *columns, strict=True)
    }
    return {"cpu": cpus, "sheaves": sheaves_of(mm, number), "node": node, "slabs": own}


def sheaves_of(mm: MM, number: int) -> list[tuple[list[int], list[int]]]:
    """The objects in the main and the spare sheaf of each CPU; [] for a cache without sheaves."""
    if not mm.view("cache")["sheaf_capacity"][number]:
        return []
    sheaf = mm.view("sheaf")

    def objects(place: int) -> list[int]:
        if place < 0:
            return []
        held: list[int] = sheaf["objects"][place][: sheaf["size"][place]].tolist()
        return held

    records = mm.view("cache_cpu")[number * mm.nr_cpus : (number + 1) * mm.nr_cpus]
    return [(objects(int(r["sheaf_main"])), objects(int(r["sheaf_spare"]))) for r in records]


def free_chains(mm: MM, number: int) -> Callable[[int], list[int]]:
    """A function from a free object of a cache to it and those behind it, through the free
    pointers in RAM (freelist_dereference()).
    """
    cache = mm.view("cache")[number]
    offset = int(cache["offset"])
    key = int(cache["random"]) if mm.view("has")[0].freelist_hardened else None
    base = mm.page_offset - offset
    ram = memoryview(mm.view("ram").view(np.uint64))  # faster to index

    def chain(first: int) -> list[int]:
        found: list[int] = []
        object_ = first
        while object_ and len(found) < LONGEST_CHAIN:
            found.append(object_)
            value = ram[((object_ - base) & MASK64) >> 3]
            if key is not None:
                place = (object_ + offset) & MASK64
                value ^= key ^ int.from_bytes(place.to_bytes(8, "little"), "big")
            object_ = value
        return found

    return chain


def slabs_by_cache(mm: MM) -> dict[int, set[int]]:
    """{cache: first pfns of its slabs}."""
    page = mm.view("page")[: mm.max_pfn]
    slabs: dict[int, set[int]] = {}
    for pfn in (page["flags"] & PG_slab).nonzero()[0]:
        slabs.setdefault(int(page["cache"][pfn]), set()).add(int(pfn))
    return slabs


def live_count(mm: MM, number: int, slabs: set[int]) -> int:
    """Objects of a cache in use: neither on their slab's free list nor on a CPU's, in no sheaf."""
    page = mm.view("page")
    used = int(page["inuse"][np.fromiter(slabs, np.int64, len(slabs))].sum())
    chain = free_chains(mm, number)
    sheaves = mm.view("sheaf")[: mm.next_sheaf]
    used -= int(sheaves["size"][sheaves["cache"] == number].sum())
    for cpu in range(mm.nr_cpus):
        record = mm.view("cache_cpu")[number * mm.nr_cpus + cpu]
        if record["slab"] >= 0:
            used -= len(chain(int(record["freelist"])))
    return used

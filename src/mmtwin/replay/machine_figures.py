"""Figures of one machine's memory: its slab caches, what they waste, the paths taken."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.kernel import constants
from mmtwin.kernel.constants import PG_slab, PG_tail
from mmtwin.kernel.mm import MM
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.replay.truth import free_chains

# The paths of SLUB by the counters of enum stat_item that tell them.
ALLOC_PATHS = {
    "fast": "STAT_ALLOC_FASTPATH",
    "CPU slab refilled": "STAT_ALLOC_REFILL",
    "CPU partial list": "STAT_CPU_PARTIAL_ALLOC",
    "node partial list": "STAT_ALLOC_FROM_PARTIAL",
    "new slab": "STAT_ALLOC_SLAB",
}
FREE_PATHS = {
    "fast": "STAT_FREE_FASTPATH",
    "slow, frozen slab": "STAT_FREE_FROZEN",
    "slow, to CPU partial list": "STAT_CPU_PARTIAL_FREE",
    "slow, to node partial list": "STAT_FREE_ADD_PARTIAL",
    "slab freed": "STAT_FREE_SLAB",
}


def rounding(mm: MM, addresses: npt.NDArray[np.uint64], lost: Any) -> npt.NDArray[np.int64]:
    """Bytes given to live objects beyond what was asked, by cache number.

    `addresses`: of live objects in this machine; `lost`: bytes that each was given too many.
    """
    by_cache = np.zeros(max(mm.nr_caches, 1), dtype=np.int64)
    pfns = (addresses - np.uint64(mm.page_offset)) >> np.uint64(mm.page_shift)
    lost, pfns = lost[pfns < mm.max_pfn], pfns[pfns < mm.max_pfn].astype(np.int64)
    page = mm.view("page")
    tails = (page["flags"][pfns] & PG_tail) != 0
    pfns = np.where(tails, page["compound_head"][pfns], pfns)
    slabs = (page["flags"][pfns] & PG_slab) != 0
    np.add.at(by_cache, page["cache"][pfns][slabs], lost[slabs])
    return by_cache


def cache_rows(mm: MM, lost: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
    """Every cache that has slabs, by memory. `lost`: of rounding()."""
    page = mm.view("page")[: mm.max_pfn]
    heads = ((page["flags"] & PG_slab) != 0).nonzero()[0]
    numbers = page["cache"][heads]
    count = max(mm.nr_caches, 1)

    def by_cache(values: Any) -> npt.NDArray[np.int64]:
        return np.bincount(numbers, weights=values, minlength=count).astype(np.int64)

    size = by_cache((1 << mm.page_shift) << page["order"][heads].astype(np.int64))
    slabs, capacity = by_cache(np.ones(len(heads))), by_cache(page["objects"][heads])
    used = by_cache(page["inuse"][heads]) - free_on_cpus(mm, count)
    rows = []
    for number in np.flatnonzero(slabs):
        cache = mm.view("cache")[number]
        object_size, free = int(cache["size"]), int(capacity[number] - used[number])
        tail = int(size[number]) - int(capacity[number]) * object_size
        rows.append(
            {
                "name": mm.cache_names[number],
                "object_size": int(cache["object_size"]),
                "size": object_size,
                "slabs": int(slabs[number]),
                "objects": int(used[number]),
                "capacity": int(capacity[number]),
                "bytes": int(size[number]),
                "utilisation": round(int(used[number]) * object_size / int(size[number]), 4),
                "waste": {
                    "rounding": int(lost[number]),
                    "slab_tail": tail,
                    "free_objects": free * object_size,
                },
            }
        )
    return sorted(rows, key=lambda row: (-row["bytes"], row["name"]))


def free_on_cpus(mm: MM, count: int) -> npt.NDArray[np.int64]:
    """Objects that lie free on CPUs' lists and sheaves, which slabs count as in use, by cache
    number.
    """
    free = np.zeros(count, dtype=np.int64)
    cpus = mm.view("cache_cpu")
    for place in np.flatnonzero(cpus["freelist"][: mm.nr_caches * mm.nr_cpus]):
        number = int(place) // mm.nr_cpus
        free[number] += len(free_chains(mm, number)(int(cpus["freelist"][place])))
    sheaves = mm.view("sheaf")[: mm.next_sheaf]
    held = sheaves[(sheaves["size"] > 0) & (sheaves["cache"] >= 0)]
    np.add.at(free, held["cache"], held["size"].astype(np.int64))
    return free


def slub_paths(mm: MM) -> dict[str, dict[str, int]]:
    """How often each path of SLUB was taken, over all caches and CPUs."""
    total = mm.view("cache_cpu")["stat"].sum(axis=0)
    return {
        way: {name: int(total[DEFS[item]]) for name, item in paths.items() if item in DEFS}
        for way, paths in (("alloc", ALLOC_PATHS), ("free", FREE_PATHS))
    }


def pcp_paths(mm: MM) -> dict[str, dict[str, int]]:
    """How often per-CPU page lists served, were refilled and drained."""
    total = mm.view("pcp")["stat"].sum(axis=0)
    zones = mm.view("zone")["stat"].sum(axis=0)

    def figure(array: Any, item: str) -> int:
        return int(array[getattr(constants, item)])

    refills = figure(total, "PCPSTAT_REFILL")
    return {
        "alloc": {
            "per-CPU list": figure(total, "PCPSTAT_ALLOC") - refills,
            "per-CPU list, refilled": refills,
            "zone": figure(zones, "ZSTAT_BUDDY_ALLOC"),
        },
        "free": {
            "per-CPU list": figure(total, "PCPSTAT_FREE") - figure(total, "PCPSTAT_DRAIN"),
            "per-CPU list, drained": figure(total, "PCPSTAT_DRAIN"),
            "zone": figure(zones, "ZSTAT_BUDDY_FREE"),
        },
    }

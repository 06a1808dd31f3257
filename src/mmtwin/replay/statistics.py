"""Where the memory went: the tables of a replay's report, out of the twin's state and the
recording's events.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.constants import PG_slab, PG_tail
from mmtwin.kernel.mm import MM
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.roles import CONSTANTS as PLACES
from mmtwin.replay.engine import Engine

Events = npt.NDArray[np.void]
SITES_KEPT = 200
ORDERS = PLACES["SUM_ORDERS"]
TYPES = PLACES["SUM_TYPES"]
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


class Statistics:
    """Gathers figures while a replay runs: `add_events` with every event, `sample` now and then.
    """

    def __init__(self, mm: MM, engine: Engine, annotated: Annotated) -> None:
        self.mm = mm
        self.engine = engine
        self.annotated = annotated
        self.zones = mm.view("zone")["nr_free"]
        # the time of the event before it, free blocks by order
        self.samples: list[tuple[int, npt.NDArray[np.uint64]]] = []
        self.first_time = -1
        self.last_time = 0

    def add_events(self, events: Events) -> None:
        """Takes in events, carried out or not."""
        if not len(events):
            return
        if self.first_time < 0:
            self.first_time = int(events["time"][0])
        self.last_time = int(events["time"][-1])

    def sample(self) -> None:
        """Takes a look at the free lists now."""
        self.samples.append((self.last_time, self.zones[:, : self.mm.nr_orders].sum(axis=0)))

    def fragmentation(self) -> dict[str, Any]:
        """For each sample and order, the part of the free memory that lies in smaller blocks."""
        nr_orders = self.mm.nr_orders
        free = np.array([free for _time, free in self.samples]).reshape(-1, nr_orders)
        pages = free << np.arange(nr_orders)
        total = np.maximum(pages.sum(axis=1, keepdims=True), 1)
        smaller = np.cumsum(pages, axis=1) - pages
        return {
            "orders": list(range(nr_orders)),
            "times": [max(time - self.first_time, 0) / 1e9 for time, _free in self.samples],
            "unusable": np.round(smaller / total, 4).tolist(),
        }

    def to_dict(self) -> dict[str, Any]:
        """The tables, as docs/replay-json.md has them."""
        return {
            "caches": self.caches(),
            "call_sites": self.call_sites(),
            "orders": self.orders(),
            "fragmentation": self.fragmentation(),
            "steals": self.steal_figures(),
            "slub": {"alloc": self.slub_paths(ALLOC_PATHS), "free": self.slub_paths(FREE_PATHS)},
            "pcp": self.pcp_paths(),
        }

    def rounding(self) -> npt.NDArray[np.int64]:
        """Bytes given to live objects beyond what was asked, by cache number."""
        mm = self.mm
        lost = np.zeros(max(mm.nr_caches, 1), dtype=np.int64)
        live = self.engine.objects.records()
        pfns = (live["twin"] - np.uint64(mm.page_offset)) >> np.uint64(mm.page_shift)
        live, pfns = live[pfns < mm.max_pfn], pfns[pfns < mm.max_pfn].astype(np.int64)
        page = mm.view("page")
        tails = (page["flags"][pfns] & PG_tail) != 0
        pfns = np.where(tails, page["compound_head"][pfns], pfns)
        slabs = (page["flags"][pfns] & PG_slab) != 0
        lost_bytes = live["bytes_alloc"].astype(np.int64) - live["bytes_req"].astype(np.int64)
        np.add.at(lost, page["cache"][pfns][slabs], lost_bytes[slabs])
        return lost

    def caches(self) -> list[dict[str, Any]]:
        """Every cache that has slabs, by memory."""
        mm = self.mm
        page = mm.view("page")[: mm.max_pfn]
        heads = ((page["flags"] & PG_slab) != 0).nonzero()[0]
        numbers = page["cache"][heads]
        count = max(mm.nr_caches, 1)

        def by_cache(values: Any) -> npt.NDArray[np.int64]:
            return np.bincount(numbers, weights=values, minlength=count).astype(np.int64)

        size = by_cache((1 << mm.page_shift) << page["order"][heads].astype(np.int64))
        slabs, capacity = by_cache(np.ones(len(heads))), by_cache(page["objects"][heads])
        used = by_cache(page["inuse"][heads]) - self._free_on_cpus(count)
        rounding = self.rounding()
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
                        "rounding": int(rounding[number]),
                        "slab_tail": tail,
                        "free_objects": free * object_size,
                    },
                }
            )
        return sorted(rows, key=lambda row: (-row["bytes"], row["name"]))

    def _free_on_cpus(self, count: int) -> npt.NDArray[np.int64]:
        """Objects that lie free on CPUs' lists and sheaves, which slabs count as in use, by cache
        number.
        """
        from mmtwin.replay.truth import free_chain

        mm = self.mm
        free = np.zeros(count, dtype=np.int64)
        cpus = mm.view("cache_cpu")
        for place in np.flatnonzero(cpus["freelist"][: mm.nr_caches * mm.nr_cpus]):
            number = int(place) // mm.nr_cpus
            free[number] += sum(1 for _ in free_chain(mm, number, int(cpus["freelist"][place])))
        sheaves = mm.view("sheaf")[: mm.next_sheaf]
        held = sheaves[(sheaves["size"] > 0) & (sheaves["cache"] >= 0)]
        np.add.at(free, held["cache"], held["size"].astype(np.int64))
        return free

    def call_sites(self) -> list[dict[str, Any]]:
        """The callers that waste or hold most."""
        callers = self.engine.objects.caller_records()
        waste = callers["bytes_alloc"] - callers["bytes_req"]
        chosen = set(np.argsort(-waste)[:SITES_KEPT]) | set(
            np.argsort(-callers["live_bytes"])[:SITES_KEPT]
        )
        caches = self._caches_of_sites()
        rows = []
        for place in sorted(chosen):
            caller = callers[place]
            site = int(caller["call_site"])
            rows.append(
                {
                    "site": self.annotated.recording.symbols.name(site),
                    "cache": caches.get(site, ""),
                    "allocations": int(caller["allocs"]),
                    "bytes_req": int(caller["bytes_req"]),
                    "bytes_alloc": int(caller["bytes_alloc"]),
                    "waste": int(waste[place]),
                    "live_objects": int(caller["live_objects"]),
                    "live_bytes": int(caller["live_bytes"]),
                }
            )
        return sorted(rows, key=lambda row: (-row["live_bytes"], row["site"]))

    def _caches_of_sites(self) -> dict[int, str]:
        names = self.annotated.names
        found: dict[int, str] = {}
        for site in self.annotated.sites.records():
            if site["cache"] >= 0:
                found[int(site["call_site"])] = names[int(site["cache"])]
        return found

    def orders(self) -> list[dict[str, Any]]:
        """Blocks taken and given back, by order and (if taken) migratetype."""
        names = self.mm.profile.migratetypes if self.mm.profile else ()
        sums = self.annotated.page_sums
        first = PLACES["SUM_TAKEN"], PLACES["SUM_FREED"]
        rows = []
        for order in range(ORDERS):
            for kind in range(TYPES):
                taken, freed = (int(sums[at + order * TYPES + kind]) for at in first)
                if taken or freed:
                    name = names[kind] if kind < len(names) else str(kind)
                    rows.append(
                        {"order": order, "migratetype": name, "allocated": taken, "freed": freed}
                    )
        return rows

    def steal_figures(self) -> dict[str, Any]:
        """Allocations from another migratetype's blocks."""
        names = self.mm.profile.migratetypes if self.mm.profile else ()

        def name(kind: int) -> str:
            return names[kind] if 0 <= kind < len(names) else str(kind)

        first = PLACES["SUM_STEALS"]
        steals = self.annotated.page_sums[first : first + TYPES * TYPES]
        pairs = {
            f"{name(int(place) // TYPES)} to {name(int(place) % TYPES)}": int(steals[place])
            for place in steals.nonzero()[0]
        }
        return {
            "fallbacks": int(steals.sum()),
            "pageblocks": int(self.annotated.page_sums[PLACES["SUM_CLAIMS"]]),
            "pairs": pairs,
        }

    def slub_paths(self, paths: dict[str, str]) -> dict[str, int]:
        """How often each path was taken, over all caches and CPUs."""
        total = self.mm.view("cache_cpu")["stat"].sum(axis=0)
        return {name: int(total[DEFS[item]]) for name, item in paths.items() if item in DEFS}

    def pcp_paths(self) -> dict[str, dict[str, int]]:
        """How often per-CPU page lists served, were refilled and drained."""
        from mmtwin.kernel import constants

        total = self.mm.view("pcp")["stat"].sum(axis=0)
        zones = self.mm.view("zone")["stat"].sum(axis=0)

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



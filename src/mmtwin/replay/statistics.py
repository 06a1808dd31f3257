"""Where the memory went: the tables of a replay's report, out of the twin's state and the
recording's events.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.mm import MM
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.roles import CONSTANTS as PLACES
from mmtwin.replay.engine import Engine
from mmtwin.replay.machine_figures import cache_rows, pcp_paths, rounding, slub_paths

Events = npt.NDArray[np.void]
SITES_KEPT = 200
ORDERS = PLACES["SUM_ORDERS"]
TYPES = PLACES["SUM_TYPES"]


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
            "slub": slub_paths(self.mm),
            "pcp": pcp_paths(self.mm),
        }

    def caches(self) -> list[dict[str, Any]]:
        """Every cache that has slabs, by memory."""
        live = self.engine.objects.records()
        lost = live["bytes_alloc"].astype(np.int64) - live["bytes_req"].astype(np.int64)
        return cache_rows(self.mm, rounding(self.mm, live["twin"], lost))

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

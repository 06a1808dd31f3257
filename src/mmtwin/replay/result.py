"""What a replay found, as the dict that `mmtwin replay --json` prints (docs/replay-json.md)."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmtwin.replay.counts import COUNTS, UNEXPLAINED

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM

SCHEMA = 1


@dataclass
class ReplayResult:
    """One replay: figures by kind, and the machine as it stands at the end (`mm`)."""

    recording: dict[str, Any]
    replay: dict[str, Any]
    counts: dict[str, int]
    consumed: int
    misses: dict[str, int]
    geometry: dict[str, Any]
    stacks: dict[str, int]
    counters: dict[str, Any]  # of vmstat: whether it is told when CPUs add them up
    snapshots: list[dict[str, Any]]
    seconds: dict[str, float]  # setup_seconds, seconds (the events), compare_seconds
    mm: "MM"
    vmalloc: dict[str, int] | None = None  # addresses of areas: predicted, exact
    processes: dict[str, dict[str, int]] | None = None  # what processes demanded, by kind
    statistics: dict[str, Any] | None = None
    differing: dict[str, list[str]] = field(default_factory=dict)

    @property
    def unexplained(self) -> dict[str, int]:
        """{kind: how many}, kinds that did not occur left out."""
        return {
            name: count for name, place in UNEXPLAINED.items() if (count := self._count(place)) > 0
        }

    def _count(self, place: int) -> int:
        return self.counts.get(str(place), 0)

    def _pair(self, name: str) -> dict[str, int]:
        return {
            "predicted": self._count(COUNTS[f"COUNT_{name}_PREDICTED"]),
            "exact": self._count(COUNTS[f"COUNT_{name}_EXACT"]),
        }

    def fidelity(self) -> dict[str, Any]:
        """How exactly the twin answered."""
        same_slab = self._count(COUNTS["COUNT_OBJECTS_SAME_SLAB"])
        return {
            "pfn": {"zone": self._pair("ZONE"), "pcp": self._pair("PCP")},
            "objects": {**self._pair("OBJECTS"), "same_slab": same_slab},
            "bytes_alloc": self._pair("BYTES"),
            "drained": self._pair("DRAIN"),
            "slabs_freed": self._pair("SLAB_FREE"),
            "stacks": self.stacks,
            "counters": self.counters,
            "geometry": self.geometry,
            **({"vmalloc": self.vmalloc} if self.vmalloc else {}),
            **(self.processes or {}),
            "misses": self.misses,
            "snapshots": self.snapshots,
        }

    def to_dict(self) -> dict[str, Any]:
        """The whole as JSON values."""
        events = int(self.recording["events"])
        speed = events / self.seconds["seconds"] if self.seconds["seconds"] > 0 else 0.0
        figures: dict[str, Any] = {
            "schema": SCHEMA,
            "recording": self.recording,
            "replay": self.replay,
            "events": {"consumed": self.consumed, "unexplained": self.unexplained},
            "fidelity": self.fidelity(),
            "speed": {**self.seconds, "events_per_second": speed},
        }
        if self.statistics is not None:
            figures["statistics"] = self.statistics
        return figures

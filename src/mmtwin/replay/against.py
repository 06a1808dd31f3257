"""A what-if's prediction held against another real kernel: what a recording of it showed at its
end of its caches, its per-CPU page lists and its free memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mmtwin.kernel.mm import MM
from mmtwin.procfs import buddyinfo, slabinfo, zoneinfo
from mmtwin.procfs.slabinfo import SlabInfo
from mmtwin.procfs.sys_kernel_slab import SlabAlias
from mmtwin.procfs.sys_kernel_slab import parse as parse_sys_kernel_slab
from mmtwin.recordings.recording import Recording
from mmtwin.recordings.snapshot import Snapshot
from mmtwin.replay.errors import ReplayError

FILES = ("slabinfo", "zoneinfo", "buddyinfo")


@dataclass(frozen=True)
class Shown:
    """What one machine shows. `caches`: lines of slabinfo; `groups`: {name: all names of the same
    kmem_cache}, of merged caches only; `pagesets`: {(node, zone): high, batch of CPU 0}; `bytes`:
    of slabs and of free memory.
    """

    caches: dict[str, SlabInfo]
    groups: dict[str, frozenset[str]]
    pagesets: dict[tuple[int, str], dict[str, int]]
    slab_bytes: int
    free_bytes: int

    def names(self, name: str) -> frozenset[str]:
        """All names of a cache."""
        return self.groups.get(name, frozenset([name]))


def last_snapshot(recording: Recording) -> Snapshot:
    """The last snapshot made while events were recorded that shows the caches. Raises ReplayError
    if there is none.
    """
    places = {marker.text: marker.index for marker in recording.markers}
    names = [
        (places[f"SNAPB {name}/slabinfo"], name)
        for name, snapshot in recording.snapshots.items()
        if f"SNAPB {name}/slabinfo" in places and all(file in snapshot for file in FILES)
    ]
    if not names:
        raise ReplayError(
            f"{recording.path} has no snapshot with {', '.join(FILES)}: nothing can be held "
            "against it"
        )
    return recording.snapshots[max(names)[1]]


def shown_by(recording: Recording) -> Shown:
    """What the recorded kernel showed at its last snapshot."""
    snapshot = last_snapshot(recording)
    page = recording.machine.page_size
    links: dict[str, set[str]] = {}
    for other in recording.snapshots.values():
        if "sys_kernel_slab" in other:
            for entry in other.parsed("sys_kernel_slab", parse_sys_kernel_slab):
                if isinstance(entry, SlabAlias):
                    links.setdefault(entry.target, set()).add(entry.name)
    rows = snapshot.parsed("slabinfo", slabinfo.parse)
    return _shown(
        rows, links.values(), snapshot.parsed("zoneinfo", zoneinfo.parse),
        snapshot.parsed("buddyinfo", buddyinfo.parse), page,
    )  # fmt: skip


def shown_by_twin(mm: MM) -> Shown:
    """What a twin shows now."""
    names = mm.cache_names
    groups = [{names[number], *others} for number, others in mm.cache_aliases.items() if others]
    return _shown(
        slabinfo.show(mm), groups, zoneinfo.show(mm), buddyinfo.show(mm), 1 << int(mm.page_shift)
    )


def _shown(
    rows: Iterable[SlabInfo], groups: Iterable[set[str]], zones: Iterable[Any],
    free: Iterable[buddyinfo.BuddyRow], page: int,
) -> Shown:  # fmt: skip
    caches = {row.name: row for row in rows}
    return Shown(
        caches,
        {name: frozenset(group) for group in groups for name in group},
        {
            (zone.node, zone.zone): zone.pagesets[0].values
            for zone in zones if zone.populated and zone.pagesets
        },
        sum(bytes_of(row, page) for row in caches.values()),
        sum(blocks << order for row in free for order, blocks in enumerate(row.free)) * page,
    )  # fmt: skip


def bytes_of(row: SlabInfo, page: int) -> int:
    """Bytes of a cache's slabs, as slabinfo tells: as many pages for each as it prefers."""
    return row.num_slabs * row.pagesperslab * page


def comparison(
    recording: Recording, other: Recording, twins: tuple[Shown, Shown]
) -> dict[str, Any]:
    """The prediction beside what the other kernel showed: the key "against" of the figures.

    `twins`: what the recorded kernel's twin and the changed one show where the recording's last
    snapshot lies.
    """
    before, real = shown_by(recording), shown_by(other)
    recorded, predicted = twins
    page = recording.machine.page_size, other.machine.page_size
    rows = rows_by_cache((before, recorded, real, predicted), page)
    pagesets = [
        {
            "node": node, "zone": zone,
            "real": _limits(real.pagesets[node, zone]), "predicted": _limits(limits),
        }
        for (node, zone), limits in sorted(predicted.pagesets.items())
        if (node, zone) in real.pagesets
    ]  # fmt: skip
    return {
        "recording": other.path.name,
        "kernel": other.machine.release,
        "cmdline": other.machine.cmdline,
        "snapshot": last_snapshot(other).name,
        "bytes": {
            "slab": _four(*(s.slab_bytes for s in (before, recorded, real, predicted))),
            "free": _four(*(s.free_bytes for s in (before, recorded, real, predicted))),
        },
        "compared": tally(rows),
        "pagesets": pagesets,
        "caches": rows,
    }


def rows_by_cache(
    four: tuple[Shown, Shown, Shown, Shown], page: tuple[int, int]
) -> list[dict[str, Any]]:
    """Caches that have slabs on the other kernel or the changed twin, by memory.

    `four`: the recorded kernel, its twin, the other kernel, the changed twin; `page`: bytes of
    their pages.
    """
    rows = [_row(members, *four, page) for members in components(four[2], four[3])]
    rows = [row for row in rows if row["real"]["slabs"] or row["predicted"]["slabs"]]
    return sorted(rows, key=lambda row: (-row["real"]["bytes"], row["name"]))


def tally(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """How many of the caches were predicted as they were."""
    both = [row for row in rows if row["real"]["slabs"] and row["predicted"]["slabs"]]
    return {
        "caches": len(both),
        "geometry_exact": sum(row["same_geometry"] for row in both),
        "merged_alike": sum(row["merged_alike"] for row in both),
        "slabs_exact": sum(_off(row) == 0 for row in both),
        "slabs_within_5_percent": sum(
            _off(row) <= max(row["real"]["slabs"] // 20, 1) for row in both
        ),
        "only_real": [row["name"] for row in rows if not row["predicted"]["slabs"]],
        "only_predicted": [row["name"] for row in rows if not row["real"]["slabs"]],
    }


def _four(before: int, recorded: int, real: int, predicted: int) -> dict[str, int]:
    return {"recorded": before, "recorded_twin": recorded, "real": real, "predicted": predicted}


def _off(row: Mapping[str, Any]) -> int:
    return abs(int(row["real"]["slabs"]) - int(row["predicted"]["slabs"]))


def _limits(values: Mapping[str, int]) -> dict[str, int]:
    """What is set of a per-CPU list; 6.14's `high` moves between high_min and high_max."""
    names = ("batch", "high_min", "high_max") if "high_min" in values else ("batch", "high")
    return {name: values[name] for name in names}


def components(real: Shown, predicted: Shown) -> list[frozenset[str]]:
    """Names that belong together: those that share a kmem_cache on either machine."""
    found: dict[str, frozenset[str]] = {}
    for shown in (real, predicted):
        for name in shown.caches:
            group = shown.names(name)
            members = group.union(*(found[each] for each in group if each in found))
            found.update(dict.fromkeys(members, members))
    return list(dict.fromkeys(found.values()))


def _row(
    members: frozenset[str], before: Shown, recorded: Shown, real: Shown, predicted: Shown,
    page: tuple[int, int],
) -> dict[str, Any]:  # fmt: skip
    here, there = (_rows_of(shown, members) for shown in (real, predicted))
    # what the recorded kernel had may have shared a cache with others
    name = max(here or there, key=lambda row: (row.num_slabs * row.pagesperslab, row.name)).name
    return {
        "name": name,
        "recorded": _sum(_rows_of(before, members), page[0]),
        "recorded_twin": _sum(_rows_of(recorded, members), page[0]),
        "real": _sum(here, page[1]),
        "predicted": _sum(there, page[1]),
        "same_geometry": geometries(here) == geometries(there),
        "merged_alike": {real.names(row.name) & members for row in here}
        == {predicted.names(row.name) & members for row in there},
    }


def _rows_of(shown: Shown, members: frozenset[str]) -> list[SlabInfo]:
    """The lines of the caches that have one of these names; those with slabs, if any has."""
    rows = {
        row.name: row for name, row in shown.caches.items() if members & shown.names(name)
    }
    return [row for row in rows.values() if row.num_slabs] or list(rows.values())


def geometries(rows: Iterable[SlabInfo]) -> set[tuple[int, int, int]]:
    """(bytes from object to object, objects, pages) of caches' slabs."""
    return {(row.objsize, row.objperslab, row.pagesperslab) for row in rows}


def _sum(rows: list[SlabInfo], page: int) -> dict[str, Any]:
    return {
        "slabs": sum(row.num_slabs for row in rows),
        "objects": sum(row.active_objs for row in rows),
        "bytes": sum(bytes_of(row, page) for row in rows),
        "geometry": sorted(geometries(rows)),
    }

"""What the writers of /proc texts have in common: the twin's zones, lists and slabs as numbers.

Every function reads the arrays of an `MM` through `mm.view(...)` and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.constants import PG_hole, PG_large_kmalloc, PG_slab, PG_tail

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM
    from mmtwin.versions.profiles import Profile

Array = npt.NDArray[Any]
NO_LIST = -1


@dataclass(frozen=True)
class ZonePlace:
    """A zone type of a node: `number` is its place in mm.zone."""

    node: int
    name: str
    type: int
    number: int


def mm_of(machine: Any) -> MM:
    """The memory state of a machine; a bare MM is its own."""
    return cast("MM", getattr(machine, "mm", machine))


def profile_of(mm: MM) -> Profile:
    """The facts a machine was made from. Raises ValueError if it was made without."""
    if mm.profile is None:
        raise ValueError("a machine without a profile: its formats are unknown")
    return cast("Profile", mm.profile)


def zone_places(mm: MM) -> list[ZonePlace]:
    """Every zone type of every node, in the order in which the kernel prints them."""
    types = profile_of(mm).zones
    return [
        ZonePlace(node, name, number, node * mm.nr_zone_types + number)
        for node in range(mm.nr_nodes)
        for name, number in types
    ]


def populated(mm: MM) -> list[ZonePlace]:
    """The zones that have pages (populated_zone)."""
    present = mm.view("zone")["present_pages"]
    return [place for place in zone_places(mm) if present[place.number] > 0]


def list_length(following: Array, head: int, most: int) -> int:
    """Entries of a list, counted up to `most`; `following` is the `next` of mm.page."""
    length = 0
    entry = int(following[head])
    while entry not in (head, NO_LIST) and length < most:
        length += 1
        entry = int(following[entry])
    return length


def list_pfns(following: Array, head: int) -> list[int]:
    """The entries of a list, first to last."""
    pfns = []
    entry = int(following[head])
    while entry not in (head, NO_LIST):
        pfns.append(entry)
        entry = int(following[entry])
    return pfns


def free_list_head(mm: MM, zone: int, order: int, migratetype: int) -> int:
    """The list head of a zone's free blocks of one order and migratetype."""
    first = int(mm.view("zone")["free_list"][zone])
    return first + order * mm.nr_migratetypes + migratetype


def free_blocks(mm: MM, zone: int) -> tuple[int, ...]:
    """nr_free of a zone by order."""
    return tuple(int(count) for count in mm.view("zone")["nr_free"][zone][: mm.nr_orders])


def pageblocks(mm: MM, zone: int) -> Array:
    """Pageblocks of a zone by migratetype (pagetypeinfo_showblockcount_print).

    The kernel looks at one page in each block, counted from the first pfn; blocks whose page
    is of another zone or has no struct page do not count.
    """
    record = mm.view("zone")[zone]
    start = int(record["start_pfn"])
    pfns = np.arange(start, start + int(record["spanned_pages"]), 1 << mm.pageblock_order)
    page = mm.view("page")[pfns]
    pfns = pfns[(page["zone"] == zone) & (page["flags"] & PG_hole == 0)]
    types = mm.view("pageblock")[pfns >> mm.pageblock_order]
    return np.bincount(types, minlength=mm.nr_migratetypes)[: mm.nr_migratetypes]


def slab_heads(mm: MM) -> Array:
    """The pfns of all slabs' first pages."""
    flags = mm.view("page")["flags"][: mm.max_pfn]
    return np.flatnonzero((flags & (PG_slab | PG_tail)) == PG_slab)


def large_kmallocs(mm: MM) -> Array:
    """The pfns of the first pages of kmallocs that are above the caches' sizes."""
    flags = mm.view("page")["flags"][: mm.max_pfn]
    return np.flatnonzero((flags & (PG_large_kmalloc | PG_tail)) == PG_large_kmalloc)


def cache_numbers(mm: MM) -> list[int]:
    """The caches in the order of slab_caches: the newest first."""
    alive = mm.view("cache")["alive"][: mm.nr_caches]
    return [int(number) for number in np.flatnonzero(alive)[::-1]]


@dataclass(frozen=True)
class NodeSlabs:
    """A cache's slabs on one node.

    `free`: free objects of slabs on the partial list; `partial_inuse`: the others of these slabs.
    """

    slabs: int
    objects: int
    partial: int
    free: int
    partial_inuse: int


def node_slabs(mm: MM, cache: int, node: int, most: int = 0) -> NodeSlabs:
    """Counts a cache's slabs on a node (count_partial).

    `most`: where the kernel looks at no more than so many slabs of a partial list, half of them
    from each end, and scales up (count_partial_free_approx); 0: at all.
    """
    record = mm.view("cache_node")[cache * mm.nr_nodes + node]
    page = mm.view("page")
    pfns = list_pfns(page["next"], int(record["partial"])) if record["nr_partial"] else []
    partial = len(pfns)
    if most and partial > most:
        pfns = pfns[: most // 2] + pfns[partial - most // 2 :]
    inuse = int(page["inuse"][pfns].sum())
    free = int(page["objects"][pfns].sum(dtype=np.int64)) - inuse
    objects = int(record["total_objects"])
    if len(pfns) < partial:
        free = min(free * partial // len(pfns), objects)
    return NodeSlabs(int(record["nr_slabs"]), objects, partial, free, inuse)


def slab_pages(mm: MM, reclaimable: int) -> dict[int, tuple[int, int]]:
    """(reclaimable, unreclaimable) slab pages of each node; large kmallocs are of the second kind.

    `reclaimable`: the twin's SLAB_RECLAIM_ACCOUNT.
    """
    large = mm.view("page")[large_kmallocs(mm)]
    large_pages = np.left_shift(np.int64(1), large["order"].astype(np.int64))
    large_nodes = mm.view("zone")["node"][large["zone"]]
    page = mm.view("page")[slab_heads(mm)]
    pages = np.left_shift(np.int64(1), page["order"].astype(np.int64))
    shrinks = mm.view("cache")["flags"][page["cache"]] & reclaimable != 0
    nodes = mm.view("zone")["node"][page["zone"]]
    counts = {}
    for node in range(mm.nr_nodes):
        here = nodes == node
        yes, no = int(pages[here & shrinks].sum()), int(pages[here & ~shrinks].sum())
        counts[node] = yes, no + int(large_pages[large_nodes == node].sum())
    return counts

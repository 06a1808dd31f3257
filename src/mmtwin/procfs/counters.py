"""The vmstat counters that the twin holds, by the kernel's names (mm/vmstat.c)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mmtwin.kernel.constants import USE_VMALLOC, PG_table, PG_tail
from mmtwin.kernel.slub_defs import DEFS as SLUB
from mmtwin.kernel.thread_stack import kernel_stack_kb
from mmtwin.procfs.state import free_blocks, slab_pages

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM

# Place in zone_t.stat of each: ZSTAT_NUMA_* of constants.pxd.
NUMA_COUNTERS = {
    "numa_hit": 0, "numa_miss": 1, "numa_foreign": 2, "numa_interleave": 3, "numa_local": 4,
    "numa_other": 5,
}  # fmt: skip


def zone_counters(mm: MM, zone: int) -> dict[str, int]:
    """A zone's counters, in pages."""
    record = mm.view("zone")[zone]
    blocks = free_blocks(mm, zone)
    whole = range(mm.pageblock_order, mm.nr_orders)
    return {
        "nr_free_pages": int(record["nr_free_pages"]),
        "nr_free_pages_blocks": sum(blocks[order] << order for order in whole),
        "nr_free_cma": int(record["nr_free_cma"]),
    }


def numa_counters(mm: MM, zone: int) -> dict[str, int]:
    """A zone's NUMA events since the twin began."""
    stat = mm.view("zone")["stat"][zone]
    return {name: int(stat[place]) for name, place in NUMA_COUNTERS.items()}


def node_counters(mm: MM, node: int) -> dict[str, int]:
    """A node's counters in pages."""
    reclaimable, unreclaimable = slab_pages(mm, SLUB["SLAB_RECLAIM_ACCOUNT"])[node]
    return {"nr_slab_reclaimable": reclaimable, "nr_slab_unreclaimable": unreclaimable}


def marked_counters(mm: MM, node: int) -> dict[str, int]:
    """A node's counters of what its allocators said: pages, stacks of living tasks in KiB."""
    page = mm.view("page")[: mm.max_pfn]
    here = mm.view("zone")["node"][page["zone"]] == node
    heads = here & (page["flags"] & PG_tail == 0)
    vmalloc = int(np.count_nonzero(heads & (page["users"] == USE_VMALLOC)))
    return {
        "nr_page_table_pages": int(np.count_nonzero(here & (page["flags"] & PG_table != 0))),
        "nr_kernel_stack": kernel_stack_kb(mm, node),
        "nr_vmalloc": vmalloc,
    }


def node_stats(mm: MM, node: int, base: Mapping[str, int] | None) -> dict[str, int]:
    """What the twin says of a node. `base`: the kernel's own counters at the twin's beginning.

    An allocation seldom says what its page is for, so a base knows stacks, vmalloc's pages and
    page tables better than the twin's marks.
    """
    marked = marked_counters(mm, node) if base is None else {}
    return node_counters(mm, node) | marked


def with_base(
    names: Iterable[str],
    known: Mapping[str, int],
    counted: Mapping[str, int],
    base: Mapping[str, int] | None,
) -> dict[str, int]:
    """Values by name: `known`, or the base's (0 without) with what was `counted` since."""
    start = base or {}
    return {name: known.get(name, start.get(name, 0) + counted.get(name, 0)) for name in names}

"""Small machines for the page allocator's tests: a few zones of a few pages, all of them free."""

import hashlib
from collections.abc import Mapping
from typing import Any

from mmtwin.kernel.constants import ZONE_DMA32, ZONE_NORMAL
from mmtwin.kernel.layout import Layout
from mmtwin.kernel.lists import list_entries
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mmzone import set_pageblock_migratetype
from mmtwin.kernel.mmzone_init import (
    build_zonelists,
    free_area_init,
    free_area_init_empty,
    per_cpu_pages_init,
)
from mmtwin.kernel.page_alloc_state import add_free_block
from mmtwin.versions.features import features_of

CONFIG = {
    "CONFIG_NUMA": "y",
    "CONFIG_ZONE_DMA": "y",
    "CONFIG_ZONE_DMA32": "y",
    "CONFIG_TRANSPARENT_HUGEPAGE": "y",
}
GFP_KERNEL = 0xCC0
GFP_MOVABLE = 0x100CCA  # GFP_HIGHUSER_MOVABLE
GFP_RECLAIMABLE = GFP_KERNEL | 0x10
GFP_ATOMIC = 0xA20
GFP_NOWARN = 0x2000
VERSIONS = ("5.10", "5.13", "6.1.176", "6.12.107", "6.18", "7.3")
# ... and two between them whose page allocator is like neither neighbour's.
PAGE_VERSIONS = (*VERSIONS[:2], "5.17", VERSIONS[2], "6.13", *VERSIONS[3:])
NORMAL = ZONE_NORMAL
UNMOVABLE, MOVABLE, RECLAIMABLE, HIGHATOMIC = range(4)


def machine(
    version: str = "6.1.176",
    pages: int = 64,
    *,
    orders: int = 5,
    block_order: int = 3,
    cpus: int = 1,
    nodes: int = 1,
    dma32: int = 0,
    types: int = 5,
    cma: int = -1,
    contents: bool = False,
    caches: int = 1,
    **features: int,
) -> MM:
    """A machine with `pages` pages in ZONE_NORMAL of each node, and `dma32` below them on node 0.

    No page is free yet, no watermark holds anything back, and per-CPU lists pass everything on
    (high 0, batch 1), so that the free lists show through; `pcp_size` makes them real.
    """
    known: dict[str, int] = features_of(version, "x86_64", 4096, CONFIG)
    known.update(features)
    mm = MM(
        Layout(
            min_pfn=0,
            max_pfn=dma32 + pages * nodes,
            page_shift=12,
            page_offset=0xFFFF888000000000,
            pageblock_order=block_order,
            nr_orders=orders,
            nr_migratetypes=types,
            migrate_isolate=types - 1,
            migrate_cma=cma,
            nr_nodes=nodes,
            nr_cpus=cpus,
            max_caches=caches,
            max_sheaves=16 * caches,
            features=known,
            contents=contents,
        )
    )
    if dma32:
        free_area_init(mm, 0, ZONE_DMA32, 0, dma32, dma32, dma32)
    for node in range(nodes):
        free_area_init(mm, node, ZONE_NORMAL, dma32 + node * pages, pages, pages, pages)
    free_area_init_empty(mm)
    per_cpu_pages_init(mm)
    build_zonelists(mm)
    mm.page_group_by_mobility_disabled = 0
    mm.watermark_boost_factor = 0
    return mm


def fill(mm: MM, start: int, pages: int, order: int, migratetype: int = UNMOVABLE) -> None:
    """Frees pages as blocks of one order, lowest first; their pageblocks take the type."""
    for pfn in range(start, start + pages, 1 << order):
        for block in range(pfn, pfn + (1 << order), 1 << min(order, mm.pageblock_order)):
            set_pageblock_migratetype(mm, block, migratetype)
        add_free_block(mm, pfn, order, migratetype, True)


def pcp_size(mm: MM, batch: int, high: int, high_max: int = 0) -> None:
    """Sizes the per-CPU lists of every zone and CPU."""
    for pcp in mm.view("pcp"):
        pcp["batch"], pcp["high"] = batch, high
        pcp["high_min"], pcp["high_max"] = high, high_max or high


def free_list(mm: MM, order: int, migratetype: int = UNMOVABLE, zone: int = NORMAL) -> list[int]:
    """The blocks of a free list, first to last."""
    head = int(mm.view("zone")[zone]["free_list"]) + order * mm.nr_migratetypes + migratetype
    entries: list[int] = list_entries(mm, head)
    return entries


def free_lists(mm: MM, zone: int = NORMAL) -> dict[tuple[int, int], list[int]]:
    """{(order, migratetype): blocks} of a zone's free lists that are not empty."""
    keys = [(o, t) for o in range(mm.nr_orders) for t in range(mm.nr_migratetypes)]
    lists = {key: free_list(mm, *key, zone=zone) for key in keys}
    return {key: blocks for key, blocks in lists.items() if blocks}


def pcp_lists(mm: MM, zone: int = NORMAL, cpu: int = 0) -> dict[int, list[int]]:
    """{list: blocks} of a CPU's lists that are not empty."""
    pcp = mm.view("pcp")[zone * mm.nr_cpus + cpu]
    lists = {n: list_entries(mm, int(pcp["lists"]) + n) for n in range(int(pcp["nr_lists"]))}
    return {number: blocks for number, blocks in lists.items() if blocks}


def pcp_of(mm: MM, zone: int = NORMAL, cpu: int = 0) -> Any:
    """The record of a CPU's lists."""
    return mm.view("pcp")[zone * mm.nr_cpus + cpu]


FIELDS: Mapping[str, str] = {
    "page": "flags zone order migratetype next prev users refcount compound_head",
    "zone": "watermark watermark_boost nr_free_pages nr_free_cma nr_reserved_highatomic "
    "nr_free_highatomic nr_free flags stat",
    "pcp": "count high flags alloc_factor free_count stat",
}


def checksum(mm: MM) -> str:
    """A hash of the page allocator's state; the same in a compiled and an uncompiled run."""
    digest = hashlib.sha256()
    for array, fields in FIELDS.items():
        for field in fields.split():
            digest.update(mm.view(array)[field].astype("<i8").tobytes())
    for array in ("pageblock", "vm_event"):
        digest.update(mm.view(array).astype("<i8").tobytes())
    return digest.hexdigest()[:16]

"""The page allocator's part of a truth: free lists, per-CPU lists and pageblocks, in order."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmtwin.kernel.constants import (
    MIGRATE_HIGHATOMIC,
    MIGRATE_MOVABLE,
    MIGRATE_PCPTYPES,
    USE_FREE,
    PG_buddy,
    PG_pcp,
)
from mmtwin.kernel.mm import MM
from mmtwin.machine.chains import link_list, list_pfns

PCP_TYPES = MIGRATE_PCPTYPES


def add_free_lists(mm: MM, number: int, lists: Mapping[str, Sequence[int]]) -> None:
    """Fills a zone's free lists. `lists`: `"order,migratetype"` -> first pfns, head first.

    Raises ValueError for a list that this machine's zones do not have, or blocks that are not
    aligned or outside the machine.
    """
    zone = mm.view("zone")[number]
    for key, pfns in lists.items():
        order, migratetype = (int(word) for word in key.split(","))
        if order >= mm.nr_orders or migratetype >= mm.nr_migratetypes:
            raise ValueError(f"no free list {key} on this machine")
        mark_free(mm, pfns, order, PG_buddy, key)
        head = int(zone["free_list"]) + order * mm.nr_migratetypes + migratetype
        link_list(mm, head, pfns)
        pages = len(pfns) << order
        zone["nr_free"][order] += len(pfns)
        zone["nr_free_pages"] += pages
        if migratetype == mm.migrate_cma:
            zone["nr_free_cma"] += pages
        if migratetype == MIGRATE_HIGHATOMIC:
            zone["nr_free_highatomic"] += pages
        mm.view("page")["migratetype"][np.asarray(pfns, dtype=np.int64)] = migratetype


def mark_free(mm: MM, pfns: Sequence[int], order: int, flag: int, what: str) -> None:
    """Marks blocks as free: the flag and the order on the head, no user on any page."""
    heads = np.asarray(pfns, dtype=np.int64)
    wrong = (heads & ((1 << order) - 1) != 0) | (heads < 0) | (heads + (1 << order) > mm.max_pfn)
    if wrong.any():
        raise ValueError(f"free block {int(heads[wrong][0])} of list {what} cannot be")
    page = mm.view("page")
    pages = (heads[:, None] + np.arange(1 << order)).ravel()
    page["users"][pages] = USE_FREE
    page["refcount"][pages] = 0
    page["flags"][pages] = 0
    page["flags"][heads] = flag
    page["order"][heads] = order


def pcp_place(mm: MM, index: int) -> tuple[int, int]:
    """(order, migratetype) of a per-CPU list's index: order_to_pindex() turned round.

    Behind the lists of the small orders come those of huge pages: one for each type from 5.14 to
    6.9, one in 6.10, since then one for movable blocks and one for others (`pcp_thp_lists`).
    """
    small = PCP_TYPES * (int(mm.view("has")[0].pcp_max_order) + 1)
    if index < small:
        return index // PCP_TYPES, index % PCP_TYPES
    pmd_order = mm.profile.limits.pmd_order if mm.profile else mm.pageblock_order
    thp_lists = int(mm.view("has")[0].pcp_thp_lists)
    return pmd_order, (index - small) if thp_lists > 1 else 1


def add_pcp_lists(mm: MM, number: int, cpu: int, truth: Mapping[str, Any]) -> None:
    """Fills a CPU's lists of a zone from an entry of a truth's `pcp`."""
    pcp = mm.view("pcp")[number * mm.nr_cpus + cpu]
    pages = 0
    for key, pfns in truth["lists"].items():
        index = int(key)
        if index >= int(pcp["nr_lists"]):
            raise ValueError(f"no per-CPU list {index} on this machine")
        order, migratetype = pcp_place(mm, index)
        mark_free(mm, pfns, order, PG_pcp, f"pcp {index}")
        heads = np.asarray(pfns, dtype=np.int64)
        # a page of a type without a list of its own lies among the movable ones, but remembers it
        types = mm.view("pageblock")[heads >> mm.pageblock_order]
        own = (types >= PCP_TYPES) & (migratetype == MIGRATE_MOVABLE)
        mm.view("page")["migratetype"][heads] = np.where(own, types, migratetype)
        link_list(mm, int(pcp["lists"]) + index, pfns)
        pages += len(pfns) << order
    pcp["count"] = truth.get("count", pages)
    pcp["high"] = truth["high"]
    pcp["batch"] = truth["batch"]


def known_pageblocks(mm: MM, truth: Mapping[str, Any]) -> dict[int, int]:
    """Types of pageblocks that a truth tells for sure, by number.

    Its `pageblocks` were read with four bits a block. A kernel that keeps eight (see
    Limits.pageblock_bits) shows a block's type in every other entry, and only for the first half
    of each memory section; blocks with pages on a free list have that list's type.
    """
    entries: Sequence[int | None] = truth["pageblocks"]
    limits = mm.profile.limits
    known = {}
    if limits.pageblock_bits == 4:
        return {block: kind for block, kind in enumerate(entries) if kind is not None}
    in_section = 1 << (limits.section_size_bits - limits.page_shift - limits.pageblock_order)
    for block in range(len(entries)):
        place = block % in_section
        entry = entries[block - place + 2 * place] if 2 * place < in_section else None
        if entry is not None:
            known[block] = entry
    for zone in truth["buddy"]:
        for key, pfns in zone["free"].items():
            order, kind = (int(word) for word in key.split(","))
            for pfn in pfns:
                first, last = pfn, pfn + (1 << order) - 1
                for block in range(first >> mm.pageblock_order, (last >> mm.pageblock_order) + 1):
                    known[block] = kind
    return known


def set_pageblocks(mm: MM, types: Mapping[int, int | None]) -> None:
    """Types of pageblocks by number; those not named are movable, as at boot."""
    blocks = mm.view("pageblock")
    blocks[:] = MIGRATE_MOVABLE
    for block, kind in types.items():
        if block < len(blocks) and kind is not None:
            blocks[block] = kind


def free_lists(mm: MM, number: int) -> dict[str, list[int]]:
    """A zone's free lists as a truth shows them: `"order,migratetype"` -> pfns, head first."""
    first = int(mm.view("zone")[number]["free_list"])
    lists = {}
    for order in range(mm.nr_orders):
        for migratetype in range(mm.nr_migratetypes):
            pfns = list_pfns(mm, first + order * mm.nr_migratetypes + migratetype)
            if pfns:
                lists[f"{order},{migratetype}"] = pfns
    return lists


def pcp_lists(mm: MM, number: int, cpu: int) -> dict[str, list[int]]:
    """A CPU's page lists of a zone as a truth shows them: index -> pfns, head first."""
    pcp = mm.view("pcp")[number * mm.nr_cpus + cpu]
    lists = {}
    for index in range(int(pcp["nr_lists"])):
        pfns = list_pfns(mm, int(pcp["lists"]) + index)
        if pfns:
            lists[str(index)] = pfns
    return lists

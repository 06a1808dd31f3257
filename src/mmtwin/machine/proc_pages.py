"""Free blocks and pageblock types from /proc alone: kpageflags, pagetypeinfo, zoneinfo.

kpageflags tells exactly which pages are free in the buddy allocator: blocks that are buddies of
each other would have merged, so a run of free pages falls into blocks in one way only. What /proc
does not tell is the order of the lists, and which pages lie on the per-CPU lists (they have no
flags, as have pages that the kernel uses itself).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mmtwin.machine.proc_types import free_vectors, refine_types
from mmtwin.machine.texts import PageTypes, ZoneText
from mmtwin.versions.profiles import Profile

Flags = npt.NDArray[np.uint64]
# KPF_* of include/uapi/linux/kernel-page-flags.h (and fs/proc/page.c).
KPF_LRU, KPF_SLAB, KPF_BUDDY, KPF_ANON = 5, 7, 10, 12
KPF_COMPOUND_HEAD, KPF_COMPOUND_TAIL, KPF_NOPAGE, KPF_PGTABLE, KPF_RESERVED = 15, 16, 20, 26, 32
UNMOVABLE, MOVABLE, RECLAIMABLE = 0, 1, 2


def has_flag(flags: Flags, bit: int) -> npt.NDArray[np.bool_]:
    """Which pages have a KPF_* flag."""
    return (flags >> np.uint64(bit) & np.uint64(1)).astype(bool)


def runs(wanted: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, behind the last) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], wanted, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def split_run(start: int, end: int, largest: int) -> list[tuple[int, int]]:
    """(pfn, order) of the merged blocks of a run of free pages, by address."""
    blocks = []
    while start < end:
        order = (end - start).bit_length() - 1
        if start:
            order = min(order, (start & -start).bit_length() - 1)
        order = min(order, largest)
        blocks.append((start, order))
        start += 1 << order
    return blocks


def split_at_types(
    start: int, end: int, types: Sequence[int | None], block_order: int, alone: frozenset[int]
) -> list[tuple[int, int]]:
    """Parts of a run between which blocks do not merge: some pageblocks merge with their like.

    `alone`: migratetypes that are no fallback of others (CMA, isolated ones).
    """
    parts = []
    place = start
    while place < end:
        kind = types[place >> block_order]
        stop = place
        while stop < end:
            after = types[stop >> block_order]
            if after != kind and (after in alone or kind in alone):
                break
            stop = min(end, ((stop >> block_order) + 1) << block_order)
        parts.append((place, stop))
        place = stop
    return parts


def guess_pageblocks(
    profile: Profile,
    zones: Sequence[ZoneText],
    flags: Flags,
    pagetypes: PageTypes,
    cma: Sequence[tuple[int, int]],
    known: Mapping[int, int] | None = None,
) -> list[int | None]:
    """The likeliest type of each pageblock, with as many of each type as pagetypeinfo counts.

    CMA areas are known (`cma`: first pfn, behind the last), and blocks in `known`. Of the others,
    those with the most slab pages, page tables and pages without flags are unmovable, those with
    mostly user pages or nothing movable; reclaimable ones look like unmovable ones and come next.
    """
    order = profile.limits.pageblock_order
    pages = 1 << order
    count = -(-len(flags) // pages)
    padded = np.full(count * pages, np.uint64(1 << KPF_NOPAGE), dtype=np.uint64)
    padded[: len(flags)] = flags
    blocks = padded.reshape(count, pages)
    slab = has_flag(blocks, KPF_SLAB).sum(axis=1)
    tables = has_flag(blocks, KPF_PGTABLE).sum(axis=1)
    plain = (blocks == 0).sum(axis=1)
    user = (has_flag(blocks, KPF_LRU) | has_flag(blocks, KPF_ANON)).sum(axis=1)
    types: list[int | None] = [None] * count
    for block, kind in (known or {}).items():
        if block < count:
            types[block] = kind
    for zone in zones:
        spanned = zone.numbers.get("spanned", 0)
        if not spanned:
            continue
        start = zone.numbers["start_pfn"]
        mine = list(range(start >> order, -(-(start + spanned) // pages)))
        free = [b for b in mine if types[b] is None]
        names = dict(pagetypes.blocks.get((zone.node, zone.name), {}))
        if "CMA" in profile.migratetypes:
            kind = profile.migratetypes.index("CMA")
            for block in [b for b in free if in_ranges(b << order, cma)]:
                types[block] = kind
                free.remove(block)
        likely = np.array([slab[b] + tables[b] + 0.5 * plain[b] - 2 * user[b] for b in free])
        ranking = [free[i] for i in np.argsort(-likely, kind="stable")]
        taken = 0
        for name in ("Unmovable", "Reclaimable", "HighAtomic"):
            kind = profile.migratetypes.index(name)
            number = max(names.get(name, 0) - sum(types[b] == kind for b in mine), 0)
            for block in ranking[taken : taken + number]:
                types[block] = kind
            taken += number
        for block in ranking[taken:]:
            types[block] = MOVABLE
        refine_zone(profile, zone, flags, types, ranking, pagetypes)
    return types


def refine_zone(
    profile: Profile,
    zone: ZoneText,
    flags: Flags,
    types: list[int | None],
    guessed: Sequence[int],
    pagetypes: PageTypes,
) -> None:
    """Changes guessed types of a zone's pageblocks so that its counts of free blocks come out."""
    order = profile.limits.pageblock_order
    free = free_blocks(profile, zone, flags, types)
    fixed = free_vectors(free, [b for b in range(len(types)) if b not in set(guessed)], order)
    rest = [b for b in range(len(types)) if b not in set(guessed)]
    rows = pagetypes.free.get((zone.node, zone.name), {})
    wanted = {}
    for name, row in rows.items():
        if name not in profile.migratetypes:
            continue
        kind = profile.migratetypes.index(name)
        known = fixed[[types[b] == kind for b in rest]].sum(axis=0)
        counted = np.array(row, dtype=np.int64)
        counted[: len(known)] -= known[: len(counted)]
        wanted[kind] = counted
    mine = [types[b] or UNMOVABLE for b in guessed]
    vectors = free_vectors(free, guessed, order)
    for block, kind in zip(guessed, refine_types(mine, vectors, wanted), strict=True):
        types[block] = kind


def in_ranges(pfn: int, ranges: Sequence[tuple[int, int]]) -> bool:
    """Whether a pfn lies in one of the ranges."""
    return any(start <= pfn < end for start, end in ranges)


def free_blocks(
    profile: Profile,
    zone: ZoneText,
    flags: Flags,
    types: Sequence[int | None],
) -> list[tuple[int, int]]:
    """(pfn, order) of a zone's free blocks, by address."""
    limits = profile.limits
    start = zone.numbers["start_pfn"]
    end = min(start + zone.numbers["spanned"], len(flags))
    alone = frozenset(
        profile.migratetypes.index(name)
        for name in ("CMA", "Isolate", "HighAtomic") if name in profile.migratetypes
    )
    blocks = []
    for first, last in runs(has_flag(flags[start:end], KPF_BUDDY)):
        parts = split_at_types(
            first + start, last + start, types, limits.pageblock_order, alone
        )
        for a, b in parts:
            blocks += split_run(a, b, limits.nr_orders - 1)
    return blocks


def lists_of_zone(
    profile: Profile,
    zone: ZoneText,
    flags: Flags,
    types: Sequence[int | None],
    pagetypes: PageTypes,
) -> dict[str, list[int]]:
    """A zone's free lists, `"order,migratetype"` -> pfns, as many on each as pagetypeinfo counts.

    A block is first taken for its pageblock's type. Kernels before 6.10 may have it elsewhere:
    where a list gets more blocks than counted, the last ones go to lists that have too few.
    """
    block_order = profile.limits.pageblock_order
    by_order: dict[int, dict[int, list[int]]] = {}
    for pfn, order in free_blocks(profile, zone, flags, types):
        kind = types[pfn >> block_order] or UNMOVABLE
        by_order.setdefault(order, {}).setdefault(kind, []).append(pfn)
    counted = pagetypes.free.get((zone.node, zone.name), {})
    lists: dict[str, list[int]] = {}
    for order, found in by_order.items():
        wanted = {
            profile.migratetypes.index(name): row[order]
            for name, row in counted.items()
            if name in profile.migratetypes and order < len(row)
        }
        same = sum(wanted.values()) == sum(map(len, found.values()))
        if same and not profile.features.get("freelist_hygiene"):
            even_out(found, wanted)
        for kind, pfns in found.items():
            if pfns:
                lists[f"{order},{kind}"] = pfns
    return lists


def even_out(found: dict[int, list[int]], wanted: Mapping[int, int]) -> None:
    """Moves blocks between the lists of an order until each is as long as counted."""
    spare = []
    for kind, pfns in found.items():
        extra = len(pfns) - wanted.get(kind, 0)
        if extra > 0:
            spare += pfns[len(pfns) - extra:]
            del pfns[len(pfns) - extra:]
    for kind, number in wanted.items():
        pfns = found.setdefault(kind, [])
        while len(pfns) < number and spare:
            pfns.append(spare.pop())

"""What each page of a machine is for, as numbers for a map: uses, orders of free blocks,
migratetypes of pageblocks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.constants import USE_FREE, PG_buddy, PG_hole, PG_pcp
from mmtwin.kernel.mm import MM
from mmtwin.machine.views import USES

# Kinds of pages, by number: uses of constants.pxd first, then free blocks by order.
FREE_ORDERS = 16
FIRST_ORDER = 32
PCP = 30
HOLE = 31
NAMES = USES | {PCP: "on a per-CPU list", HOLE: "no memory"}


@dataclass(frozen=True)
class PageMap:
    """`kinds`: of each page from `start` on (uint8: USE_*, PCP, HOLE, FIRST_ORDER + order);
    `blocks`: migratetype of each pageblock of `block_pages` pages, by its number; `types`: their
    names; `page_size` in bytes.
    """

    kinds: npt.NDArray[np.uint8]
    start: int
    blocks: npt.NDArray[np.uint8]
    block_pages: int
    types: tuple[str, ...]
    page_size: int
    nr_orders: int

    def counts(self) -> dict[int, int]:
        """Pages by kind."""
        found = np.bincount(self.kinds, minlength=64)
        return {kind: int(count) for kind, count in enumerate(found) if count}

    def free_by_order(self) -> list[int]:
        """Free pages in blocks of each order."""
        found = np.bincount(self.kinds, minlength=FIRST_ORDER + FREE_ORDERS)
        return [int(found[FIRST_ORDER + order]) for order in range(self.nr_orders)]


def page_map(mm: MM) -> PageMap:
    """The map of a machine's pages, from the first pageblock with memory to the last page."""
    page = mm.view("page")[: mm.max_pfn]
    flags = page["flags"]
    kinds = page["users"].astype(np.uint8)
    kinds[kinds == USE_FREE] = 0
    mark(kinds, np.flatnonzero(flags & PG_pcp), page["order"], PCP, None)
    heads = np.flatnonzero(flags & PG_buddy)
    mark(kinds, heads, page["order"], FIRST_ORDER, page["order"])
    kinds[flags & PG_hole != 0] = HOLE
    block_pages = 1 << int(mm.pageblock_order)
    there = np.flatnonzero(kinds != HOLE)
    first = int(there[0]) if len(there) else 0
    start = first // block_pages * block_pages
    first_block = start // block_pages
    last_block = -(-int(mm.max_pfn) // block_pages)
    types = tuple(mm.profile.migratetypes) if mm.profile else ()
    return PageMap(
        kinds[start:], start, mm.view("pageblock")[first_block:last_block].astype(np.uint8),
        block_pages, types, 1 << int(mm.page_shift), int(mm.nr_orders),
    )  # fmt: skip


def mark(
    kinds: npt.NDArray[np.uint8], heads: npt.NDArray[np.int64], orders: npt.NDArray[np.uint8],
    kind: int, add: npt.NDArray[np.uint8] | None,
) -> None:  # fmt: skip
    """Gives the pages of blocks a kind, plus what `add` says of each block's first page."""
    for order in np.unique(orders[heads]):
        mine = heads[orders[heads] == order]
        value = kind + (int(order) if add is not None else 0)
        pages = (mine[:, None] + np.arange(1 << int(order))).ravel()
        kinds[pages[pages < len(kinds)]] = value

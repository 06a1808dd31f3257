"""What pages in use are for, as far as kpageflags tells: laid over a state made from lists."""

import numpy as np

from mmtwin.kernel.constants import (
    USE_FREE,
    USE_LARGE_KMALLOC,
    USE_PAGE_CACHE,
    USE_PAGE_TABLE,
    USE_RESERVED,
    USE_SLAB,
    USE_USER,
    PG_head,
    PG_hole,
    PG_large_kmalloc,
    PG_reserved,
    PG_table,
    PG_tail,
)
from mmtwin.kernel.mm import MM
from mmtwin.machine.proc_pages import (
    KPF_ANON,
    KPF_COMPOUND_HEAD,
    KPF_COMPOUND_TAIL,
    KPF_LRU,
    KPF_NOPAGE,
    KPF_PGTABLE,
    KPF_RESERVED,
    Flags,
    has_flag,
    runs,
)


def set_uses(mm: MM, flags: Flags) -> None:
    """Marks pages that are in use as user pages, page cache, page tables, reserved or compound.

    `flags`: kpageflags, at most moments older or newer than the lists: what the lists call free or
    a slab stays so. Movable is what is on an LRU list, as the fallback of migratetypes counts it.
    """
    count = min(len(flags), mm.max_pfn)
    flags = flags[:count]
    page = mm.view("page")[:count]
    users = page["users"]
    open_ = (users != USE_FREE) & (users != USE_SLAB) & (page["flags"] & PG_hole == 0)
    lru, anon = has_flag(flags, KPF_LRU), has_flag(flags, KPF_ANON)
    page["users"][open_ & lru & ~anon] = USE_PAGE_CACHE
    page["users"][open_ & lru & anon] = USE_USER
    tables = open_ & has_flag(flags, KPF_PGTABLE)
    page["users"][tables] = USE_PAGE_TABLE
    page["flags"][tables] |= PG_table
    reserved = open_ & has_flag(flags, KPF_RESERVED) & ~has_flag(flags, KPF_NOPAGE)
    page["users"][reserved] = USE_RESERVED
    page["flags"][reserved] |= PG_reserved
    set_compounds(mm, flags, open_)


def set_compounds(mm: MM, flags: Flags, open_: np.ndarray) -> None:
    """Makes compound pages of heads and the tails behind them. Those with no other flag are taken
    for large kmallocs: so a kfree() of one finds its order.
    """
    page = mm.view("page")
    heads = has_flag(flags, KPF_COMPOUND_HEAD) & open_
    tails = has_flag(flags, KPF_COMPOUND_TAIL) & open_
    plain = flags == np.uint64(1 << KPF_COMPOUND_HEAD)
    for start, end in runs(tails):
        head = start - 1
        # two compound pages side by side: the second one's head ends the run of tails
        if head < 0 or not heads[head]:
            continue
        page["flags"][head] |= PG_head
        page["order"][head] = (end - head - 1).bit_length()
        page["flags"][start:end] |= PG_tail
        page["compound_head"][start:end] = head
        page["refcount"][start:end] = 0
        if plain[head]:
            page["flags"][head] |= PG_large_kmalloc
            page["users"][head:end] = USE_LARGE_KMALLOC

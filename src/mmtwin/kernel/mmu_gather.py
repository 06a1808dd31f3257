"""mmu_gather: pages taken out of page tables wait in batches until the TLB was flushed, then they
are freed together (mm/mmu_gather.c).

The first batch, of 8, is part of the mmu_gather; each further one is a page. Page tables go the
same way, or wait for a grace period (CONFIG_MMU_GATHER_RCU_TABLE_FREE where it is used).
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.memory_defs import GFP_NOWAIT_NOWARN, MMU_GATHER_BUNDLE, MOST_GATHERED
    from mmtwin.kernel.page_alloc import alloc_pages, free_pages
    from mmtwin.kernel.pgtable import table_dtor
    from mmtwin.kernel.swap import lru_add_drain, put_pages

BATCH_HEADER = 16  # struct mmu_gather_batch: next, nr, max; struct mmu_table_batch alike


class mmu_gather:
    """What an unmap collects: tlb_gather_mmu(). `mm`: whose pages they are."""

    def __init__(self, mm):
        self.mm = mm
        self.machine = mm.machine
        self.pages, self.batches, self.tables = [], [], []
        self.table_batch = -1
        self.place = self.used = 0
        self.reclaim_pt = self.keep_markers = False
        self.limit = MMU_GATHER_BUNDLE
        self.room = ((1 << mm.machine.page_shift) - BATCH_HEADER) // 8


def next_batch(tlb):
    """tlb_next_batch(): goes on in the next batch, a new page if need be; False without one."""
    if tlb.used == len(tlb.batches):
        if len(tlb.batches) >= MOST_GATHERED // tlb.room:
            return False
        pfn = alloc_pages(tlb.machine, GFP_NOWAIT_NOWARN, 0, -1)
        if pfn < 0:
            return False
        tlb.batches.append(pfn)
    tlb.used += 1
    tlb.place = 0
    tlb.limit = tlb.room
    return True


def tlb_remove_page(tlb, pfn):
    """__tlb_remove_page(): a page into the batch; True if there is no room for another.

    Since d7f861b9c43a (6.9) a batch keeps one place free, for the number of pages.
    """
    tlb.pages.append(pfn)
    tlb.place += 1
    full = tlb.limit - 1 if tlb.machine.has.gather_pairs else tlb.limit
    if tlb.place >= full:
        return not next_batch(tlb)
    return False


def tlb_flush_mmu(tlb):
    """tlb_flush_mmu(): what was gathered is freed, page tables at last."""
    table_flush(tlb)
    if tlb.pages:
        pages = tlb.pages
        tlb.pages = []
        # free_pages_and_swap_cache()
        lru_add_drain(tlb.machine)
        put_pages(tlb.machine, pages)
    tlb.place = tlb.used = 0
    tlb.limit = MMU_GATHER_BUNDLE


def tlb_remove_table(tlb, pfn):
    """pte_free_tlb(), pmd_free_tlb(), pud_free_tlb(): a page table, as a page among the others or
    into a batch for RCU.
    """
    table_dtor(tlb.mm.paging, pfn)
    if not tlb.machine.has.table_free_rcu:
        if tlb_remove_page(tlb, pfn):
            tlb_flush_mmu(tlb)
        return
    if tlb.table_batch < 0:
        tlb.table_batch = alloc_pages(tlb.machine, GFP_NOWAIT_NOWARN, 0, -1)
        if tlb.table_batch < 0:
            free_pages(tlb.machine, pfn, 0)  # tlb_remove_table_one()
            return
    tlb.tables.append(pfn)
    if len(tlb.tables) == tlb.room:
        table_flush(tlb)


def table_flush(tlb):
    """tlb_table_flush(): the batch of tables waits for a grace period."""
    if tlb.table_batch >= 0:
        tlb.machine.paging.rcu_tables.append((tlb.table_batch, tlb.tables))
        tlb.tables = []
        tlb.table_batch = -1


def rcu_free_tables(machine):
    """A grace period is over: tlb_remove_table_rcu() frees the tables that waited, each batch's
    page after them. Returns how many pages.
    """
    waiting, machine.paging.rcu_tables = machine.paging.rcu_tables, []
    freed = 0
    for batch, tables in waiting:
        for pfn in tables:
            free_pages(machine, pfn, 0)
        free_pages(machine, batch, 0)
        freed += len(tables) + 1
    return freed


def tlb_finish_mmu(tlb):
    """tlb_finish_mmu(): all that was gathered goes, then the batches' own pages."""
    tlb_flush_mmu(tlb)
    for pfn in tlb.batches:
        free_pages(tlb.machine, pfn, 0)
    tlb.batches = []

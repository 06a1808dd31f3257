"""Page tables of processes: levels and entry formats of x86-64 and arm64, and the way through them
(arch/*/include/asm/pgtable*.h, mm/memory.c: __pud_alloc() and its like).

Tables are pages of the machine's RAM, entries 64-bit words in them. A *slot* is the number of a
word of RAM (`machine.ram[slot]`): what the kernel's `pte_t *` points at; -1 is none. Levels count
from the leaves, PTE 0: see paging.py.
"""

import cython

from mmtwin.kernel.slub import kmem_cache_alloc_node, kmem_cache_free

if not cython.compiled:
    from mmtwin.kernel.constants import USE_PAGE_TABLE, PG_table
    from mmtwin.kernel.memory_defs import GFP_PGTABLE_USER
    from mmtwin.kernel.mman import ENOMEM
    from mmtwin.kernel.page_alloc import alloc_pages, free_pages
    from mmtwin.kernel.paging import is_block, pte_pfn
    from mmtwin.kernel.ram import clear_pages, pfn_to_page



# ---- tables


def table_alloc(p, level):
    """pte_alloc_one(), pmd_alloc_one(), pud_alloc_one(): an empty table for entries of a level;
    its pfn, -1 if there is no page.
    """
    machine = p.machine
    pfn = alloc_pages(machine, GFP_PGTABLE_USER, 0, -1)
    if pfn < 0:
        return -1
    clear_pages(machine, pfn, 1)
    page = pfn_to_page(machine, pfn)
    page.users = USE_PAGE_TABLE
    # pgtable_pte_page_ctor(), pgtable_pmd_page_ctor(); PUD tables since 55d2a0bd5ead, 6.7
    if level <= 1 or machine.has.kernel_pud_counted:
        page.flags |= PG_table
    return pfn


def table_dtor(p, pfn):
    """pgtable_pte_page_dtor(): the page is no table any more."""
    p.machine.page[pfn].flags &= ~PG_table


def table_free(p, pfn):
    """pte_free(): a table that was never used goes back at once."""
    table_dtor(p, pfn)
    free_pages(p.machine, pfn, 0)


def table_slot(p, root, address, level):
    """The slot of the entry of a level for an address; -1 if a table above it is missing or a
    block stands there.
    """
    slot = root + ((address >> p.shifts[p.levels - 1]) & p.masks[p.levels - 1])
    above = p.levels - 1
    while above > level:
        entry = p.machine.ram[slot]
        if entry & p.present == 0 or is_block(p, entry):
            return -1
        above -= 1
        slot = (pte_pfn(p, entry) << p.bits) + ((address >> p.shifts[above]) & p.masks[above])
    return slot


def next_boundary(p, address, end, level):
    """pmd_addr_end(), pud_addr_end() ...: where the entry of a level ends, or `end` before it."""
    span = p.page_size << (level * p.bits)
    boundary = (address + span) & ~(span - 1)
    if boundary - 1 < end - 1:
        return boundary
    return end


def entry_slot(mm, address, level):
    """pte_offset(), pmd_offset() ...: the slot of the entry of a level for an address, -1 if there
    is no such table.
    """
    return table_slot(mm.paging, mm.pgd_slot, address, level)


def table_populate(mm, slot, pfn, level):
    """pmd_populate(), pud_populate() ...: a table with entries of `level` is hung into `slot`.

    mm_inc_nr_ptes(), mm_inc_nr_pmds(), mm_inc_nr_puds(): P4D tables are not counted.
    """
    p = mm.paging
    p.machine.ram[slot] = (pfn << p.page_shift) | p.table
    if level < 3:
        mm.pgtables_bytes += p.page_size


def slot_alloc(mm, address, level):
    """The slot of the entry of a level, with the tables above it made (pud_alloc(), pmd_alloc(),
    pte_alloc()); -1 without memory, or where a block stands above.
    """
    p = mm.paging
    above = p.levels - 1
    slot = mm.pgd_slot + ((address >> p.shifts[above]) & p.masks[above])
    while above > level:
        entry = p.machine.ram[slot]
        above -= 1
        if entry & p.present == 0:
            pfn = table_alloc(p, above)
            if pfn < 0:
                return -1
            table_populate(mm, slot, pfn, above)
        elif is_block(p, entry):
            return -1
        else:
            pfn = pte_pfn(p, entry)
        slot = (pfn << p.bits) + ((address >> p.shifts[above]) & p.masks[above])
    return slot


def pgd_alloc(mm):
    """pgd_alloc(): the top table of an mm; 0, or -ENOMEM.

    x86-64 takes two pages with CONFIG_PAGE_TABLE_ISOLATION (`pgd_order`). A top table smaller than
    a page comes from the cache pgd_cache (arch/arm64/mm/pgd.c).
    """
    p = mm.paging
    machine = p.machine
    if p.cache >= 0:
        address = kmem_cache_alloc_node(machine, p.cache, GFP_PGTABLE_USER, -1)
        if address == 0:
            return -ENOMEM
        mm.pgd_slot = (address - machine.page_offset) >> 3
        mm.pgd = mm.pgd_slot >> p.bits
        for index in range(p.pgd_bytes >> 3):
            machine.ram[mm.pgd_slot + index] = 0
        return 0
    pfn = alloc_pages(machine, GFP_PGTABLE_USER, machine.has.pgd_order, -1)
    if pfn < 0:
        return -ENOMEM
    clear_pages(machine, pfn, 1 << machine.has.pgd_order)
    machine.page[pfn].users = USE_PAGE_TABLE
    mm.pgd = pfn
    mm.pgd_slot = pfn << p.bits
    return 0


def pgd_free(mm):
    """pgd_free(): gives the top table back; its entries must be gone (free_pgtables())."""
    p = mm.paging
    if mm.pgd < 0:
        return
    if p.cache >= 0:
        kmem_cache_free(p.machine, p.cache, p.machine.page_offset + (mm.pgd_slot << 3))
    else:
        free_pages(p.machine, mm.pgd, p.machine.has.pgd_order)
    mm.pgd = -1
    mm.pgd_slot = -1

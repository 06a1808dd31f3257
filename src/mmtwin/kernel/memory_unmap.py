"""Unmapping: pages out of page tables, page tables out of the tree (mm/memory.c: unmap_vmas(),
zap_pte_range(), free_pgtables()).
"""

import cython

from mmtwin.kernel.mmu_gather import mmu_gather
from mmtwin.kernel.rmap import unlink_anon_vmas

if not cython.compiled:
    from mmtwin.kernel.constants import PG_dirty
    from mmtwin.kernel.huge_memory import split_huge_pmd, zap_huge_pmd
    from mmtwin.kernel.mman import VM_SEQ_READ
    from mmtwin.kernel.mmu_gather import (
        tlb_finish_mmu,
        tlb_flush_mmu,
        tlb_remove_page,
        tlb_remove_table,
    )
    from mmtwin.kernel.paging import is_block, pte_dirty, pte_pfn, pte_present
    from mmtwin.kernel.pgtable import entry_slot, next_boundary
    from mmtwin.kernel.rmap import mm_counter, page_anon, page_remove_rmap
    from mmtwin.kernel.rss_stat import add_mm_rss_vec, update_hiwater_rss
    from mmtwin.kernel.swap import lru_add_drain, mark_page_accessed

ALL = (1 << 64) - 1


def zap_pte_range(tlb, vma, slot, address, end):
    """zap_pte_range(): the entries of one page table from an address to `end`; where it stopped.

    The counters change once for all of them. It stops when the batches are full, or after a dirty
    page of a file, and frees what was gathered.
    """
    p = tlb.mm.paging
    machine = tlb.machine
    force = False
    # pte_table_reclaim_possible()
    reclaim = tlb.reclaim_pt and machine.has.reclaim_pt != 0
    reclaim = reclaim and end - address == p.page_size << p.bits
    while address < end:
        entry = machine.ram[slot]
        slot += 1
        address += p.page_size
        if entry == 0:
            continue
        if tlb.keep_markers and not pte_present(p, entry):
            reclaim = False  # zap_nonpresent_ptes(): a guard stays
            continue
        machine.ram[slot - 1] = 0
        if not pte_present(p, entry) or entry & p.special:
            continue
        pfn = pte_pfn(p, entry)
        if not page_anon(machine, pfn):
            if pte_dirty(p, entry):
                force = True
                machine.page[pfn].flags |= PG_dirty
            if entry & p.young and not vma.vm_flags & VM_SEQ_READ:
                mark_page_accessed(machine, pfn)
        member = mm_counter(machine, pfn)
        tlb.mm.rss_vec[member] -= 1
        page_remove_rmap(machine, pfn)
        if tlb_remove_page(tlb, pfn):
            force = True
            reclaim = False
            break
    table = -1
    if reclaim:
        # zap_empty_pte_table(): 6375e95f381e, 6.14
        place = entry_slot(tlb.mm, address - 1, 1)
        table = pte_pfn(p, machine.ram[place])
        machine.ram[place] = 0
    add_mm_rss_vec(tlb.mm)
    if force:
        tlb_flush_mmu(tlb)
    if table >= 0:
        tlb_remove_table(tlb, table)
        tlb.mm.pgtables_bytes -= p.page_size
    return address


def unmap_page_range(tlb, vma, address, end):
    """unmap_page_range(): table after table of PTEs that the range has."""
    mm = tlb.mm
    p = mm.paging
    while address < end:
        slot = entry_slot(mm, address, 0)
        if slot >= 0:
            next = next_boundary(p, address, end, 1)
            while address < next:
                address = zap_pte_range(tlb, vma, entry_slot(mm, address, 0), address, next)
            continue
        slot = entry_slot(mm, address, 1)
        if slot >= 0 and is_block(p, mm.machine.ram[slot]):
            next = next_boundary(p, address, end, 1)
            if next - address == p.page_size << p.bits:
                zap_huge_pmd(tlb, slot)
                address = next
            else:
                split_huge_pmd(mm, slot)
            continue
        # the highest missing table says how far there is nothing
        level = 1
        while level < p.levels - 1 and entry_slot(mm, address, level) < 0:
            level += 1
        address = next_boundary(p, address, end, level)


def areas_from(first, end):
    """The areas from one on that begin below `end`; `first` may be a list of them."""
    if isinstance(first, (list, tuple)):
        return list(first)
    areas = []
    vma = first
    while vma is not None and vma.vm_start < end:
        areas.append(vma)
        vma = vma.vm_next
    return areas


def tlb_gather(mm):
    """tlb_gather_mmu(), once for an unmap_vmas() and the free_pgtables() after it."""
    if mm.tlb is None:
        mm.tlb = mmu_gather(mm)
    return mm.tlb


def unmap_vmas(mm, first_vma, start=0, end=ALL):
    """unmap_vmas(): empties the entries of areas between two addresses (virt_t).

    `first_vma`: an area, from which `vm_next` leads on, or a list of areas. The pages wait in
    `mm.tlb` until free_pgtables() or tlb_finish(). What unmap_region() and exit_mmap() do before
    is done here: lru_add_drain(), update_hiwater_rss().
    """
    lru_add_drain(mm.machine)
    tlb = tlb_gather(mm)
    update_hiwater_rss(mm)
    for vma in areas_from(first_vma, end):
        low, high = max(vma.vm_start, start), min(vma.vm_end, end)
        if low < high:
            unmap_page_range(tlb, vma, low, high)


def tlb_finish(mm):
    """tlb_finish_mmu() of what unmap_vmas() began."""
    if mm.tlb is not None:
        tlb_finish_mmu(mm.tlb)
        mm.tlb = None


def free_level(tlb, slot, address, end, floor, ceiling, level):
    """free_pte_range(), free_pmd_range(), free_pud_range(), free_p4d_range(): the tables below the
    entries of a level, from `slot` on, that no other area needs.

    `floor` and `ceiling`: what the neighbours still need begins or ends there (0: nothing).
    """
    p = tlb.mm.paging
    machine = tlb.machine
    while address < end:
        next = next_boundary(p, address, end, level)
        entry = machine.ram[slot]
        if pte_present(p, entry) and not is_block(p, entry):
            free_below(tlb, slot, entry, address, next, floor, ceiling, level)
        slot += 1
        address = next


def free_below(tlb, slot, entry, address, end, floor, ceiling, level):
    """The table under an entry of a level: first what hangs below it, then itself if nobody needs
    it. A table of PTEs goes at once: the caller cut the range to what may.
    """
    p = tlb.mm.paging
    below = level - 1
    if below > 0:
        first = (pte_pfn(p, entry) << p.bits) + p.index(address, below)
        free_level(tlb, first, address, end, floor, ceiling, below)
        span = 1 << p.shift(level)
        start = address & ~(span - 1)
        if start < floor:
            return
        if ceiling:
            ceiling &= ~(span - 1)
            if not ceiling:
                return
        if end - 1 > ceiling - 1 & ALL:
            return
    tlb.machine.ram[slot] = 0
    tlb_remove_table(tlb, pte_pfn(p, entry))
    if below < 3:
        tlb.mm.pgtables_bytes -= p.page_size


def free_pgd_range(tlb, address, end, floor, ceiling):
    """free_pgd_range(): page tables of a range, in whole PMDs, as far as `floor` and `ceiling`
    allow.
    """
    p = tlb.mm.paging
    size = 1 << p.shift(1)
    address &= ~(size - 1)
    if address < floor:
        address += size
        if not address & ALL:
            return
    if ceiling:
        ceiling &= ~(size - 1)
        if not ceiling:
            return
    if end - 1 > ceiling - 1 & ALL:
        end -= size
    if address > end - 1:
        return
    top = p.levels - 1
    slot = tlb.mm.pgd_slot + p.index(address, top)
    if top >= 1:
        free_level(tlb, slot, address, end, floor, ceiling, top)


def free_table_range(mm, start, end, floor, ceiling):
    """free_pgd_range() for those who have no mmu_gather: addresses as there."""
    tlb = tlb_gather(mm)
    free_pgd_range(tlb, start, end, floor, ceiling)
    tlb_finish(mm)


def free_pgtables(mm, first_vma, floor=0, ceiling=0):
    """free_pgtables(): page tables of areas that are going away, their anon_vmas and places among
    their files' areas; ends the unmap (tlb_finish_mmu()).

    `floor`: end of the area before, `ceiling`: start of the area behind, 0 for none.
    """
    tlb = tlb_gather(mm)
    areas = areas_from(first_vma, ceiling or ALL)
    near = 1 << mm.paging.shift(1)  # PMD_SIZE
    place = 0
    while place < len(areas):
        vma = areas[place]
        address = vma.vm_start
        unlink_area(vma)
        while place + 1 < len(areas) and areas[place + 1].vm_start <= vma.vm_end + near:
            place += 1
            vma = areas[place]
            unlink_area(vma)
        place += 1
        above = areas[place].vm_start if place < len(areas) else ceiling
        free_pgd_range(tlb, address, vma.vm_end, floor, above)
    tlb_finish(mm)


def unlink_area(vma):
    """unlink_anon_vmas(), unlink_file_vma()."""
    unlink_anon_vmas(vma)
    if vma.vm_file is not None and vma in vma.vm_file.i_mmap:
        vma.vm_file.i_mmap.remove(vma)


def zap_page_range(vma, start, end, reclaim_pt=True):
    """zap_page_range(): MADV_DONTNEED of part of an area: its pages go; its tables stay, but for
    those that it emptied whole, since 6.14. So do guards (no ZAP_FLAG_DROP_MARKER).
    """
    tlb = tlb_gather(vma.vm_mm)
    tlb.reclaim_pt = reclaim_pt
    tlb.keep_markers = True
    unmap_vmas(vma.vm_mm, [vma], start, end)
    tlb_finish(vma.vm_mm)

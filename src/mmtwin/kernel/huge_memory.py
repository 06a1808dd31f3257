"""Transparent huge pages of anonymous memory: a PMD that maps a whole block, and blocks of fewer
pages mapped by PTEs (mm/huge_memory.c; mm/memory.c: alloc_anon_folio()).

`paging.thp` is transparent_hugepage/enabled, `paging.mthp` a bit for each smaller order that may
be used. A block's mappings by PMDs are counted in its second page (`slabs`), those by PTEs in each
page. A page table waits beside each huge PMD (deposit()), so that splitting needs no memory.
"""

import cython

from mmtwin.kernel.rmap import anon_vma_prepare

if not cython.compiled:
    from mmtwin.kernel.constants import (
        __GFP_DIRECT_RECLAIM,
        __GFP_MOVABLE,
        __GFP_ZERO,
        PG_anon_exclusive,
        PG_mlocked,
        PG_swapbacked,
        PG_uptodate,
    )
    from mmtwin.kernel.memory_defs import (
        FAULT_FLAG_WRITE,
        GFP_TRANSHUGE_LIGHT,
        PAGE_MAPPING_ANON,
        VM_FAULT_FALLBACK,
        VM_FAULT_OOM,
    )
    from mmtwin.kernel.mman import (
        MM_ANONPAGES,
        VM_HUGEPAGE,
        VM_LOCKED,
        VM_NOHUGEPAGE,
        VM_SHARED,
        VM_WRITE,
    )
    from mmtwin.kernel.mmu_gather import tlb_flush_mmu, tlb_remove_page
    from mmtwin.kernel.page_alloc import alloc_pages
    from mmtwin.kernel.paging import (
        pfn_pte,
        pte_dirty,
        pte_mkdirty,
        pte_mkwrite,
        pte_modify,
        pte_pfn,
        pte_wrprotect,
        vm_get_page_prot,
    )
    from mmtwin.kernel.pgtable import table_alloc, table_free, table_populate
    from mmtwin.kernel.ram import clear_pages
    from mmtwin.kernel.rmap import linear_page_index, page_remove_rmap
    from mmtwin.kernel.rss_stat import add_mm_counter
    from mmtwin.kernel.swap import lru_add_drain, lru_of, put_page
    from mmtwin.kernel.vm_fault import copy_user_page, lru_cache_add_vma, maybe_mkwrite, page_prot

ARM64_TABLE_BIT = 2


def thp_allowed(p, vma):
    """Whether an area may have huge pages: hugepage_vma_check(), without shmem and files."""
    if p.thp == 0 or vma.vm_flags & (VM_NOHUGEPAGE | VM_SHARED) or vma.special:
        return False
    return p.thp == 2 or vma.vm_flags & VM_HUGEPAGE != 0


def suitable(p, vma, address, order):
    """thp_vma_suitable_order(): the aligned block around an address lies in the area."""
    size = p.page_size << order
    address &= ~(size - 1)
    return address >= vma.vm_start and address + size <= vma.vm_end


def mk_huge(p, entry):
    """pmd_mkhuge() of an entry made as a PTE's."""
    return entry & ~ARM64_TABLE_BIT if p.arm64 else entry | p.leaf


def mk_small(p, entry):
    """The same entry as a PTE's."""
    return entry | ARM64_TABLE_BIT if p.arm64 else entry & ~p.leaf


# ---- tables that wait


def deposit(p, pmd, table):
    """pgtable_trans_huge_deposit(): a ring of tables for each table of PMDs, newest first."""
    ring = p.deposits.setdefault(pmd >> p.bits, [])
    ring.insert(1, table)
    if len(ring) > 1:
        ring.append(ring.pop(0))


def withdraw(p, pmd):
    """pgtable_trans_huge_withdraw(): the ring's first; the next one follows it."""
    ring = p.deposits[pmd >> p.bits]
    table = ring.pop(0)
    if not ring:
        del p.deposits[pmd >> p.bits]
    return table


# ---- faults


def alloc_huge(vmf, order):
    """vma_alloc_folio(vma_thp_gfp_mask()): direct reclaim only for areas that asked for it; -1
    without such a block.
    """
    gfp = GFP_TRANSHUGE_LIGHT | __GFP_ZERO
    if vmf.vma.vm_flags & VM_HUGEPAGE:
        gfp |= __GFP_DIRECT_RECLAIM
    return alloc_pages(vmf.machine, gfp, order, -1)


def add_new_anon(vma, pfn, address, by_pmd, pages):
    """page_add_new_anon_rmap() of a block, mapped by a PMD or by PTEs."""
    machine = vma.vm_mm.machine
    machine.page[pfn].flags |= PG_swapbacked | PG_uptodate
    if vma.vm_flags & VM_LOCKED:
        machine.page[pfn].flags |= PG_mlocked
    machine.page[pfn].freelist = vma.anon_vma.address | PAGE_MAPPING_ANON
    machine.page[pfn].compound_head = linear_page_index(vma, address)
    machine.page[pfn + 1].slabs = 1 if by_pmd else 0
    for place in range(pages):
        machine.page[pfn + place].mapcount = 0 if by_pmd else 1
        machine.page[pfn + place].flags |= PG_anon_exclusive
    lru = lru_of(machine)
    lru.anon_mapped += pages
    lru_cache_add_vma(vma, pfn)


def do_huge_pmd_anonymous_page(vmf):
    """do_huge_pmd_anonymous_page(): the whole PMD at once; VM_FAULT_FALLBACK if it cannot be.

    A read maps the huge zero page, which is taken from the buddy when it is first needed.
    """
    p = vmf.paging
    mm = vmf.mm
    if not suitable(p, vmf.vma, vmf.address, p.bits):
        return VM_FAULT_FALLBACK
    if vmf.vma.anon_vma is None and anon_vma_prepare(vmf.vma) != 0:
        return VM_FAULT_OOM
    read = not vmf.flags & FAULT_FLAG_WRITE
    if read:
        table = table_alloc(p, 0)
        if table < 0:
            return VM_FAULT_OOM
        if p.huge_zero_pfn < 0:
            # get_huge_zero_page(): not movable
            p.huge_zero_pfn = alloc_pages(
                vmf.machine,
                (GFP_TRANSHUGE_LIGHT | __GFP_DIRECT_RECLAIM | __GFP_ZERO) & ~__GFP_MOVABLE,
                p.bits, -1)  # fmt: skip
        pfn = p.huge_zero_pfn
        if pfn < 0:
            table_free(p, table)
            return VM_FAULT_FALLBACK
    else:
        pfn = alloc_huge(vmf, p.bits)
        if pfn < 0:
            return VM_FAULT_FALLBACK
        table = table_alloc(p, 0)
        if table < 0:
            put_page(vmf.machine, pfn)
            return VM_FAULT_OOM
    entry = pfn_pte(p, pfn, page_prot(vmf))
    if not read:
        entry = maybe_mkwrite(vmf, entry | p.young)
        add_new_anon(vmf.vma, pfn, vmf.address & ~((p.page_size << p.bits) - 1), True, 1 << p.bits)
    deposit(p, vmf.pmd, table)
    vmf.machine.ram[vmf.pmd] = mk_huge(p, entry)
    if not read:
        add_mm_counter(mm, MM_ANONPAGES, 1 << p.bits)
    mm.pgtables_bytes += p.page_size
    return 0


def do_huge_pmd_wp_page(vmf, entry):
    """do_huge_pmd_wp_page(): a block that nobody shares is written where it is; otherwise its PMD
    is split and the one page copied (VM_FAULT_FALLBACK).
    """
    p = vmf.paging
    head = pte_pfn(p, entry)
    if head != p.huge_zero_pfn:
        if p.machine.has.wp_reuse == 0:
            # reuse_swap_page(): one mapping of the whole
            if p.machine.page[head + 1].slabs == 1 and p.machine.page[head].mapcount == 0:
                p.machine.ram[vmf.pmd] = mk_huge(p, maybe_mkwrite(vmf, entry | p.young))
                return 0
        else:
            if not p.machine.page[head].flags & PG_anon_exclusive:
                lru_add_drain(p.machine)
            if p.machine.page[head].flags & PG_anon_exclusive or (
                p.machine.page[head].refcount == 1
            ):
                p.machine.page[head].flags |= PG_anon_exclusive
                p.machine.ram[vmf.pmd] = mk_huge(p, maybe_mkwrite(vmf, entry | p.young))
                return 0
    split_huge_pmd(vmf.mm, vmf.pmd)
    return VM_FAULT_FALLBACK


def do_anonymous_folio(vmf):
    """alloc_anon_folio(): the largest enabled order whose aligned range is in the area and empty;
    False if none is (19eaf44954df, 6.8).
    """
    p = vmf.paging
    machine = p.machine
    if not thp_allowed(p, vmf.vma):
        return False
    for order in range(p.bits - 1, 0, -1):
        if not p.mthp >> order & 1 or not suitable(p, vmf.vma, vmf.address, order):
            continue
        pages = 1 << order
        address = vmf.address & ~((p.page_size << order) - 1)
        slot = vmf.pte - ((vmf.address - address) >> p.page_shift)
        free = True
        for place in range(pages):
            if machine.ram[slot + place]:
                free = False
        if not free:
            continue
        pfn = alloc_huge(vmf, order)
        if pfn < 0:
            continue
        machine.page[pfn].refcount += pages - 1
        add_mm_counter(vmf.mm, MM_ANONPAGES, pages)
        add_new_anon(vmf.vma, pfn, address, False, pages)
        entry = maybe_mkwrite(vmf, pfn_pte(p, pfn, page_prot(vmf)) | p.young)
        for place in range(pages):
            machine.ram[slot + place] = entry + (place << p.page_shift)
        return True
    return False


# ---- huge PMDs split, taken out, copied, changed


def split_huge_pmd(mm, pmd):
    """__split_huge_pmd(): the PMD at a slot becomes a table of PTEs for the same pages."""
    p = mm.paging
    machine = p.machine
    entry = machine.ram[pmd]
    pfn = pte_pfn(p, entry)
    table = withdraw(p, pmd)
    zero = pfn == p.huge_zero_pfn
    slot = table << p.bits
    small = mk_small(p, entry) & ~p.pfn_mask
    for place in range(1 << p.bits):
        if zero:
            machine.ram[slot + place] = pfn_pte(p, p.zero_pfn, small) | p.special
        else:
            machine.ram[slot + place] = pfn_pte(p, pfn + place, small)
            machine.page[pfn + place].mapcount += 1
            if not machine.page[pfn].flags & PG_anon_exclusive:
                machine.page[pfn + place].flags &= ~PG_anon_exclusive
    if not zero:
        machine.page[pfn].refcount += (1 << p.bits) - 1
        machine.page[pfn + 1].slabs -= 1
    table_populate(mm, pmd, table, 0)
    mm.pgtables_bytes -= p.page_size  # it was counted when it was deposited


def zap_huge_pmd(tlb, pmd):
    """zap_huge_pmd(): a whole huge PMD goes, the table that waited for it too."""
    p = tlb.mm.paging
    machine = tlb.machine
    entry = machine.ram[pmd]
    machine.ram[pmd] = 0
    pfn = pte_pfn(p, entry)
    table = withdraw(p, pmd)
    if pfn == p.huge_zero_pfn:
        table_free(p, table)
        tlb.mm.pgtables_bytes -= p.page_size
        return
    machine.page[pfn + 1].slabs -= 1
    if machine.page[pfn + 1].slabs == 0:
        lru = lru_of(machine)
        lru.anon_mapped -= 1 << p.bits
    table_free(p, table)
    tlb.mm.pgtables_bytes -= p.page_size
    add_mm_counter(tlb.mm, MM_ANONPAGES, -(1 << p.bits))
    if tlb_remove_page(tlb, pfn):
        tlb_flush_mmu(tlb)


def copy_huge_pmd(dst_vma, src_vma, dst, src):
    """copy_huge_pmd(): the child maps the same block; False without memory for its table."""
    p = src_vma.vm_mm.paging
    machine = p.machine
    table = table_alloc(p, 0)
    if table < 0:
        return False
    entry = machine.ram[src]
    pfn = pte_pfn(p, entry)
    if pfn != p.huge_zero_pfn:
        machine.page[pfn].refcount += 1
        machine.page[pfn + 1].slabs += 1
        machine.page[pfn].flags &= ~PG_anon_exclusive
        add_mm_counter(dst_vma.vm_mm, MM_ANONPAGES, 1 << p.bits)
    dst_vma.vm_mm.pgtables_bytes += p.page_size
    deposit(p, dst, table)
    entry = pte_wrprotect(p, entry)
    machine.ram[src] = entry
    machine.ram[dst] = entry & ~p.young
    return True


def change_huge_pmd(vma, pmd, newflags):
    """change_huge_pmd(): another protection for the whole block."""
    p = vma.vm_mm.paging
    machine = p.machine
    old = machine.ram[pmd]
    entry = pte_modify(p, mk_small(p, old), vm_get_page_prot(p, newflags))
    entry = pte_wrprotect(p, entry)
    if newflags & VM_WRITE and machine.has.wp_reuse >= 2 and pte_dirty(p, old):
        # can_change_pmd_writable()
        pfn = pte_pfn(p, old)
        if pfn != p.huge_zero_pfn and machine.page[pfn].flags & PG_anon_exclusive:
            entry = pte_mkwrite(p, entry)
    machine.ram[pmd] = mk_huge(p, entry)


def collapse_pmd(vma, pmd, address, pfn):
    """__collapse_huge_page_copy() and what follows it: the pages of one table of PTEs go into a
    huge page, whose PMD takes the table's place; the table waits beside it.

    `pmd`: the slot; `address`: of the block (virt_t); `pfn`: the huge page, filled here.
    """
    mm = vma.vm_mm
    p = mm.paging
    machine = p.machine
    table = pte_pfn(p, machine.ram[pmd])
    slot = table << p.bits
    for place in range(1 << p.bits):
        entry = machine.ram[slot + place]
        machine.ram[slot + place] = 0
        if entry == 0 or entry & p.special:
            if machine.contents:
                clear_pages(machine, pfn + place, 1)
            add_mm_counter(mm, MM_ANONPAGES, 1)
            continue
        old = pte_pfn(p, entry)
        copy_user_page(machine, pfn + place, old)
        page_remove_rmap(machine, old)
        put_page(machine, old)
    add_new_anon(vma, pfn, address, True, 1 << p.bits)
    deposit(p, pmd, table)
    entry = pfn_pte(p, pfn, vm_get_page_prot(p, vma.vm_flags))
    if vma.vm_flags & VM_WRITE:
        entry = pte_mkwrite(p, pte_mkdirty(p, entry))
    machine.ram[pmd] = mk_huge(p, entry)

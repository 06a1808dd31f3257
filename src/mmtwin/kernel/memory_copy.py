"""Page table entries copied at fork, moved by mremap and changed by mprotect and MADV_FREE
(mm/memory.c: copy_page_range(); mm/mremap.c: move_page_tables(); mm/mprotect.c).
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import PG_anon_exclusive, PG_head, PG_lru, PG_tail
    from mmtwin.kernel.huge_memory import (
        change_huge_pmd,
        copy_huge_pmd,
        deposit,
        split_huge_pmd,
        withdraw,
    )
    from mmtwin.kernel.mman import (
        ENOMEM,
        VM_DENYWRITE,
        VM_MAYWRITE,
        VM_MIXEDMAP,
        VM_PFNMAP,
        VM_SHARED,
        VM_WRITE,
    )
    from mmtwin.kernel.paging import (
        is_block,
        pte_dirty,
        pte_mkclean,
        pte_mkwrite,
        pte_modify,
        pte_pfn,
        pte_present,
        pte_write,
        pte_wrprotect,
        vm_get_page_prot,
    )
    from mmtwin.kernel.pgtable import entry_slot, next_boundary, slot_alloc
    from mmtwin.kernel.rmap import mm_counter, page_anon
    from mmtwin.kernel.rss_stat import add_mm_rss_vec
    from mmtwin.kernel.swap import deactivate_page, get_page, mark_page_lazyfree



COMPOUND = PG_head | PG_tail


def next_table(mm, address, end):
    """Where the next entries may be, behind an address that has no table of PTEs."""
    level = 1
    while level < mm.paging.levels - 1 and entry_slot(mm, address, level) < 0:
        level += 1
    return next_boundary(mm.paging, address, end, level)


def huge_slot(mm, address):
    """The slot of the PMD of an address if it maps a block, else -1."""
    slot = entry_slot(mm, address, 1)
    if slot >= 0 and is_block(mm.paging, mm.machine.ram[slot]):
        return slot
    return -1


def copy_pte_range(dst_vma, src_vma, dst, src, count):
    """copy_pte_range(): `count` entries from slot `src` on into those from `dst` on.

    Private writable pages become read-only on both sides; the copies are not young.
    """
    p = src_vma.vm_mm.paging
    machine = p.machine
    private = src_vma.vm_flags & (VM_SHARED | VM_MAYWRITE) == VM_MAYWRITE
    for place in range(count):
        entry = machine.ram[src + place]
        if entry == 0:
            continue
        if not pte_present(p, entry):
            machine.ram[dst + place] = entry  # copy_pte_marker(): a guard
            continue
        pfn = -1 if entry & p.special else pte_pfn(p, entry)
        if pfn >= 0:
            get_page(machine, pfn)
            machine.page[pfn].mapcount += 1
            member = mm_counter(machine, pfn)
            dst_vma.vm_mm.rss_vec[member] += 1
            if page_anon(machine, pfn):
                machine.page[pfn].flags &= ~PG_anon_exclusive  # page_try_dup_anon_rmap()
        if private and pte_write(p, entry):
            entry = pte_wrprotect(p, entry)
            machine.ram[src + place] = entry
        if src_vma.vm_flags & VM_SHARED:
            entry = pte_mkclean(p, entry)
        machine.ram[dst + place] = entry & ~p.young


def vma_needs_copy(src_vma):
    """vma_needs_copy(): areas without anonymous pages are filled by faults again."""
    if src_vma.vm_flags & VM_DENYWRITE and src_vma.vm_mm.machine.has.vma_sticky:
        return True  # VM_MAYBE_GUARD has that bit: ab04b530e7e8, 6.19
    return bool(src_vma.vm_flags & (VM_PFNMAP | VM_MIXEDMAP)) or src_vma.anon_vma is not None


def copy_page_range(dst_vma, src_vma):
    """copy_page_range(): the entries of a parent's area for its child's; 0 or -ENOMEM.

    Nothing is copied where a fault can find it again (vma_needs_copy()). The child's counters
    change once for each page table.
    """
    if not vma_needs_copy(src_vma):
        return 0
    mm, child = src_vma.vm_mm, dst_vma.vm_mm
    address, end = src_vma.vm_start, src_vma.vm_end
    while address < end:
        following = next_boundary(mm.paging, address, end, 1)
        src = huge_slot(mm, address)
        if src >= 0:
            dst = slot_alloc(child, address, 1)
            if dst < 0 or not copy_huge_pmd(dst_vma, src_vma, dst, src):
                return -ENOMEM
            address = following
            continue
        src = entry_slot(mm, address, 0)
        if src < 0:
            address = next_table(mm, address, end)
            continue
        dst = slot_alloc(child, address, 0)
        if dst < 0:
            return -ENOMEM
        copy_pte_range(dst_vma, src_vma, dst, src, following - address >> mm.paging.page_shift)
        add_mm_rss_vec(child)
        address = following
    return 0


def change_protection(vma, start, end, newflags):
    """change_protection(): the entries of a range get the protection of `newflags` (VM_*); how
    many there were.

    Since 6.0 a dirty page that nobody shares becomes writable at once, where the area is. A
    shared file that must hear of writes (vma_wants_writenotify()) does so for its dirty pages.
    """
    p = vma.vm_mm.paging
    machine = p.machine
    notify = newflags & VM_SHARED and vma.vm_file is not None
    if notify:
        notify = not vma.vm_file.shmem and not vma.vm_file.device
    prot = vm_get_page_prot(p, newflags & ~VM_SHARED if notify else newflags)
    pages = 0
    while start < end:
        next = next_boundary(p, start, end, 1)
        slot = huge_slot(vma.vm_mm, start)
        if slot >= 0:
            if next - start == p.page_size << p.bits:
                change_huge_pmd(vma, slot, newflags)
                pages += 1 << p.bits
                start = next
                continue
            split_huge_pmd(vma.vm_mm, slot)
        slot = entry_slot(vma.vm_mm, start, 0)
        if slot < 0:
            start = next_table(vma.vm_mm, start, end)
            continue
        while start < next:
            old = machine.ram[slot]
            if old != 0 and pte_present(p, old):
                entry = pte_modify(p, old, prot)
                if newflags & VM_WRITE and not newflags & VM_SHARED:
                    entry = pte_wrprotect(p, entry)
                    if can_change_writable(vma, old):
                        entry = pte_mkwrite(p, entry)
                elif notify and newflags & VM_WRITE and pte_dirty(p, old):
                    entry = pte_mkwrite(p, entry)
                machine.ram[slot] = entry
                pages += 1
            slot += 1
            start += p.page_size
    return pages


def can_change_writable(vma, entry):
    """can_change_pte_writable() of a private area: a dirty anonymous page of its own,
    64fe24a3e05e (6.0); before, the next write faults.
    """
    p = vma.vm_mm.paging
    if p.machine.has.wp_reuse < 2 or entry & p.special or not pte_dirty(p, entry):
        return False
    pfn = pte_pfn(p, entry)
    return page_anon(p.machine, pfn) and p.machine.page[pfn].flags & PG_anon_exclusive != 0


def move_page_tables(vma, old, new_vma, new, length):
    """move_page_tables(): entries of `length` bytes from address `old` on go to `new`; how many
    bytes were moved: fewer without memory for tables.

    Whole page tables are moved as they are where both addresses lie on their boundary and the
    machine can (CONFIG_HAVE_MOVE_PMD).
    """
    mm = vma.vm_mm
    p = mm.paging
    words = mm.machine.view("ram")
    end = old + length
    start = old
    while old < end:
        following = next_boundary(p, new, new + end - old, 1) - new + old
        following = min(next_boundary(p, old, end, 1), following)
        whole = following - old == 1 << p.shift(1)
        source = huge_slot(mm, old)
        if source >= 0 and not whole:
            split_huge_pmd(mm, source)
        elif source >= 0:
            if not move_huge_pmd(mm, source, new):
                return old - start
            new += following - old
            old = following
            continue
        source = entry_slot(mm, old, 0)
        if source < 0:
            new += following - old
            old = following
            continue
        if whole and not int(words[pmd_of(mm, new)]):
            above = pmd_of(mm, old)
            words[pmd_of(mm, new)] = words[above]
            words[above] = 0
        else:
            target = slot_alloc(mm, new, 0)
            if target < 0:
                return old - start
            count = following - old >> p.page_shift
            words[target : target + count] = words[source : source + count]
            words[source : source + count] = 0
        new += following - old
        old = following
    return old - start


def move_huge_pmd(mm, source, new):
    """move_huge_pmd(): a huge PMD at a slot, with the table that waits for it, to an address;
    False without memory for tables.
    """
    words = mm.machine.view("ram")
    target = pmd_of(mm, new)
    if target < 0:
        return False
    words[target] = words[source]
    words[source] = 0
    deposit(mm.paging, target, withdraw(mm.paging, source))
    return True


def pmd_of(mm, address):
    """The slot of the PMD of an address, with the tables above it made."""
    return slot_alloc(mm, address, 1)


def madvise_free_range(vma, start, end):
    """madvise_free_pte_range(): anonymous pages of the range lose what makes them dirty and wait
    on the file list to be taken, until they are written again.
    """
    machine, p = vma.vm_mm.machine, vma.vm_mm.paging
    pages = machine.view("page")
    for slot, entry, pfn in mapped_ptes(vma, start, end, True):
        if page_anon(machine, pfn) and pages["mapcount"][pfn] == 1:
            machine.view("ram")[slot] = pte_mkclean(p, entry & ~p.young)
            mark_page_lazyfree(machine, pfn)


def madvise_cold_range(vma, start, end):
    """madvise_cold_or_pageout_pte_range(): pages that only this entry maps become old and go to
    the inactive list; blocks of pages are left alone.
    """
    machine, p = vma.vm_mm.machine, vma.vm_mm.paging
    pages = machine.view("page")
    for slot, entry, pfn in mapped_ptes(vma, start, end, False):
        alone = pages["mapcount"][pfn] == 1 and not pages["flags"][pfn] & COMPOUND
        if alone and pages["flags"][pfn] & PG_lru:
            machine.view("ram")[slot] = entry & ~p.young
            deactivate_page(machine, pfn)


def mapped_ptes(vma, start, end, split):
    """The entries of a range that map pages: (slot, entry, pfn). `split`: huge PMDs become
    tables first; they are left out otherwise.
    """
    mm = vma.vm_mm
    p, words = mm.paging, mm.machine.view("ram")
    while start < end:
        slot = huge_slot(mm, start) if split else -1
        if slot >= 0:
            split_huge_pmd(mm, slot)
        slot = entry_slot(mm, start, 0)
        if slot < 0:
            start = next_table(mm, start, end)
            continue
        entry = int(words[slot])
        if entry and pte_present(p, entry) and not entry & p.special:
            yield slot, entry, pte_pfn(p, entry)
        start += p.page_size

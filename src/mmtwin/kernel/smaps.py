"""What of an area is resident, by the kinds that /proc/PID/smaps has (fs/proc/task_mmu.c:
smaps_pte_entry(), smaps_account()).
"""

import numpy as np

from mmtwin.kernel.constants import PG_dirty, PG_head, PG_referenced, PG_swapbacked, PG_tail
from mmtwin.kernel.memory_defs import PAGE_MAPPING_ANON
from mmtwin.kernel.mman import VM_LOCKED
from mmtwin.kernel.paging import is_block, pte_dirty, pte_pfn, pte_present, vm_normal_page
from mmtwin.kernel.pgtable import entry_slot

PSS_SHIFT = 12
FIELDS = (
    "Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty",
    "Referenced", "Anonymous", "KSM", "LazyFree", "AnonHugePages", "ShmemPmdMapped",
    "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "Locked",
)  # fmt: skip


def vma_rss(vma):
    """What is resident of an area, in bytes by field name of smaps (`Rss`, `Pss` ...)."""
    sums = dict.fromkeys(FIELDS, 0)
    p = vma.vm_mm.paging
    for entry, span in mapped_entries(vma):
        if span > 1 and pte_pfn(p, entry) == p.huge_zero_pfn:
            continue
        pfn = vm_normal_page(p, entry)
        if pfn < 0:
            continue
        account(vma, sums, pfn, span, bool(entry & p.young), pte_dirty(p, entry))
    if vma.vm_flags & VM_LOCKED:
        sums["Locked"] = sums["Pss"]
    for name in ("Pss", "Pss_Dirty", "Locked"):
        sums[name] >>= PSS_SHIFT
    return sums


def mapped_entries(vma):
    """The entries of an area that map something: (entry, pages that it maps)."""
    mm = vma.vm_mm
    p = mm.paging
    words = mm.machine.view("ram")
    address = vma.vm_start
    size, table_bits = p.page_size, p.shift(1)
    while address < vma.vm_end:
        following = min(vma.vm_end, (address >> table_bits) + 1 << table_bits)
        slot = entry_slot(mm, address, 0)
        if slot >= 0:
            part = words[slot : slot + (following - address) // size]
            for entry in part[np.flatnonzero(part)].tolist():
                if pte_present(p, entry):
                    yield entry, 1
        else:
            above = entry_slot(mm, address, 1)
            entry = int(words[above]) if above >= 0 else 0
            if entry and is_block(p, entry):
                yield entry, 1 << p.bits
        address = following


def account(vma, sums, pfn, span, young, dirty):
    """smaps_account(): a page, or the pages of a PMD."""
    machine = vma.vm_mm.machine
    pages = machine.view("page")
    page = pages[pfn]
    head = int(page["compound_head"]) if page["flags"] & PG_tail else pfn
    flags, size = int(pages["flags"][head]), machine.paging.page_size
    anonymous = bool(int(pages["freelist"][head]) & PAGE_MAPPING_ANON)
    if anonymous:
        sums["Anonymous"] += span * size
        if not flags & PG_swapbacked and not dirty and not flags & PG_dirty:
            sums["LazyFree"] += span * size
    if span > 1:
        kind = "ShmemPmdMapped" if flags & PG_swapbacked else "FilePmdMapped"
        sums["AnonHugePages" if anonymous else kind] += span * size
    sums["Rss"] += span * size
    if young or flags & PG_referenced:
        sums["Referenced"] += span * size
    whole = int(pages["slabs"][head + 1]) if flags & PG_head else 0
    dirty = dirty or bool(flags & PG_dirty)
    for place in range(pfn, pfn + span):
        mapcount = int(pages["mapcount"][place]) + whole
        pss = (size << PSS_SHIFT) // max(mapcount, 1)
        sums["Pss"] += pss
        if dirty:
            sums["Pss_Dirty"] += pss
        kind = "Shared" if mapcount > 1 else "Private"
        sums[f"{kind}_{'Dirty' if dirty else 'Clean'}"] += size

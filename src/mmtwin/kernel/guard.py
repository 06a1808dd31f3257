"""Guard regions: entries of page tables that make every access a SIGSEGV (mm/madvise.c:
madvise_guard_install(), madvise_guard_remove(); 662df3e5c376, 6.13).

A guard is a swap entry of the type SWP_PTE_MARKER. The twin has no swap, so each entry that is
neither empty nor present is one.
"""

from mmtwin.kernel.memory_copy import next_table
from mmtwin.kernel.memory_unmap import zap_page_range
from mmtwin.kernel.mman import ENOMEM
from mmtwin.kernel.paging import is_block, pte_present
from mmtwin.kernel.pgtable import entry_slot, slot_alloc
from mmtwin.kernel.vma_flags import U64

SWP_PTE_MARKER = 31  # the last of 32 types
PTE_MARKER_GUARD = 4
SWP_TYPE_BITS = 5
X86_OFFSET_SHIFT = 14  # of an offset before it is moved below the type; inverted
ARM64_TYPE_SHIFT, ARM64_OFFSET_SHIFT = 6, 12


def guard_marker(p):
    """The entry that make_pte_marker(PTE_MARKER_GUARD) gives on a Paging."""
    if p.arm64:
        return SWP_PTE_MARKER << ARM64_TYPE_SHIFT | PTE_MARKER_GUARD << ARM64_OFFSET_SHIFT
    offset = (~PTE_MARKER_GUARD << X86_OFFSET_SHIFT & U64) >> SWP_TYPE_BITS
    return offset | SWP_PTE_MARKER << (64 - SWP_TYPE_BITS)


def is_guard(p, entry):
    """Whether an entry is a guard (is_guard_pte_marker())."""
    return entry != 0 and not pte_present(p, entry)


def install_guards(vma, start, end):
    """Guards for a part of an area, whatever was mapped there: 0, or -ENOMEM.

    `start`, `end`: addresses (virt_t). What is populated is zapped first, guards stay.
    """
    mm = vma.vm_mm
    p, words = mm.paging, mm.machine.view("ram")
    if populated(vma, start, end):
        zap_page_range(vma, start, end)
    for address in range(start, end, p.page_size):
        slot = slot_alloc(mm, address, 0)
        if slot < 0:
            return -ENOMEM
        words[slot] = guard_marker(p)
    return 0


def populated(vma, start, end):
    """Whether the walk meets an entry that is no guard, or a huge PMD."""
    mm = vma.vm_mm
    p, words = mm.paging, mm.machine.view("ram")
    while start < end:
        slot = entry_slot(mm, start, 0)
        if slot >= 0:
            if words[slot] and not is_guard(p, int(words[slot])):
                return True
            start += p.page_size
            continue
        above = entry_slot(mm, start, 1)
        if above >= 0 and is_block(p, int(words[above])):
            return True
        start = next_table(mm, start, end)
    return False


def remove_guards(vma, start, end):
    """Guards of a part of an area go; all else stays."""
    mm = vma.vm_mm
    p, words = mm.paging, mm.machine.view("ram")
    while start < end:
        slot = entry_slot(mm, start, 0)
        if slot < 0:
            start = next_table(mm, start, end)
            continue
        if is_guard(p, int(words[slot])):
            words[slot] = 0
        start += p.page_size

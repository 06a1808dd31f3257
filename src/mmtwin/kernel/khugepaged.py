"""Small pages become a huge one: MADV_COLLAPSE, and khugepaged as a call (mm/khugepaged.c).

Anonymous memory only: files and shared memory keep their pages. khugepaged's thresholds are those
of its defaults (hugepage_init(), khugepaged_init()).
"""

from mmtwin.kernel.commit import has_of
from mmtwin.kernel.constants import PG_head, PG_referenced, PG_tail
from mmtwin.kernel.huge_memory import collapse_pmd
from mmtwin.kernel.memory_defs import GFP_TRANSHUGE_LIGHT, PAGE_MAPPING_ANON
from mmtwin.kernel.mman import EAGAIN, EINVAL, ENOMEM, VM_HUGEPAGE, VM_NOHUGEPAGE, VM_SHARED
from mmtwin.kernel.page_alloc import alloc_pages
from mmtwin.kernel.paging import is_block, pte_present, pte_write, vm_normal_page
from mmtwin.kernel.pgtable import entry_slot
from mmtwin.kernel.swap import lru_add_drain
from mmtwin.kernel.vma_flags import vma_is_anonymous

GFP_TRANSHUGE = GFP_TRANSHUGE_LIGHT | 0x400  # __GFP_DIRECT_RECLAIM
COLLAPSED, MAPPED_HUGE = range(2)


def madvise_collapse(vma, start, end):
    """MADV_COLLAPSE of a part of an area (madvise_collapse()): 0 if all its whole blocks are huge
    pages then; -EINVAL, -EAGAIN, -ENOMEM as the last that could not be made says.
    """
    p = vma.vm_mm.paging
    if not may_be_huge(vma):
        return -EINVAL
    lru_add_drain(vma.vm_mm.machine)
    error = 0
    whole = blocks(p, start, end)
    if whole.stop < whole.start and has_of(vma.vm_mm).madv_collapse < 3:
        return -EINVAL  # as many as -1 are wanted; no error from 7.3 on
    for address in whole:
        error = min(scan_pmd(vma, address, False), 0) or error
    return error


def khugepaged_scan_mm(mm):
    """One pass of khugepaged over an address space: how many huge pages it made.

    It takes areas that may have huge pages by transparent_hugepage/enabled, with an anon_vma.
    """
    made = 0
    lru_add_drain(mm.machine)
    for vma in list(mm.tree):
        allowed = mm.paging.thp == 2 or (mm.paging.thp and vma.vm_flags & VM_HUGEPAGE)
        if not allowed or vma.anon_vma is None or not may_be_huge(vma):
            continue
        for address in blocks(mm.paging, vma.vm_start, vma.vm_end):
            made += scan_pmd(vma, address, True) == COLLAPSED
    return made


def may_be_huge(vma):
    """hugepage_vma_check() of anonymous memory, whatever /sys says."""
    if vma.vm_flags & (VM_NOHUGEPAGE | VM_SHARED) or vma.special:
        return False
    return vma_is_anonymous(vma)


def blocks(p, start, end):
    """The addresses of the whole blocks of a huge page's size in a range."""
    size = p.page_size << p.bits
    return range(-(-start // size) * size, end // size * size, size)


def scan_pmd(vma, address, khugepaged):
    """hpage_collapse_scan_pmd(), collapse_huge_page(): COLLAPSED, MAPPED_HUGE or -errno."""
    mm = vma.vm_mm
    p, words = mm.paging, mm.machine.view("ram")
    pmd = entry_slot(mm, address, 1)
    if pmd < 0 or not words[pmd]:
        return -EINVAL  # SCAN_PMD_NULL
    if is_block(p, int(words[pmd])):
        return MAPPED_HUGE
    error = scan_entries(vma, entry_slot(mm, address, 0), khugepaged)
    if error:
        return error
    pfn = alloc_pages(mm.machine, GFP_TRANSHUGE, p.bits, -1)
    if pfn < 0:
        return -ENOMEM
    collapse_pmd(vma, pmd, address, pfn)
    return COLLAPSED


def scan_entries(vma, slot, khugepaged):
    """Whether the entries of a table may become one huge page: 0 or -errno.

    khugepaged asks for no more empty and shared ones than max_ptes_none and max_ptes_shared, and
    for one that was referenced; before 6.18 one must be writable, for MADV_COLLAPSE too.
    """
    mm = vma.vm_mm
    p, pages = mm.paging, mm.machine.view("page")
    count = 1 << p.bits
    empty = shared = referenced = writable = 0
    for entry in mm.machine.view("ram")[slot : slot + count].tolist():
        if entry and not pte_present(p, entry):
            return -EINVAL  # SCAN_PTE_NON_PRESENT: a guard
        pfn = vm_normal_page(p, entry) if entry else -1
        if pfn < 0:
            empty += 1
            continue
        head = head_of(pages, pfn)
        if not int(pages["freelist"][head]) & PAGE_MAPPING_ANON:
            return -EINVAL
        if mappings(pages, head) != int(pages["refcount"][head]):
            return -EAGAIN  # SCAN_PAGE_COUNT
        shared += mappings(pages, pfn) > 1
        writable += bool(pte_write(p, entry))
        referenced += bool(entry & p.young or int(pages["flags"][head]) & PG_referenced)
    if khugepaged and (empty > count - 1 or shared > count // 2 or not referenced):
        return -EINVAL
    if not writable and has_of(mm).madv_collapse < 2:
        return -EINVAL  # SCAN_PAGE_RO
    return 0


def head_of(pages, pfn):
    """compound_head() of a record."""
    return int(pages["compound_head"][pfn]) if int(pages["flags"][pfn]) & PG_tail else pfn


def mappings(pages, pfn):
    """total_mapcount(): entries that map a page, or one of its block, PMDs among them."""
    count = 1 << int(pages["order"][pfn]) if int(pages["flags"][pfn]) & PG_head else 1
    whole = int(pages["slabs"][pfn + 1]) if count > 1 else 0
    return int(pages["mapcount"][pfn : pfn + count].sum()) + whole

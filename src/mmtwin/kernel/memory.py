"""Page faults: from handle_mm_fault() to the entry that maps the page (mm/memory.c).

An anonymous page is zeroes when it is first written, the shared zero page when it is first read;
a private page of a file or of a forked parent is copied when it is written; a page of a file is
taken from the page cache together with its neighbours there (fault-around).

Parts: `vm_fault` (a fault's state), `memory_file` (areas with a backing), `pgtable` (tables),
`filemap` (page cache), `rmap`, `swap` (LRU, references), `rss_stat`; `memory_unmap` (zap,
free_pgtables), `memory_copy` (fork, mremap, mprotect), `gup` (populate, access_process_vm). What
the address space side calls has its name here too.
"""

import cython

from mmtwin.kernel.memory_copy import (
    change_protection,
    copy_page_range,
    madvise_free_range,
    move_page_tables,
)
from mmtwin.kernel.memory_unmap import free_pgtables, tlb_finish, unmap_vmas, zap_page_range
from mmtwin.kernel.pgtable import pgd_alloc, pgd_free
from mmtwin.kernel.rmap import anon_vma_prepare, large_folio_exclusive
from mmtwin.kernel.walk import page_of, walk

if not cython.compiled:
    from mmtwin.kernel.constants import PG_anon_exclusive, PG_dirty, PG_head, PG_lru
    from mmtwin.kernel.huge_memory import (
        do_anonymous_folio,
        do_huge_pmd_anonymous_page,
        do_huge_pmd_wp_page,
        thp_allowed,
    )
    from mmtwin.kernel.memory_defs import (
        FAULT_FLAG_WRITE,
        VM_FAULT_FALLBACK,
        VM_FAULT_NOPAGE,
        VM_FAULT_OOM,
        VM_FAULT_SIGBUS,
        VM_FAULT_SIGSEGV,
    )
    from mmtwin.kernel.memory_file import do_fault
    from mmtwin.kernel.mman import MM_ANONPAGES, VM_SHARED, VM_WRITE
    from mmtwin.kernel.paging import (
        is_block,
        pfn_pte,
        pte_mkdirty,
        pte_pfn,
        pte_present,
        pte_write,
        vm_normal_page,
    )
    from mmtwin.kernel.pgtable import slot_alloc
    from mmtwin.kernel.ram import pfn_to_page
    from mmtwin.kernel.rmap import (
        mm_counter,
        page_add_new_anon_rmap,
        page_anon,
        page_remove_rmap,
    )
    from mmtwin.kernel.rss_stat import add_mm_counter_fast, check_sync_rss_stat
    from mmtwin.kernel.swap import (
        compound_head,
        get_page,
        lru_add_drain,
        put_page,
    )
    from mmtwin.kernel.vm_fault import (
        alloc_pte,
        alloc_user_page,
        copy_user_page,
        lru_cache_add_vma,
        maybe_mkwrite,
        page_prot,
        pte_slot,
        take_vmf,
    )

__all__ = (
    "change_protection", "copy_page_range", "free_pgtables", "handle_mm_fault",
    "madvise_free_range", "move_page_tables", "page_of", "pgd_alloc", "pgd_free", "tlb_finish",
    "unmap_vmas", "walk", "zap_page_range",
)  # fmt: skip


def do_anonymous_page(vmf):
    """do_anonymous_page(): nothing was there."""
    if vmf.vma.vm_flags & VM_SHARED:
        return VM_FAULT_SIGBUS
    if not alloc_pte(vmf):
        return VM_FAULT_OOM
    paging = vmf.paging
    if not vmf.flags & FAULT_FLAG_WRITE and paging.zero_pfn >= 0:
        entry = pfn_pte(paging, paging.zero_pfn, page_prot(vmf))
        vmf.machine.ram[vmf.pte] = entry | paging.special
        return 0
    if vmf.vma.anon_vma is None and anon_vma_prepare(vmf.vma) != 0:
        return VM_FAULT_OOM
    if paging.mthp and do_anonymous_folio(vmf):
        return 0
    pfn = alloc_user_page(vmf, True)
    if pfn < 0:
        return VM_FAULT_OOM
    entry = pfn_pte(paging, pfn, page_prot(vmf)) | paging.young
    if vmf.vma.vm_flags & VM_WRITE:
        entry = maybe_mkwrite(vmf, entry)
    add_mm_counter_fast(vmf.mm, MM_ANONPAGES, 1)
    page_add_new_anon_rmap(vmf.vma, pfn, vmf.address)
    lru_cache_add_vma(vmf.vma, pfn)
    vmf.machine.ram[vmf.pte] = entry
    return 0


# ---- writes to pages that are mapped read-only


def wp_page_reuse(vmf):
    """wp_page_reuse(): the page is written where it is."""
    entry = vmf.orig_pte | vmf.paging.young
    vmf.machine.ram[vmf.pte] = maybe_mkwrite(vmf, entry)


def can_reuse(vmf):
    """wp_can_reuse_anon_folio(): whether nobody else can see an anonymous page."""
    head = compound_head(vmf.machine, vmf.page)
    page = pfn_to_page(vmf.machine, head)
    if vmf.machine.has.wp_reuse == 0:
        # 09854ba94c6a, 5.9
        return page.refcount == 1 and vmf.machine.page[vmf.page].mapcount == 1
    if vmf.machine.has.wp_reuse >= 2:
        if vmf.machine.page[vmf.page].flags & PG_anon_exclusive:
            return True
        if page.flags & PG_head:
            if vmf.machine.has.wp_reuse == 2 or not large_folio_exclusive(vmf.vma, head):
                return False
            vmf.machine.page[vmf.page].flags |= PG_anon_exclusive
            return True
    if page.refcount > 3:
        return False
    if not page.flags & PG_lru:
        lru_add_drain(vmf.machine)
    if vmf.machine.page[head].refcount > 1:
        return False
    vmf.machine.page[vmf.page].flags |= PG_anon_exclusive
    # page_move_anon_rmap()
    vmf.machine.page[head].freelist = vmf.vma.anon_vma.address | 1
    return True


def wp_page_copy(vmf):
    """wp_page_copy(): a page of the area's own instead, with the same bytes."""
    old = vmf.page
    zero = pte_pfn(vmf.paging, vmf.orig_pte) == vmf.paging.zero_pfn
    if old >= 0:
        get_page(vmf.machine, old)
    if vmf.vma.anon_vma is None and anon_vma_prepare(vmf.vma) != 0:
        pfn = -1
    else:
        pfn = alloc_user_page(vmf, zero)
    if pfn < 0:
        if old >= 0:
            put_page(vmf.machine, old)
        return VM_FAULT_OOM
    if old >= 0 and not zero:  # what a device's memory holds is not known
        copy_user_page(vmf.machine, pfn, pte_pfn(vmf.paging, vmf.orig_pte))
    if old < 0:
        add_mm_counter_fast(vmf.mm, MM_ANONPAGES, 1)
    elif not page_anon(vmf.machine, old):
        add_mm_counter_fast(vmf.mm, mm_counter(vmf.machine, old), -1)
        add_mm_counter_fast(vmf.mm, MM_ANONPAGES, 1)
    entry = pfn_pte(vmf.paging, pfn, page_prot(vmf))
    entry = maybe_mkwrite(vmf, entry | vmf.paging.young)
    page_add_new_anon_rmap(vmf.vma, pfn, vmf.address)
    lru_cache_add_vma(vmf.vma, pfn)
    vmf.machine.ram[vmf.pte] = entry
    if old >= 0:
        page_remove_rmap(vmf.machine, old)
        put_page(vmf.machine, old)
        put_page(vmf.machine, old)
    return 0


def do_wp_page(vmf):
    """do_wp_page(): a write to a page that is present but not writable."""
    vmf.page = vm_normal_page(vmf.paging, vmf.orig_pte)
    if vmf.vma.vm_flags & VM_SHARED:
        # wp_pfn_shared(), wp_page_shared()
        if vmf.page >= 0:
            vmf.machine.page[vmf.page].flags |= PG_dirty
        wp_page_reuse(vmf)
        return 0
    if vmf.page >= 0 and page_anon(vmf.machine, vmf.page) and can_reuse(vmf):
        wp_page_reuse(vmf)
        return 0
    return wp_page_copy(vmf)


# ---- the way in


def handle_pte_fault(vmf):
    """handle_pte_fault(): by what the entry says."""
    vmf.pte = -1
    entry = vmf.machine.ram[vmf.pmd]
    if pte_present(vmf.paging, entry):
        vmf.pte = pte_slot(vmf, vmf.address)
        vmf.orig_pte = vmf.machine.ram[vmf.pte]
        if vmf.orig_pte != 0:
            if not pte_present(vmf.paging, vmf.orig_pte):
                return VM_FAULT_SIGSEGV  # handle_pte_marker(): a guard
            if vmf.flags & FAULT_FLAG_WRITE and not pte_write(vmf.paging, vmf.orig_pte):
                return do_wp_page(vmf)
            entry = vmf.orig_pte | vmf.paging.young
            if vmf.flags & FAULT_FLAG_WRITE:
                entry = pte_mkdirty(vmf.paging, entry)
            vmf.machine.ram[vmf.pte] = entry
            return 0
    if vmf.vma.no_ops and not vmf.vma.special:
        return do_anonymous_page(vmf)
    return do_fault(vmf)


def __handle_mm_fault(vmf):
    """__handle_mm_fault(): the tables above the PTEs are made, huge pages tried."""
    vmf.pmd = slot_alloc(vmf.mm, vmf.address, 1)
    if vmf.pmd < 0:
        return VM_FAULT_OOM
    if vmf.paging.thp:
        entry = vmf.machine.ram[vmf.pmd]
        if entry == 0:
            if vmf.vma.no_ops and thp_allowed(vmf.paging, vmf.vma):
                result = do_huge_pmd_anonymous_page(vmf)
                if not result & VM_FAULT_FALLBACK:
                    return result
        elif is_block(vmf.paging, entry):
            if not vmf.flags & FAULT_FLAG_WRITE or pte_write(vmf.paging, entry):
                vmf.machine.ram[vmf.pmd] = entry | vmf.paging.young
                return 0
            result = do_huge_pmd_wp_page(vmf, entry)
            if not result & VM_FAULT_FALLBACK:
                return result
    return handle_pte_fault(vmf)


def handle_mm_fault(mm, vma, address, flags):
    """handle_mm_fault(): makes an address (virt_t) of an area usable; `flags`: FAULT_FLAG_*.

    Permissions are the caller's to check (access_error()). Returns VM_FAULT_* bits: 0 for a minor
    fault, VM_FAULT_MAJOR if the file had to be read, VM_FAULT_OOM, VM_FAULT_SIGBUS.
    """
    check_sync_rss_stat(mm)
    vmf = take_vmf(mm, vma, address, flags)
    result = __handle_mm_fault(vmf)
    return result & ~VM_FAULT_NOPAGE

"""Faults in areas with a backing: pages of the page cache, and of special mappings (mm/memory.c:
do_fault(); mm/filemap.c: filemap_map_pages()).
"""

import cython

from mmtwin.kernel.filemap import filemap_fault
from mmtwin.kernel.rmap import anon_vma_prepare
from mmtwin.kernel.special_mapping import special_fault

if not cython.compiled:
    from mmtwin.kernel.constants import PG_dirty, PG_readahead
    from mmtwin.kernel.filemap import file_pages, page_at
    from mmtwin.kernel.memory_defs import (
        FAULT_FLAG_WRITE,
        VM_FAULT_ERROR,
        VM_FAULT_NOPAGE,
        VM_FAULT_OOM,
        VM_FAULT_SIGBUS,
    )
    from mmtwin.kernel.mman import MM_ANONPAGES, VM_SHARED
    from mmtwin.kernel.paging import pfn_pte
    from mmtwin.kernel.pgtable import table_free
    from mmtwin.kernel.rmap import (
        linear_page_index,
        mm_counter,
        page_add_file_rmap,
        page_add_new_anon_rmap,
    )
    from mmtwin.kernel.rss_stat import (
        add_mm_counter,
        add_mm_counter_fast,
        check_sync_rss_stat,
        is_current,
    )
    from mmtwin.kernel.swap import get_page, put_page
    from mmtwin.kernel.vm_fault import (
        alloc_pte,
        alloc_user_page,
        copy_user_page,
        install_pte,
        lru_cache_add_vma,
        maybe_mkwrite,
        page_prot,
        prealloc,
    )


def do_set_pte(vmf, pfn, address, slot):
    """do_set_pte(), set_pte_range() of one page, without the counting: it is mapped at a slot."""
    paging = vmf.paging
    prefault = vmf.address != address
    write = vmf.flags & FAULT_FLAG_WRITE != 0
    entry = pfn_pte(paging, pfn, page_prot(vmf))
    if prefault and vmf.machine.has.old_prefaulted_pte:
        entry &= ~paging.young
    else:
        entry |= paging.young
    if write:
        entry = maybe_mkwrite(vmf, entry)
    if write and not vmf.vma.vm_flags & VM_SHARED:
        page_add_new_anon_rmap(vmf.vma, pfn, address)
        lru_cache_add_vma(vmf.vma, pfn)
    else:
        page_add_file_rmap(vmf.machine, pfn)
    vmf.machine.ram[slot] = entry


def finish_fault(vmf):
    """finish_fault(): maps the page that the fault got, with the table in reserve if need be."""
    cow = vmf.flags & FAULT_FLAG_WRITE != 0 and not vmf.vma.vm_flags & VM_SHARED
    pfn = vmf.cow_page if cow else vmf.page
    if vmf.pte < 0:
        if vmf.prealloc_pte >= 0:
            install_pte(vmf)
        elif not alloc_pte(vmf):
            return VM_FAULT_OOM
    add_mm_counter_fast(vmf.mm, MM_ANONPAGES if cow else mm_counter(vmf.machine, pfn), 1)
    do_set_pte(vmf, pfn, vmf.address, vmf.pte)
    return 0


def filemap_map_pages(vmf, start, end):
    """filemap_map_pages(): the pages of the cache from index `start` to `end`, both counted, are
    mapped where nothing is yet; VM_FAULT_NOPAGE if the one that was asked for is among them.
    """
    file = vmf.vma.vm_file
    end = min(end + 1, file_pages(vmf.machine, file))
    found = 0
    rss = 0
    member = -1
    # the mm hears of each page, or of all at once
    batched = vmf.machine.has.rss_batched_map or (
        vmf.machine.has.rss_split and is_current(vmf.mm)
    )
    node = None
    slot = -1
    for index in range(start, end):
        if node is None or index & 63 == 0:
            node = file.i_pages.get(index >> 6)
        pfn = -1
        if node is not None:
            pfn = node.slots[index & 63] - 1
        if pfn < 0:
            if not file.cached:
                continue
            pfn = page_at(vmf.machine, file, index)
        if pfn < 0 or vmf.machine.page[pfn].flags & PG_readahead:
            continue
        if member < 0:
            member = mm_counter(vmf.machine, pfn)
            if vmf.pte < 0:
                install_pte(vmf)
            slot = vmf.pte - (vmf.pgoff - start)
        if vmf.machine.ram[slot + (index - start)] == 0:
            if index == vmf.pgoff:
                found = VM_FAULT_NOPAGE
            vmf.machine.page[pfn].refcount += 1
            if batched:
                rss += 1
            else:
                add_mm_counter_fast(vmf.mm, member, 1)
            address = vmf.address - ((vmf.pgoff - index) << vmf.paging.page_shift)
            do_set_pte(vmf, pfn, address, slot + (index - start))
    if member >= 0 and vmf.machine.has.rss_batched_map:
        add_mm_counter(vmf.mm, member, rss)
    elif rss:
        add_mm_counter_fast(vmf.mm, member, rss)
    return found


def do_fault_around(vmf):
    """do_fault_around(): as many pages as fault_around_bytes hold, aligned to them, within the
    area and the page table.
    """
    paging = vmf.paging
    pages = paging.fault_around_bytes >> paging.page_shift
    start = vmf.address & ~(pages * paging.page_size - 1)
    if start < vmf.vma.vm_start:
        start = vmf.vma.vm_start
    offset = ((vmf.address - start) >> paging.page_shift) & paging.masks[0]
    first = vmf.pgoff - offset
    table = (start >> paging.page_shift) & paging.masks[0]
    last = first + paging.masks[0] - table
    last = min(last, first + pages - 1)
    last = min(last, linear_page_index(vmf.vma, vmf.vma.vm_end) - 1)
    if not prealloc(vmf):
        return VM_FAULT_OOM
    return filemap_map_pages(vmf, first, last)


def __do_fault(vmf):
    """__do_fault(): vm_ops->fault(): the page of the cache or of a special mapping, with a
    reference.
    """
    if not prealloc(vmf):
        return VM_FAULT_OOM
    if vmf.vma.vm_file is None or vmf.vma.vm_file.device:
        vmf.page, result = special_fault(vmf.vma, vmf.pgoff)
        if result & VM_FAULT_NOPAGE:
            insert_pfn(vmf)
        return result
    result = 0
    if vmf.pgoff < file_pages(vmf.machine, vmf.vma.vm_file):
        vmf.page = page_at(vmf.machine, vmf.vma.vm_file, vmf.pgoff)
    if vmf.page < 0:
        vmf.page, result = filemap_fault(vmf.machine, vmf.vma, vmf.pgoff)
    if vmf.page < 0:
        return VM_FAULT_OOM if result else VM_FAULT_SIGBUS
    get_page(vmf.machine, vmf.page)
    return result


def insert_pfn(vmf):
    """vmf_insert_pfn(): an entry for memory without a struct page of its own; not counted."""
    paging = vmf.paging
    if vmf.pte < 0:
        install_pte(vmf)
    entry = pfn_pte(paging, vmf.page, page_prot(vmf))
    if vmf.flags & FAULT_FLAG_WRITE and vmf.vma.vm_flags & VM_SHARED:
        entry = maybe_mkwrite(vmf, entry | paging.young)
    vmf.machine.ram[vmf.pte] = entry | paging.special


def do_read_fault(vmf):
    """do_read_fault(): first the neighbours that the cache has, then the page itself. A segment of
    System V has no vm_ops->map_pages() (shm_vm_ops of ipc/shm.c).
    """
    file = vmf.vma.vm_file
    if file is not None and not file.device and not file.vm_close:
        if vmf.paging.fault_around_bytes > vmf.paging.page_size:
            result = do_fault_around(vmf)
            if result:
                return result
    result = __do_fault(vmf)
    if result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE):
        return result
    result |= finish_fault(vmf)
    if result & VM_FAULT_ERROR:
        put_page(vmf.machine, vmf.page)
    return result


def do_cow_fault(vmf):
    """do_cow_fault(): a write to a private page of a file that is not mapped yet."""
    if vmf.vma.anon_vma is None and anon_vma_prepare(vmf.vma) != 0:
        return VM_FAULT_OOM
    vmf.cow_page = alloc_user_page(vmf, False)
    if vmf.cow_page < 0:
        return VM_FAULT_OOM
    result = __do_fault(vmf)
    if result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE):
        put_page(vmf.machine, vmf.cow_page)
        return result
    copy_user_page(vmf.machine, vmf.cow_page, vmf.page)
    result |= finish_fault(vmf)
    put_page(vmf.machine, vmf.page)
    if result & VM_FAULT_ERROR:
        put_page(vmf.machine, vmf.cow_page)
    return result


def do_shared_fault(vmf):
    """do_shared_fault(): a write to a shared page, which becomes dirty (page_mkwrite())."""
    result = __do_fault(vmf)
    if result & (VM_FAULT_ERROR | VM_FAULT_NOPAGE):
        return result
    result |= finish_fault(vmf)
    if result & VM_FAULT_ERROR:
        put_page(vmf.machine, vmf.page)
        return result
    if vmf.machine.has.shared_fault_retry and not vmf.machine.page[vmf.page].flags & PG_dirty:
        # fault_dirty_shared_page() gave up the lock: VM_FAULT_RETRY, and the fault begins again
        check_sync_rss_stat(vmf.mm)
    vmf.machine.page[vmf.page].flags |= PG_dirty
    return result


def do_fault(vmf):
    """do_fault(): an area with a backing. A table in reserve that was not needed goes back."""
    if not vmf.flags & FAULT_FLAG_WRITE:
        result = do_read_fault(vmf)
    elif not vmf.vma.vm_flags & VM_SHARED:
        result = do_cow_fault(vmf)
    else:
        result = do_shared_fault(vmf)
    if vmf.prealloc_pte >= 0:
        table_free(vmf.paging, vmf.prealloc_pte)
        vmf.prealloc_pte = -1
    return result

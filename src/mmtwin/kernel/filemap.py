"""The page cache: a file's pages by index, and what a fault finds or brings into it (mm/filemap.c,
mm/readahead.c, mm/shmem.c).
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.constants import (
        __GFP_COMP,
        __GFP_NORETRY,
        __GFP_NOWARN,
        __GFP_ZERO,
        USE_PAGE_CACHE,
        PG_dirty,
        PG_readahead,
        PG_swapbacked,
        PG_uptodate,
    )
    from mmtwin.kernel.memory_defs import GFP_HIGHUSER_MOVABLE, VM_FAULT_MAJOR
    from mmtwin.kernel.mman import VM_RAND_READ, VM_SEQ_READ
    from mmtwin.kernel.page_alloc import alloc_pages
    from mmtwin.kernel.ram import clear_pages, pfn_to_page
    from mmtwin.kernel.swap import lru_cache_add, lru_of

RA_PAGES_BYTES = 128 << 10  # VM_READAHEAD_PAGES
MMAP_LOTSAMISS = 100


class Node:
    """64 slots of a file's page cache: a leaf of the kernel's xarray."""

    def __init__(self):
        if not cython.compiled:
            self.slots = [0] * 64
        self.count = 0

    def pages(self, base):
        """What is in it: [(index, pfn)]."""
        return [(base + place, self.slots[place] - 1) for place in range(64) if self.slots[place]]


def find_page(file, index):
    """find_get_page() without a reference: the pfn of a page of the cache, -1 if it has none."""
    node = file.i_pages.get(index >> 6)
    if node is None:
        return -1
    return node.slots[index & 63] - 1


def store_page(file, index, pfn):
    """Puts a page into the cache's tree; -1 takes it out."""
    node = file.i_pages.get(index >> 6)
    if node is None:
        node = Node()
        file.i_pages[index >> 6] = node
    if node.slots[index & 63]:
        node.count -= 1
    node.slots[index & 63] = pfn + 1
    if pfn >= 0:
        node.count += 1
    elif node.count == 0:
        del file.i_pages[index >> 6]


def cached_pages(file):
    """All pages of a file's cache: [(index, pfn)] by index."""
    found = []
    for number in sorted(file.i_pages):
        found += file.i_pages[number].pages(number << 6)
    return found


def file_pages(machine, file):
    """DIV_ROUND_UP(i_size, PAGE_SIZE)."""
    return (file.size + (1 << machine.page_shift) - 1) >> machine.page_shift


def fill_page(machine, file, index, pfn):
    """The file's bytes into a page, where the machine keeps contents; the rest of it is 0."""
    size = 1 << machine.page_shift
    clear_pages(machine, pfn, 1)
    if file.data is None:
        return
    part = bytes(file.data[index * size : (index + 1) * size])
    view = machine.view("ram").view("u1")
    view[pfn * size : pfn * size + len(part)] = memoryview(part)


def add_page(machine, file, index, gfp):
    """add_to_page_cache_lru(): a new page of the file, uptodate; its pfn, -1 without memory."""
    if machine.has.user_gfp_comp:
        gfp |= __GFP_COMP
    pfn = alloc_pages(machine, gfp, 0, -1)
    if pfn < 0:
        return -1
    paging = machine.paging
    if file.mapping == 0:
        paging.next_mapping += 0x10
        file.mapping = paging.next_mapping
        paging.mappings[file.mapping] = file
    page = pfn_to_page(machine, pfn)
    page.users = USE_PAGE_CACHE
    page.flags |= PG_uptodate
    if file.shmem:
        page.flags |= PG_swapbacked
    page.freelist = file.mapping
    page.compound_head = index
    store_page(file, index, pfn)
    file.nrpages += 1
    lru = lru_of(machine)
    lru.file_pages += 1
    if file.shmem:
        lru.shmem_pages += 1
    if machine.contents:
        fill_page(machine, file, index, pfn)
    lru_cache_add(machine, pfn)
    return pfn


def page_at(machine, file, index):
    """A page that is in the cache, -1 if it is not. Of a file whose pages are all cached since
    before (`cached`) it appears without an event.
    """
    pfn = find_page(file, index)
    if pfn >= 0 or not file.cached or index >= file_pages(machine, file):
        return pfn
    mask = machine.step_mask
    machine.step_mask = 0
    pfn = add_page(machine, file, index, GFP_HIGHUSER_MOVABLE)
    if pfn >= 0:
        machine.page[pfn].flags |= PG_dirty if file.shmem else 0
        lru_of(machine).settle(pfn)
    machine.step_mask = mask
    return pfn


def readahead(machine, file, start, count, mark):
    """page_cache_ra_unbounded(): pages from `start` on that the cache lacks; the one `mark` pages
    before the end says that more should be read when it is used.
    """
    gfp = GFP_HIGHUSER_MOVABLE | __GFP_NORETRY | __GFP_NOWARN
    last = file_pages(machine, file)
    for index in range(start, min(start + count, last)):
        if find_page(file, index) < 0:
            pfn = add_page(machine, file, index, gfp)
            if pfn < 0:
                return
            if mark and index == start + count - mark:
                machine.page[pfn].flags |= PG_readahead


def do_sync_mmap_readahead(machine, vma, index):
    """do_sync_mmap_readahead(): a page that a fault misses is read with its neighbourhood."""
    file = vma.vm_file
    window = max(1, RA_PAGES_BYTES >> machine.page_shift)
    if vma.vm_flags & VM_RAND_READ:
        return
    if vma.vm_flags & VM_SEQ_READ:
        readahead(machine, file, index, window, 0)
        return
    if file.mmap_miss < MMAP_LOTSAMISS * 10:
        file.mmap_miss += 1
    if file.mmap_miss > MMAP_LOTSAMISS:
        return
    readahead(machine, file, max(0, index - window // 2), window, window // 4)


def filemap_fault(machine, vma, index):
    """filemap_fault() and shmem_fault(): the page at an index, brought in if it must be.

    Returns (pfn, VM_FAULT_*): (-1, 0) beyond the file's end, (-1, 1) without memory.
    """
    file = vma.vm_file
    if index >= file_pages(machine, file):
        return -1, 0
    pfn = page_at(machine, file, index)
    if pfn >= 0:
        if file.mmap_miss > 0:
            file.mmap_miss -= 1
        return pfn, 0
    if file.shmem:
        # shmem_getpage_gfp(SGP_CACHE): a hole becomes a page of zeros
        pfn = add_page(machine, file, index, GFP_HIGHUSER_MOVABLE | __GFP_ZERO)
        return pfn, 0 if pfn >= 0 else 1
    do_sync_mmap_readahead(machine, vma, index)
    pfn = find_page(file, index)
    if pfn < 0:
        pfn = add_page(machine, file, index, GFP_HIGHUSER_MOVABLE)
    return pfn, VM_FAULT_MAJOR if pfn >= 0 else 1

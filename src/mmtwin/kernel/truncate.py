"""Pages leave the page cache: holes in files and their end (mm/truncate.c, mm/shmem.c)."""

from mmtwin.kernel.filemap import cached_pages, store_page
from mmtwin.kernel.memory_unmap import zap_page_range
from mmtwin.kernel.mman import EINVAL, EOPNOTSUPP, VM_SHARED
from mmtwin.kernel.rmap import rmap_walk
from mmtwin.kernel.swap import lru_add_drain, lru_of, put_pages

FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE = 1, 2


def truncate_inode_pages_range(machine, file, first, last):
    """Takes pages out of a file's cache, and out of whatever maps them
    (truncate_inode_pages_range(), shmem_undo_range()); private copies of them stay.

    `machine`: an MM; `file`: a File; `first`, `last`: indexes in pages, `last` is not taken. As
    many as a pagevec or folio batch holds are freed together.
    """
    lru = lru_of(machine)
    size = int(machine.view("has")[0].lru_batch)
    found = [(index, pfn) for index, pfn in cached_pages(file) if first <= index < last]
    for begin in range(0, len(found), size):
        batch = found[begin : begin + size]
        for index, pfn in batch:
            for vma, address, _slot in rmap_walk(machine, pfn):  # truncate_cleanup_page()
                zap_page_range(vma, address, address + (1 << machine.page_shift))
            store_page(file, index, -1)
            file.nrpages -= 1
            lru.file_pages -= 1
            lru.shmem_pages -= 1 if file.shmem else 0
        lru_add_drain(machine)  # __pagevec_release()
        put_pages(machine, [pfn for _index, pfn in batch])
    if not file.nrpages:
        machine.paging.mappings.pop(file.mapping, None)
        file.mapping = 0


def unmap_mapping_range(machine, file, first, last, even_cows=False):
    """Takes a file's pages out of whatever maps them (unmap_mapping_range()), an area at a time in
    the order of its i_mmap tree: by where in the file they begin.

    `first`, `last`: indexes in pages, `last` is not taken; `even_cows`: private copies go as well.
    """
    shift = machine.page_shift
    for vma in sorted(file.i_mmap, key=lambda vma: vma.vm_pgoff):
        end = min(last, vma.vm_pgoff + (vma.vm_end - vma.vm_start >> shift))
        start = max(first, vma.vm_pgoff)
        if start >= end or vma.vm_mm.pgd < 0:
            continue
        base = vma.vm_start - (vma.vm_pgoff << shift)
        if even_cows or vma.vm_flags & VM_SHARED:
            zap_page_range(vma, base + (start << shift), base + (end << shift))


def truncate_pages(machine, file, length):
    """Pages behind a file's new end go wherever they are, private copies too (shmem_setattr(),
    truncate_pagecache()).

    `file`: a File; `length`: bytes.
    """
    first, last = -(-length >> machine.page_shift), 1 << 51
    unmap_mapping_range(machine, file, first, last, True)
    truncate_inode_pages_range(machine, file, first, last)
    clear_part(machine, file, length, first << machine.page_shift)


def truncate_file(machine, file, length):
    """ftruncate(): a file gets another size, in bytes."""
    if length <= file.size:
        truncate_pages(machine, file, length)
    file.size = length
    if file.data is not None:
        file.data = file.data[:length].ljust(length, b"\0")


def vfs_fallocate(machine, file, mode, offset, length):
    """fallocate() of a file in memory: 0 or -errno (vfs_fallocate(), shmem_fallocate()).

    `mode`: 0, FALLOC_FL_KEEP_SIZE, or FALLOC_FL_PUNCH_HOLE with it; `offset`, `length`: bytes,
    signed. Pages that a file gets so are made when somebody touches them.
    """
    if offset < 0 or length <= 0:
        return -EINVAL
    if mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE):
        return -EOPNOTSUPP
    if mode & FALLOC_FL_PUNCH_HOLE:
        if not mode & FALLOC_FL_KEEP_SIZE:
            return -EOPNOTSUPP
        punch_hole(machine, file, offset, offset + length)
    elif not mode & FALLOC_FL_KEEP_SIZE:
        file.size = max(file.size, offset + length)
        if file.data is not None:
            file.data = file.data.ljust(file.size, b"\0")
    return 0


def punch_hole(machine, file, start, end):
    """fallocate(FALLOC_FL_PUNCH_HOLE), as MADV_REMOVE asks for it: bytes are zeros from now on.
    Whole pages go; what is not a whole page is cleared where it is (shmem_fallocate(),
    shmem_undo_range()).

    `start`, `end`: bytes in the file.
    """
    shift = machine.page_shift
    first, last = -(-start >> shift), end >> shift
    if first < last:
        unmap_mapping_range(machine, file, first, last)
        truncate_inode_pages_range(machine, file, first, last)
    clear_part(machine, file, start, min(end, first << shift))
    clear_part(machine, file, max(start, last << shift), end)
    if file.data is not None:
        inside = min(end, len(file.data)) - start
        if inside > 0:
            file.data = file.data[:start] + bytes(inside) + file.data[start + inside :]


def clear_part(machine, file, start, end):
    """Bytes of one page of the cache become zeros, if it is there (folio_zero_segment())."""
    index = start >> machine.page_shift
    pfn = dict(cached_pages(file)).get(index, -1) if start < end else -1
    if pfn >= 0:
        at = (pfn - index << machine.page_shift) + start
        machine.view("ram").view("u1")[at : at + end - start] = 0


def shmem_evict_inode(machine, file):
    """The last area of a deleted shared file went: its pages go too (shmem_evict_inode())."""
    if file.nrpages:
        truncate_inode_pages_range(machine, file, 0, 1 << 64)

"""Pages leave the page cache: holes in files and their end (mm/truncate.c, mm/shmem.c)."""

from mmtwin.kernel.filemap import cached_pages, store_page
from mmtwin.kernel.memory_unmap import zap_page_range
from mmtwin.kernel.rmap import rmap_walk
from mmtwin.kernel.swap import lru_add_drain, lru_of, put_pages


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


def punch_hole(machine, file, start, end):
    """fallocate(FALLOC_FL_PUNCH_HOLE) of whole pages, as MADV_REMOVE asks for it: they are zeros
    from now on (shmem_fallocate()).

    `start`, `end`: bytes in the file, multiples of the page size.
    """
    shift = machine.page_shift
    truncate_inode_pages_range(machine, file, start >> shift, end >> shift)
    if file.data is not None:
        inside = min(end, len(file.data)) - start
        if inside > 0:
            file.data = file.data[:start] + bytes(inside) + file.data[start + inside :]


def shmem_evict_inode(machine, file):
    """The last area of a deleted shared file went: its pages go too (shmem_evict_inode())."""
    if file.nrpages:
        truncate_inode_pages_range(machine, file, 0, 1 << 64)

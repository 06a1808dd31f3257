"""msync(): what shared mappings changed goes to their files (mm/msync.c)."""

from mmtwin.kernel.constants import PG_dirty
from mmtwin.kernel.filemap import cached_pages
from mmtwin.kernel.mman import (
    EBUSY,
    EINVAL,
    ENOMEM,
    MS_ASYNC,
    MS_INVALIDATE,
    MS_SYNC,
    VM_LOCKED,
    VM_SHARED,
)
from mmtwin.kernel.paging import pte_mkclean, pte_wrprotect
from mmtwin.kernel.rmap import rmap_walk
from mmtwin.kernel.vma_flags import U64, page_align


def do_msync(mm, start, length, flags):
    """msync(): 0, or -errno.

    `mm`: an mm_struct; `start`, `length`: bytes; `flags`: MS_*. -EINVAL; -EBUSY, where
    MS_INVALIDATE meets a locked area; -ENOMEM: a part is not mapped. The others are written all
    the same, but with MS_ASYNC alone, which writes nothing, the first gap ends it.
    """
    start &= U64
    if flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC) or (flags & MS_ASYNC and flags & MS_SYNC):
        return -EINVAL
    if start & ((1 << mm.machine.page_shift) - 1):
        return -EINVAL
    end = start + page_align(mm, length & U64)
    if end > U64:
        return -ENOMEM
    unmapped = 0
    vma = mm.tree.find_vma(start) if start < end else None
    while start < end:
        if vma is None:
            return -ENOMEM
        if start < vma.vm_start:
            if flags == MS_ASYNC or vma.vm_start >= end:
                return -ENOMEM
            start, unmapped = vma.vm_start, -ENOMEM
        if flags & MS_INVALIDATE and vma.vm_flags & VM_LOCKED:
            return -EBUSY
        if flags & MS_SYNC and vma.vm_file is not None and vma.vm_flags & VM_SHARED:
            vfs_fsync_range(vma, start, min(end, vma.vm_end))
        start, vma = vma.vm_end, mm.tree.next(vma)
    return unmapped


def vfs_fsync_range(vma, start, end):
    """Writes a range's dirty pages (vfs_fsync_range()): entries that map them no longer let
    write, so that the file hears of the next. tmpfs and devices have nothing to write to
    (noop_fsync()). Storage itself is not modelled: it never fails.
    """
    file, shift = vma.vm_file, vma.vm_mm.machine.page_shift
    if file.shmem or file.device or vma.vm_mm.pgd < 0:
        return
    first = (start - vma.vm_start >> shift) + vma.vm_pgoff
    last = first + (end - start >> shift)
    for index, pfn in cached_pages(file):
        if first <= index < last:
            clear_dirty_for_io(vma.vm_mm.machine, pfn)


def clear_dirty_for_io(machine, pfn):
    """A page is clean, and so are the entries of shared areas that map it, which do not let write
    any more (folio_clear_dirty_for_io(), page_mkclean()).
    """
    words = machine.view("ram")
    for vma, _address, slot in rmap_walk(machine, pfn):
        if vma.vm_flags & VM_SHARED:
            p = vma.vm_mm.paging
            words[slot] = pte_mkclean(p, pte_wrprotect(p, int(words[slot])))
    flags = machine.view("page")["flags"]
    flags[pfn] = int(flags[pfn]) & ~PG_dirty

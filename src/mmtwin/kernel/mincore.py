"""mincore(): which pages of a process are in memory (mm/mincore.c)."""

from mmtwin.kernel.constants import __GFP_HARDWALL
from mmtwin.kernel.filemap import find_page
from mmtwin.kernel.mm_types import FMODE_WRITE
from mmtwin.kernel.mman import EAGAIN, EFAULT, EINVAL, ENOMEM, VM_PFNMAP
from mmtwin.kernel.page_alloc import alloc_pages, free_pages
from mmtwin.kernel.vma_flags import U64, page_align, vma_is_anonymous
from mmtwin.kernel.vmalloc_defs import GFP_KERNEL
from mmtwin.kernel.walk import translate_slot

GFP_USER = GFP_KERNEL | __GFP_HARDWALL


def sys_mincore(mm, start, length, vec=0):
    """mincore(): (0 or -errno, a byte of each page up to where it ended, 1: in memory).

    `mm`: an mm_struct; `start`, `length`: bytes; `vec`: where the program wants the bytes, whose
    address alone is looked at. -EINVAL: `start` is within a page; -ENOMEM: above the process's
    addresses, or not mapped; -EFAULT: `vec` is; -EAGAIN: no page for the bytes on their way.
    """
    shift = mm.machine.page_shift
    start, length = start & U64, length & U64
    if start & ((1 << shift) - 1):
        return -EINVAL, b""
    if start + length > mm.task_size:
        return -ENOMEM, b""
    end = start + page_align(mm, length)
    if vec + (end - start >> shift) > mm.task_size:
        return -EFAULT, b""
    buffer = alloc_pages(mm.machine, GFP_USER, 0, -1)
    if buffer < 0:
        return -EAGAIN, b""
    error, found = 0, bytearray()
    while start < end:  # a buffer's worth at a time, and an area's
        vma = mm.tree.find_vma(start)
        if vma is None or start < vma.vm_start:
            error = -ENOMEM
            break
        last = min(vma.vm_end, end, start + (1 << shift + shift))
        found += do_mincore(vma, start, last)
        start = last
    free_pages(mm.machine, buffer, 0)
    return error, bytes(found)


def do_mincore(vma, start, end):
    """The bytes of a range of one area (do_mincore()). Of a file that the process may not write
    all pages are said to be there.
    """
    shift = vma.vm_mm.machine.page_shift
    if not can_do_mincore(vma):
        return bytes([1]) * (end - start >> shift)
    return bytes(resident(vma, address) for address in range(start, end, 1 << shift))


def can_do_mincore(vma):
    """Whether a process may know: its own memory, and files that it may write."""
    if vma_is_anonymous(vma):
        return True
    file = vma.vm_file
    return file is not None and bool(vma.vm_mm.privileged or file.f_mode & FMODE_WRITE)


def resident(vma, address):
    """Whether an address is mapped, or else in the page cache (mincore_pte_range(),
    __mincore_unmapped_range()). Pages without a struct page are not looked for (VM_PFNMAP,
    walk_page_test()).
    """
    mm, file = vma.vm_mm, vma.vm_file
    if mm.pgd >= 0 and not vma.vm_flags & VM_PFNMAP and translate_slot(mm, address)[0] >= 0:
        return 1
    if file is None:
        return 0
    index = (address - vma.vm_start >> mm.machine.page_shift) + vma.vm_pgoff
    cached = file.cached and index << mm.machine.page_shift < file.size
    return int(cached or find_page(file, index) >= 0)

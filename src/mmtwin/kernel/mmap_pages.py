"""What changes of areas ask of page tables: nothing, where an address space has none (mm.pgd < 0:
its areas alone are of interest).
"""

from mmtwin.kernel import guard, gup, khugepaged, memory_copy, memory_unmap, truncate
from mmtwin.kernel.mman import EINVAL, VM_IO, VM_PFNMAP, VM_READ, VM_WRITE
from mmtwin.kernel.rmap import anon_vma_prepare, unlink_anon_vmas
from mmtwin.kernel.vma import unlink_file_vma

DEV_ZERO = "/dev/zero (deleted)"  # the file of shared anonymous memory


def unmap_region(mm, vmas, start, end, floor, ceiling):
    """The pages of areas that are in no tree any more go, and their tables (unmap_region()).

    `vmas`: a list, by address; `start`, `end`: what is unmapped; `floor`, `ceiling`: the end of
    the area before and the start of the next, 0 for none.
    """
    if mm.pgd >= 0:
        memory_unmap.unmap_vmas(mm, vmas, start, end)
        memory_unmap.free_pgtables(mm, vmas, floor, ceiling)
    for vma in vmas:
        unlink_anon_vmas(vma)
        unlink_file_vma(vma)
        file = vma.vm_file
        if file is not None and file.path == DEV_ZERO and not file.i_mmap:
            truncate.shmem_evict_inode(mm.machine, file)  # nobody else has a descriptor of it


def change_protection(vma, start, end):
    """Entries get the rights that the area's flags give (change_protection())."""
    if vma.vm_mm.pgd >= 0:
        memory_copy.change_protection(vma, start, end, vma.vm_flags)


def move_page_tables(vma, old, new_vma, new, length):
    """Entries move to another area (move_page_tables()): how many bytes were moved."""
    if vma.vm_mm.pgd < 0:
        return length
    return memory_copy.move_page_tables(vma, old, new_vma, new, length)


def zap_page_range(vma, start, end):
    """Pages of a part of an area go (zap_page_range())."""
    if vma.vm_mm.pgd >= 0:
        memory_unmap.zap_page_range(vma, start, end)


def remove_range(vma, start, end):
    """The file behind a part of an area becomes a hole (madvise_remove())."""
    if vma.vm_mm.pgd >= 0:
        first = (start - vma.vm_start) + (vma.vm_pgoff << vma.vm_mm.machine.page_shift)
        truncate.punch_hole(vma.vm_mm.machine, vma.vm_file, first, first + end - start)


def madvise_free_range(vma, start, end):
    """Pages of a part of an area may go (madvise_free_single_vma())."""
    if vma.vm_mm.pgd >= 0:
        memory_copy.madvise_free_range(vma, start, end)


def install_guards(vma, start, end):
    """Accesses to a part of an area are SIGSEGV from now on: 0 or -ENOMEM."""
    return guard.install_guards(vma, start, end) if vma.vm_mm.pgd >= 0 else 0


def remove_guards(vma, start, end):
    """They are no more."""
    if vma.vm_mm.pgd >= 0:
        guard.remove_guards(vma, start, end)


def collapse(vma, start, end):
    """Whole huge pages of a part of an area become such (madvise_collapse()): 0 or -errno."""
    return khugepaged.madvise_collapse(vma, start, end) if vma.vm_mm.pgd >= 0 else 0


def cold(vma, start, end):
    """Pages of a part of an area are not wanted soon (madvise_cold())."""
    if vma.vm_mm.pgd >= 0:
        memory_copy.madvise_cold_range(vma, start, end)


def prepare_anon(vma):
    """A stack that grows gets its anon_vma (anon_vma_prepare()): 0 or -ENOMEM."""
    return anon_vma_prepare(vma) if vma.vm_mm.pgd >= 0 else 0


def populate_vma_page_range(vma, start, end):
    """Faults pages in (populate_vma_page_range()): 0, or -errno of the first that cannot be."""
    shift = vma.vm_mm.machine.page_shift
    while vma.vm_mm.pgd >= 0 and start < end:
        pages = gup.populate_vma_page_range(vma, start, end)
        if pages <= 0:
            return pages
        start += pages << shift
    return 0


def madvise_populate(vma, start, end, write):
    """MADV_POPULATE_READ, MADV_POPULATE_WRITE (madvise_populate()): 0, or -errno."""
    mm, flags = vma.vm_mm, vma.vm_flags
    if flags & (VM_IO | VM_PFNMAP) or not flags & (VM_WRITE if write else VM_READ):
        return -EINVAL
    if mm.pgd >= 0:
        for address in range(start, end, 1 << mm.machine.page_shift):
            error = gup.faultin_page(mm, vma, address, write)
            if error:
                return error
    return 0


def mm_populate(mm, start, length, ignore_errors=True):
    """Faults in what of a range is mapped (__mm_populate()): 0, or -errno unless they are ignored.

    `start`, `length`: bytes.
    """
    end = start + length
    if mm.pgd < 0:
        return 0
    vma = mm.tree.find_vma_intersection(start, end)
    while vma is not None and vma.vm_start < end:
        following = mm.tree.next(vma)
        error = populate_vma_page_range(vma, max(start, vma.vm_start), min(end, vma.vm_end))
        if error and not ignore_errors:
            return error
        vma = following
    return 0

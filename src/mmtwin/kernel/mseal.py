"""mseal(): areas that stay as they are (mm/mseal.c)."""

from mmtwin.kernel.commit import has_of
from mmtwin.kernel.mman import EINVAL, ENOMEM, VM_SEALED
from mmtwin.kernel.vma import reset_flags, visit_range, vma_modify, vmg_of_area
from mmtwin.kernel.vma_flags import U64, page_align

ENOSYS = 38


def do_mseal(mm, start, length, flags):
    """Seals all areas of a range (mseal()): 0, -EINVAL, -ENOMEM (a part is not mapped), -ENOSYS.

    `mm`: an mm_struct; `start`, `length`: bytes; `flags`: 0.
    """
    if not has_of(mm).mseal:
        return -ENOSYS
    page = 1 << mm.machine.page_shift
    size = page_align(mm, length & U64)
    if flags or start & (page - 1) or (length and not size) or start + size > U64:
        return -EINVAL
    end, place = start + size, start
    if end == start:
        return 0
    vma = mm.tree.find_vma(start)
    while place < end:  # range_contains_unmapped()
        if vma is None or vma.vm_start > place:
            return -ENOMEM
        place, vma = vma.vm_end, mm.tree.next(vma)
    vma = mm.tree.find_vma(start)
    return visit_range(mm, vma, start, end, seal_part)


def seal_part(vma, prev, start, end):
    """A part of one area (mseal_fixup()): (the area that has it then, 0 or -errno)."""
    if vma.vm_flags & VM_SEALED:
        return vma, 0
    vmg = vmg_of_area(vma, prev, start, end)
    vmg.flags |= VM_SEALED
    vma, error = vma_modify(vmg)
    if not error:
        reset_flags(vmg, vma, vmg.flags)
    return vma, error

"""mlock() and its like: pages that stay (mm/mlock.c)."""

from mmtwin.kernel.commit import has_of
from mmtwin.kernel.mman import (
    EAGAIN,
    EFAULT,
    EINVAL,
    ENOMEM,
    EPERM,
    MCL_CURRENT,
    MCL_FUTURE,
    MCL_ONFAULT,
    MLOCK_ONFAULT,
    RLIMIT_MEMLOCK,
    VM_DROPPABLE,
    VM_LOCKED,
    VM_LOCKONFAULT,
)
from mmtwin.kernel.mmap import can_do_mlock
from mmtwin.kernel.mmap_pages import mm_populate
from mmtwin.kernel.vma import reset_flags, visit_range, vma_modify, vmg_of_area
from mmtwin.kernel.vma_flags import U64, VM_LOCKED_MASK, page_align, vma_supports_mlock


def do_mlock(mm, start, length, flags=0):
    """mlock(), mlock2(): a range stays in memory.

    `mm`: an mm_struct; `start`, `length`: bytes; `flags`: MLOCK_ONFAULT or 0. Returns 0, or
    -EINVAL, -EPERM (RLIMIT_MEMLOCK is 0), -ENOMEM (the limit, or a part is not mapped), -EAGAIN.
    """
    if flags & ~MLOCK_ONFAULT:
        return -EINVAL
    if not can_do_mlock(mm):
        return -EPERM
    shift = mm.machine.page_shift
    start, length = whole_pages(mm, start & U64, length)
    limit = mm.rlimits[RLIMIT_MEMLOCK] >> shift
    locked = (length >> shift) + mm.locked_vm
    if locked > limit and not mm.privileged:
        locked -= count_mlocked_pages(mm, start, length)
    if locked > limit and not mm.privileged:
        return -ENOMEM
    vm_flags = VM_LOCKED | (VM_LOCKONFAULT if flags & MLOCK_ONFAULT else 0)
    error = apply_vma_lock_flags(mm, start, length, vm_flags)
    if error:
        return error
    error = mm_populate(mm, start, length, ignore_errors=False)
    return {-EFAULT: -ENOMEM, -ENOMEM: -EAGAIN}.get(error, error)


def do_munlock(mm, start, length):
    """munlock(): 0, -EINVAL, or -ENOMEM (a part is not mapped)."""
    start, length = whole_pages(mm, start & U64, length)
    return apply_vma_lock_flags(mm, start, length, 0)


def whole_pages(mm, start, length):
    """A range widened to whole pages: its start and length in bytes."""
    page = 1 << mm.machine.page_shift
    inside = start & (page - 1)
    return start - inside, page_align(mm, length + inside & U64)


def count_mlocked_pages(mm, start, length):
    """How many pages of a range are locked already (count_mm_mlocked_page_nr())."""
    count, end = 0, min(start + length, U64)
    vma = mm.tree.find_vma_intersection(start, end)
    while vma is not None and vma.vm_start < end:
        if vma.vm_flags & VM_LOCKED:
            count += min(end, vma.vm_end) - max(start, vma.vm_start)
        vma = mm.tree.next(vma)
    return count >> mm.machine.page_shift


def mlock_fixup(vma, prev, start, end, flags):
    """Gives a range of one area other VM_LOCKED flags (mlock_fixup()): (the area, 0 or -errno)."""
    mm, old = vma.vm_mm, vma.vm_flags
    droppable = VM_DROPPABLE if has_of(mm).map_droppable else 0
    if flags == old or not vma_supports_mlock(vma, droppable):
        return vma, 0
    vmg = vmg_of_area(vma, prev, start, end)
    vmg.flags = flags
    changed, error = vma_modify(vmg)
    if error:
        return vma, error
    pages = (end - start) >> mm.machine.page_shift
    if not flags & VM_LOCKED:
        mm.locked_vm -= pages
    elif not old & VM_LOCKED:
        mm.locked_vm += pages
    reset_flags(vmg, changed, flags)
    return changed, 0


def apply_vma_lock_flags(mm, start, length, flags):
    """Area by area (apply_vma_lock_flags()): 0, -EINVAL or -ENOMEM."""
    end = start + length
    if end > U64:
        return -EINVAL
    if end == start:
        return 0
    vma = mm.tree.find_vma(start)
    if vma is None or vma.vm_start > start:
        return -ENOMEM

    def visit(area, prev, first, last):
        return mlock_fixup(area, prev, first, last, area.vm_flags & ~VM_LOCKED_MASK | flags)

    return visit_range(mm, vma, start, end, visit)


def mlockall(mm, flags):
    """mlockall(): all of an address space, now (MCL_CURRENT) or what comes (MCL_FUTURE).

    Returns 0, -EINVAL, -EPERM or -ENOMEM (RLIMIT_MEMLOCK).
    """
    if not flags or flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) or flags == MCL_ONFAULT:
        return -EINVAL
    if not can_do_mlock(mm):
        return -EPERM
    limit = mm.rlimits[RLIMIT_MEMLOCK] >> mm.machine.page_shift
    if flags & MCL_CURRENT and mm.total_vm > limit and not mm.privileged:
        return -ENOMEM
    apply_mlockall_flags(mm, flags)
    if flags & MCL_CURRENT:
        mm_populate(mm, 0, mm.task_size)
    return 0


def munlockall(mm):
    """munlockall(): 0."""
    apply_mlockall_flags(mm, 0)
    return 0


def apply_mlockall_flags(mm, flags):
    """What new areas get, and what all get now (apply_mlockall_flags())."""
    to_add = VM_LOCKED | (VM_LOCKONFAULT if flags & MCL_ONFAULT else 0)
    mm.def_flags &= ~VM_LOCKED_MASK
    if flags & MCL_FUTURE:
        mm.def_flags |= to_add
        if not flags & MCL_CURRENT:
            return
    vma, prev = mm.tree.first(), None
    while vma is not None:
        wanted = vma.vm_flags & ~VM_LOCKED_MASK | (to_add if flags & MCL_CURRENT else 0)
        prev, _ = mlock_fixup(vma, prev, vma.vm_start, vma.vm_end, wanted)
        vma = mm.tree.next(prev)

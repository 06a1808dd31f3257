"""Areas go: munmap(), and what mmap() and exit take away (mm/mmap.c, mm/vma.c)."""

from mmtwin.kernel.commit import commit_of, has_of
from mmtwin.kernel.mman import EINVAL, ENOMEM, EPERM, VM_ACCOUNT, VM_LOCKED, VM_SEALED
from mmtwin.kernel.mmap_pages import unmap_region
from mmtwin.kernel.vma import __split_vma as split_area
from mmtwin.kernel.vma_flags import U64, page_align, vm_stat_account, vma_pages


def update_hiwater_vm(mm):
    """The most pages mapped so far (update_hiwater_vm())."""
    mm.hiwater_vm = max(mm.hiwater_vm, mm.total_vm)


def do_munmap(mm, start, length):
    """Takes away what is mapped in a range (do_munmap(), __do_munmap(), do_mas_munmap(),
    do_vmi_munmap()).

    `mm`: an mm_struct; `start`: an address; `length`: bytes. Returns 0, -EINVAL (not a page, too
    large, nothing), -ENOMEM (too many areas) or -EPERM (sealed).
    """
    page = 1 << mm.machine.page_shift
    if start & (page - 1) or start > mm.task_size or length > mm.task_size - start:
        return -EINVAL
    end = start + page_align(mm, length)
    if end == start:
        return -EINVAL
    vma = mm.tree.find_vma(start)
    if vma is None or vma.vm_start >= end:
        return 0
    return unmap_areas(mm, vma, start, end)


def unmap_areas(mm, vma, start, end):
    """do_munmap() of whole pages; `vma`: the first area there (do_vmi_align_munmap())."""
    error = gather_areas(mm, vma, start, end)
    if error:
        return error
    detached = detach_areas(mm, start, end)
    complete_munmap(mm, detached)
    return 0


def gather_areas(mm, vma, start, end):
    """Splits what sticks out of a range, gathers what goes (vms_gather_munmap_vmas()): 0 or
    -errno.
    """
    if mm.tree.begin_erase():
        return -ENOMEM
    error = split_and_gather(mm, vma, start, end)
    if error:
        mm.tree.cancel_erase()
    return error


def split_and_gather(mm, vma, start, end):
    """gather_areas() without what begins and ends it."""
    tree = mm.tree
    if start > vma.vm_start:
        if end < vma.vm_end and mm.map_count >= commit_of(mm.machine).max_map_count:
            return -ENOMEM
        if vma.vm_flags & VM_SEALED:
            return -EPERM
        error = split_area(vma, start, has_of(mm).mmap_merge == 2)
        if error:
            return error
    area = tree.find_vma(start)
    while area is not None and area.vm_start < end:
        if area.vm_flags & VM_SEALED:
            return -EPERM
        if area.vm_end > end:
            address = area.vm_start
            error = split_area(area, end, has_of(mm).mmap_merge < 2)
            if error:
                return error
            area = tree.find_vma(address)
        tree.gather(area)
        area = tree.next(area)
    return 0


def detach_areas(mm, start, end):
    """Takes the areas of a range out of the tree and their pages away: a list of them."""
    tree = mm.tree
    detached = tree.erase(start, end)
    for vma in detached:
        if vma.vm_flags & VM_LOCKED:
            mm.locked_vm -= vma_pages(vma)
    if detached:
        after, prev = tree.find_vma_prev(end)
        unmap_region(
            mm, detached, start, end,
            0 if prev is None else prev.vm_end, 0 if after is None else after.vm_start,
        )
    return detached


def complete_munmap(mm, detached):
    """The areas are gone: they count no more (remove_vma_list(), vms_complete_munmap_vmas())."""
    accounted = 0
    if detached:
        update_hiwater_vm(mm)
    for vma in detached:
        pages = vma_pages(vma)
        if vma.vm_flags & VM_ACCOUNT:
            accounted += pages
        vm_stat_account(mm, vma.vm_flags, -pages)
    commit_of(mm.machine).vm_unacct_memory(accounted)


def exit_mmap(mm):
    """The whole address space goes (exit_mmap()); its counters stay as they were."""
    areas = list(mm.tree)
    if areas:
        unmap_region(mm, areas, 0, U64, 0, 0)
        accounted = sum(vma_pages(vma) for vma in areas if vma.vm_flags & VM_ACCOUNT)
        commit_of(mm.machine).vm_unacct_memory(accounted)
    mm.tree.destroy()
    mm.map_count = 0


def sys_munmap(mm, address, length):
    """munmap(): 0 or -errno, as do_munmap()."""
    return do_munmap(mm, address & U64, length & U64)

"""mremap(): larger, smaller, elsewhere (mm/mremap.c)."""

from mmtwin.kernel.commit import commit_of, has_of
from mmtwin.kernel.mman import (
    EAGAIN,
    EFAULT,
    EINVAL,
    ENOMEM,
    EPERM,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    RLIMIT_MEMLOCK,
    VM_ACCOUNT,
    VM_DONTEXPAND,
    VM_LOCKED,
    VM_PFNMAP,
    VM_SEALED,
    VM_SHARED,
)
from mmtwin.kernel.mmap import may_expand_vm, mlock_future_ok
from mmtwin.kernel.mmap_pages import mm_populate
from mmtwin.kernel.mremap_move import move_vma, new_address, vma_expandable
from mmtwin.kernel.munmap import do_munmap
from mmtwin.kernel.vma import vma_merge_new_range, vmg_of_area
from mmtwin.kernel.vma_flags import (
    U64,
    is_shared,
    page_align,
    vm_stat_account,
    vma_is_anonymous,
)

MREMAP_FLAGS = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP


def do_mremap(mm, addr, old_len, new_len, flags, new_addr=0):
    """mremap(): the address where the mapping is then, or -errno in the kernel's order of checks.

    `mm`: an mm_struct; `addr`, `new_addr`: addresses; `old_len`, `new_len`: bytes; `flags`:
    MREMAP_*. With old_len 0 a shared mapping gets a second place.
    """
    addr, new_addr = addr & U64, new_addr & U64
    old_len, new_len = page_align(mm, old_len & U64), page_align(mm, new_len & U64)
    if has_of(mm).mremap_checks_first:
        return mremap_checked(mm, addr, old_len, new_len, flags, new_addr)
    page = 1 << mm.machine.page_shift
    if (
        flags & ~MREMAP_FLAGS
        or (flags & MREMAP_FIXED and not flags & MREMAP_MAYMOVE)
        or (flags & MREMAP_DONTUNMAP and (not flags & MREMAP_MAYMOVE or old_len != new_len))
        or addr & (page - 1) or not new_len
    ):
        return -EINVAL
    if has_of(mm).mremap_finds_first:
        vma = mm.tree.vma_lookup(addr)
        if vma is None:
            return -EFAULT
        if vma.vm_flags & VM_SEALED:
            return -EPERM
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        result, locked = mremap_to(mm, addr, old_len, new_addr, new_len, flags)
    elif old_len >= new_len:
        error = do_munmap(mm, addr + new_len, old_len - new_len) if old_len > new_len else 0
        return error or addr
    else:
        result, locked = grow_or_move(mm, addr, old_len, new_len, flags)
    if result >= 0 and locked and new_len > old_len:
        mm_populate(mm, result + old_len, new_len - old_len)
    return result


def vma_to_resize(mm, addr, old_len, new_len, flags):
    """The area that is to change its size (vma_to_resize()): (it, pages promised), or
    (None, -errno).
    """
    has, shift = has_of(mm), mm.machine.page_shift
    vma = mm.tree.vma_lookup(addr)
    if vma is None:
        return None, -EFAULT
    error = resizable(mm, vma, addr, old_len, new_len, flags)
    if error or new_len == old_len:
        return (None, error) if error else (vma, 0)
    if vma.vm_flags & VM_LOCKED and not has.mremap_move_charges:
        locked = (mm.locked_vm << shift) + new_len - old_len
        if locked > mm.rlimits[RLIMIT_MEMLOCK] and not mm.privileged:
            return None, -EAGAIN
    elif not mlock_future_ok(mm, vma.vm_flags, new_len - old_len):
        return None, -EAGAIN
    pages = (new_len - old_len) >> shift
    if not may_expand_vm(mm, vma.vm_flags, pages):
        return None, -ENOMEM
    if not vma.vm_flags & VM_ACCOUNT or has.mremap_move_charges:
        return vma, 0
    if commit_of(mm.machine).vm_enough_memory(mm, pages):
        return None, -ENOMEM
    return vma, pages


def resizable(mm, vma, addr, old_len, new_len, flags):
    """The first checks, which every release has in this order: 0 or -errno."""
    if not old_len and not is_shared(vma.vm_flags):
        return -EINVAL  # a private mapping cannot be duplicated
    fixed_size = vma.vm_flags & (VM_DONTEXPAND | VM_PFNMAP)
    if flags & MREMAP_DONTUNMAP:
        if has_of(mm).mremap_dontunmap_any:
            if fixed_size:
                return -EINVAL
        elif not vma_is_anonymous(vma) or vma.vm_flags & VM_SHARED:
            return -EINVAL
    if old_len > vma.vm_end - addr:
        return -EFAULT
    if new_len == old_len:
        return 0
    shift = mm.machine.page_shift
    pgoff = ((addr - vma.vm_start) >> shift) + vma.vm_pgoff
    if pgoff + (new_len >> shift) > U64:
        return -EINVAL
    return -EFAULT if fixed_size else 0


def overlaps(addr, old_len, new_addr, new_len):
    """Whether a mapping would move onto itself (vrm_overlaps())."""
    return addr + old_len > new_addr and new_addr + new_len > addr


def mremap_to(mm, addr, old_len, new_addr, new_len, flags):
    """To a given address, or with MREMAP_DONTUNMAP (mremap_to() before 6.17): (address or -errno,
    whether it is locked).
    """
    page, commit = 1 << mm.machine.page_shift, commit_of(mm.machine)
    if (
        new_addr & (page - 1) or new_len > mm.task_size or new_addr > mm.task_size - new_len
        or overlaps(addr, old_len, new_addr, new_len)
    ):
        return -EINVAL, False
    if mm.map_count + 2 >= commit.max_map_count - 3:
        return -ENOMEM, False
    error = unmap_for_move(mm, addr, old_len, new_addr, new_len, flags)
    if error:
        return error, False
    old_len = min(old_len, new_len)
    vma, charged = vma_to_resize(mm, addr, old_len, new_len, flags)
    if vma is None:
        return charged, False
    if flags & MREMAP_DONTUNMAP and not may_expand_vm(mm, vma.vm_flags, old_len // page):
        return -ENOMEM, False
    place = new_address(mm, vma, addr, new_len, flags, new_addr)
    if place >= 0:
        place, locked = move_vma(vma, addr, old_len, new_len, place, flags)
        if place >= 0:
            return place, locked
    commit.vm_unacct_memory(charged)
    return place, False


def grow_or_move(mm, addr, old_len, new_len, flags):
    """Larger: in place if there is room, else elsewhere if it may (before 6.17)."""
    vma, charged = vma_to_resize(mm, addr, old_len, new_len, flags)
    if vma is None:
        return charged, False
    if old_len == vma.vm_end - addr and vma_expandable(vma, new_len - old_len):
        locked = bool(vma.vm_flags & VM_LOCKED)
        error = expand_in_place(vma, new_len - old_len)
        place = error or addr
    elif not flags & MREMAP_MAYMOVE:
        place, locked = -ENOMEM, False
    else:
        place, locked = new_address(mm, vma, addr, new_len, 0, 0), False
        if place >= 0:
            place, locked = move_vma(vma, addr, old_len, new_len, place, flags)
    if place < 0:
        commit_of(mm.machine).vm_unacct_memory(charged)
    return place, locked


def expand_in_place(vma, delta):
    """An area grows by `delta` bytes that are free (expand_vma_in_place()): 0 or -ENOMEM. Since
    6.1 it then merges with the next.
    """
    mm = vma.vm_mm
    has, shift = has_of(mm), mm.machine.page_shift
    pages, vm_flags = delta >> shift, vma.vm_flags
    charged = pages if vm_flags & VM_ACCOUNT and has.mremap_move_charges else 0
    commit = commit_of(mm.machine)
    if charged and commit.vm_enough_memory(mm, charged):
        return -ENOMEM
    if has.mremap_merges:
        vmg = vmg_of_area(vma, vma, vma.vm_end, vma.vm_end + delta)
        vmg.middle = None
        vmg.next = mm.tree.next(vma)
        if vma_merge_new_range(vmg) is None:
            commit.vm_unacct_memory(charged)
            return -ENOMEM
    else:
        mm.tree.adjust(vma, vma.vm_start, vma.vm_end + delta, vma.vm_pgoff)
    vm_stat_account(mm, vm_flags, pages)
    if vm_flags & VM_LOCKED:
        mm.locked_vm += pages
    return 0


# ---- since 6.17


def mremap_checked(mm, addr, old_len, new_len, flags, new_addr):
    """All parameters are checked before anything is done; a move may be of several areas
    (do_mremap(), check_mremap_params()).
    """
    page, limit = 1 << mm.machine.page_shift, commit_of(mm.machine).max_map_count
    places = flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)
    if flags & ~MREMAP_FLAGS or addr & (page - 1) or not new_len or new_len > mm.task_size:
        return -EINVAL
    if places and (
        new_addr > mm.task_size - new_len or new_addr & (page - 1) or not flags & MREMAP_MAYMOVE
        or (flags & MREMAP_DONTUNMAP and old_len != new_len)
        or overlaps(addr, old_len, new_addr, new_len)
    ):
        return -EINVAL
    if has_of(mm).mremap_counts_splits:
        if mm.map_count + 4 + bool(flags & MREMAP_DONTUNMAP) > limit:
            return -ENOMEM
    elif places and mm.map_count + 2 >= limit - 3:
        return -ENOMEM
    if flags & MREMAP_FIXED and old_len == new_len:
        return remap_move(mm, addr, old_len, new_addr, flags)
    result, locked = remap_one(mm, addr, old_len, new_len, flags, new_addr)
    if result >= 0 and locked and new_len > old_len:
        mm_populate(mm, result + old_len, new_len - old_len)
    return result


def check_vma(mm, vma, addr, old_len, new_len, flags):
    """check_prep_vma(): 0 or -errno."""
    if vma is None:
        return -EFAULT
    if vma.vm_flags & VM_SEALED:
        return -EPERM
    if old_len >= new_len and not flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        return 0
    old_len = min(old_len, new_len) if old_len > new_len else old_len
    error = resizable(mm, vma, addr, old_len, new_len, flags)
    if error or new_len == old_len:
        return error
    if not mlock_future_ok(mm, vma.vm_flags, new_len - old_len):
        return -EAGAIN
    pages = (new_len - old_len) >> mm.machine.page_shift
    return 0 if may_expand_vm(mm, vma.vm_flags, pages) else -ENOMEM


def remap_one(mm, addr, old_len, new_len, flags, new_addr):
    """mremap() of one area: (address or -errno, whether it is locked)."""
    vma = mm.tree.vma_lookup(addr)
    error = check_vma(mm, vma, addr, old_len, new_len, flags)
    if error:
        return error, False
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP):
        return place_vma(mm, addr, old_len, new_len, flags, new_addr)
    if old_len >= new_len:
        error = do_munmap(mm, addr + new_len, old_len - new_len) if old_len > new_len else 0
        return error or addr, False
    if old_len == vma.vm_end - addr and vma_expandable(vma, new_len - old_len):
        locked = bool(vma.vm_flags & VM_LOCKED)
        error = expand_in_place(vma, new_len - old_len)
        return error or addr, locked
    if not flags & MREMAP_MAYMOVE:
        return -ENOMEM, False
    place = new_address(mm, vma, addr, new_len, 0, 0)
    if place < 0:
        return place, False
    return move_vma(vma, addr, old_len, new_len, place, flags)


def unmap_for_move(mm, addr, old_len, new_addr, new_len, flags):
    """mremap_to(): what lies at the target goes, and what is to be cut off; 0 or -errno."""
    if flags & MREMAP_FIXED:
        error = do_munmap(mm, new_addr, new_len)
        if error:
            return error
    if old_len > new_len:
        return do_munmap(mm, addr + new_len, old_len - new_len)
    return 0


def place_vma(mm, addr, old_len, new_len, flags, new_addr):
    """mremap_to() since 6.17: (address or -errno, whether it is locked)."""
    error = unmap_for_move(mm, addr, old_len, new_addr, new_len, flags)
    if error:
        return error, False
    old_len = min(old_len, new_len)
    vma = mm.tree.vma_lookup(addr)
    if vma is None:
        return -EFAULT, False
    pages = old_len >> mm.machine.page_shift
    if flags & MREMAP_DONTUNMAP and not may_expand_vm(mm, vma.vm_flags, pages):
        return -ENOMEM, False
    place = new_address(mm, vma, addr, new_len, flags, new_addr)
    if place < 0:
        return place, False
    return move_vma(vma, addr, old_len, new_len, place, flags)


def remap_move(mm, start, length, new_addr, flags):
    """Moves all areas of a range, gaps between them too (remap_move()): the address or -errno."""
    end, result, target, last_end = start + length, -EFAULT, new_addr, None
    vma = mm.tree.find_vma_intersection(start, end)
    while vma is not None and vma.vm_start < end:
        seen = last_end is not None
        if not seen and start < vma.vm_start:
            return -EFAULT
        addr = max(vma.vm_start, start)
        part, vma_end = min(end, vma.vm_end) - addr, vma.vm_end
        offset = vma.vm_start - last_end if seen else 0
        last_end = vma_end
        if vma.userfaultfd is not None and (seen or vma_end < end):
            return -EFAULT  # vma_multi_allowed()
        error = check_vma(mm, vma, addr, part, part, flags)
        if error:
            return error
        place, _ = place_vma(mm, addr, part, part, flags, target + offset)
        if place < 0:
            return place
        if not seen:
            result = place
        target = place + part
        vma = mm.tree.find_vma_intersection(vma_end, end) if vma_end < end else None
    return result

"""Moving an area: what all forms of mremap() share (mm/mremap.c, copy_vma())."""

from mmtwin.kernel.commit import commit_of, has_of
from mmtwin.kernel.mman import (
    ENOMEM,
    MAP_FIXED,
    MAP_SHARED,
    MREMAP_DONTUNMAP,
    MREMAP_FIXED,
    VM_ACCOUNT,
    VM_LOCKED,
    VM_MAYSHARE,
)
from mmtwin.kernel.mmap_pages import move_page_tables
from mmtwin.kernel.munmap import do_munmap
from mmtwin.kernel.rmap import anon_vma_clone, unlink_anon_vmas
from mmtwin.kernel.unmapped_area import get_unmapped_area
from mmtwin.kernel.vma import (
    may_split,
    split_vma,
    vm_area_dup,
    vma_link,
    vma_merge_new_range,
    vmg_of_area,
)
from mmtwin.kernel.vma_flags import VM_LOCKED_MASK, vm_stat_account, vma_is_anonymous


def copy_vma(vma, addr, length, pgoff, anon_pgoff, keep_source=False):
    """An area at another address for what one maps (copy_vma()).

    `addr`, `length`: bytes; `pgoff`, `anon_pgoff`: of its start, in pages; `keep_source`: it stays
    (MREMAP_DONTUNMAP). Returns (the new area, the source: another if it merged away), or
    (None, vma) where something is mapped already.
    """
    mm, start = vma.vm_mm, vma.vm_start
    tree, shift = mm.tree, mm.machine.page_shift
    if vma.anon_vma is None:
        anon_pgoff = addr >> shift
        if vma_is_anonymous(vma):
            pgoff = anon_pgoff
    following, prev = tree.find_vma_prev(addr)
    if following is not None and following.vm_start < addr + length:
        return None, vma
    vmg = vmg_of_area(vma, prev, addr, addr + length)
    vmg.pgoff, vmg.anon_pgoff = pgoff, anon_pgoff
    vmg.middle, vmg.copied_from = None, vma
    vmg.next = following
    if keep_source and has_of(mm).vma_anon_pgoff and pgoff == addr >> shift:
        # nothing merges with what it was copied from
        vmg.prev = None if prev is vma else prev
        vmg.next = None if following is vma else following
    new = vma_merge_new_range(vmg)
    if new is not None:
        return new, new if new.vm_start <= start < new.vm_end else vma
    new = vm_area_dup(vma)
    new.vm_start, new.vm_end = addr, addr + length
    new.vm_pgoff, new.anon_pgoff = pgoff, anon_pgoff
    anon_vma_clone(new, vma)
    if vma_link(new):
        unlink_anon_vmas(new)
        return None, vma
    return new, vma


def new_address(mm, vma, addr, new_len, flags, new_addr):
    """Where a moved area goes (vrm_set_new_addr()): an address, or -errno. `new_addr`: a hint, or
    the place itself with MREMAP_FIXED.
    """
    map_flags = MAP_FIXED if flags & MREMAP_FIXED else 0
    if vma.vm_flags & VM_MAYSHARE:
        map_flags |= MAP_SHARED
    pgoff = vma.vm_pgoff + ((addr - vma.vm_start) >> mm.machine.page_shift)
    return get_unmapped_area(mm, vma.vm_file, new_addr, new_len, pgoff, map_flags)


def vma_expandable(vma, delta):
    """Whether `delta` bytes behind an area are free (vma_expandable())."""
    mm, end = vma.vm_mm, vma.vm_end + delta
    if mm.tree.find_vma_intersection(vma.vm_end, end) is not None:
        return False
    length = end - vma.vm_start
    return get_unmapped_area(mm, None, vma.vm_start, length, 0, MAP_FIXED) >= 0


def prepare_move(vma, addr, old_len, flags):
    """Whether a part of an area may leave it (prep_move_vma()): 0 or -errno."""
    mm = vma.vm_mm
    has, limit = has_of(mm), commit_of(mm.machine).max_map_count
    before, after = vma.vm_start != addr, vma.vm_end != addr + old_len
    early = has.mremap_counts_splits and flags & MREMAP_DONTUNMAP and vma.vm_flags & VM_LOCKED
    if has.mremap_counts_splits:
        if mm.map_count + 2 + bool(early) > limit:
            return -ENOMEM
    elif mm.map_count >= limit - 3:
        return -ENOMEM
    if has.mremap_move_charges and (before or after):
        error = may_split(vma)
        if error:
            return error
    if not early:
        return 0
    # what stays unlocked must be an area of its own
    error = split_vma(vma, addr, True) if before else 0
    return error or (split_vma(vma, addr + old_len, False) if after else 0)


def move_vma(vma, addr, old_len, new_len, new_addr, flags):
    """Moves a part of an area with its pages (move_vma()).

    All in bytes; `flags`: MREMAP_*. Returns (the new address, whether it is locked), or
    (-errno, False).
    """
    mm = vma.vm_mm
    commit, shift = commit_of(mm.machine), mm.machine.page_shift
    dontunmap = flags & MREMAP_DONTUNMAP
    error = prepare_move(vma, addr, old_len, flags)
    if error:
        return error, False
    old_flags = vma.vm_flags
    charged = 0
    if old_flags & VM_ACCOUNT and has_of(mm).mremap_move_charges:
        charged = (new_len if dontunmap else new_len - old_len) >> shift
        if commit.vm_enough_memory(mm, charged):
            return -ENOMEM, False
    inside = (addr - vma.vm_start) >> shift
    new_vma, vma = copy_vma(vma, new_addr, new_len, vma.vm_pgoff + inside,
                            vma.anon_pgoff + inside, bool(dontunmap))
    if new_vma is None:
        commit.vm_unacct_memory(charged)
        return -ENOMEM, False
    moved = move_page_tables(vma, addr, new_vma, new_addr, old_len)
    if moved < old_len:
        error = -ENOMEM
        move_page_tables(new_vma, new_addr, vma, addr, moved)
        vma, old_len, addr, dontunmap = new_vma, new_len, new_addr, 0
    elif vma.special and mm.vdso == addr:
        mm.vdso = new_addr  # vdso_mremap()
    hiwater = mm.hiwater_vm
    vm_stat_account(mm, old_flags, new_len >> shift)
    locked = bool(old_flags & VM_LOCKED)
    if dontunmap:
        if not has_of(mm).mremap_move_charges and old_flags & VM_ACCOUNT:
            commit.vm_acct_memory(new_len >> shift)
        dontunmap_complete(vma, new_vma, addr, old_len, locked)
    else:
        unmap_source(mm, vma, addr, old_len)
        if locked:
            mm.locked_vm += new_len >> shift
    mm.hiwater_vm = hiwater
    return (error, False) if error else (new_addr, locked)


def dontunmap_complete(vma, new_vma, addr, old_len, locked):
    """The source stays, empty and unlocked (dontunmap_complete())."""
    mm = vma.vm_mm
    if locked and has_of(mm).mremap_checks_first and not has_of(mm).mremap_counts_splits:
        mm.locked_vm += old_len >> mm.machine.page_shift  # the copy is counted, the source still
    vma.vm_flags &= ~VM_LOCKED_MASK
    if (
        has_of(mm).mremap_dontunmap_any and new_vma is not vma
        and vma.vm_start == addr and vma.vm_end == addr + old_len
    ):
        unlink_anon_vmas(vma)
        if has_of(mm).vma_anon_pgoff:
            vma.anon_pgoff = addr >> mm.machine.page_shift
            if vma_is_anonymous(vma):
                vma.vm_pgoff = vma.anon_pgoff


def unmap_source(mm, vma, addr, old_len):
    """The source goes; what it promised is the new area's (unmap_source_vma())."""
    accounted = vma.vm_flags & VM_ACCOUNT
    start, end = vma.vm_start, vma.vm_end
    vma.vm_flags &= ~VM_ACCOUNT
    error = do_munmap(mm, addr, old_len)
    if error and accounted:
        commit_of(mm.machine).vm_acct_memory(old_len >> mm.machine.page_shift)
    if not accounted or error:
        return
    if start < addr:
        mm.tree.find_vma(addr - 1).vm_flags |= VM_ACCOUNT
    if end > addr + old_len:
        mm.tree.find_vma(addr + old_len).vm_flags |= VM_ACCOUNT

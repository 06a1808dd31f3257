"""Areas merge, split and grow (mm/mmap.c before 6.12, mm/vma.c since).

Every change of bounds goes through mm.tree: the tree knows what its kernel stores, and when.
"""

from mmtwin.kernel.commit import commit_of, has_of
from mmtwin.kernel.mm_types import vm_area_struct
from mmtwin.kernel.mman import EINVAL, ENOMEM
from mmtwin.kernel.rmap import anon_vma_clone, unlink_anon_vmas
from mmtwin.kernel.vma_flags import (
    NO_MERGE_FLAGS,
    VM_MAYBE_GUARD,
    VM_SPECIAL,
    VM_STICKY,
    is_cow_mapping,
    vma_pages,
)


class vma_merge_struct:
    """A range that may become part of its neighbours (struct vma_merge_struct).

    `prev`, `next`: the areas around it, None for none; `middle`: the area that it is, or is part
    of, None for a new one. `start`, `end`: addresses; `flags`: VM_*; `pgoff`, `anon_pgoff`: pages.
    """

    def __init__(self, mm, start, end, flags, pgoff, file=None):
        self.mm = mm
        self.start, self.end = start, end
        self.flags = flags
        self.pgoff = pgoff
        self.anon_pgoff = start >> mm.machine.page_shift
        self.file = file
        self.prev = self.middle = self.next = None
        self.anon_vma = self.policy = self.userfaultfd = self.name = None
        self.copied_from = None
        self.merged = False

    def pages(self):
        """Its length in pages."""
        return (self.end - self.start) >> self.mm.machine.page_shift


def vmg_of_area(vma, prev, start, end):
    """VMG_VMA_STATE(): the range `start` to `end` of an area, as it is.

    `prev`: the area before it, or the area itself if the range begins inside.
    """
    mm = vma.vm_mm
    inside = (start - vma.vm_start) >> mm.machine.page_shift
    vmg = vma_merge_struct(mm, start, end, vma.vm_flags, vma.vm_pgoff + inside, vma.vm_file)
    vmg.anon_pgoff = vma.anon_pgoff + inside
    vmg.prev, vmg.middle = prev, vma
    vmg.anon_vma, vmg.policy = vma.anon_vma, vma.policy
    vmg.userfaultfd = vma.userfaultfd
    if vma_is_named(vma):
        vmg.name = vma.vm_name
    return vmg


def vma_is_named(vma):
    """Whether an area's name is one that its process gave (anon_vma_name())."""
    return vma.vm_name is not None and not vma.special


# ---- what may merge


def is_mergeable_vma(vmg, vma):
    """Whether the range is of the same kind as a neighbour (is_mergeable_vma())."""
    ignored = VM_STICKY if has_of(vmg.mm).vma_sticky else NO_MERGE_FLAGS
    if (vma.vm_flags ^ vmg.flags) & ~ignored:
        return False
    if vma.vm_file is not vmg.file or vma.policy != vmg.policy:
        return False
    if has_close(vma) and not has_of(vmg.mm).vma_close_merges:
        return False
    name = vma.vm_name if vma_is_named(vma) else None
    return vma.userfaultfd is vmg.userfaultfd and name == vmg.name


def has_close(vma):
    """Whether an area has vm_ops->close."""
    return vma.special or (vma.vm_file is not None and vma.vm_file.vm_close)


def vma_is_fork_child(vma):
    """Whether an area shares anon_vmas with a parent or child (list_is_singular() is false)."""
    return vma is not None and vma.anon_vma is not None and len(vma.anon_vma_chain) != 1


def is_mergeable_anon_vma(vmg, vma):
    """Whether the range's anonymous pages may be those of a neighbour (is_mergeable_anon_vma()).

    Areas that a fork copied keep to themselves, so that no anon_vma collects all descendants.
    """
    rule = has_of(vmg.mm).vma_merge_anon
    if not rule:
        return anon_vmas_compatible(vmg.anon_vma, vma.anon_vma, vma)
    if vma.anon_vma is None and vmg.anon_vma is not None:
        if vma_is_fork_child(vmg.middle):
            return False
        return rule < 2 or not vma_is_fork_child(vmg.copied_from)
    if vma.anon_vma is not None and vmg.anon_vma is None:
        return not vma_is_fork_child(vma)
    return vma.anon_vma is vmg.anon_vma


def anon_vmas_compatible(one, other, vma):
    """Two anon_vmas, each None for none, of which `vma` (None: no area) has one: before 6.16 an
    area whose list of chains is not of just one keeps to its own, empty or not.
    """
    if (one is None or other is None) and (vma is None or len(vma.anon_vma_chain) == 1):
        return True
    return one is other


def offsets_meet(vmg, pgoff, anon_pgoff, own_pgoff, own_anon_pgoff):
    """Whether file offsets meet, and where it matters those of the private copies
    (needs_adjacent_anon_pgoff()).
    """
    if pgoff != own_pgoff:
        return False
    if not has_of(vmg.mm).vma_anon_pgoff or vmg.file is None or not is_cow_mapping(vmg.flags):
        return True
    return anon_pgoff == own_anon_pgoff


def can_vma_merge_before(vmg, vma):
    """Whether the range may become the front of the area behind it (can_vma_merge_before())."""
    pages = vmg.pages()
    return (
        is_mergeable_vma(vmg, vma)
        and is_mergeable_anon_vma(vmg, vma)
        and offsets_meet(vmg, vma.vm_pgoff, vma.anon_pgoff, vmg.pgoff + pages,
                         vmg.anon_pgoff + pages)
    )


def can_vma_merge_after(vmg, vma):
    """Whether the range may become the end of the area before it (can_vma_merge_after())."""
    pages = vma_pages(vma)
    return (
        is_mergeable_vma(vmg, vma)
        and is_mergeable_anon_vma(vmg, vma)
        and offsets_meet(vmg, vma.vm_pgoff + pages, vma.anon_pgoff + pages, vmg.pgoff,
                         vmg.anon_pgoff)
    )


def can_vma_merge_left(vmg):
    """Whether the area before ends where the range begins, and takes it (can_vma_merge_left())."""
    prev = vmg.prev
    return prev is not None and prev.vm_end == vmg.start and can_vma_merge_after(vmg, prev)


def can_vma_merge_right(vmg, can_merge_left):
    """The same of the area behind; if both would, their anon_vmas must allow it
    (can_vma_merge_right(); vma_merge() before 6.12).
    """
    following = vmg.next
    if following is None or vmg.end != following.vm_start:
        return False
    if not can_vma_merge_before(vmg, following):
        return False
    if not can_merge_left:
        return True
    return anon_vmas_compatible(vmg.prev.anon_vma, following.anon_vma, None)


# ---- merging


def vma_merge_existing_range(vmg):
    """A range of an area, about to change, becomes part of its neighbours
    (vma_merge_existing_range(); vma_merge(), cases 1 and 4 to 8, before 6.12).

    `vmg`: of vmg_of_area(), with what is about to change. Returns the area that has the range now,
    or None: then nothing changed.
    """
    middle, prev = vmg.middle, vmg.prev
    left_side, right_side = vmg.start == middle.vm_start, vmg.end == middle.vm_end
    if vmg.flags & VM_SPECIAL or not (left_side or right_side):
        return None
    left = left_side and can_vma_merge_left(vmg)
    if right_side:
        vmg.next = vmg.mm.tree.next(middle)
    right = right_side and can_vma_merge_right(vmg, left)
    if not (left or right):
        return None
    whole = left_side and right_side
    if whole and has_close(middle):
        return None
    if left and right and has_close(vmg.next):
        right = False
    if left and right:
        late = has_of(vmg.mm).mmap_merge == 2  # since 6.12 the next area's comes first
        first, second = (vmg.next, middle) if late else (middle, vmg.next)
        donor = second if first.anon_vma is None else first
        target = merge_into(vmg, prev, prev.vm_start, vmg.next.vm_end, donor, [middle, vmg.next])
    elif left:
        removed = [middle] if whole else []
        target = merge_into(vmg, prev, prev.vm_start, vmg.end, middle, removed,
                            None if whole else middle)
    elif whole:
        target = merge_into(vmg, vmg.next, vmg.start, vmg.next.vm_end, middle, [middle])
    else:
        target = move_border(vmg)
    return target


def move_border(vmg):
    """The end of an area becomes the front of the next: case 4, __adjust_next_start."""
    middle, following = vmg.middle, vmg.next
    flags = sticky_flags(vmg, [following])
    import_anon_vma(following, middle)
    grown = (following.vm_start - vmg.start) >> vmg.mm.machine.page_shift
    tree = vmg.mm.tree
    if tree.adjust(middle, middle.vm_start, vmg.start, middle.vm_pgoff, neighbour=following):
        return None
    following.anon_pgoff -= grown
    following.vm_flags |= flags
    vmg.merged = True
    return following


def merge_into(vmg, target, start, end, donor, removed, shrunk=None):
    """`target` takes the range, and what lies in `removed` (commit_merge(); __vma_adjust()).

    `donor`: an area whose anon_vma it needs, or None; `shrunk`: an area that gives up its front.
    Returns `target`; None without memory for the tree.
    """
    mm = vmg.mm
    flags = sticky_flags(vmg, [target, *removed[-1:]])
    if donor is not None:
        import_anon_vma(target, donor)
    shift = mm.machine.page_shift
    grown = max(target.vm_start - start, 0) >> shift
    cut = 0 if shrunk is None else (end - shrunk.vm_start) >> shift
    if mm.tree.adjust(target, start, end, target.vm_pgoff - grown, neighbour=shrunk,
                      removed=removed):
        return None
    target.anon_pgoff -= grown
    if shrunk is not None:
        shrunk.anon_pgoff += cut
    for vma in removed:
        unlink_file_vma(vma)
        unlink_anon_vmas(vma)  # anon_vma_merge()
    target.vm_flags |= flags
    vmg.merged = True
    return target


def sticky_flags(vmg, areas):
    """What a merged area has since one of them has it (VMA_STICKY_FLAGS)."""
    if not has_of(vmg.mm).vma_sticky:
        return 0
    flags = vmg.flags
    for vma in areas:
        flags |= vma.vm_flags
    return flags & VM_STICKY


def import_anon_vma(target, donor):
    """An area may map what another could (dup_anon_vma(); importer, exporter before)."""
    if donor.anon_vma is not None and target.anon_vma is None:
        target.anon_vma = donor.anon_vma
        anon_vma_clone(target, donor)


def vma_merge_new_range(vmg, just_expand=False):
    """A new range, where nothing is, becomes part of the areas around it
    (vma_merge_new_range(); vma_merge(), cases 1 to 3, before 6.12).

    `just_expand`: only of the one before (VMG_FLAG_JUST_EXPAND). Returns that area, or None.
    """
    if vmg.flags & VM_SPECIAL:
        return None
    left = can_vma_merge_left(vmg)
    right = not just_expand and can_vma_merge_right(vmg, left)
    if left and right and has_close(vmg.next):
        right = False
    return expand_over(vmg, left, right)


def vma_merge_own(vmg):
    """mmap_region()'s own way from 6.1 to 6.11: the next area first, then the one before, which
    must suit the next one's anon_vma; if it does not, it is left alone.
    """
    if vmg.flags & VM_SPECIAL:
        return None
    following, prev = vmg.next, vmg.prev
    right = (
        following is not None and following.vm_start == vmg.end and following.policy is None
        and can_vma_merge_before(vmg, following)
    )
    if right:
        vmg.anon_vma = following.anon_vma
        vmg.userfaultfd = following.userfaultfd
    left = (
        prev is not None and prev.vm_end == vmg.start and prev.policy is None
        and can_vma_merge_after(vmg, prev)
    )
    return expand_over(vmg, left, right)


def expand_over(vmg, left, right):
    """The areas around a new range grow over it (vma_expand()): that which grew, or None."""
    prev, following = vmg.prev, vmg.next
    if left and right:
        donor = vmg.copied_from if following.anon_vma is None else following
        return merge_into(vmg, prev, prev.vm_start, following.vm_end, donor, [following])
    if left:
        return merge_into(vmg, prev, prev.vm_start, vmg.end, vmg.copied_from, [])
    if right:
        return merge_into(vmg, following, vmg.start, following.vm_end, vmg.copied_from, [])
    return None


# ---- splitting


def vm_area_dup(vma):
    """A copy of an area, in no tree (vm_area_dup()): its anon_vma is named, not yet linked."""
    new = vm_area_struct(
        vma.vm_mm, vma.vm_start, vma.vm_end, vma.vm_flags, vma.vm_pgoff, vma.vm_file, vma.vm_name
    )
    new.anon_vma, new.anon_pgoff = vma.anon_vma, vma.anon_pgoff
    new.policy, new.userfaultfd, new.special = vma.policy, vma.userfaultfd, vma.special
    return new


def may_split(vma):
    """vm_ops->may_split(): 0, or -EINVAL for a special mapping."""
    return -EINVAL if vma.special and has_of(vma.vm_mm).special_no_split else 0


def __split_vma(vma, address, new_below):
    """An area becomes two that meet at an address inside it (__split_vma()).

    `new_below`: the new one is the lower. Returns 0, -EINVAL where it must stay whole, or -ENOMEM.
    """
    error = may_split(vma)
    if error:
        return error
    shift = vma.vm_mm.machine.page_shift
    new = vm_area_dup(vma)
    pages = (address - vma.vm_start) >> shift
    if new_below:
        new.vm_end = address
    else:
        new.vm_start = address
        new.vm_pgoff += pages
        new.anon_pgoff += pages
    anon_vma_clone(new, vma)
    tree = vma.vm_mm.tree
    if new_below:
        error = tree.adjust(vma, address, vma.vm_end, vma.vm_pgoff + pages, insert=new)
    else:
        error = tree.adjust(vma, vma.vm_start, address, vma.vm_pgoff, insert=new)
    if error:
        unlink_anon_vmas(new)
        return error
    if new_below:
        vma.anon_pgoff += pages
    link_file_vma(new)
    return 0


def split_vma(vma, address, new_below):
    """__split_vma() within max_map_count (split_vma()): 0, -ENOMEM or -EINVAL."""
    if vma.vm_mm.map_count >= commit_of(vma.vm_mm.machine).max_map_count:
        return -ENOMEM
    return __split_vma(vma, address, new_below)


def vma_modify(vmg):
    """A range of an area becomes an area that may change (vma_modify(); before 6.12 its callers
    did the same): merged with neighbours that are already so, else split off.

    Returns (the area, 0), or (None, -errno).
    """
    vma = vmg.middle
    merged = vma_merge_existing_range(vmg)
    if merged is not None:
        return merged, 0
    error = 0
    if vma.vm_start < vmg.start:
        error = split_vma(vma, vmg.start, True)
    if not error and vma.vm_end > vmg.end:
        error = split_vma(vma, vmg.end, False)
    return (None, error) if error else (vma, 0)


def reset_flags(vmg, vma, flags):
    """Sets the flags of what vma_modify() gave; sticky ones stay (vma_modify_flags())."""
    if vmg.merged and has_of(vmg.mm).vma_sticky:
        flags |= vma.vm_flags & VM_STICKY
    vma.vm_flags = flags


# ---- what files know of their areas


def link_file_vma(vma):
    """An area becomes one of its file's (__vma_link_file())."""
    if vma.vm_file is not None:
        vma.vm_file.i_mmap.append(vma)


def unlink_file_vma(vma):
    """An area is no more one of its file's (unlink_file_vma()); shared anonymous memory goes with
    the last.
    """
    file = vma.vm_file
    if file is not None and vma in file.i_mmap:
        file.i_mmap.remove(vma)
    if file is not None and file.promised and not file.i_mmap:
        commit_of(vma.vm_mm.machine).vm_unacct_memory(file.promised)
        file.promised = 0


def vma_link(vma):
    """A new area comes in (vma_link()): 0, or -ENOMEM: no memory for the tree."""
    error = vma.vm_mm.tree.link(vma)
    if error:
        return error
    link_file_vma(vma)
    return 0


def guard_flag(vma):
    """An area has guard pages from now on (VM_MAYBE_GUARD, where a release has it)."""
    if has_of(vma.vm_mm).vma_sticky:
        vma.vm_flags |= VM_MAYBE_GUARD


def visit_range(mm, vma, start, end, visit):
    """Calls `visit(vma, prev, first, last)` for each area's part of a range, from `vma` on, which
    has `start`; it returns (the area that has the part then, error). The loop of
    do_mprotect_pkey() and apply_vma_lock_flags().

    Returns 0, -ENOMEM at the first hole, or the first error; what was done before stays.
    """
    prev = vma if start > vma.vm_start else mm.tree.prev(vma)
    while True:
        last = min(vma.vm_end, end)
        prev, error = visit(vma, prev, start, last)
        if error:
            return error
        start = max(last, prev.vm_end)
        if start >= end:
            return 0
        vma = mm.tree.next(prev)
        if vma is None or vma.vm_start != start:
            return -ENOMEM

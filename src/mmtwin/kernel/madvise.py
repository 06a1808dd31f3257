"""madvise(): what a process says of its memory (mm/madvise.c)."""

from mmtwin.kernel import mmap_pages
from mmtwin.kernel.commit import has_of
from mmtwin.kernel.mm_types import GET_AREA_SHMEM
from mmtwin.kernel.mman import (
    EACCES,
    EAGAIN,
    EBADF,
    EINVAL,
    ENOMEM,
    EPERM,
    MADV_COLD,
    MADV_COLLAPSE,
    MADV_DODUMP,
    MADV_DOFORK,
    MADV_DONTDUMP,
    MADV_DONTFORK,
    MADV_DONTNEED,
    MADV_DONTNEED_LOCKED,
    MADV_FREE,
    MADV_GUARD_INSTALL,
    MADV_GUARD_REMOVE,
    MADV_HUGEPAGE,
    MADV_KEEPONFORK,
    MADV_MERGEABLE,
    MADV_NOHUGEPAGE,
    MADV_NORMAL,
    MADV_PAGEOUT,
    MADV_POPULATE_READ,
    MADV_POPULATE_WRITE,
    MADV_RANDOM,
    MADV_REMOVE,
    MADV_SEQUENTIAL,
    MADV_UNMERGEABLE,
    MADV_WILLNEED,
    MADV_WIPEONFORK,
    VM_DONTCOPY,
    VM_DONTDUMP,
    VM_DROPPABLE,
    VM_HUGEPAGE,
    VM_HUGETLB,
    VM_IO,
    VM_LOCKED,
    VM_MAYWRITE,
    VM_MERGEABLE,
    VM_NOHUGEPAGE,
    VM_PFNMAP,
    VM_RAND_READ,
    VM_SEALED,
    VM_SEQ_READ,
    VM_SHARED,
    VM_WIPEONFORK,
    VM_WRITE,
)
from mmtwin.kernel.vma import guard_flag, reset_flags, vma_modify, vmg_of_area
from mmtwin.kernel.vma_flags import (
    U64,
    VM_SPECIAL,
    is_shared,
    page_align,
    vma_is_anonymous,
)

# What each of these clears and sets.
FLAG_ADVICE = {
    MADV_NORMAL: (VM_RAND_READ | VM_SEQ_READ, 0),
    MADV_SEQUENTIAL: (VM_RAND_READ, VM_SEQ_READ),
    MADV_RANDOM: (VM_SEQ_READ, VM_RAND_READ),
    MADV_DONTFORK: (0, VM_DONTCOPY),
    MADV_DOFORK: (VM_DONTCOPY, 0),
    MADV_WIPEONFORK: (0, VM_WIPEONFORK),
    MADV_KEEPONFORK: (VM_WIPEONFORK, 0),
    MADV_DONTDUMP: (0, VM_DONTDUMP),
    MADV_DODUMP: (VM_DONTDUMP, 0),
    MADV_HUGEPAGE: (VM_NOHUGEPAGE, VM_HUGEPAGE),
    MADV_NOHUGEPAGE: (VM_HUGEPAGE, VM_NOHUGEPAGE),
    MADV_MERGEABLE: (0, VM_MERGEABLE),
    MADV_UNMERGEABLE: (VM_MERGEABLE, 0),
}
PAGE_ADVICE = (MADV_REMOVE, MADV_WILLNEED, MADV_COLD, MADV_PAGEOUT, MADV_FREE, MADV_DONTNEED)
DISCARDS = (
    MADV_FREE, MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_REMOVE, MADV_DONTFORK, MADV_WIPEONFORK,
    MADV_GUARD_INSTALL,
)


def madvise_behavior_valid(has, behavior):
    """Whether a kernel knows an advice (madvise_behavior_valid())."""
    if behavior in (MADV_MERGEABLE, MADV_UNMERGEABLE):
        return bool(has.madv_ksm)
    if behavior in (MADV_HUGEPAGE, MADV_NOHUGEPAGE):
        return bool(has.madv_thp)
    if behavior in (MADV_POPULATE_READ, MADV_POPULATE_WRITE):
        return bool(has.madv_populate)
    if behavior in (MADV_GUARD_INSTALL, MADV_GUARD_REMOVE):
        return bool(has.madv_guard)
    if behavior == MADV_DONTNEED_LOCKED:
        return bool(has.madv_dontneed_locked)
    if behavior == MADV_COLLAPSE:
        return bool(has.madv_collapse)
    return behavior in FLAG_ADVICE or behavior in PAGE_ADVICE


def do_madvise(mm, start, length, behavior):
    """madvise(): 0, or -errno.

    `mm`: an mm_struct; `start`, `length`: bytes; `behavior`: MADV_*. -ENOMEM: a part is not
    mapped; the others are done. -EINVAL, -EAGAIN, -EACCES, -EBADF, -EPERM end it where they arise.
    """
    page = 1 << mm.machine.page_shift
    if not madvise_behavior_valid(has_of(mm), behavior) or start & (page - 1):
        return -EINVAL
    size = page_align(mm, length & U64)
    if (length and not size) or start + size > U64:
        return -EINVAL
    if not size:
        return 0

    def visit(vma, prev, first, last):
        return madvise_vma_behavior(vma, prev, first, last, behavior)

    return madvise_walk_vmas(mm, start, start + size, visit)


def madvise_walk_vmas(mm, start, end, visit):
    """Calls `visit(vma, prev, start, end)` for the part of each area in a range; it returns (the
    area that has the part then, error) (madvise_walk_vmas()).
    """
    unmapped = 0
    vma, prev = mm.tree.find_vma_prev(start)
    if vma is not None and start > vma.vm_start:
        prev = vma
    while True:
        if vma is None:
            return -ENOMEM
        if start < vma.vm_start:
            unmapped = -ENOMEM
            start = vma.vm_start
            if start >= end:
                return unmapped
        last = min(vma.vm_end, end)
        prev, error = visit(vma, prev, start, last)
        if error:
            return error
        start = max(last, prev.vm_end)
        if start >= end:
            return unmapped
        vma = mm.tree.next(prev)


def madvise_vma_behavior(vma, prev, start, end, behavior):
    """One area's part: (the area that has it now, 0), or (None, -errno)."""
    if not can_madvise_modify(vma, behavior):
        return None, -EPERM
    if behavior in FLAG_ADVICE:
        flags = advised_flags(vma, behavior)
        if flags < 0:
            return None, flags
        return madvise_update_vma(vma, prev, start, end, flags)
    if behavior == MADV_REMOVE:
        error = madvise_remove(vma, start, end)
    elif behavior in (MADV_FREE, MADV_DONTNEED, MADV_DONTNEED_LOCKED):
        error = madvise_dontneed_free(vma, start, end, behavior)
    elif behavior in (MADV_POPULATE_READ, MADV_POPULATE_WRITE):
        error = mmap_pages.madvise_populate(vma, start, end, behavior == MADV_POPULATE_WRITE)
    elif behavior == MADV_GUARD_INSTALL:
        error = madvise_guard_install(vma, start, end)
    elif behavior == MADV_GUARD_REMOVE:
        error = madvise_guard_remove(vma, start, end)
    elif behavior in (MADV_COLD, MADV_PAGEOUT):
        error = madvise_cold(vma, start, end)
    elif behavior == MADV_COLLAPSE:
        error = mmap_pages.collapse(vma, start, end)
    else:  # MADV_WILLNEED: nothing to read ahead
        error = 0
    return vma, error


def can_madvise_modify(vma, behavior):
    """Whether a sealed area may lose its pages (can_madvise_modify(), can_modify_vma_madv())."""
    if not vma.vm_flags & VM_SEALED or behavior not in DISCARDS or not vma_is_anonymous(vma):
        return True
    return bool(vma.vm_flags & VM_WRITE)


def advised_flags(vma, behavior):
    """The area's flags as advised, or -EINVAL."""
    flags, late = vma.vm_flags, has_of(vma.vm_mm).madv_dofork_special
    if behavior == MADV_DOFORK and flags & (VM_SPECIAL if late else VM_IO):
        return -EINVAL
    if behavior == MADV_WIPEONFORK and (vma.vm_file is not None or flags & VM_SHARED):
        return -EINVAL
    if behavior == MADV_DODUMP and flags & VM_SPECIAL:
        return -EINVAL
    if behavior in (MADV_DODUMP, MADV_KEEPONFORK) and flags & VM_DROPPABLE:
        return -EINVAL
    if behavior == MADV_MERGEABLE and (flags & VM_SPECIAL or is_shared(flags)):
        return flags  # ksm_madvise() ignores it
    clear, give = FLAG_ADVICE[behavior]
    return flags & ~clear | give


def madvise_update_vma(vma, prev, start, end, flags, name=None, naming=False):
    """Other flags, or another name, for a range of one area (madvise_update_vma())."""
    if flags == vma.vm_flags and (not naming or vma.vm_name == name):
        return vma, 0
    vmg = vmg_of_area(vma, prev, start, end)
    vmg.flags = flags
    if naming:
        vmg.name = name
    changed, error = vma_modify(vmg)
    if error:
        return None, -EAGAIN if error == -ENOMEM else error
    reset_flags(vmg, changed, flags)
    if naming:
        changed.vm_name = name
    return changed, 0


def madvise_dontneed_free(vma, start, end, behavior):
    """MADV_DONTNEED, MADV_FREE: 0 or -EINVAL (madvise_dontneed_free())."""
    forbidden = VM_PFNMAP | VM_HUGETLB
    if behavior != MADV_DONTNEED_LOCKED:
        forbidden |= VM_LOCKED
    if vma.vm_flags & forbidden:
        return -EINVAL
    if behavior != MADV_FREE:
        mmap_pages.zap_page_range(vma, start, end)
    elif not vma_is_anonymous(vma):
        return -EINVAL
    else:
        mmap_pages.madvise_free_range(vma, start, end)
    return 0


def madvise_remove(vma, start, end):
    """MADV_REMOVE: a hole is punched into the file: 0, -EINVAL or -EACCES."""
    if vma.vm_flags & VM_LOCKED or vma.vm_file is None:
        return -EINVAL
    wanted = VM_SHARED | (VM_MAYWRITE if has_of(vma.vm_mm).madv_remove_may else VM_WRITE)
    if vma.vm_flags & wanted != wanted:
        return -EACCES
    mmap_pages.remove_range(vma, start, end)
    return 0


def is_valid_guard_vma(vma, allow_locked):
    """Whether an area may have guard pages (is_valid_guard_vma())."""
    disallowed = VM_SPECIAL | VM_HUGETLB
    if not allow_locked:
        disallowed |= VM_LOCKED
    if vma.vm_flags & disallowed:
        return False
    if has_of(vma.vm_mm).madv_guard > 1:
        return True
    return vma_is_anonymous(vma) and bool(vma.vm_flags & VM_MAYWRITE)


def madvise_guard_install(vma, start, end):
    """MADV_GUARD_INSTALL: an access is a SIGSEGV from now on: 0, or -errno."""
    if not is_valid_guard_vma(vma, False):
        return -EINVAL
    guard_flag(vma)
    if vma_is_anonymous(vma):
        error = mmap_pages.prepare_anon(vma)
        if error:
            return error
    return mmap_pages.install_guards(vma, start, end)


def madvise_guard_remove(vma, start, end):
    """MADV_GUARD_REMOVE: guards of the range go, nothing else: 0 or -EINVAL."""
    if not is_valid_guard_vma(vma, True):
        return -EINVAL
    mmap_pages.remove_guards(vma, start, end)
    return 0


def madvise_cold(vma, start, end):
    """MADV_COLD, MADV_PAGEOUT: 0 or -EINVAL. Both make pages inactive and old; the twin reclaims
    nothing, so what MADV_PAGEOUT would write out or drop stays.
    """
    if vma.vm_flags & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB):
        return -EINVAL
    mmap_pages.cold(vma, start, end)
    return 0


def set_anon_vma_name(mm, start, length, name):
    """prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME): names anonymous areas; None: no name.

    `name`: what is printed as [anon:name]. Returns 0, -EINVAL, -EBADF (a file), -ENOMEM.
    """
    page = 1 << mm.machine.page_shift
    if not has_of(mm).vma_anon_name or start & (page - 1):
        return -EINVAL
    size = page_align(mm, length)
    if (length and not size) or start + size > U64:
        return -EINVAL
    if not size:
        return 0

    def visit(vma, prev, first, last):
        shared = vma.vm_file is not None and vma.vm_file.get_area == GET_AREA_SHMEM
        if vma.vm_file is not None and not (shared and has_of(mm).vma_close_merges):
            return None, -EBADF
        return madvise_update_vma(vma, prev, first, last, vma.vm_flags, name, True)

    return madvise_walk_vmas(mm, start, start + size, visit)

"""mprotect(): other rights for a range (mm/mprotect.c). Protection keys are left out."""

from mmtwin.kernel.commit import commit_of, has_of
from mmtwin.kernel.mman import (
    EACCES,
    EINVAL,
    ENOMEM,
    EPERM,
    PROT_EXEC,
    PROT_GROWSDOWN,
    PROT_GROWSUP,
    PROT_READ,
    PROT_SEM,
    PROT_WRITE,
    VM_ACCOUNT,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_HUGETLB,
    VM_LOCKED,
    VM_NORESERVE,
    VM_READ,
    VM_SEALED,
    VM_SHARED,
    VM_WRITE,
)
from mmtwin.kernel.mmap import may_expand_vm
from mmtwin.kernel.mmap_pages import change_protection, populate_vma_page_range
from mmtwin.kernel.vma import reset_flags, visit_range, vma_modify, vmg_of_area
from mmtwin.kernel.vma_flags import (
    U64,
    VM_ACCESS_FLAGS,
    page_align,
    vm_stat_account,
    vma_is_anonymous,
)

MAY_SHIFT = 4  # VM_MAYREAD is VM_READ << 4, and so on
NOT_CHARGED = VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE


def do_mprotect(mm, start, length, prot):
    """Changes what may be done with a range (mprotect(); do_mprotect_pkey()).

    `mm`: an mm_struct; `start`, `length`: bytes; `prot`: PROT_*. Returns 0, or -EINVAL, -ENOMEM (a
    part is not mapped; a limit), -EACCES (the file does not allow it), -EPERM (sealed). What was
    done before an error stays.
    """
    start &= U64
    page = 1 << mm.machine.page_shift
    grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP)
    prot &= ~(PROT_GROWSDOWN | PROT_GROWSUP)
    if grows == PROT_GROWSDOWN | PROT_GROWSUP or start & (page - 1):
        return -EINVAL
    if not length:
        return 0
    end = (start + page_align(mm, length)) & U64
    if end <= start:
        return -ENOMEM
    if prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM):
        return -EINVAL  # arch_validate_prot()
    vma = mm.tree.find_vma(start)
    if vma is None:
        return -ENOMEM
    if grows & PROT_GROWSDOWN:
        if vma.vm_start >= end:
            return -ENOMEM
        start = vma.vm_start
        if not vma.vm_flags & VM_GROWSDOWN:
            return -EINVAL
    elif vma.vm_start > start:
        return -ENOMEM
    elif grows & PROT_GROWSUP:
        return -EINVAL  # no area has VM_GROWSUP here
    return protect_range(mm, vma, start, end, prot)


def protect_range(mm, vma, start, end, prot):
    """Area by area, from `vma`, which has `start`."""
    wanted = (
        (VM_READ if prot & PROT_READ else 0) | (VM_WRITE if prot & PROT_WRITE else 0)
        | (VM_EXEC if prot & PROT_EXEC else 0)
    )

    def visit(area, prev, first, last):
        flags = area.vm_flags & ~VM_ACCESS_FLAGS | wanted
        if flags & ~(flags >> MAY_SHIFT) & VM_ACCESS_FLAGS:
            return None, -EACCES
        return mprotect_fixup(area, prev, first, last, flags)

    return visit_range(mm, vma, start, end, visit)


def mprotect_fixup(vma, prev, start, end, flags):
    """Gives a range of one area other flags (mprotect_fixup()).

    `prev`: the area before it, or itself if the range begins inside. Returns (the area that has
    the range now, 0), or (None, -errno).
    """
    mm, old = vma.vm_mm, vma.vm_flags
    commit, has = commit_of(mm.machine), has_of(mm)
    pages = (end - start) >> mm.machine.page_shift
    if old & VM_SEALED:
        return None, -EPERM
    if flags == old:
        return vma, 0
    charged = 0
    if flags & VM_WRITE:
        if not may_expand_vm(mm, flags, pages) and may_expand_vm(mm, old, pages):
            return None, -ENOMEM
        if not old & NOT_CHARGED:
            charged = pages
            if commit.vm_enough_memory(mm, charged):
                return None, -ENOMEM
            flags |= VM_ACCOUNT
    elif (
        has.mprotect_unaccounts and old & VM_ACCOUNT
        and vma_is_anonymous(vma) and vma.anon_vma is None
    ):
        flags &= ~VM_ACCOUNT
    vmg = vmg_of_area(vma, prev, start, end)
    vmg.flags = flags
    vma, error = vma_modify(vmg)
    if error:
        commit.vm_unacct_memory(charged)
        return None, error
    reset_flags(vmg, vma, flags)
    change_protection(vma, start, end)
    if old & VM_ACCOUNT and not flags & VM_ACCOUNT:
        commit.vm_unacct_memory(pages)
    if old & (VM_WRITE | VM_SHARED | VM_LOCKED) == VM_LOCKED and flags & VM_WRITE:
        populate_vma_page_range(vma, start, end)
    vm_stat_account(mm, old, -pages)
    vm_stat_account(mm, flags, pages)
    return vma, 0

"""Stacks grow, and areas that the kernel itself maps (mm/mmap.c, mm/vma.c)."""

from mmtwin.kernel.commit import commit_of, has_of
from mmtwin.kernel.mm_types import vm_area_struct
from mmtwin.kernel.mman import (
    EFAULT,
    ENOMEM,
    EPERM,
    RLIMIT_STACK,
    VM_ACCOUNT,
    VM_DONTEXPAND,
    VM_GROWSDOWN,
    VM_LOCKED,
    VM_SOFTDIRTY,
)
from mmtwin.kernel.mmap import may_expand_vm, mlock_future_ok
from mmtwin.kernel.mmap_pages import prepare_anon
from mmtwin.kernel.vma import vma_link
from mmtwin.kernel.vma_flags import (
    VM_ACCESS_FLAGS,
    VM_LOCKED_MASK,
    vm_stat_account,
    vma_is_anonymous,
    vma_pages,
)


def expand_stack(mm, address):
    """The area of an address, after a stack above it grew down to it (expand_stack(),
    find_extend_vma()).

    `mm`: an mm_struct; `address`: any. Returns the vm_area_struct, or None: nothing may grow.
    """
    vma = mm.tree.find_vma(address)
    if vma is None or vma.vm_start <= address:
        return vma
    return None if expand_downwards(vma, address) else vma


def expand_downwards(vma, address):
    """A stack grows down to the page of an address (expand_downwards()).

    Returns 0; -EFAULT: it is none; -EPERM: below vm.mmap_min_addr; -ENOMEM: too close to another
    area (stack_guard_gap), or a limit.
    """
    mm = vma.vm_mm
    commit, shift = commit_of(mm.machine), mm.machine.page_shift
    if not vma.vm_flags & VM_GROWSDOWN:
        return -EFAULT
    address = address >> shift << shift
    if address < commit.mmap_min_addr:
        return -EPERM
    prev = mm.tree.prev(vma)
    if (
        prev is not None and not prev.vm_flags & VM_GROWSDOWN
        and prev.vm_flags & VM_ACCESS_FLAGS
        and address - prev.vm_end < commit.stack_guard_gap
    ):
        return -ENOMEM
    if mm.tree.preallocate(address, vma.vm_end, vma):
        return -ENOMEM
    grow = (vma.vm_start - address) >> shift  # 0 or less: another thread's fault did it
    error = -ENOMEM
    if not prepare_anon(vma) and grow <= vma.vm_pgoff:
        error = acct_stack_growth(vma, vma.vm_end - address, grow) if grow > 0 else 0
    if error or grow <= 0:
        mm.tree.give_back()
        return error
    if vma.vm_flags & VM_LOCKED:
        mm.locked_vm += grow
    vm_stat_account(mm, vma.vm_flags, grow)
    vma.anon_pgoff -= grow
    mm.tree.adjust(vma, address, vma.vm_end, vma.vm_pgoff - grow)
    return 0


def acct_stack_growth(vma, size, grow):
    """Whether the limits let a stack have `size` bytes, `grow` pages more (acct_stack_growth()):
    0, or -ENOMEM. The memory is promised.
    """
    mm = vma.vm_mm
    if not may_expand_vm(mm, vma.vm_flags, grow):
        return -ENOMEM
    if size > mm.rlimits[RLIMIT_STACK]:
        return -ENOMEM
    if not mlock_future_ok(mm, vma.vm_flags, grow << mm.machine.page_shift):
        return -ENOMEM
    return commit_of(mm.machine).vm_enough_memory(mm, grow)


def insert_vm_struct(mm, vma):
    """An area that the kernel made comes in (insert_vm_struct()): 0, or -ENOMEM: something is
    there, or there is too little memory to promise.
    """
    commit = commit_of(mm.machine)
    if mm.tree.find_vma_intersection(vma.vm_start, vma.vm_end) is not None:
        return -ENOMEM
    if vma.vm_flags & VM_ACCOUNT and commit.vm_enough_memory(mm, vma_pages(vma)):
        return -ENOMEM
    shift = mm.machine.page_shift
    if vma_is_anonymous(vma):
        vma.vm_pgoff = vma.vm_start >> shift
    vma.anon_pgoff = vma.vm_start >> shift
    error = vma_link(vma)
    if error and vma.vm_flags & VM_ACCOUNT:
        commit.vm_unacct_memory(vma_pages(vma))
    return error


def install_special_mapping(mm, addr, length, flags, name):
    """Maps pages of the kernel's own, as the vdso (_install_special_mapping()).

    `flags`: VM_*; `name`: what maps shows, "[vdso]". Returns the vm_area_struct, or -ENOMEM.
    """
    flags |= mm.def_flags | VM_DONTEXPAND
    if has_of(mm).soft_dirty:
        flags |= VM_SOFTDIRTY
    if has_of(mm).special_no_lock:
        flags &= ~VM_LOCKED_MASK
    vma = vm_area_struct(mm, addr, addr + length, flags, 0, None, name)
    vma.special = 1
    if insert_vm_struct(mm, vma):
        return -ENOMEM
    vm_stat_account(mm, flags, vma_pages(vma))
    return vma

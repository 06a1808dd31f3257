"""What an area is by its flags (include/linux/mm.h, mm/internal.h); lengths in whole pages."""

from mmtwin.kernel.commit import commit_of
from mmtwin.kernel.mman import (
    VM_DENYWRITE,
    VM_DONTEXPAND,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_IO,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_MIXEDMAP,
    VM_NORESERVE,
    VM_PFNMAP,
    VM_READ,
    VM_SHADOW_STACK,
    VM_SHARED,
    VM_SOFTDIRTY,
    VM_WRITE,
)

U64 = (1 << 64) - 1
VM_ACCESS_FLAGS = VM_READ | VM_WRITE | VM_EXEC
VM_LOCKED_MASK = VM_LOCKED | VM_LOCKONFAULT
VM_SPECIAL = VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP
VM_MAYBE_GUARD = VM_DENYWRITE  # since 6.19, long after the other: the same bit
# VMA_STICKY_FLAGS: an area that merged with one that has them has them too.
VM_STICKY = VM_SOFTDIRTY | VM_MAYBE_GUARD
VM_DATA_DEFAULT_FLAGS = VM_READ | VM_WRITE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
NO_MERGE_FLAGS = VM_SOFTDIRTY  # what areas may differ in and merge


def page_align(mm, length):
    """PAGE_ALIGN(): `length` bytes up to whole pages, as an unsigned long (it may wrap to 0)."""
    mask = (1 << mm.machine.page_shift) - 1
    return (length + mask) & ~mask & U64


def vma_pages(vma):
    """How many pages an area has (vma_pages())."""
    return (vma.vm_end - vma.vm_start) >> vma.vm_mm.machine.page_shift


def vm_start_gap(vma):
    """Where others must end: below the gap that guards a stack (vm_start_gap())."""
    machine, gap = vma.vm_mm.machine, 0
    if vma.vm_flags & VM_GROWSDOWN:
        gap = commit_of(machine).stack_guard_gap
    elif vma.vm_flags & VM_SHADOW_STACK:
        gap = 1 << machine.page_shift
    return max(vma.vm_start - gap, 0)


def vma_is_anonymous(vma):
    """Whether an area has no vm_ops: neither a file, other than /dev/zero, nor a special mapping
    (vma_is_anonymous()).
    """
    return bool(vma.no_ops) and not vma.special


def is_exec_mapping(flags):
    """Code: counted as exec_vm (is_exec_mapping())."""
    return flags & (VM_EXEC | VM_WRITE | VM_GROWSDOWN) == VM_EXEC


def is_stack_mapping(flags):
    """A stack: counted as stack_vm (is_stack_mapping())."""
    return bool(flags & (VM_GROWSDOWN | VM_SHADOW_STACK))


def is_data_mapping(flags):
    """Private and writable: counted as data_vm, limited by RLIMIT_DATA (is_data_mapping())."""
    return flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN) == VM_WRITE


def accountable_mapping(flags):
    """Whether memory is promised to such an area (accountable_mapping())."""
    return flags & (VM_NORESERVE | VM_SHARED | VM_WRITE) == VM_WRITE


def is_cow_mapping(flags):
    """Whether writes give private copies (is_cow_mapping())."""
    return flags & (VM_SHARED | VM_MAYWRITE) == VM_MAYWRITE


def vma_supports_mlock(vma, droppable):
    """Whether VM_LOCKED means anything to an area (vma_supports_mlock()); `droppable`: VM_* bits
    that also say no.
    """
    return not vma.vm_flags & (VM_SPECIAL | droppable)


def is_shared(flags):
    """VM_SHARED or VM_MAYSHARE."""
    return bool(flags & (VM_SHARED | VM_MAYSHARE))


def vm_stat_account(mm, flags, pages):
    """Counts `pages` more (or fewer, below zero) of an area with `flags` (vm_stat_account())."""
    mm.total_vm += pages
    if is_exec_mapping(flags):
        mm.exec_vm += pages
    elif is_stack_mapping(flags):
        mm.stack_vm += pages
    elif is_data_mapping(flags):
        mm.data_vm += pages

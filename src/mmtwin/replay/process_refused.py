"""Calls that the kernel refused for what no event tells: a limit that prlimit64() set from memory,
a file opened for reading only, a directory. What the twin's own rules refuse is compared as every
other call; else the refusal is taken over, and counted by its own name.
"""

from collections.abc import Callable
from typing import Any

from mmtwin.kernel.commit import OVERCOMMIT_ALWAYS, commit_of
from mmtwin.kernel.mm_types import FMODE_READ, FMODE_WRITE, File
from mmtwin.kernel.mman import (
    EACCES,
    ENODEV,
    ENOMEM,
    MAP_SHARED,
    MAP_TYPE,
    PROT_WRITE,
    RLIM_INFINITY,
    RLIMIT_AS,
    RLIMIT_DATA,
    VM_MAYWRITE,
    VM_WRITE,
)
from mmtwin.kernel.mmap import calc_vm_flags, may_expand_vm
from mmtwin.kernel.vma_flags import page_align
from mmtwin.replay.processes import Process

LIMIT = "calls refused by a limit whose value no event tells"
MODE = "mappings refused by how a file was opened, which no event tells"
LIMITED = ("mmap", "mremap", "mprotect", "brk")


def grown_pages(mm: Any, name: str, args: tuple[int, ...]) -> int:
    """How many pages an address space is to get by a call."""
    shift = mm.machine.page_shift
    if name == "mmap":
        return int(page_align(mm, args[1])) >> shift
    if name == "mremap":
        return (int(page_align(mm, args[2])) - int(page_align(mm, args[1]))) >> shift
    if name == "brk":
        return (int(page_align(mm, args[0])) - int(page_align(mm, mm.brk))) >> shift
    return 0


def refuses(mm: Any, name: str, args: tuple[int, ...]) -> bool:
    """Whether the twin's own rules have a reason for ENOMEM: what mmap, mremap and brk ask before
    they do anything.
    """
    commit, pages = commit_of(mm.machine), grown_pages(mm, name, args)
    if name == "mprotect":
        return commit.overcommit_memory != OVERCOMMIT_ALWAYS and not covered(mm, *args[:2])
    flags = calc_vm_flags(mm, args[2], args[3]) if name == "mmap" else VM_WRITE
    if not may_expand_vm(mm, flags, pages) or mm.map_count >= commit.max_map_count:
        return True
    if name == "brk":
        start = int(page_align(mm, mm.brk))
        page = 1 << mm.machine.page_shift
        if mm.tree.find_vma_intersection(start, int(page_align(mm, args[0])) + page) is not None:
            return True
    if pages << mm.machine.page_shift > mm.task_size:
        return True
    promised = commit.vm_enough_memory(mm, pages)
    if not promised:
        commit.vm_unacct_memory(pages)
    return bool(promised)


def covered(mm: Any, start: int, length: int) -> bool:
    """Whether areas without a hole lie in a range."""
    end = start + int(page_align(mm, length))
    while start < end:
        vma = mm.tree.vma_lookup(start)
        if vma is None:
            return False
        start = vma.vm_end
    return True


def hidden_limit(process: Process, name: str, args: tuple[int, ...], result: int) -> bool:
    """Whether only a limit that is not known explains that the kernel refused a call."""
    mm = process.mm
    if name == "brk":
        refused = result == mm.brk < args[0]
        limit = result - mm.start_brk + mm.end_data - mm.start_data
        if mm.rlimits[RLIMIT_DATA] <= limit:
            return False  # the twin refuses it as well
    else:
        refused = name in LIMITED and result == -ENOMEM
    return refused and not refuses(mm, name, args)


def with_limit(mm: Any, name: str, call: Callable[[], int]) -> int:
    """A call while the address space may not grow: by RLIMIT_DATA, and but for mprotect(), which
    makes nothing larger, by RLIMIT_AS.
    """
    before, shift = dict(mm.rlimits), mm.machine.page_shift
    mm.rlimits[RLIMIT_AS] = RLIM_INFINITY if name == "mprotect" else mm.total_vm << shift
    mm.rlimits[RLIMIT_DATA] = max(1, mm.data_vm) << shift
    try:
        return call()
    finally:
        mm.rlimits.update(before)


def opened_so(
    mm: Any, name: str, args: tuple[int, ...], result: int, file: File | None, mode: int | None
) -> bool:
    """Takes over what an error says of a file whose mode is not known (`mode`: FMODE_*, None):
    whether there was anything.
    """
    if name == "mmap" and file is not None:
        file.f_mode = FMODE_READ | FMODE_WRITE if mode is None else mode
        file.can_mmap = result != -ENODEV
        if result == -EACCES and mode is None:
            shared = args[3] & MAP_TYPE == MAP_SHARED and args[2] & PROT_WRITE
            file.f_mode = FMODE_READ if shared else FMODE_WRITE
        return result == -ENODEV or (result == -EACCES and mode is None)
    if name != "mprotect" or result != -EACCES or not args[2] & PROT_WRITE:
        return False
    vma = mm.tree.find_vma(args[0])
    if vma is None or vma.vm_file is None or not vma.vm_flags & VM_MAYWRITE:
        return False
    vma.vm_flags &= ~VM_MAYWRITE
    return True

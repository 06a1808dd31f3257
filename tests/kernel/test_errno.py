"""Every errno of the calls about address spaces, one row each, with where the kernel gives it.

The order of a function's checks counts: some rows break two rules at once.
"""

from collections.abc import Callable
from errno import (
    EACCES,
    EAGAIN,
    EBADF,
    EEXIST,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
)

import pytest

from mmtwin.kernel.brk import sys_brk
from mmtwin.kernel.expand_stack import install_special_mapping
from mmtwin.kernel.madvise import do_madvise, set_anon_vma_name
from mmtwin.kernel.mlock import do_mlock, do_munlock, mlockall
from mmtwin.kernel.mm_types import FMODE_READ, FMODE_WRITE, mm_struct
from mmtwin.kernel.mman import (
    MADV_DODUMP,
    MADV_DONTNEED,
    MADV_FREE,
    MADV_KEEPONFORK,
    MADV_RANDOM,
    MADV_REMOVE,
    MADV_WIPEONFORK,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_HUGETLB,
    MAP_LOCKED,
    RLIMIT_AS,
    RLIMIT_DATA,
    RLIMIT_MEMLOCK,
)
from mmtwin.kernel.mmap import remap_file_pages, sys_mmap
from mmtwin.kernel.mprotect import do_mprotect
from mmtwin.kernel.mremap import do_mremap
from mmtwin.kernel.munmap import sys_munmap
from tests.kernel.area_machine import (
    ANON,
    FIXED,
    MEMORY,
    PAGE,
    PRIVATE,
    SHARED,
    TASK_SIZE,
    VERSIONS,
    R,
    W,
    X,
    anon,
    commit,
    file,
    space,
)

AT = 0x10000000  # four pages are mapped there, private and writable
FREE = 0x20000000  # nothing is
CODE = 0x30000000  # two pages of a file that is open for reading, shared
SPECIAL = 0x40000000  # a special mapping of a page
LAST = (1 << 64) - PAGE
MAYMOVE, MOVE = 1, 3
Call = Callable[[mm_struct], int]


def limited(member: int, pages: int, call: Call) -> Call:
    """The call under a limit, in pages above what is mapped now where that counts."""

    def run(mm: mm_struct) -> int:
        now = {RLIMIT_AS: mm.total_vm, RLIMIT_DATA: mm.data_vm}.get(member, mm.locked_vm)
        mm.rlimits[member] = (now + pages) * PAGE
        return call(mm)

    return run


def at_most(areas: int, call: Call) -> Call:
    """The call where so many areas more than there are may be."""

    def run(mm: mm_struct) -> int:
        commit(mm).max_map_count = mm.map_count + areas
        return call(mm)

    return run


def of(mode: int, flags: int, prot: int, **attributes: int) -> Call:
    """mmap() of a page of a file that was opened so."""
    return lambda mm: int(sys_mmap(
        mm, file(f_mode=mode, **attributes), 0, PAGE, prot, flags, 0))  # fmt: skip


def mapped(mm: mm_struct, addr: int, length: int, flags: int, prot: int = R | W) -> int:
    """mmap() of anonymous memory."""
    return int(sys_mmap(mm, None, addr, length, prot, flags | ANON, 0))


BOTH = FMODE_READ | FMODE_WRITE
ROWS: list[tuple[int, str, Call]] = [
    # ---- mmap(): ksys_mmap_pgoff(), do_mmap(), get_unmapped_area(), mmap_region() of mm/mmap.c
    (EINVAL, "arch/x86 mmap: offset & ~PAGE_MASK",
     lambda mm: sys_mmap(mm, file(), 0, PAGE, R, PRIVATE, 1)),
    (EBADF, "ksys_mmap_pgoff: fget()", lambda mm: sys_mmap(mm, None, 0, PAGE, R, PRIVATE, 0)),
    (EINVAL, "ksys_mmap_pgoff: MAP_HUGETLB of another file",
     lambda mm: sys_mmap(mm, file(), 0, PAGE, R, PRIVATE | MAP_HUGETLB, 0)),
    (EINVAL, "ksys_mmap_pgoff: hstate_sizelog()",
     lambda mm: mapped(mm, 0, PAGE, PRIVATE | MAP_HUGETLB | 5 << 26)),
    (ENOMEM, "hugetlb_reserve_pages: an empty pool",
     lambda mm: mapped(mm, 0, PAGE, PRIVATE | MAP_HUGETLB)),
    (EINVAL, "do_mmap: no length", lambda mm: mapped(mm, 0, 0, PRIVATE)),
    (ENOMEM, "do_mmap: PAGE_ALIGN() wraps", lambda mm: mapped(mm, 0, (1 << 64) - 1, PRIVATE)),
    (ENOMEM, "do_mmap: map_count > max_map_count",
     at_most(-1, lambda mm: mapped(mm, 0, PAGE, PRIVATE))),
    (ENOMEM, "__get_unmapped_area: len > TASK_SIZE",
     lambda mm: mapped(mm, 0, TASK_SIZE + PAGE, PRIVATE)),
    (EINVAL, "__get_unmapped_area: offset_in_page(addr)",
     lambda mm: mapped(mm, FREE + 1, PAGE, PRIVATE | FIXED)),
    (ENOMEM, "__get_unmapped_area: addr > TASK_SIZE - len",
     lambda mm: mapped(mm, TASK_SIZE, PAGE, PRIVATE | FIXED)),
    (EPERM, "cap_mmap_addr: addr < mmap_min_addr",
     lambda mm: mapped(mm, 0, PAGE, PRIVATE | FIXED)),
    (EEXIST, "do_mmap: MAP_FIXED_NOREPLACE",
     lambda mm: mapped(mm, AT, PAGE, PRIVATE | MAP_FIXED_NOREPLACE)),
    (EPERM, "do_mmap: can_do_mlock()",
     limited(RLIMIT_MEMLOCK, 0, lambda mm: mapped(mm, 0, PAGE, PRIVATE | MAP_LOCKED))),
    (EAGAIN, "do_mmap: mlock_future_check()",
     limited(RLIMIT_MEMLOCK, 1, lambda mm: mapped(mm, 0, 2 * PAGE, PRIVATE | MAP_LOCKED))),
    (EINVAL, "do_mmap: neither MAP_SHARED nor MAP_PRIVATE", lambda mm: mapped(mm, 0, PAGE, 0)),
    (EINVAL, "do_mmap: shared and VM_GROWSDOWN",
     lambda mm: mapped(mm, 0, PAGE, SHARED | MAP_GROWSDOWN)),
    (EINVAL, "do_mmap: a file and VM_GROWSDOWN", of(BOTH, PRIVATE | MAP_GROWSDOWN, R)),
    (EOPNOTSUPP, "do_mmap: MAP_SHARED_VALIDATE and a flag that is none", of(BOTH, 3 | 1 << 24, R)),
    (EOVERFLOW, "file_mmap_ok",
     lambda mm: sys_mmap(mm, file(), 0, PAGE, R, PRIVATE, (1 << 63) - PAGE)),
    (EACCES, "do_mmap: shared, to be written, not open so", of(FMODE_READ, SHARED, R | W)),
    (EACCES, "do_mmap: IS_APPEND()", of(BOTH, SHARED, R, append=1)),
    (EACCES, "do_mmap: not open for reading", of(FMODE_WRITE, PRIVATE, R)),
    (EPERM, "do_mmap: path_noexec()", of(BOTH, PRIVATE, R | X, noexec=1)),
    (ENODEV, "do_mmap: no f_op->mmap", of(BOTH, PRIVATE, R, can_mmap=0)),
    (ENOMEM, "mmap_region: may_expand_vm(), RLIMIT_AS",
     limited(RLIMIT_AS, 1, lambda mm: mapped(mm, 0, 2 * PAGE, PRIVATE))),
    (ENOMEM, "mmap_region: may_expand_vm(), RLIMIT_DATA",
     limited(RLIMIT_DATA, 1, lambda mm: mapped(mm, 0, 2 * PAGE, PRIVATE))),
    (ENOMEM, "__vm_enough_memory", lambda mm: mapped(mm, 0, (MEMORY + 1) * PAGE, PRIVATE)),
    (EINVAL, "remap_file_pages: not shared", lambda mm: remap_file_pages(mm, AT, PAGE, 0, 0, 0)),
    (EINVAL, "remap_file_pages: prot", lambda mm: remap_file_pages(mm, CODE, PAGE, R, 0, 0)),
    # ---- munmap(): __do_munmap(), __split_vma()
    (EINVAL, "__do_munmap: offset_in_page(start)", lambda mm: sys_munmap(mm, AT + 1, PAGE)),
    (EINVAL, "__do_munmap: no length", lambda mm: sys_munmap(mm, AT, 0)),
    (EINVAL, "__do_munmap: len > TASK_SIZE - start",
     lambda mm: sys_munmap(mm, AT, TASK_SIZE - AT + PAGE)),
    (ENOMEM, "__do_munmap: a hole, and max_map_count",
     at_most(0, lambda mm: sys_munmap(mm, AT + PAGE, PAGE))),
    # ---- mprotect(): do_mprotect_pkey(), mprotect_fixup()
    (EINVAL, "do_mprotect_pkey: start & ~PAGE_MASK", lambda mm: do_mprotect(mm, AT + 1, PAGE, R)),
    (EINVAL, "do_mprotect_pkey: both PROT_GROWS",
     lambda mm: do_mprotect(mm, AT, PAGE, R | 3 << 24)),
    (ENOMEM, "do_mprotect_pkey: end <= start", lambda mm: do_mprotect(mm, AT, LAST, R)),
    (EINVAL, "do_mprotect_pkey: arch_validate_prot()",
     lambda mm: do_mprotect(mm, AT, PAGE, 1 << 10)),
    (ENOMEM, "do_mprotect_pkey: nothing there", lambda mm: do_mprotect(mm, FREE, PAGE, R)),
    (ENOMEM, "do_mprotect_pkey: a gap behind", lambda mm: do_mprotect(mm, AT, 5 * PAGE, R)),
    (EINVAL, "do_mprotect_pkey: PROT_GROWSDOWN of no stack",
     lambda mm: do_mprotect(mm, AT, PAGE, R | 1 << 24)),
    (EACCES, "do_mprotect_pkey: VM_MAYWRITE", lambda mm: do_mprotect(mm, CODE, PAGE, R | W)),
    (ENOMEM, "split_vma: max_map_count",
     at_most(0, lambda mm: do_mprotect(mm, AT + PAGE, PAGE, R))),
    # ---- mremap(): vma_to_resize(), mremap_to(), mm/mremap.c
    (EINVAL, "mremap: flags", lambda mm: do_mremap(mm, AT, PAGE, PAGE, 8)),
    (EINVAL, "mremap: MREMAP_FIXED alone", lambda mm: do_mremap(mm, AT, PAGE, PAGE, 2, FREE)),
    (EINVAL, "mremap: MREMAP_DONTUNMAP alone", lambda mm: do_mremap(mm, AT, PAGE, PAGE, 4)),
    (EINVAL, "mremap: MREMAP_DONTUNMAP and another size",
     lambda mm: do_mremap(mm, AT, PAGE, 2 * PAGE, 5)),
    (EINVAL, "mremap: offset_in_page(addr)", lambda mm: do_mremap(mm, AT + 1, PAGE, PAGE, 0)),
    (EINVAL, "mremap: no new length", lambda mm: do_mremap(mm, AT, PAGE, 0, MAYMOVE)),
    (EINVAL, "mremap_to: offset_in_page(new_addr)",
     lambda mm: do_mremap(mm, AT, PAGE, PAGE, MOVE, FREE + 1)),
    (EINVAL, "mremap_to: new_addr > TASK_SIZE - new_len",
     lambda mm: do_mremap(mm, AT, PAGE, PAGE, MOVE, TASK_SIZE)),
    (EINVAL, "mremap_to: onto itself",
     lambda mm: do_mremap(mm, AT, 2 * PAGE, 2 * PAGE, MOVE, AT + PAGE)),
    (EFAULT, "vma_to_resize: nothing there",
     lambda mm: do_mremap(mm, FREE, PAGE, 2 * PAGE, MAYMOVE)),
    (EINVAL, "vma_to_resize: a second place for private memory",
     lambda mm: do_mremap(mm, AT, 0, PAGE, MAYMOVE)),
    (EFAULT, "vma_to_resize: beyond the area",
     lambda mm: do_mremap(mm, AT, 5 * PAGE, 6 * PAGE, MAYMOVE)),
    (EFAULT, "vma_to_resize: VM_DONTEXPAND",
     lambda mm: do_mremap(mm, SPECIAL, PAGE, 2 * PAGE, MAYMOVE)),
    (ENOMEM, "vma_to_resize: may_expand_vm()",
     limited(RLIMIT_AS, 0, lambda mm: do_mremap(mm, AT, 4 * PAGE, 5 * PAGE, MAYMOVE))),
    (ENOMEM, "mremap: it does not fit and may not move",
     lambda mm: do_mremap(mm, AT, PAGE, 2 * PAGE, 0)),
    # ---- madvise(): do_madvise(), madvise_vma()
    (EINVAL, "madvise_behavior_valid", lambda mm: do_madvise(mm, AT, PAGE, 99)),
    (EINVAL, "do_madvise: start & ~PAGE_MASK", lambda mm: do_madvise(mm, AT + 1, PAGE, 0)),
    (EINVAL, "do_madvise: len wraps", lambda mm: do_madvise(mm, AT, (1 << 64) - 1, 0)),
    (EINVAL, "do_madvise: end < start", lambda mm: do_madvise(mm, AT, LAST, 0)),
    (ENOMEM, "madvise_walk_vmas: a gap", lambda mm: do_madvise(mm, AT, 5 * PAGE, MADV_RANDOM)),
    (ENOMEM, "madvise_walk_vmas: nothing there",
     lambda mm: do_madvise(mm, FREE, PAGE, MADV_DONTNEED)),
    (EINVAL, "madvise_free_single_vma: a file", lambda mm: do_madvise(mm, CODE, PAGE, MADV_FREE)),
    (EINVAL, "madvise_behavior: MADV_WIPEONFORK of a file",
     lambda mm: do_madvise(mm, CODE, PAGE, MADV_WIPEONFORK)),
    (EINVAL, "madvise_behavior: MADV_DODUMP of VM_SPECIAL",
     lambda mm: do_madvise(mm, SPECIAL, PAGE, MADV_DODUMP)),
    (EINVAL, "madvise_remove: no file", lambda mm: do_madvise(mm, AT, PAGE, MADV_REMOVE)),
    (EACCES, "madvise_remove: not writable", lambda mm: do_madvise(mm, CODE, PAGE, MADV_REMOVE)),
    (EAGAIN, "madvise_behavior: -ENOMEM of split_vma()",
     at_most(0, lambda mm: do_madvise(mm, AT + PAGE, PAGE, MADV_RANDOM))),
    (0, "madvise_behavior: MADV_KEEPONFORK of any",
     lambda mm: do_madvise(mm, CODE, PAGE, MADV_KEEPONFORK)),
    # ---- mlock() and its like: mm/mlock.c
    (EPERM, "do_mlock: can_do_mlock()",
     limited(RLIMIT_MEMLOCK, 0, lambda mm: do_mlock(mm, AT, PAGE))),
    (ENOMEM, "do_mlock: RLIMIT_MEMLOCK",
     limited(RLIMIT_MEMLOCK, 1, lambda mm: do_mlock(mm, AT, 2 * PAGE))),
    (EINVAL, "mlock2: flags", lambda mm: do_mlock(mm, AT, PAGE, 2)),
    (ENOMEM, "apply_vma_lock_flags: nothing there", lambda mm: do_munlock(mm, FREE, PAGE)),
    (ENOMEM, "apply_vma_lock_flags: a gap", lambda mm: do_munlock(mm, AT, 5 * PAGE)),
    (EINVAL, "apply_vma_lock_flags: end < start", lambda mm: do_munlock(mm, AT, LAST)),
    (EINVAL, "mlockall: no flags", lambda mm: mlockall(mm, 0)),
    (EINVAL, "mlockall: MCL_ONFAULT alone", lambda mm: mlockall(mm, 4)),
    (EPERM, "mlockall: can_do_mlock()", limited(RLIMIT_MEMLOCK, 0, lambda mm: mlockall(mm, 1))),
    (ENOMEM, "mlockall: total_vm", limited(RLIMIT_MEMLOCK, 1, lambda mm: mlockall(mm, 1))),
    # ---- prctl(PR_SET_VMA): madvise_set_anon_name()
    (EINVAL, "madvise_set_anon_name: start & ~PAGE_MASK",
     lambda mm: set_anon_vma_name(mm, AT + 1, PAGE, "x")),
]  # fmt: skip


def prepared(version: str) -> mm_struct:
    """An address space of a task without privileges that has the four ranges above."""
    mm = space(version, privileged=False)
    assert anon(mm, 4, AT) == AT
    assert sys_mmap(mm, file(f_mode=FMODE_READ), CODE, 2 * PAGE, R, SHARED | FIXED, 0) == CODE
    install_special_mapping(mm, SPECIAL, PAGE, 0x75, "[vdso]")
    return mm


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("errno", "where", "call"), ROWS, ids=[row[1] for row in ROWS])
def test_errno(version: str, errno: int, where: str, call: Call) -> None:
    assert call(prepared(version)) == -errno, where


@pytest.mark.parametrize("version", VERSIONS)
def test_brk_tells_no_errno(version: str) -> None:
    """brk() gives the old end: do_brk_flags(), check_brk_limits(), check_data_rlimit()."""
    mm = prepared(version)
    mm.start_brk = mm.brk = FREE
    assert sys_brk(mm, FREE - 1) == FREE, "below start_brk"
    assert sys_brk(mm, FREE + PAGE) == FREE + PAGE
    assert sys_brk(mm, CODE + PAGE) == FREE + PAGE, "an area is in the way"
    mm.rlimits[RLIMIT_DATA] = 2 * PAGE
    assert sys_brk(mm, FREE + 3 * PAGE) == FREE + PAGE, "RLIMIT_DATA"

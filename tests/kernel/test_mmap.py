"""mmap() and its like: where areas go, what errors say, what is counted."""

from collections.abc import Callable
from errno import (
    EACCES,
    EAGAIN,
    EBADF,
    EEXIST,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
)

import pytest

from mmtwin.kernel.brk import sys_brk, vm_brk_flags
from mmtwin.kernel.expand_stack import expand_stack, install_special_mapping
from mmtwin.kernel.madvise import do_madvise
from mmtwin.kernel.mlock import do_mlock, do_munlock, mlockall, munlockall
from mmtwin.kernel.mm_types import GET_AREA_THP, File, mm_struct, vm_area_struct
from mmtwin.kernel.mm_validate import accounted_pages, validate_mm
from mmtwin.kernel.mman import (
    MADV_RANDOM,
    MAP_32BIT,
    MAP_DROPPABLE,
    MAP_FIXED_NOREPLACE,
    MAP_GROWSDOWN,
    MAP_LOCKED,
    MAP_NORESERVE,
    MAP_STACK,
    MAP_SYNC,
    MCL_FUTURE,
    PROT_GROWSDOWN,
    RLIMIT_AS,
    RLIMIT_DATA,
    RLIMIT_MEMLOCK,
    RLIMIT_STACK,
    VM_ACCOUNT,
    VM_GROWSDOWN,
    VM_NOHUGEPAGE,
)
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.mprotect import do_mprotect
from mmtwin.kernel.mremap import do_mremap
from mmtwin.kernel.mseal import do_mseal
from mmtwin.kernel.munmap import exit_mmap, sys_munmap
from mmtwin.kernel.vma import vma_link
from mmtwin.kernel.vma_flags import vm_stat_account
from tests.kernel.area_machine import (
    ANON,
    BASE,
    FIXED,
    MEMORY,
    PAGE,
    PRIVATE,
    PROT_NONE,
    SHARED,
    TASK_SIZE,
    VERSIONS,
    R,
    W,
    X,
    anon,
    commit,
    file,
    has_since,
    maps,
    space,
)

HUGE = 2 << 20
AT = 0x10000000  # where tests map with MAP_FIXED
every_version = pytest.mark.parametrize("version", VERSIONS)


def stack(mm: mm_struct, pages: int = 33) -> vm_area_struct:
    """A stack below the end of the addresses, as exec leaves it."""
    flags = 0x100173 | VM_GROWSDOWN
    vma = vm_area_struct(mm, TASK_SIZE - pages * PAGE, TASK_SIZE, flags, (1 << 35) - pages)
    vma_link(vma)
    vm_stat_account(mm, flags, pages)
    commit(mm).vm_enough_memory(mm, pages)
    return vma


@every_version
def test_areas_go_down_from_mmap_base_and_merge(version: str) -> None:
    mm = space(version)
    first = anon(mm, 4)
    assert first == BASE - 4 * PAGE
    assert anon(mm, 2) == first - 2 * PAGE
    assert maps(mm, BASE) == [(-6, 6, "rw-p", 0, "")]
    assert anon(mm, 1, prot=R) == first - 3 * PAGE
    assert maps(mm, BASE) == [(-7, 1, "r--p", 0, ""), (-6, 6, "rw-p", 0, "")]
    assert sys_munmap(mm, first - PAGE, 2 * PAGE) == 0
    assert anon(mm, 2) == first - PAGE, "the highest gap"
    assert (mm.total_vm, mm.data_vm, mm.map_count) == (7, 6, 2)
    assert commit(mm).committed_as == accounted_pages(mm) == 6
    validate_mm(mm)
    exit_mmap(mm)
    assert commit(mm).committed_as == 0 and maps(mm) == []


@every_version
def test_hints(version: str) -> None:
    mm = space(version)
    hint = 0x20000000
    assert sys_mmap(mm, None, hint + 5, PAGE, R, PRIVATE | ANON, 0) == hint
    assert sys_mmap(mm, None, hint, PAGE, R, PRIVATE | ANON, 0) == BASE - PAGE, "taken"
    assert sys_mmap(mm, None, PAGE, PAGE, R, PRIVATE | ANON, 0) == 0x10000, "vm.mmap_min_addr"
    low = sys_mmap(mm, None, 0, PAGE, R, PRIVATE | ANON | MAP_32BIT, 0)
    assert low == 0x40000000
    assert anon(mm, 1, 0x50000000, MAP_FIXED_NOREPLACE) == 0x50000000
    assert anon(mm, 1, 0x50000000, MAP_FIXED_NOREPLACE) == -EEXIST
    validate_mm(mm)


@every_version
def test_bottom_up_without_a_stack_limit_of_sense(version: str) -> None:
    mm = space(version)
    commit(mm).legacy_va_layout = 1
    from mmtwin.kernel.unmapped_area import setup_mmap_base

    setup_mmap_base(mm, 8 << 20)
    lowest = (TASK_SIZE // 3 + PAGE - 1) // PAGE * PAGE
    assert anon(mm, 1) == lowest
    assert anon(mm, 1, prot=R) == lowest + PAGE


def test_a_file_goes_where_huge_pages_fit() -> None:
    libc = file(pages=1024, get_area=GET_AREA_THP)
    plain = space("5.10")
    assert sys_mmap(plain, libc, 0, 4 << 20, R, PRIVATE, 0) == BASE - (4 << 20)
    mm = space("6.1.176")
    address = sys_mmap(mm, libc, 0, 4 << 20, R, PRIVATE, 0)
    assert address % HUGE == 0 and BASE - (6 << 20) <= address <= BASE - (4 << 20)
    assert sys_mmap(mm, libc, 0, HUGE - 2 * PAGE, R, PRIVATE, 0) % HUGE, "too small"
    assert sys_mmap(mm, libc, 0, 4 << 20, R, PRIVATE, PAGE) % HUGE == PAGE, "the file's offset"


def test_anonymous_memory_goes_where_huge_pages_fit() -> None:
    aligned = BASE // HUGE * HUGE
    for version, odd, whole in (
        ("6.1.176", False, False), ("6.8", True, True), ("6.12.107", False, True),
        ("7.3", False, True),
    ):
        mm = space(version)
        address = anon(mm, 513, prot=R)
        assert (address % HUGE == 0) == odd, version
        mm = space(version)
        assert (anon(mm, 512, prot=R) == aligned - HUGE) == whole, version
        hinted = sys_mmap(mm, None, 0x20001000, HUGE, R, PRIVATE | ANON, 0)
        assert hinted == 0x20001000


@every_version
def test_errors_of_mmap_in_their_order(version: str) -> None:
    def call(mm: mm_struct, source: File | None, addr: int, size: int, prot: int, flags: int,
             offset: int = 0) -> int:
        return int(sys_mmap(mm, source, addr, size, prot, flags, offset))

    mm, top = space(version), (1 << 64) - PAGE
    reads, writes = file(f_mode=1), file(f_mode=2)
    cases = [
        (-EINVAL, None, 0, PAGE, R, PRIVATE | ANON, 5),
        (-EBADF, None, 0, PAGE, R, PRIVATE),
        (-EINVAL, None, 0, 0, R, PRIVATE | ANON),
        (-ENOMEM, None, 0, (1 << 64) - 1, R, PRIVATE | ANON),
        (-EOVERFLOW, reads, 0, 2 * PAGE, R, PRIVATE, (1 << 64) - PAGE - (1 << 63)),
        (-ENOMEM, None, 0, TASK_SIZE + PAGE, R, PRIVATE | ANON),
        (-ENOMEM, None, TASK_SIZE, PAGE, R, PRIVATE | ANON | FIXED),
        (-ENOMEM, None, top, PAGE, R, PRIVATE | ANON | FIXED),
        (-EINVAL, None, AT + 1, PAGE, R, PRIVATE | ANON | FIXED),
        (-EINVAL, None, 0, PAGE, R, ANON),
        (-EINVAL, None, 0, PAGE, R, SHARED | ANON | MAP_GROWSDOWN),
        (-EINVAL, reads, 0, PAGE, R, PRIVATE | MAP_GROWSDOWN),
        (-EINVAL, reads, 0, PAGE, R, 0),
        (-EACCES, reads, 0, PAGE, R | W, SHARED),
        (-EACCES, writes, 0, PAGE, R, PRIVATE),
        (-EOPNOTSUPP, reads, 0, PAGE, R, 3 | MAP_SYNC),
        (-EACCES, file(append=1), 0, PAGE, R, SHARED),
        (-EPERM, file(noexec=1), 0, PAGE, R | X, PRIVATE),
        (-ENODEV, file(can_mmap=0), 0, PAGE, R, PRIVATE),
        (-EINVAL, None, 0, PAGE, R, PRIVATE | ANON | 0x1),
    ]
    for expected, *arguments in cases:
        assert call(mm, *arguments) == expected, arguments  # type: ignore[arg-type]
    assert maps(mm) == []
    assert call(mm, reads, 0, PAGE, R, SHARED) > 0, "read-only is no reason"
    assert (call(mm, None, 0, PAGE, R, MAP_DROPPABLE | ANON) > 0) == has_since(version, "6.11")


@every_version
def test_who_has_no_privilege(version: str) -> None:
    mm = space(version, privileged=False)
    assert anon(mm, 1, PAGE) == -EPERM, "below vm.mmap_min_addr"
    mm.rlimits[RLIMIT_MEMLOCK] = 0
    assert anon(mm, 1, flags=MAP_LOCKED) == -EPERM
    assert do_mlock(mm, AT, PAGE) == mlockall(mm, 1) == -EPERM
    mm.rlimits[RLIMIT_MEMLOCK] = 2 * PAGE
    assert anon(mm, 3, flags=MAP_LOCKED) == -EAGAIN
    assert anon(mm, 2, AT, MAP_LOCKED) == AT and mm.locked_vm == 2
    assert do_mremap(mm, AT, 2 * PAGE, 3 * PAGE, 1) == -EAGAIN
    assert do_mlock(mm, AT, 2 * PAGE) == 0, "locked already"
    anon(mm, 1, AT + 2 * PAGE)
    assert do_mlock(mm, AT, 3 * PAGE) == -ENOMEM
    assert mlockall(mm, 1) == -ENOMEM
    assert do_munlock(mm, AT, PAGE) == 0 and mm.locked_vm == 1
    assert munlockall(mm) == 0 and mm.locked_vm == 0
    assert mlockall(mm, MCL_FUTURE) == 0
    assert anon(mm, 3) == -EAGAIN and anon(mm, 1) > 0 and mm.locked_vm == 1
    validate_mm(mm)


@every_version
def test_limits(version: str) -> None:
    mm = space(version)
    anon(mm, 4, AT)
    mm.rlimits[RLIMIT_AS] = 8 * PAGE
    assert anon(mm, 5) == -ENOMEM
    assert anon(mm, 6, AT) == AT, "what it replaces does not count"
    assert do_mremap(mm, AT, 6 * PAGE, 9 * PAGE, 1) == -ENOMEM
    mm.rlimits[RLIMIT_AS] = 1 << 40
    mm.rlimits[RLIMIT_DATA] = 8 * PAGE
    assert anon(mm, 3) == -ENOMEM and anon(mm, 3, prot=R) > 0
    anon(mm, 4, 2 * AT, prot=R)
    assert do_mprotect(mm, 2 * AT, 4 * PAGE, R | W) == -ENOMEM
    mm.rlimits[RLIMIT_DATA] = 1 << 40
    commit(mm).max_map_count = mm.map_count
    assert sys_munmap(mm, AT + PAGE, PAGE) == -ENOMEM, "one more area"
    assert do_mprotect(mm, AT + PAGE, PAGE, R) == -ENOMEM
    assert do_madvise(mm, AT + PAGE, PAGE, MADV_RANDOM) == -EAGAIN
    assert anon(mm, 1, 4 * AT) > 0, "one more than max_map_count"
    assert anon(mm, 1, 6 * AT) == -ENOMEM
    assert do_mremap(mm, AT, PAGE, PAGE, 3, 8 * AT) == -ENOMEM
    validate_mm(mm)


@every_version
def test_overcommit(version: str) -> None:
    mm = space(version, privileged=False)
    promise = commit(mm)
    assert anon(mm, MEMORY + 1) == -ENOMEM, "more than there is"
    assert anon(mm, MEMORY + 1, flags=MAP_NORESERVE) > 0
    assert anon(mm, MEMORY) > 0 and promise.committed_as == MEMORY
    promise.overcommit_memory = 1
    assert anon(mm, 4 * MEMORY, AT) > 0
    assert sys_munmap(mm, AT, 4 * MEMORY * PAGE) == 0
    promise.overcommit_memory = 2
    assert promise.vm_commit_limit() == MEMORY // 2
    assert anon(mm, 1, flags=MAP_NORESERVE) == -ENOMEM, "never means never"
    assert anon(mm, 1, prot=R) > 0, "nothing is promised to what nobody writes"
    reads = next(vma for vma in mm.tree if not vma.vm_flags & W)
    assert do_mprotect(mm, reads.vm_start, PAGE, R | W) == -ENOMEM
    promise.overcommit_kbytes = 8 * MEMORY
    assert promise.vm_commit_limit() == 2 * MEMORY
    assert sys_mmap(mm, None, 0, 4 * MEMORY * PAGE, R, SHARED | ANON, 0) == -ENOMEM
    before = promise.committed_as
    shared = sys_mmap(mm, None, 0, 10 * PAGE, R, SHARED | ANON, 0)
    assert promise.committed_as == before + 10
    assert sys_munmap(mm, shared, 9 * PAGE) == 0 and promise.committed_as == before + 10
    assert sys_munmap(mm, shared, 10 * PAGE) == 0 and promise.committed_as == before
    validate_mm(mm)


@every_version
def test_the_heap(version: str) -> None:
    mm = space(version)
    mm.start_brk = mm.brk = AT
    anon(mm, 2, AT - 2 * PAGE)
    assert sys_brk(mm, 0) == AT
    assert sys_brk(mm, AT + 0x1234) == AT + 0x1234
    early = not has_since(version, "6.1")
    assert maps(mm, AT) == (
        [(-2, 4, "rw-p", 0, "")] if early
        else [(-2, 2, "rw-p", 0, ""), (0, 2, "rw-p", 0, "")]
    ), "since 6.1 the heap does not merge with what ends where it begins"
    assert sys_brk(mm, AT + 3 * PAGE) == AT + 3 * PAGE and mm.total_vm == 5
    assert sys_brk(mm, AT + PAGE - 1) == AT + PAGE - 1 and mm.total_vm == 3
    for wraps in ((1 << 64) - 1, (1 << 64) - PAGE, 1 << 63):
        assert sys_brk(mm, wraps) == AT + PAGE - 1, "more than there are addresses"
    assert sys_brk(mm, AT - 1) == AT + PAGE - 1, "below its start"
    anon(mm, 1, AT + 4 * PAGE)
    assert sys_brk(mm, AT + 4 * PAGE) == AT + PAGE - 1, "a page must stay free behind"
    assert sys_brk(mm, AT + 3 * PAGE) == AT + 3 * PAGE
    mm.rlimits[RLIMIT_DATA] = 4 * PAGE
    mm.start_data, mm.end_data = 0, 2 * PAGE
    assert sys_brk(mm, AT + 2 * PAGE + 1) == AT + 3 * PAGE, "RLIMIT_DATA counts data too"
    validate_mm(mm)
    assert vm_brk_flags(mm, 2 * AT, 0, 0) == 0 and vm_brk_flags(mm, 2 * AT, PAGE, 1) == -EINVAL
    mm.rlimits[RLIMIT_DATA] = 1 << 40
    assert vm_brk_flags(mm, 2 * AT, 100, 0) == 0 and accounted_pages(mm) == 7


@every_version
def test_stacks_grow(version: str) -> None:
    mm = space(version)
    vma = stack(mm)
    assert expand_stack(mm, TASK_SIZE - 1) is vma
    assert expand_stack(mm, TASK_SIZE - 100 * PAGE + 8) is vma
    assert vma.vm_start == TASK_SIZE - 100 * PAGE and mm.stack_vm == 100 == accounted_pages(mm)
    assert vma.vm_pgoff == (1 << 35) - 100
    mm.rlimits[RLIMIT_STACK] = 128 * PAGE
    assert expand_stack(mm, TASK_SIZE - 129 * PAGE) is None
    below = TASK_SIZE - 500 * PAGE
    anon(mm, 1, below)
    mm.rlimits[RLIMIT_STACK] = 8 << 20
    assert expand_stack(mm, below + 257 * PAGE - 1) is None, "stack_guard_gap"
    assert expand_stack(mm, below + 257 * PAGE) is vma
    assert do_mprotect(mm, below, PAGE, PROT_NONE) == 0
    assert expand_stack(mm, below + PAGE) is vma, "what nobody can touch needs no gap"
    assert expand_stack(mm, AT) is None and expand_stack(mm, TASK_SIZE) is None
    assert anon(mm, 1, flags=MAP_GROWSDOWN) > 0
    grown = mm.tree.find_vma(TASK_SIZE - 1)
    assert do_mprotect(mm, TASK_SIZE - PAGE, PAGE, R | PROT_GROWSDOWN) == 0
    assert not grown.vm_flags & 2, "all of it, down to its start"
    validate_mm(mm)


@every_version
def test_mprotect(version: str) -> None:
    mm = space(version)
    anon(mm, 8, AT)
    assert do_mprotect(mm, AT + PAGE, 2 * PAGE, R) == 0
    assert do_mprotect(mm, AT + 5 * PAGE, PAGE, PROT_NONE) == 0
    assert [(start, pages) for start, pages, *_ in maps(mm, AT)] == [
        (0, 1), (1, 2), (3, 2), (5, 1), (6, 2)]
    unaccounts = has_since(version, "6.7")
    assert accounted_pages(mm) == (5 if unaccounts else 8) == commit(mm).committed_as
    assert do_mprotect(mm, AT, 8 * PAGE, R | W) == 0 and mm.map_count == 1
    assert accounted_pages(mm) == 8 == commit(mm).committed_as
    reads = file(f_mode=1)
    sys_mmap(mm, reads, AT + 8 * PAGE, PAGE, R, SHARED | FIXED, 0)
    assert do_mprotect(mm, AT + 7 * PAGE, 2 * PAGE, R | W | X) == -EACCES
    assert maps(mm, AT)[1:] == [(7, 1, "rwxp", 0, ""), (8, 1, "r--s", 0, "/lib/x.so")]
    for expected, start, size, prot in (
        (-EINVAL, AT + 1, PAGE, R), (0, AT, 0, R), (-ENOMEM, AT, (1 << 64) - PAGE, R),
        (-EINVAL, AT, PAGE, 0x80), (-ENOMEM, AT - PAGE, PAGE, R), (-ENOMEM, 0, PAGE, R),
        (-ENOMEM, AT + 8 * PAGE, 2 * PAGE, R), (-EINVAL, AT, PAGE, R | PROT_GROWSDOWN),
        (-EINVAL, AT, PAGE, R | 0x03000000),
    ):
        assert do_mprotect(mm, start, size, prot) == expected, (start, size, prot)
    validate_mm(mm)


@every_version
def test_munmap_errors(version: str) -> None:
    mm = space(version)
    for start, size in ((1, PAGE), (0, 0), (TASK_SIZE + PAGE, PAGE), (PAGE, TASK_SIZE)):
        assert sys_munmap(mm, start, size) == -EINVAL
    assert sys_munmap(mm, AT, PAGE) == 0
    vdso = install_special_mapping(mm, AT, 2 * PAGE, 0x75, "[vdso]")
    assert vdso.vm_name == "[vdso]"
    whole = version == "5.10"
    assert sys_munmap(mm, AT, PAGE) == (0 if whole else -EINVAL), "special mappings stay whole"
    assert sys_munmap(mm, AT, 2 * PAGE) == 0 and maps(mm) == []
    assert install_special_mapping(mm, AT, PAGE, 0x75, "[vdso]") is not None
    assert install_special_mapping(mm, AT, PAGE, 0x75, "[vdso]") == -ENOMEM
    validate_mm(mm)


def test_stacks_of_threads_have_no_huge_pages() -> None:
    for version, nohuge in (("6.1.176", 0), ("6.12.107", VM_NOHUGEPAGE)):
        mm = space(version)
        address = anon(mm, 1, flags=MAP_STACK)
        assert mm.tree.find_vma(address).vm_flags & VM_NOHUGEPAGE == nohuge


@pytest.mark.parametrize("call", [sys_munmap, do_mprotect, do_madvise, do_mlock, do_mseal])
def test_any_numbers_give_an_answer(call: Callable[..., int]) -> None:
    mm = space("6.18")
    anon(mm, 2, AT)
    odd = (0, 1, PAGE, AT, AT + PAGE, (1 << 63), (1 << 64) - PAGE, (1 << 64) - 1)
    for start in odd:
        for size in odd:
            result = call(mm, start, size, *([1] if call not in (sys_munmap,) else []))
            assert -134 < result <= 0
    validate_mm(mm)
    assert VM_ACCOUNT


@every_version
def test_peak_counts_no_area_twice(version: str) -> None:
    """MAP_FIXED: what was there counts no more before the new area does (VmPeak)."""
    mm = space(version)
    start = anon(mm, 64)
    anon(mm, 32, start)
    assert max(mm.hiwater_vm, mm.total_vm) == mm.total_vm == 64

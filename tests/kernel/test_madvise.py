"""madvise(), names of areas, mseal()."""


import pytest

from mmtwin.kernel.expand_stack import install_special_mapping
from mmtwin.kernel.madvise import do_madvise, set_anon_vma_name
from mmtwin.kernel.mlock import do_mlock
from mmtwin.kernel.mm_validate import validate_mm
from mmtwin.kernel.mman import (
    MADV_DODUMP,
    MADV_DONTNEED,
    MADV_GUARD_INSTALL,
    MADV_HUGEPAGE,
    MADV_POPULATE_READ,
    MADV_RANDOM,
    MADV_WIPEONFORK,
    VM_RAND_READ,
)
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.mprotect import do_mprotect
from mmtwin.kernel.mremap import do_mremap
from mmtwin.kernel.mseal import do_mseal
from mmtwin.kernel.munmap import sys_munmap
from tests.kernel.area_machine import (
    FIXED,
    PAGE,
    PRIVATE,
    VERSIONS,
    R,
    anon,
    file,
    has_since,
    maps,
    space,
)

EPERM, EBADF, EAGAIN, ENOMEM, EINVAL, ENOSYS = 1, 9, 11, 12, 22, 38
every_version = pytest.mark.parametrize("version", VERSIONS)
AT = 0x10000000  # where tests map with MAP_FIXED


@every_version
def test_madvise(version: str) -> None:
    mm = space(version)
    anon(mm, 4, AT)
    anon(mm, 1, AT + 5 * PAGE)
    assert do_madvise(mm, AT + PAGE, 5 * PAGE, MADV_RANDOM) == -ENOMEM, "but it is done"
    flags = [vma.vm_flags & VM_RAND_READ for vma in mm.tree]
    assert flags == [0, VM_RAND_READ, VM_RAND_READ]
    assert do_madvise(mm, AT, 4 * PAGE, 0) == 0 and mm.map_count == 2
    late, newest = has_since(version, "5.14"), has_since(version, "6.13")
    for expected, start, size, advice in (
        (-EINVAL, AT + 1, PAGE, 0), (0, AT, 0, 0), (-EINVAL, AT, (1 << 64) - 1, 0),
        (-EINVAL, AT, PAGE, 99), (-ENOMEM, AT + 4 * PAGE, PAGE, 0), (0, AT, PAGE, MADV_DONTNEED),
        (0 if late else -EINVAL, AT, PAGE, MADV_POPULATE_READ),
        (0 if newest else -EINVAL, AT, PAGE, MADV_GUARD_INSTALL),
        (0, AT, PAGE, MADV_HUGEPAGE), (0, AT, PAGE, MADV_WIPEONFORK),
    ):
        assert do_madvise(mm, start, size, advice) == expected, (start, size, advice)
    do_mlock(mm, AT, PAGE)
    assert do_madvise(mm, AT, PAGE, MADV_DONTNEED) == -EINVAL, "locked"
    install_special_mapping(mm, 2 * AT, PAGE, 0x75, "[vdso]")
    assert do_madvise(mm, 2 * AT, PAGE, MADV_DODUMP) == -EINVAL
    sys_mmap(mm, file(), 3 * AT, PAGE, R, PRIVATE | FIXED, 0)
    assert do_madvise(mm, 3 * AT, PAGE, MADV_WIPEONFORK) == -EINVAL
    validate_mm(mm)


@every_version
def test_names(version: str) -> None:
    mm = space(version)
    anon(mm, 4, AT)
    named = set_anon_vma_name(mm, AT + PAGE, PAGE, "heap of mine")
    if version in ("5.10", "5.13"):
        assert named == -EINVAL and mm.map_count == 1
        return
    assert named == 0
    assert [line[4] for line in maps(mm)] == ["", "heap of mine", ""]
    assert set_anon_vma_name(mm, AT + 2 * PAGE, 2 * PAGE, "heap of mine") == 0
    assert mm.map_count == 2, "areas of one name merge"
    assert set_anon_vma_name(mm, AT, 4 * PAGE, None) == 0 and mm.map_count == 1
    sys_mmap(mm, file(), 2 * AT, PAGE, R, PRIVATE | FIXED, 0)
    assert set_anon_vma_name(mm, 2 * AT, PAGE, "no") == -EBADF
    validate_mm(mm)


@every_version
def test_sealed_areas_stay(version: str) -> None:
    mm = space(version)
    anon(mm, 4, AT)
    sealed = do_mseal(mm, AT + PAGE, PAGE, 0)
    if version in ("5.10", "5.13", "6.1.176"):
        assert sealed == -ENOSYS
        return
    assert sealed == 0 and mm.map_count == 3
    assert do_mprotect(mm, AT, 4 * PAGE, R) == -EPERM
    assert sys_munmap(mm, AT, 4 * PAGE) == do_mremap(mm, AT + PAGE, PAGE, 9 * PAGE, 1) == -EPERM
    assert anon(mm, 1, AT + PAGE) == -EPERM
    assert do_mseal(mm, AT, 5 * PAGE, 0) == -ENOMEM and do_mseal(mm, AT, PAGE, 1) == -EINVAL
    validate_mm(mm)

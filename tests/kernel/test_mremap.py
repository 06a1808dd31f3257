"""mremap(): in place, elsewhere, of several areas; its errors and what it counts."""

from errno import EFAULT, EINVAL, ENOMEM

import pytest

from mmtwin.kernel.expand_stack import install_special_mapping
from mmtwin.kernel.mm_validate import accounted_pages, validate_mm
from mmtwin.kernel.mman import (
    MAP_LOCKED,
    VM_LOCKED,
)
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.mremap import do_mremap
from tests.kernel.area_machine import (
    BASE,
    FIXED,
    PAGE,
    SHARED,
    TASK_SIZE,
    VERSIONS,
    R,
    W,
    anon,
    commit,
    file,
    has_since,
    maps,
    space,
)

every_version = pytest.mark.parametrize("version", VERSIONS)
AT = 0x10000000  # where tests map with MAP_FIXED


@every_version
def test_mremap(version: str) -> None:
    mm = space(version)
    anon(mm, 4, AT)
    assert do_mremap(mm, AT, 4 * PAGE, 6 * PAGE, 0) == AT and mm.total_vm == 6
    assert do_mremap(mm, AT, 6 * PAGE, 2 * PAGE, 0) == AT and mm.total_vm == 2
    anon(mm, 1, AT + 3 * PAGE)
    assert do_mremap(mm, AT, 2 * PAGE, 3 * PAGE, 0) == AT
    joined = has_since(version, "6.1")
    assert mm.map_count == (1 if joined else 2), "since 6.1 it merges with the next"
    assert do_mremap(mm, AT, 3 * PAGE, 5 * PAGE, 0) == -ENOMEM
    assert do_mremap(mm, AT, 3 * PAGE, 5 * PAGE, 1) == BASE - 5 * PAGE
    assert do_mremap(mm, BASE - 5 * PAGE, PAGE, PAGE, 3, 2 * AT) == 2 * AT
    assert maps(mm, BASE)[-1] == (-4, 4, "rw-p", 0, "")
    assert accounted_pages(mm) == commit(mm).committed_as == 6
    assert do_mremap(mm, 2 * AT, PAGE, PAGE, 5, 0) == BASE - 5 * PAGE, "MREMAP_DONTUNMAP"
    assert accounted_pages(mm) == commit(mm).committed_as == 7
    source = file()
    sys_mmap(mm, source, 3 * AT, 4 * PAGE, R, SHARED | FIXED, PAGE)
    assert do_mremap(mm, 3 * AT, 0, 2 * PAGE, 3, 4 * AT) == 4 * AT, "a second place"
    assert maps(mm, 3 * AT)[2:4] == [
        (0, 4, "r--s", 1, "/lib/x.so"), (AT // PAGE, 2, "r--s", 1, "/lib/x.so")]
    validate_mm(mm)


@every_version
def test_mremap_errors(version: str) -> None:
    mm = space(version)
    anon(mm, 4, AT)
    far = 16 * AT
    cases: list[tuple[int, tuple[int, ...]]] = [
        (-EINVAL, (AT, PAGE, PAGE, 8)), (-EINVAL, (AT, PAGE, PAGE, 2, far)),
        (-EINVAL, (AT, PAGE, 2 * PAGE, 5, far)), (-EINVAL, (AT + 1, PAGE, PAGE, 0)),
        (-EINVAL, (AT, PAGE, 0, 0)), (-EINVAL, (AT, PAGE, PAGE, 3, far + 1)),
        (-EINVAL, (AT, PAGE, PAGE, 3, AT)), (-EINVAL, (AT, PAGE, PAGE, 3, TASK_SIZE)),
        (-EINVAL, (AT, 0, PAGE, 1)), (-EFAULT, (AT - PAGE, PAGE, 2 * PAGE, 1)),
        (-EFAULT, (AT, 5 * PAGE, 6 * PAGE, 1)),
    ]
    for expected, arguments in cases:
        assert do_mremap(mm, *arguments) == expected, arguments
    nowhere = do_mremap(mm, AT - PAGE, 2 * PAGE, PAGE, 0)
    assert nowhere == (AT - PAGE if version in ("5.10", "5.13") else -EFAULT)
    install_special_mapping(mm, 2 * AT, 2 * PAGE, 0x75, "[vdso]")
    assert do_mremap(mm, 2 * AT, 2 * PAGE, 3 * PAGE, 1) == -EFAULT, "VM_DONTEXPAND"
    assert do_mremap(mm, 2 * AT, 2 * PAGE, 2 * PAGE, 3, 3 * AT) == 3 * AT
    validate_mm(mm)


def test_mremap_of_several_areas() -> None:
    for version, several in (("6.12.107", False), ("6.18", True), ("7.3", True)):
        mm = space(version)
        for page, prot in ((0, R), (1, W), (3, R)):
            anon(mm, 1, AT + page * PAGE, prot=prot)
        moved = do_mremap(mm, AT, 4 * PAGE, 4 * PAGE, 3, 2 * AT)
        if several:
            assert moved == 2 * AT
            assert maps(mm, 2 * AT) == [
                (0, 1, "r--p", 0, ""), (1, 1, "-w-p", 0, ""), (3, 1, "r--p", 0, "")]
        else:
            assert moved == -EFAULT
        validate_mm(mm)


def test_locked_areas_count() -> None:
    mm = space("7.3")
    anon(mm, 4, AT, MAP_LOCKED)
    assert do_mremap(mm, AT, 4 * PAGE, 8 * PAGE, 0) == AT and mm.locked_vm == 8
    assert do_mremap(mm, AT, PAGE, PAGE, 5, 0) > 0 and mm.locked_vm == 8
    assert not mm.tree.find_vma(AT).vm_flags & VM_LOCKED, "the source is unlocked"
    assert mm.tree.find_vma(AT).vm_end == AT + PAGE
    validate_mm(mm)

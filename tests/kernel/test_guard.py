"""Guard regions: where they stay, where they go, what an access to one gets."""

import process_machine as process
import pytest

from mmtwin.kernel import fault, gup
from mmtwin.kernel.guard import guard_marker, is_guard
from mmtwin.kernel.madvise import do_madvise
from mmtwin.kernel.memory_validate import validate
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import (
    MADV_DONTNEED,
    MADV_GUARD_INSTALL,
    MADV_GUARD_REMOVE,
    MADV_POPULATE_WRITE,
)
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.mremap import do_mremap
from mmtwin.kernel.munmap import sys_munmap
from mmtwin.kernel.paging import paging_of
from mmtwin.kernel.pgtable import entry_slot

PAGE = 4096
FIXED_ANON = 0x32
AT = 0x40000000
USER_WRITE = 6
EFAULT, EINVAL = 14, 22


@pytest.fixture(params=["x86_64-6.18", "x86_64-7.3", "arm64-7.3"])
def space(request):
    made = process.new_mm(process.machine(request.param, memory="128M"))
    made.task_size = 1 << 47
    assert sys_mmap(made, None, AT, 64 * PAGE, 3, FIXED_ANON, 0) == AT
    return made


def write(space, page):
    """What an access gets."""
    code = USER_WRITE if not space.paging.arm64 else 0x92000046
    return fault.do_user_addr_fault(space, AT + page * PAGE, code)


def guards(space):
    """Pages of the area that are guards."""
    words = space.machine.view("ram")
    slots = [entry_slot(space, AT + page * PAGE, 0) for page in range(64)]
    return [page for page, slot in enumerate(slots)
            if slot >= 0 and is_guard(space.paging, int(words[slot]))]


def test_the_entry():
    x86, arm64 = (paging_of(process.machine(f"{arch}-7.3", memory="64M"))
                  for arch in ("x86_64", "arm64"))
    # type 31 in bits 59 to 63, the inverted offset 4 from bit 9 on
    assert guard_marker(x86) >> 59 == 31
    assert ~guard_marker(x86) << 5 >> 14 & 0xFFFF == 4
    assert guard_marker(arm64) == 31 << 6 | 4 << 12
    for paging in (x86, arm64):
        assert is_guard(paging, guard_marker(paging)) and not is_guard(paging, 0)


def test_an_access_is_a_sigsegv_until_it_is_removed(space):
    assert gup.access_process_vm(space, AT + 2 * PAGE, b"kept?") == 5
    assert do_madvise(space, AT + 2 * PAGE, 3 * PAGE, MADV_GUARD_INSTALL) == 0
    assert guards(space) == [2, 3, 4] and write(space, 3).signal == 11
    assert write(space, 5).signal == 0
    assert do_madvise(space, AT, 64 * PAGE, MADV_POPULATE_WRITE) == -EFAULT
    assert do_madvise(space, AT, 64 * PAGE, MADV_DONTNEED) == 0
    assert guards(space) == [2, 3, 4]
    assert do_madvise(space, AT, 3 * PAGE, MADV_GUARD_REMOVE) == 0
    assert guards(space) == [3, 4]
    assert gup.access_process_vm(space, AT + 2 * PAGE, 5) == bytes(5)
    assert validate(space.machine, [space]) == []


def test_they_move_and_are_copied_and_go_with_their_area(space):
    assert do_madvise(space, AT, 2 * PAGE, MADV_GUARD_INSTALL) == 0
    child = process.fork(space)
    assert guards(child) == [0, 1]
    assert do_mremap(space, AT, 4 * PAGE, 4 * PAGE, 3, AT + 60 * PAGE) == AT + 60 * PAGE
    assert guards(space) == [60, 61]
    assert sys_munmap(space, AT + 60 * PAGE, PAGE) == 0
    assert guards(space) == [61]
    process.exit_mm(child)


def test_files(space):
    file = File("/tmp/x", data=b"x" * PAGE * 4)
    assert sys_mmap(space, file, AT, 4 * PAGE, 1, 0x11, 0) == AT
    assert do_madvise(space, AT + PAGE, PAGE, MADV_GUARD_INSTALL) == 0
    assert gup.access_process_vm(space, AT + PAGE, 1) == b""
    assert gup.access_process_vm(space, AT, 1) == b"x"
    assert guards(space) == [1]

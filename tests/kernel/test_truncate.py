"""Pages that leave the page cache: holes, and shared memory whose last area goes."""

import process_machine as process
import pytest

from mmtwin.kernel import gup
from mmtwin.kernel.filemap import cached_pages
from mmtwin.kernel.madvise import do_madvise
from mmtwin.kernel.memory_validate import validate
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import EINVAL, EOPNOTSUPP, MADV_REMOVE
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.munmap import sys_munmap
from mmtwin.kernel.rss_stat import exact_counters, sync_mm_rss
from mmtwin.kernel.truncate import truncate_file, vfs_fallocate

PAGE = 4096
SHARED_FIXED, ANON = 0x11, 0x20
AT = 0x400000


@pytest.fixture(params=process.PROFILES)
def space(request):
    return process.new_mm(process.machine(request.param, memory="64M"))


def shmem_pages(mm):
    """Pages of the page cache, wherever they are."""
    process.settle(mm)
    return int((mm.view("page")["users"][: mm.max_pfn] == 5).sum())


def test_a_hole_reads_as_zeros(space):
    space.task_size = 1 << 47
    assert sys_mmap(space, None, AT, 40 * PAGE, 3, SHARED_FIXED | ANON, 0) == AT
    for page in range(40):
        assert gup.access_process_vm(space, AT + page * PAGE, b"written") == 7
    assert do_madvise(space, AT + 2 * PAGE, 36 * PAGE, MADV_REMOVE) == 0
    file = space.tree.find_vma(AT).vm_file
    assert [index for index, _pfn in cached_pages(file)] == [0, 1, 38, 39]
    assert shmem_pages(space.machine) == 4
    assert validate(space.machine, [space]) == []
    for page, what in ((1, b"written"), (2, bytes(7)), (37, bytes(7)), (38, b"written")):
        assert gup.access_process_vm(space, AT + page * PAGE, 7) == what


def test_private_copies_stay(space):
    space.task_size = 1 << 47
    file = File("/tmp/x", data=b"a" * PAGE * 4)
    assert sys_mmap(space, file, AT, 4 * PAGE, 3, SHARED_FIXED, 0) == AT
    private = AT + 8 * PAGE
    assert sys_mmap(space, file, private, 4 * PAGE, 3, 0x12, 0) == private
    assert gup.access_process_vm(space, private, b"own") == 3
    assert gup.access_process_vm(space, private + PAGE, 3) == b"aaa"
    assert do_madvise(space, AT, 2 * PAGE, MADV_REMOVE) == 0
    assert gup.access_process_vm(space, private, 3) == b"own"
    assert gup.access_process_vm(space, private + PAGE, 3) == bytes(3)
    assert gup.access_process_vm(space, AT + 2 * PAGE, 3) == b"aaa"
    assert validate(space.machine, [space]) == []


def test_shared_memory_goes_with_its_last_area(space):
    space.task_size = 1 << 47
    assert sys_mmap(space, None, AT, 20 * PAGE, 3, SHARED_FIXED | ANON, 0) == AT
    assert gup.access_process_vm(space, AT, b"x" * PAGE * 20) == 20 * PAGE
    assert sys_munmap(space, AT, 10 * PAGE) == 0
    assert shmem_pages(space.machine) == 20
    assert sys_munmap(space, AT + 10 * PAGE, 10 * PAGE) == 0
    assert shmem_pages(space.machine) == 0
    assert validate(space.machine, [space]) == []


def mapped_twice(space):
    """A shared file of six written pages, and a private area of it whose first four were read and
    whose third was written.
    """
    space.task_size = 1 << 47
    file = File("/tmp/x", data=b"a" * PAGE * 6, shmem=True)
    private = AT + 8 * PAGE
    assert sys_mmap(space, file, AT, 6 * PAGE, 3, SHARED_FIXED, 0) == AT
    assert sys_mmap(space, file, private, 6 * PAGE, 3, 0x12, 0) == private
    for page in range(6):
        assert gup.access_process_vm(space, AT + page * PAGE, b"A") == 1
    for page in range(4):
        gup.access_process_vm(space, private + page * PAGE, 1)
    assert gup.access_process_vm(space, private + 2 * PAGE, b"own") == 3
    return file, private


def test_a_hole_of_bytes(space):
    """Pages 1 and 2 go, the parts of 0 and 3 are cleared where they are; a private copy stays."""
    file, private = mapped_twice(space)
    assert vfs_fallocate(space.machine, file, 3, 100, 3 * PAGE + 50) == 0
    assert [index for index, _pfn in cached_pages(file)] == [0, 3, 4, 5]
    read = gup.access_process_vm
    assert read(space, AT, 101) == b"A" + b"a" * 99 + b"\0"
    assert read(space, AT + 3 * PAGE + 149, 2) == b"\0a"
    assert read(space, AT + 2 * PAGE, 3) == bytes(3)
    assert read(space, private + 2 * PAGE, 3) == b"own"
    assert (file.size, len(file.data)) == (6 * PAGE, 6 * PAGE)
    assert validate(space.machine, [space]) == []


def test_fallocate_makes_larger_and_says_no(space):
    file, _private = mapped_twice(space)
    machine = space.machine
    assert vfs_fallocate(machine, file, 1, 0, 9 * PAGE) == 0
    assert file.size == 6 * PAGE  # FALLOC_FL_KEEP_SIZE
    assert vfs_fallocate(machine, file, 0, 7 * PAGE, 100) == 0
    assert file.size == len(file.data) == 7 * PAGE + 100
    for mode, offset, length, error in (
        (0, -1, 5, EINVAL), (0, 0, 0, EINVAL), (2, 0, PAGE, EOPNOTSUPP), (8, 0, 5, EOPNOTSUPP),
    ):  # fmt: skip
        assert vfs_fallocate(machine, file, mode, offset, length) == -error


def test_a_shorter_file_takes_private_copies_too(space):
    file, private = mapped_twice(space)
    sync_mm_rss(space)
    before = sum(exact_counters(space))
    truncate_file(space.machine, file, PAGE + 10)
    assert [index for index, _pfn in cached_pages(file)] == [0, 1]
    assert (before, sum(exact_counters(space))) == (12, 4)  # a read had mapped its neighbours
    assert gup.access_process_vm(space, AT + PAGE, 12) == b"A" + b"a" * 9 + bytes(2)
    assert gup.access_process_vm(space, private + 2 * PAGE, 3) == b""  # behind the end
    truncate_file(space.machine, file, 3 * PAGE)
    assert gup.access_process_vm(space, private + 2 * PAGE, 3) == bytes(3)
    assert validate(space.machine, [space]) == []

"""Pages that leave the page cache: holes, and shared memory whose last area goes."""

import process_machine as process
import pytest

from mmtwin.kernel import gup
from mmtwin.kernel.filemap import cached_pages
from mmtwin.kernel.madvise import do_madvise
from mmtwin.kernel.memory_validate import validate
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import MADV_REMOVE
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.munmap import sys_munmap

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

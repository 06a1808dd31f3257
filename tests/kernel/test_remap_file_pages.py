"""remap_file_pages(): another part of a shared file at the same addresses."""

import process_machine as process
import pytest

from mmtwin.kernel import gup
from mmtwin.kernel.memory_validate import validate
from mmtwin.kernel.mm_types import FMODE_READ, File
from mmtwin.kernel.mman import EINVAL, VM_LOCKED
from mmtwin.kernel.mmap import remap_file_pages, sys_mmap
from mmtwin.kernel.mprotect import do_mprotect
from mmtwin.kernel.walk import translate

PAGE, AT = 4096, 0x400000
SHARED_FIXED, PRIVATE_FIXED = 0x11, 0x12
NONBLOCK = 0x10000


@pytest.fixture(params=process.PROFILES)
def space(request):
    space = process.new_mm(process.machine(request.param, memory="64M"))
    space.task_size = 1 << 47
    return space


@pytest.fixture
def file(space):
    data = b"".join(bytes([65 + page]) * PAGE for page in range(8))
    file = File("/tmp/lib", data=data, shmem=True)
    assert sys_mmap(space, file, AT, 6 * PAGE, 3, SHARED_FIXED, 0) == AT
    return file


def test_pages_change_places(space, file):
    assert remap_file_pages(space, AT + PAGE + 7, PAGE + 9, 0, 5, 0) == 0
    file.f_mode = FMODE_READ  # by another open: nothing to this area
    assert remap_file_pages(space, AT + 3 * PAGE, 2 * PAGE, 0, 0, NONBLOCK) == 0
    assert file.f_mode == FMODE_READ
    read = [gup.access_process_vm(space, AT + page * PAGE, 1) for page in range(6)]
    assert b"".join(read) == b"AFCABF"
    assert [(vma.vm_start - AT) // PAGE for vma in process.areas(space)] == [0, 1, 2, 3, 5]
    assert validate(space.machine, [space]) == []


def test_only_without_nonblock_the_pages_are_there(space, file):
    assert remap_file_pages(space, AT, PAGE, 0, 3, 0) == 0
    assert remap_file_pages(space, AT + PAGE, PAGE, 0, 4, NONBLOCK) == 0
    assert translate(space, AT) is not None
    assert translate(space, AT + PAGE) is None


def test_several_areas_of_one_file_and_locked_memory(space, file):
    assert remap_file_pages(space, AT, PAGE, 0, 3, 0) == 0
    for vma in process.areas(space):
        vma.vm_flags |= VM_LOCKED
    space.locked_vm = 6
    assert remap_file_pages(space, AT, 6 * PAGE, 0, 0, 0) == 0
    (vma,) = process.areas(space)
    assert (vma.vm_pgoff, vma.vm_flags & VM_LOCKED, space.locked_vm) == (0, VM_LOCKED, 6)


@pytest.mark.parametrize(("start", "size", "prot", "pgoff"), [
    (AT, PAGE, 1, 0),               # a protection
    (AT, 100, 0, 0),                # no page
    (AT, PAGE, 0, (1 << 64) - 1),   # the offset wraps
    (AT - PAGE, PAGE, 0, 0),        # nothing is there
    (AT + 5 * PAGE, 2 * PAGE, 0, 0),  # a hole behind
    (-(1 << 12) & (1 << 64) - 1, PAGE, 0, 0),
])  # fmt: skip
def test_refusals(space, file, start, size, prot, pgoff):
    assert remap_file_pages(space, start, size, prot, pgoff, 0) == -EINVAL


def test_what_is_no_one_shared_mapping_is_refused(space, file):
    assert sys_mmap(space, file, AT + 6 * PAGE, PAGE, 3, PRIVATE_FIXED, 0) == AT + 6 * PAGE
    assert remap_file_pages(space, AT + 6 * PAGE, PAGE, 0, 0, 0) == -EINVAL
    assert remap_file_pages(space, AT + 5 * PAGE, 2 * PAGE, 0, 0, 0) == -EINVAL
    assert do_mprotect(space, AT + 2 * PAGE, PAGE, 1) == 0
    assert remap_file_pages(space, AT, 6 * PAGE, 0, 0, 0) == -EINVAL
    assert remap_file_pages(space, AT + 2 * PAGE, PAGE, 0, 0, 0) == 0

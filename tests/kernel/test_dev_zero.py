"""Mappings of /dev/zero (drivers/char/mem.c: mmap_zero()), huge pages of hugetlbfs without a pool,
and write faults that are taken twice.
"""

import process_machine as process
import pytest

from mmtwin import Machine
from mmtwin.kernel import memory, mmap, mremap
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import EINVAL, ENOMEM, MAP_ANONYMOUS, MAP_HUGETLB, MAP_PRIVATE, MAP_SHARED
from mmtwin.kernel.rss_stat import set_current
from mmtwin.machine.elf_image import elf_image

PAGE = 4096
RW = 3


@pytest.fixture(params=["x86_64-5.10", "x86_64-6.1", "x86_64-7.3"])
def program(request):
    return Machine.boot(request.param, memory="64M").exec(elf_image(), ["demo"])



def test_private_mapping_is_anonymous_memory(program):
    zero = File("/dev/zero", "00:05", 4, device=True)
    place = mmap.sys_mmap(program.mm, zero, 0, 4 * PAGE, RW, MAP_PRIVATE, 0)
    program.touch(place, write=False)
    assert program.page(place) == program.mm.paging.zero_pfn
    program.write(place, b"mine")
    program.touch(place + PAGE, write=True)
    assert program.page(place) != program.mm.paging.zero_pfn
    assert program.read(place, 5) == b"mine\0"
    vma = program.mm.tree.find_vma(place)
    assert vma.vm_file is zero
    assert vma.anon_vma is not None
    program.validate()
    assert mremap.do_mremap(program.mm, place, 4 * PAGE, 8 * PAGE, 1) > 0
    program.validate()


def test_shared_mapping_has_a_file_of_its_own(program):
    zero = File("/dev/zero", "00:05", 4, device=True)
    first = mmap.sys_mmap(program.mm, zero, 0, 4 * PAGE, RW, MAP_SHARED, 0)
    second = mmap.sys_mmap(program.mm, zero, 0, 4 * PAGE, RW, MAP_SHARED, 0)
    files = [program.mm.tree.find_vma(place).vm_file for place in (first, second)]
    assert [file.path for file in files] == ["/dev/zero (deleted)"] * 2
    assert files[0].ino != files[1].ino
    program.write(first, b"one")
    assert program.read(second, 3) == bytes(3)
    program.validate()


def test_device_page_is_copied_on_write(program):
    device = File("/dev/fb0", "00:05", 9, 1 << 20, device=True)
    place = mmap.sys_mmap(program.mm, device, 0, 4 * PAGE, RW, MAP_PRIVATE, 0)
    program.touch(place, write=False)
    program.touch(place, write=True)
    program.touch(place + PAGE, write=True)
    program.validate()


def test_an_empty_pool_of_huge_pages(program):
    flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB
    searches = program.mm.tree.searches = []
    assert mmap.sys_mmap(program.mm, None, 0, 3 << 20, RW, flags, 0) == -ENOMEM
    program.mm.tree.searches = None
    info, found = searches[0]
    assert (info.length, info.align_mask) == (4 << 20, 0x1FF000)
    assert found % (2 << 20) == 0
    assert mmap.sys_mmap(program.mm, None, 0, 0, RW, flags, 0) == -EINVAL
    assert mmap.sys_mmap(program.mm, None, 0, PAGE, RW, flags | 16 << 26, 0) == -EINVAL


@pytest.mark.parametrize(("name", "faults"), [("x86_64-5.10", 2), ("x86_64-6.1", 1)])
def test_write_fault_that_dirties_a_shared_page(name, faults):
    machine = process.machine(name)
    space = process.new_mm(machine)
    file = File("/tmp/hole", size=8 * PAGE, shmem=True)
    vma = process.area(space, 0x400000, 0x400000 + 8 * PAGE, process.SHARED_RW, file, 0)
    task = machine.paging.current
    memory.handle_mm_fault(space, vma, 0x400000, 1)
    assert task.events == faults
    memory.handle_mm_fault(space, vma, 0x400000 + PAGE, 0)
    assert task.events == faults + 1
    set_current(machine, None)

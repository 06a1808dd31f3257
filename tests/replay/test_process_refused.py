"""What the kernel refused for reasons that no event tells is taken over, and only that."""

import pytest

from mmtwin import Machine
from mmtwin.kernel import mmap, mprotect, mremap
from mmtwin.kernel.mm_types import FMODE_READ, FMODE_WRITE, File
from mmtwin.kernel.mman import (
    EACCES,
    ENODEV,
    ENOMEM,
    RLIMIT_AS,
    VM_MAYWRITE,
)
from mmtwin.machine.elf_image import elf_image
from mmtwin.replay.process_refused import hidden_limit, opened_so, refuses, with_limit
from mmtwin.replay.processes import Process

PAGE = 4096
RW, PRIVATE, SHARED, ANONYMOUS = 3, 2, 1, 0x22
MAP = (0, 16 * PAGE, RW, ANONYMOUS, 0xFFFFFFFF, 0)


@pytest.fixture
def process():
    program = Machine.boot("x86_64-6.1", memory="64M").exec(elf_image(bss=8192), ["demo"])
    process = Process(1, "demo")
    process.mm = program.mm
    return process


def test_limit_that_no_event_tells(process):
    mm = process.mm
    assert hidden_limit(process, "mmap", MAP, -ENOMEM)
    assert not hidden_limit(process, "mmap", MAP, 0x10000)
    total, limits = mm.total_vm, dict(mm.rlimits)
    got = with_limit(mm, "mmap", lambda: mmap.sys_mmap(mm, None, *MAP[:4], 0))
    assert (got, mm.total_vm, mm.rlimits) == (-ENOMEM, total, limits)
    place = mmap.sys_mmap(mm, None, *MAP[:4], 0)
    asked = (place, 16 * PAGE, 64 * PAGE, 1)
    assert hidden_limit(process, "mremap", asked, -ENOMEM)
    assert with_limit(mm, "mremap", lambda: mremap.do_mremap(mm, *asked)) == -ENOMEM
    assert hidden_limit(process, "brk", (mm.brk + PAGE,), mm.brk)


def test_protection_falls_under_the_data_limit_alone(process):
    mm = process.mm
    place = mmap.sys_mmap(mm, None, 0, 16 * PAGE, 1, ANONYMOUS, 0)
    asked = (place, 16 * PAGE, RW)
    assert hidden_limit(process, "mprotect", asked, -ENOMEM)
    assert with_limit(mm, "mprotect", lambda: mprotect.do_mprotect(mm, *asked)) == -ENOMEM
    assert refuses(mm, "mprotect", (0x10000, PAGE, RW))  # nothing is there


def test_what_the_twin_refuses_itself_is_not_taken_over(process):
    mm = process.mm
    mm.rlimits[RLIMIT_AS] = mm.total_vm * PAGE
    assert refuses(mm, "mmap", MAP)
    assert not hidden_limit(process, "mmap", MAP, -ENOMEM)
    mm.rlimits[RLIMIT_AS] = 1 << 60
    assert refuses(mm, "mmap", (0, 1 << 40, RW, ANONYMOUS, 0, 0))  # overcommit
    committed = refuses(mm, "mmap", MAP)
    assert not committed


@pytest.mark.parametrize(
    ("flags", "prot", "error", "mode", "left"),
    [
        (SHARED, RW, -EACCES, None, FMODE_READ),
        (PRIVATE, 1, -EACCES, None, FMODE_WRITE),
        (SHARED, RW, -EACCES, FMODE_READ, FMODE_READ),
        (SHARED, RW, 0x10000, None, FMODE_READ | FMODE_WRITE),
    ],
)
def test_how_a_file_was_opened(process, flags, prot, error, mode, left):
    file = File("/tmp/a", size=PAGE)
    taken = opened_so(process.mm, "mmap", (0, PAGE, prot, flags, 3, 0), error, file, mode)
    assert taken == (error == -EACCES and mode is None)
    assert file.f_mode == left
    assert mmap.sys_mmap(process.mm, file, 0, PAGE, prot, flags, 0) == error or error > 0


def test_a_directory_and_a_later_mprotect(process):
    mm, file = process.mm, File("/tmp/a", size=PAGE)
    assert opened_so(mm, "mmap", (0, PAGE, 1, PRIVATE, 3, 0), -ENODEV, file, FMODE_READ)
    assert mmap.sys_mmap(mm, file, 0, PAGE, 1, PRIVATE, 0) == -ENODEV
    file.can_mmap, file.f_mode = 1, FMODE_READ | FMODE_WRITE
    place = mmap.sys_mmap(mm, file, 0, PAGE, 1, SHARED, 0)
    assert opened_so(mm, "mprotect", (place, PAGE, RW), -EACCES, None, None)
    assert not mm.tree.find_vma(place).vm_flags & VM_MAYWRITE
    assert mprotect.do_mprotect(mm, place, PAGE, RW) == -EACCES

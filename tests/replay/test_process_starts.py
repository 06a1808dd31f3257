"""Random starts of execs, from the events that tell them."""

import struct

import pytest

from mmtwin.kernel.mm_types import File
from mmtwin.machine.boot import boot_mm
from mmtwin.replay.process_files import FileTable, program_headers
from mmtwin.replay.process_starts import (
    ExecTrace,
    drawn_by,
    end_of_data,
    interpreter_of,
    lowest_stack,
    pointers,
)
from mmtwin.versions.profiles import profile

PAGE = 4096
STACK = 0x7FFC0AD86000  # its end
PIE, LOADER = 0x5572C1C85000, 0x7FC40D1FD000
LOADER_SIZE, BSS = 0x35000, 0x101E0


def elf(kind, entry, *headers):
    """An ELF file's head; `headers`: type, offset, address, size in the file and in memory."""
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", kind, 62, 1, entry, 64, 0, 0, 64, 56,
                       len(headers), 0, 0, 0)
    for what, offset, address, size, memory in headers:
        head += struct.pack("<IIQQQQQQ", what, 4, offset, address, address, size, memory, PAGE)
    return head


@pytest.fixture
def machine():
    return boot_mm(profile("x86_64-6.1"), "64M")


@pytest.fixture
def files():
    table = FileTable()
    name = b"/lib/ld.so\0"
    program = elf(3, 0x1000, (3, 4000, 4000, len(name), len(name)), (1, 0, 0, BSS, BSS + 64))
    table.files["/bin/pie"] = table._file("/bin/pie", "00:01", 1, 1 << 16,
                                          program.ljust(4000, b"\0") + name)
    rest = (1, 0x1000, 0x1000, 100, LOADER_SIZE - 0x1010)
    loader = elf(3, 0x1AB70, (1, 0, 0, 0x1000, 0x1000), rest)
    table.files["/lib/ld.so"] = table._file("/lib/ld.so", "00:01", 2, 1 << 18, loader)
    table.files["/bin/fixed"] = table._file("/bin/fixed", "00:01", 3, 1 << 16,
                                            elf(2, 0x401000, (1, 0, 0x400000, 100, 100)))
    return table


def test_headers(files):
    pie, fixed = files.files["/bin/pie"], files.files["/bin/fixed"]
    load = program_headers(pie.head)[1]
    assert (load.p_type, load.p_flags, load.p_offset, load.p_vaddr) == (1, 4, 0, 0)
    assert (load.p_filesz, load.p_memsz) == (BSS, BSS + 64)
    assert end_of_data(pie) == BSS
    assert end_of_data(fixed) == 0
    assert interpreter_of(pie, files) is files.files["/lib/ld.so"]
    assert interpreter_of(fixed, files) is None
    assert program_headers(b"#!/bin/sh") == []


def test_stores_tell_stack_program_and_vdso(machine, files):
    trace = ExecTrace(stores=[
        (0x7FFFFFFFE000, 0x7FFFFFFFEFFF),  # before it is moved
        (STACK - PAGE, 0x7FFFFFFFEFFF),
        (STACK - 33 * PAGE, STACK - 1),
        (PIE, PIE + 0x38FFF), (PIE + 0x2000, PIE + 0x38FFF),
        (LOADER, LOADER + LOADER_SIZE - 1),
        (STACK + 0x1E000, STACK + 0x1FFFF), (STACK + 0x1A000, STACK + 0x1DFFF),
    ], base=LOADER + LOADER_SIZE, brk=PIE + 0x3E61000)  # fmt: skip
    drawn = drawn_by(trace, files.files["/bin/pie"], files, machine)
    assert drawn == {
        "mmap_base": LOADER + LOADER_SIZE, "start_brk": PIE + 0x3E61000, "stack_top": STACK,
        "vdso": STACK + 0x1A000, "first_page": PIE,
    }  # fmt: skip
    fixed = drawn_by(trace, files.files["/bin/fixed"], files, machine)
    assert "first_page" not in fixed


def test_faults_tell_where_nothing_was_stored(machine, files):
    """padzero() of the program, AT_PLATFORM on the page below the strings, the loader's entry."""
    platform = STACK - 2 * PAGE + 0xB09
    trace = ExecTrace(entry=LOADER + 0x1AB70, wrote=[(PIE + BSS, 2), (platform, 2)])
    drawn = drawn_by(trace, files.files["/bin/pie"], files, machine)
    assert drawn == {
        "mmap_base": LOADER + LOADER_SIZE, "first_page": PIE, "stack_top": STACK,
        "platform": platform, "stack_pointer": 0,
    }  # fmt: skip


def test_first_page_used_where_the_kernel_wrote_nothing(machine, files):
    trace = ExecTrace(lowest=PIE + 0x40, pushed=STACK - PAGE - 8)
    drawn = drawn_by(trace, files.files["/bin/pie"], files, machine)
    assert drawn == {"first_page": PIE, "stack_top": STACK}


def test_pointers():
    """What ends at 16 bytes less its length is the platform's name, an even address argc."""
    assert pointers([]) == {"platform": 0, "stack_pointer": 0}
    assert pointers([(STACK - 0x4F7, 2), (STACK - 0x1010, 2)]) == {
        "platform": STACK - 0x4F7, "stack_pointer": STACK - 0x1010,
    }  # fmt: skip


def test_nothing_told_is_nothing_drawn(machine, files):
    assert drawn_by(ExecTrace(), files.files["/bin/pie"], files, machine) == {}
    assert drawn_by(ExecTrace(), File("/x", "00:00", 0, 0), files, machine) == {}
    assert lowest_stack(machine) < STACK < 1 << 47


@pytest.mark.parametrize(("kernel", "data"), [("x86_64-5.10", 4), ("x86_64-6.1", 4)])
def test_the_vdso_is_where_its_header_was_read(files, kernel, data):
    """Reads of the stack itself lie below its end; without an end nothing lies above it."""
    machine = boot_mm(profile(kernel), "64M")
    vdso = STACK + 0x5F000
    reads = [STACK - 0x2000, vdso + 0x20, vdso - PAGE]
    trace = ExecTrace(wrote=[(STACK - 0x1D37, 2)], reads=reads)
    drawn = drawn_by(trace, files.files["/bin/fixed"], files, machine)
    assert drawn["stack_top"] == STACK
    assert drawn["vdso"] == vdso - data * PAGE
    nowhere = ExecTrace(reads=[vdso + 0x20])
    assert "vdso" not in drawn_by(nowhere, files.files["/bin/fixed"], files, machine)

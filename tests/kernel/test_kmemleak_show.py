"""What kmemleak prints, the commands written to it, its thread, its tree and checksums."""

import re
import zlib

import numpy as np
from leak_machine import GFP_KERNEL, HZ, Leaks

from mmtwin.kernel.kmemleak_object import KmemleakObject, ObjectTree
from mmtwin.kernel.kmemleak_scan import crc32, read_bytes
from mmtwin.kernel.kmemleak_show import hex_rows, kmemleak_write, number_of

# ---- what it prints


def test_the_report_has_the_form_of_its_release() -> None:
    forms = {
        "5.10": (r"\(age 10\.000s\)\n", r"  backtrace:\n    \[<0{8}\w{8}>\] probe\+0x1f/0x90\n"),
        "6.12": (r"", r"  backtrace \(crc \w+\):\n    probe\+0x1f/0x90\n"),
    }
    for version, (age, trace) in forms.items():
        leaks = Leaks(version)
        leaks.mm.frames.append("probe+0x1f/0x90")
        address = leaks.kmalloc(8)
        leaks.mm.frames.clear()
        leaks.store(address, 0x4142430001020304)
        leaks.k.scan()
        assert leaks.scan() == 1
        text = leaks.k.show()
        assert text.startswith(f"unreferenced object 0x{address:x} (size 8):\n  comm \"swapper")
        assert re.search(age, text)
        assert ("age" in text) == bool(age)
        row = "    04 03 02 01 00 43 42 41" + " " * 26 + ".....CBA\n"
        assert f"  hex dump (first 8 bytes):\n{row}" in text
        assert re.search(trace, text)
        assert "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)" in (
            leaks.k.log
        )


def test_commands_that_are_written_to_it() -> None:
    leaks = Leaks()
    address = leaks.kmalloc()
    leaks.scan()
    assert f"{address:x}" in leaks.k.show()
    assert kmemleak_write(leaks.k, "clear\n") == 6
    assert leaks.k.show() == ""
    assert leaks.object(address).color == "grey"
    assert kmemleak_write(leaks.k, f"dump={address:#x}") > 0
    assert leaks.k.log[-5:-2] == [
        "kmemleak:   min_count = 0", "kmemleak:   count = 0", "kmemleak:   flags = 0x3",
    ]
    assert kmemleak_write(leaks.k, "dump=1") == -22
    assert leaks.k.log[-1] == "kmemleak: Unknown object at 0x00000001"
    assert kmemleak_write(leaks.k, "nonsense") == -22
    assert kmemleak_write(leaks.k, "stack=off") == 9
    assert not leaks.k.stack_scan
    assert kmemleak_write(leaks.k, "off") == 3
    assert kmemleak_write(leaks.k, "scan") == -1


def test_off_keeps_what_was_found_until_it_is_cleared() -> None:
    leaks = Leaks()
    leaks.kmalloc()
    leaks.scan()
    kmemleak_write(leaks.k, "off")
    assert leaks.k.show()
    assert "without freeing internal data" in leaks.k.log[-1]
    kmemleak_write(leaks.k, "clear")
    assert leaks.k.show() == ""
    assert len(leaks.k.object_list) == 0


def test_the_thread_scans_when_its_time_has_come() -> None:
    leaks = Leaks()
    leaks.k.late_init()
    leaks.kmalloc()
    leaks.k.run_until(leaks.mm.jiffies + 59 * HZ)
    assert not leaks.k.found_leaks
    leaks.k.run_until(leaks.mm.jiffies + 2 * HZ)
    assert leaks.k.found_leaks
    assert kmemleak_write(leaks.k, "scan=20\n") == 8
    leaks.kmalloc()
    leaks.k.run_until(leaks.mm.jiffies + 30 * HZ)
    assert sum("new suspected" in line for line in leaks.k.log) == 2
    assert kmemleak_write(leaks.k, "scan=-1") == -22
    assert kmemleak_write(leaks.k, "scan=0") == 6
    assert leaks.k.next_scan is None


def test_since_7_3_a_leak_is_confirmed_by_a_second_scan() -> None:
    leaks = Leaks("7.3")
    page = leaks.page(0)
    leaks.k.alloc(page, 64, 1, GFP_KERNEL)
    leaks.k.min_unref_scans = 2
    assert leaks.scan() == 0  # its checksum was none
    assert leaks.scan() == 0  # seen once
    assert leaks.scan() == 1


# ---- its parts


def test_the_tree_finds_what_holds_an_address() -> None:
    rng = np.random.default_rng(5)
    tree = ObjectTree()
    starts = rng.permutation(6000).astype(int) * 32
    objects = [KmemleakObject(int(start), 24, 1, 0, 0) for start in starts]
    for object in objects:
        assert tree.overlapping(object.pointer, 24) is None
        tree.insert(object)
    for object in objects[:4000]:
        tree.remove(object)
    left = {o.pointer for o in objects[4000:]}
    for address in range(0, 6000 * 32, 13):
        start = address // 32 * 32
        held = start in left and address - start < 24
        found = tree.find(address)
        assert (found is not None and found.pointer == start) == held
        assert (tree.overlapping(address, 1) is not None) == held
    assert len(tree) == 2000


def test_checksums_and_dumps_are_the_kernels() -> None:
    assert crc32(0, bytes(100)) == 0
    assert crc32(0xFFFFFFFF, b"123456789") == 0x340BC6D9
    assert crc32(0xFFFFFFFF, b"x") ^ 0xFFFFFFFF == zlib.crc32(b"x")
    assert hex_rows(b"abc\x7f")[0] == "    61 62 63 7f" + " " * 38 + "abc."
    assert [number_of(text) for text in ("0x10", "010", "10\n", "+7", "-1", "x")] == [
        16, 8, 10, 7, None, None,
    ]


def test_memory_is_read_as_bytes() -> None:
    leaks = Leaks()
    page = leaks.page(0)
    leaks.store(page, 0x31)
    assert read_bytes(leaks.mm, page, 3) == b"1\0\0"
    assert read_bytes(leaks.mm, 8, 2) == bytes(2)

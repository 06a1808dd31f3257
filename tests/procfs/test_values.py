"""What the parsers make of single lines: types, rare forms, names of bits."""

import numpy as np
import pytest

from mmtwin.procfs import (
    buddyinfo,
    kpagecount,
    kpageflags,
    meminfo,
    pagetypeinfo,
    slabinfo,
    sys_kernel_slab,
    vmallocinfo,
    zoneinfo,
)
from mmtwin.procfs.compare import compare_buddyinfo, compare_kpageflags
from mmtwin.procfs.errors import ProcError

STATISTICS = (
    "slabinfo - version: 2.1 (statistics)\n"
    "# name            <active_objs>\n"
    "a name               1      2     64   64    1 : tunables  120   60    8"
    " : slabdata      1      1      0 : globalstat 1 2 3 : cpustat 4 5 6 7\n"
)
CAPPED = (
    "Page block order: 9\n"
    "Pages per block:  512\n"
    "\n"
    "Free pages count per migrate type at order       0      1 \n"
    "Node    0, zone   Normal, type      Movable >100000     12 \n"
    "\n"
    "Number of blocks type       Movable \n"
    "Node 0, zone   Normal          300 \n"
    "\n"
    "Number of mixed blocks      Movable \n"
    "Node 0, zone   Normal            3 \n"
)


def test_slabinfo_of_a_debug_kernel_and_a_name_with_a_space():
    row = slabinfo.parse(STATISTICS)[0]
    assert (row.name, row.active_objs, row.objsize) == ("a name", 1, 64)
    assert (row.limit, row.batchcount, row.sharedfactor) == (120, 60, 8)


def test_pagetypeinfo_with_a_cut_count_and_mixed_blocks():
    node = pagetypeinfo.parse(CAPPED)[0]
    assert node.free[0].free == (100_000, 12)
    assert node.free[0].capped == {0}
    assert node.mixed is not None and node.mixed[0].blocks == (3,)
    assert pagetypeinfo.format_pagetypeinfo([node]) == CAPPED


def test_vmallocinfo_words():
    text = (
        "0xffffc90000000000-0xffffc90000005000   20480 f+0x1/0x2 [mod] pages=4 vmalloc N0=3 N1=1\n"
        "0xffffc90000005000-0xffffc90000007000    8192 g+0x1/0x2 phys=0x00000000fed00000 ioremap\n"
        "0x(____ptrval____)-0x(____ptrval____)    8192 unpurged vm_area\n"
    )
    alloc, remap, lazy = vmallocinfo.parse(text)
    assert alloc.caller == "f+0x1/0x2 [mod]"
    assert (alloc.pages, alloc.flags, alloc.nodes) == (4, ("vmalloc",), {0: 3, 1: 1})
    assert alloc.addresses == (0xFFFFC90000000000, 0xFFFFC90000005000)
    assert remap.phys == 0xFED00000
    assert lazy.bare == "unpurged vm_area" and lazy.addresses is None
    assert vmallocinfo.format_vmallocinfo([alloc, remap, lazy]) == text


def test_slab_attributes_with_nodes_and_cpus():
    text = (
        "c objects 12 N0=8 N1=4 \n"
        "c slabs_cpu_partial 104(8) C0=39(3) C1=65(5) \n"
        "c ctor \n"
        "other @link c\n"
    )
    entries = sys_kernel_slab.parse(text)
    cache = sys_kernel_slab.resolve(entries)["other"]
    assert isinstance(cache, sys_kernel_slab.SlabAttributes)
    assert cache.number("objects") == 12
    assert cache.count("objects").nodes == {0: 8, 1: 4}
    assert cache.cpu_partial().cpus == {0: (39, 3), 1: (65, 5)}
    assert cache.values["ctor"] == ""
    with pytest.raises(ProcError, match="c has no order"):
        cache.number("order")
    with pytest.raises(ProcError, match="c ctor is no number"):
        cache.number("ctor")


@pytest.mark.parametrize("name", ["..", "", "a\0b", "x" * 300])
def test_no_slab_folder_outside_its_place(tmp_path, name):
    with pytest.raises(ProcError, match="is no file name"):
        sys_kernel_slab.write_folder([sys_kernel_slab.SlabAttributes(name, {})], tmp_path)


def test_a_slash_becomes_what_sysfs_has(tmp_path):
    entries = [sys_kernel_slab.SlabAttributes("a/b", {"order": "1", "ctor": ""})]
    sys_kernel_slab.write_folder(entries, tmp_path)
    assert (tmp_path / "a!b" / "order").read_bytes() == b"1\n"
    assert (tmp_path / "a!b" / "ctor").read_bytes() == b""


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(ProcError, match="No such file"):
        sys_kernel_slab.read_folder(tmp_path / "none")


def test_meminfo_columns():
    lines = meminfo.parse("HardwareCorrupted:     0 kB\nHugePages_Total:       7\n")
    assert lines["HugePages_Total"].unit == ""
    assert meminfo.format_meminfo(lines) == (
        "HardwareCorrupted:     0 kB\nHugePages_Total:       7\n"
    )


def test_empty_zone_is_not_populated():
    zones = zoneinfo.parse(
        "Node 0, zone   Normal\n  pages free     0\n        min      0\n"
        "        present  0\n        protection: (0, -1)\n"
    )
    assert not zones[0].populated
    assert zones[0].protection == (0, -1)


@pytest.mark.parametrize("module", [kpageflags, kpagecount])
def test_flags_come_in_words(module):
    with pytest.raises(ProcError, match="12 bytes are no whole number"):
        module.parse(bytes(12))


def test_names_and_comparison_of_page_flags():
    kernel = np.array([1 << 10, 1 << 7, (1 << 32) | (1 << 5)], dtype=np.uint64)
    twin = np.array([1 << 10, 1 << 15 | 1 << 10, 0], dtype=np.uint64)
    assert kpageflags.flag_names(int(kernel[2])) == ["lru", "reserved"]
    found = compare_kpageflags(kernel, twin)
    assert (found.rows, found.exact) == (3, 2)
    assert found.differences[0].row == "pfn 1"


def test_a_zone_that_only_one_side_has():
    row = buddyinfo.BuddyRow(0, "DMA", (1, 2))
    other = buddyinfo.BuddyRow(1, "DMA", (1, 2))
    found = compare_buddyinfo([row], [row, other])
    assert (found.rows, found.exact) == (1, 1)
    assert [(d.row, d.kernel, d.twin) for d in found.differences] == [("node 1 DMA", None, (1, 2))]

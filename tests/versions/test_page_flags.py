"""Page flags against the type information of Debian's kernels."""

import pytest

from mmtwin.versions.page_flag_layout import nr_cpus_bits, page_flag_layout
from mmtwin.versions.page_flags import (
    kpf_bits,
    kpf_names,
    page_flag_bits,
    page_flag_names,
    page_type_names,
    page_types,
)
from mmtwin.versions.profiles import profile

OLD = (
    "locked referenced uptodate dirty lru active workingset waiters error slab owner_priv_1 "
    "arch_1 reserved private private_2 writeback head mappedtodisk reclaim swapbacked unevictable "
    "mlocked "
)
NEW = (
    "locked writeback referenced uptodate dirty lru head waiters active workingset owner_priv_1 "
    "owner_2 arch_1 reserved private private_2 reclaim swapbacked unevictable "
)
# enum pageflags of each kernel's BTF, from bit 0
FLAGS = {
    "x86_64-5.10": OLD + "uncached hwpoison arch_2",
    "x86_64-6.1": OLD + "uncached hwpoison arch_2",
    "arm64-5.10": OLD + "hwpoison arch_2",
    "arm64-6.1": OLD + "hwpoison arch_2",
    "x86_64-6.12": NEW + "mlocked hwpoison young idle arch_2",
    "x86_64-6.18": NEW + "dropbehind mlocked hwpoison young idle arch_2",
    "x86_64-7.3": NEW + "dropbehind mlocked hwpoison young idle arch_2",
    "arm64-16k-6.12": NEW + "mlocked hwpoison young idle arch_2 arch_3",
    "arm64-16k-7.3": NEW + "dropbehind mlocked hwpoison young idle arch_2 arch_3",
}


@pytest.mark.parametrize("name", FLAGS)
def test_bits_are_those_of_the_kernels_enum(name: str) -> None:
    facts = profile(name)
    bits = page_flag_bits(facts.version, facts.arch, facts.config)
    assert [flag.removeprefix("PG_") for flag in bits] == FLAGS[name].split()
    assert list(bits.values()) == list(range(len(bits)))


def test_kpageflags_bits() -> None:
    assert kpf_names(0x80 | 1 << 15, "6.1") == ["KPF_SLAB", "KPF_COMPOUND_HEAD"]
    assert kpf_bits("6.1")["KPF_RESERVED"] == 32
    assert kpf_bits("6.1")["KPF_MAPPEDTODISK"] == kpf_bits("6.12")["KPF_OWNER_2"] == 34
    assert kpf_bits("5.10")["KPF_BUDDY"] == kpf_bits("7.3")["KPF_BUDDY"] == 10
    assert "KPF_UNCACHED" not in kpf_bits("7.3")
    assert "KPF_BALLOON" in kpf_bits("4.9")
    assert "KPF_PGTABLE" not in kpf_bits("4.9")


def test_page_types_came_with_6_12() -> None:
    assert page_types("6.1") == {}
    assert page_types("6.12")["PGTY_slab"] == 0xF5
    assert "PGTY_large_kmalloc" not in page_types("6.12")
    assert page_types("6.18")["PGTY_large_kmalloc"] == 0xF8
    # as kernels printed them: page_type: 0xffffefff(slab), 0xfdffffff(slab), f5(slab)
    assert page_type_names(0xFFFFEFFF, "6.10") == ["slab"]
    assert page_type_names(0xFDFFFFFF, "6.11") == ["slab"]
    assert page_type_names(0xF5000000, "6.13") == ["slab"]
    assert page_type_names(0xFFFFFFFF, "6.5") == page_type_names(3, "6.10") == []
    assert page_type_names(0xFFFFFF7F, "4.18") == ["buddy"]


@pytest.mark.parametrize(("release", "printed"), [
    ("4.4", "locked error referenced uptodate dirty lru active slab owner_priv_1 arch_1 reserved "
            "private private_2 writeback head swapcache mappedtodisk reclaim swapbacked "
            "unevictable mlocked uncached hwpoison compound_lock young idle"),
    ("4.20", "locked waiters error referenced uptodate dirty lru active workingset slab "
             "owner_priv_1 arch_1 reserved private private_2 writeback head mappedtodisk reclaim "
             "swapbacked unevictable mlocked uncached hwpoison young idle"),
    ("7.3", "locked waiters referenced uptodate dirty lru active workingset owner_priv_1 owner_2 "
            "arch_1 reserved private private_2 writeback head reclaim swapbacked unevictable "
            "dropbehind mlocked hwpoison idle young arch_2"),
])  # fmt: skip
def test_names_are_printed_in_the_kernels_order(release: str, printed: str) -> None:
    on = dict.fromkeys(("CONFIG_MEMORY_FAILURE", "CONFIG_PAGE_IDLE_FLAG",
                        "CONFIG_TRANSPARENT_HUGEPAGE"), "y")  # fmt: skip
    bits = page_flag_bits(release, "x86_64", on)
    assert [name for _, name in page_flag_names(release, bits)] == printed.split()


@pytest.mark.parametrize(("release", "flag", "bit"), [
    ("4.9", "slab", 7), ("4.18", "slab", 8), ("6.5", "slab", 9), ("6.9", "slab", 11),
    ("6.5", "head", 16), ("6.6", "head", 6), ("4.9", "head", 14), ("5.19", "reserved", 12),
    ("6.8", "reserved", 14), ("7.0", "reserved", 13),
])  # fmt: skip
def test_flags_moved(release: str, flag: str, bit: int) -> None:
    assert page_flag_bits(release, "x86_64", {})[f"PG_{flag}"] == bit


NUMA = {
    "CONFIG_NUMA_BALANCING": "y", "CONFIG_ZONE_DMA": "y", "CONFIG_ZONE_DMA32": "y",
    "CONFIG_ZONE_DEVICE": "y", "CONFIG_SPARSEMEM": "y", "CONFIG_SPARSEMEM_VMEMMAP": "y",
}  # fmt: skip


@pytest.mark.parametrize(("nodes", "cpus", "node", "zone", "raw", "text"), [
    # page->flags as kernels printed them in public reports: 6.1.0-rc2, syzkaller's 6.4, 6.0
    (10, 8192, 0, 1, 0xFFFFFC0010200, "node=0|zone=1|lastcpupid=0x1fffff"),
    (6, 8, 1, 1, 0x4FFF00000010200, "node=1|zone=1|lastcpupid=0x7ff"),
    (6, 16, 1, 1, 0x4FFF80000010200, "node=1|zone=1|lastcpupid=0xfff"),
])  # fmt: skip
def test_fields_above_the_flags(
    nodes: int, cpus: int, node: int, zone: int, raw: int, text: str
) -> None:
    config = {"CONFIG_NODES_SHIFT": str(nodes), "CONFIG_NR_CPUS": str(cpus), **NUMA}
    layout = page_flag_layout("6.0", "x86_64", config)
    assert layout.value(node, zone) | 0x10200 == raw
    assert "|".join(layout.names(raw)) == text


SPARSE = {"CONFIG_SPARSEMEM": "y"}


@pytest.mark.parametrize(("release", "arch", "config", "fields"), [
    ("6.5", "x86_64", {**SPARSE, "CONFIG_ZONE_DMA": "y"},  # 0xa80000010200: section=5|zone=1
     [("section", 45, 19), ("zone", 43, 2)]),
    ("5.17", "riscv64", {**SPARSE, "CONFIG_ZONE_DMA32": "y", "CONFIG_NODES_SHIFT": "2"},
     [("section", 35, 29), ("node", 33, 2), ("zone", 31, 2)]),  # 0xa000010200: section=20
    ("5.13", "arm", {**SPARSE, "CONFIG_HIGHMEM": "y"}, [("section", 28, 4), ("zone", 26, 2)]),
    ("5.13", "i386", {"CONFIG_HIGHMEM": "y", "CONFIG_ZONE_DMA": "y"}, [("zone", 30, 2)]),
    ("6.1", "x86_64", {**NUMA, "CONFIG_NODES_SHIFT": "6", "CONFIG_NR_CPUS": "64",
                       "CONFIG_LRU_GEN": "y"},
     [("node", 58, 6), ("zone", 55, 3), ("lastcpupid", 41, 14), ("lru_gen", 38, 3),
      ("lru_refs", 36, 2)]),
    ("6.12", "arm64", {**NUMA, "CONFIG_NODES_SHIFT": "4", "CONFIG_NR_CPUS": "256",
                       "CONFIG_KASAN_SW_TAGS": "y"},
     [("node", 60, 4), ("zone", 57, 3), ("lastcpupid", 41, 16), ("kasantag", 33, 8)]),
])  # fmt: skip
def test_layouts(
    release: str, arch: str, config: dict[str, str], fields: list[tuple[str, int, int]]
) -> None:
    assert list(page_flag_layout(release, arch, config).fields) == fields


def test_what_does_not_fit_is_left_out() -> None:
    classic = {**NUMA, "CONFIG_SPARSEMEM_VMEMMAP": "n", "CONFIG_NODES_SHIFT": "10",
               "CONFIG_NR_CPUS": "8192"}  # fmt: skip
    fields = [name for name, _, _ in page_flag_layout("6.12", "x86_64", classic).fields]
    assert fields == ["section", "node", "zone"]  # no room for lastcpupid
    narrow = {**SPARSE, "CONFIG_ARM_LPAE": "y", "CONFIG_NODES_SHIFT": "4"}
    fields = [name for name, _, _ in page_flag_layout("5.13", "arm", narrow).fields]
    assert fields == ["section", "zone"]  # classic sparse, no space for the node


@pytest.mark.parametrize(("release", "cpus", "bits"), [
    ("6.8.1", 24, 4),  # ilog2
    ("6.8.1", 8192, 13),
    ("6.8.4", 8192, 14),  # bits_per, f2d5dcb48f7b
    ("6.8.9", 8192, 13),  # order_base_2, 5af385f5f4cd
    ("6.1.83", 24, 4),
    ("6.1.84", 64, 7),
    ("6.1", 24, 5),
    ("6.9.0-rc4", 8192, 14),
    ("6.9.0-0.rc6.20240501git.52.fc41.x86_64", 8192, 14),
    ("6.9.0-rc7", 8192, 13),
    ("7.3", 24, 5),
])  # fmt: skip
def test_cpus_were_counted_one_bit_too_wide_for_a_while(
    release: str, cpus: int, bits: int
) -> None:
    assert nr_cpus_bits(release, cpus) == bits

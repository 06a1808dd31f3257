"""Page flags against the type information of Debian's kernels."""

import pytest

from mmtwin.versions.page_flags import (
    kpf_bits,
    kpf_names,
    page_flag_bits,
    page_flag_fields,
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


def test_page_types_came_with_6_11() -> None:
    assert page_types("6.1") == {}
    assert page_types("6.12")["PGTY_slab"] == 0xF5
    assert "PGTY_large_kmalloc" not in page_types("6.12")
    assert page_types("6.18")["PGTY_large_kmalloc"] == 0xF8


@pytest.mark.parametrize(("nodes", "cpus", "node", "zone", "raw", "text"), [
    # page->flags as kernels printed them in public reports: 6.1.0-rc2, syzkaller's 6.4, 6.0
    (10, 8192, 0, 1, 0xFFFFFC0010200, "node=0|zone=1|lastcpupid=0x1fffff"),
    (6, 8, 1, 1, 0x4FFF00000010200, "node=1|zone=1|lastcpupid=0x7ff"),
    (6, 16, 1, 1, 0x4FFF80000010200, "node=1|zone=1|lastcpupid=0xfff"),
])
def test_fields_above_the_flags(
    nodes: int, cpus: int, node: int, zone: int, raw: int, text: str
) -> None:
    config = {"CONFIG_NODES_SHIFT": str(nodes), "CONFIG_NR_CPUS": str(cpus)}
    config |= dict.fromkeys(
        ("CONFIG_NUMA_BALANCING", "CONFIG_ZONE_DMA", "CONFIG_ZONE_DMA32", "CONFIG_ZONE_DEVICE"),
        "y",
    )
    fields = page_flag_fields(config)
    assert fields.value(node, zone) | 0x10200 == raw
    assert "|".join(fields.names(raw)) == text

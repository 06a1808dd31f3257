"""Page flags: the bits of /proc/kpageflags, and where `struct page` keeps the kernel's own.

The facts are in page_flag_tables.py, the fields above the flags in page_flag_layout.py.
"""

from collections.abc import Mapping

from mmtwin.versions.page_flag_tables import (
    FLAGS,
    IDLE_FIRST_SINCE,
    KPF,
    KPF_ENDS,
    KPF_RENAMED,
    KPF_SINCE,
    LARGE_KMALLOC_SINCE,
    PRINTED,
    PRINTED_SINCE,
    SWITCHED,
    TYPE_BITS,
    TYPE_VALUES,
    TYPE_VALUES_SINCE,
)
from mmtwin.versions.releases import has_since

BITS_32 = ("i386", "arm", "mips", "ppc", "riscv32", "m68k", "sh", "xtensa")
# Switches that an architecture selects by itself.
SELECTED = {
    "CONFIG_ARCH_USES_PG_UNCACHED": ("x86_64", "i386"),
    "CONFIG_ARCH_USES_PG_ARCH_X": ("arm64",),
    "CONFIG_ARCH_USES_PG_ARCH_2": ("arm64", "x86_64", "i386"),
    "CONFIG_ARCH_USES_PG_ARCH_3": ("arm64",),
}

# Architectures that have CONFIG_MEMORY_FAILURE (ARCH_SUPPORTS_MEMORY_FAILURE).
SURVIVE_FAILURES = ("x86_64", "i386", "arm64", "ppc64", "riscv64", "loongarch64", "parisc64")


def word_bits(arch: str) -> int:
    """Bits of an unsigned long: 32 or 64."""
    return 32 if arch in BITS_32 else 64


def has_switch(symbol: str, arch: str, config: Mapping[str, str]) -> bool:
    """Whether a switch that a page flag needs is on: as configured, else as Kconfig has it."""
    if symbol == "CONFIG_MEMORY_FAILURE" and arch not in SURVIVE_FAILURES:
        return False
    if symbol == "CONFIG_PAGE_IDLE_FLAG" and word_bits(arch) == 32:
        return False
    if symbol in config:
        return config[symbol] not in ("n", "")
    if symbol == "CONFIG_MMU":
        return True
    if symbol == "CONFIG_64BIT":
        return word_bits(arch) == 64
    if symbol == "CONFIG_PAGE_IDLE_FLAG":
        return config.get("CONFIG_IDLE_PAGE_TRACKING") == "y"
    return arch in SELECTED.get(symbol, ())


def page_flag_bits(version: str, arch: str, config: Mapping[str, str]) -> dict[str, int]:
    """`{"PG_locked": 0, ...}`: bit numbers in `page->flags`; slab is no flag since 6.10."""
    names = next(text for release, text in reversed(FLAGS) if has_since(version, release)).split()
    names += [
        flag for flag, first, end, symbol in SWITCHED
        if has_since(version, first) and not (end and has_since(version, end))
        and has_switch(symbol, arch, config)
    ]  # fmt: skip
    return {f"PG_{name}": bit for bit, name in enumerate(names)}


def page_flag_names(version: str, bits: Mapping[str, int]) -> list[tuple[int, str]]:
    """(mask, name) in the order in which a kernel's %pGp prints the flags of `page_flag_bits`."""
    if not has_since(version, PRINTED_SINCE):
        return [(1 << bit, name.removeprefix("PG_")) for name, bit in bits.items()]
    order = PRINTED.split()
    if has_since(version, IDLE_FIRST_SINCE):
        young, idle = order.index("young"), order.index("idle")
        order[young], order[idle] = "idle", "young"
    return [(1 << bits[f"PG_{name}"], name) for name in order if f"PG_{name}" in bits]


def kpf_bits(version: str) -> dict[str, int]:
    """`{"KPF_BUDDY": 10, ...}`: the bits of /proc/kpageflags of a release, by name."""
    bits = dict(KPF)
    for old, new, bit, release in KPF_RENAMED:
        bits.pop(old, None)
        bits.pop(new, None)
        bits[new if has_since(version, release) else old] = bit
    for name, release in KPF_ENDS.items():
        if has_since(version, release):
            del bits[name]
    for name, release in KPF_SINCE.items():
        if not has_since(version, release):
            del bits[name]
    return {f"KPF_{name}": bit for name, bit in sorted(bits.items(), key=lambda item: item[1])}


def kpf_names(value: int, version: str) -> list[str]:
    """The names of the bits set in an entry of /proc/kpageflags."""
    return [name for name, bit in kpf_bits(version).items() if value >> bit & 1]


def page_types(version: str) -> dict[str, int]:
    """`{"PGTY_buddy": 0xf0, ...}`: the types a page may have; {} before they were values."""
    if not has_since(version, TYPE_VALUES_SINCE):
        return {}
    late = has_since(version, LARGE_KMALLOC_SINCE)
    return {f"PGTY_{name}": value for name, value in TYPE_VALUES.items()
            if late or name != "large_kmalloc"}  # fmt: skip


def page_type_names(value: int, version: str) -> list[str]:
    """The types that a page's whole `page_type` (u32) has: bits that are clear, or a value."""
    if has_since(version, TYPE_VALUES_SINCE):
        known = page_types(version)
        return [name.removeprefix("PGTY_") for name, number in known.items()
                if number == value >> 24]  # fmt: skip
    bits = next((types for release, types in reversed(TYPE_BITS) if has_since(version, release)),
                {})  # fmt: skip
    base = 0x80000000 if has_since(version, "6.11") else 0xF0000000  # PAGE_TYPE_BASE
    if value & base != base:
        return []
    return [name for name, bit in bits.items() if not value & bit]

"""Where a kernel keeps vmalloc space and modules, and how many address bits its tables have.

x86-64: arch/x86/include/asm/pgtable_64_types.h. arm64: asm/pgtable.h, asm/memory.h.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mmtwin.versions.kasan import (
    ARM64_LINEAR_MAP_MOVED,
    SHADOW_SPAN,
    X86_FOUR_LEVELS_START,
    shadow_offset,
)
from mmtwin.versions.releases import has_since

MASK64 = (1 << 64) - 1
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
STRUCT_PAGE_SHIFT = 6
# MODULES_VSIZE of arm64 went from 128 MiB to 2 GiB.
MODULES_2G_SINCE = "6.5"  # 3e35d303ab7d
# Before, a region for BPF programs of 128 MiB lay below the modules.
NO_BPF_REGION_SINCE = "5.17"  # b89ddf4cca43
# The top of arm64's addresses: vmemmap came first, then was moved below what ends at -1 GiB.
VMEMMAP_BY_BITS_SINCE = "5.11"  # 8c96400d6a39, 9ad7c6d5e75b
VMEMMAP_BELOW_1G_SINCE = "6.9"  # 32697ff38287, b730b0f2b1fc, 031e011d8b22


@dataclass(frozen=True)
class AddressSpace:
    """Kernel addresses: `vmalloc_end` as the kernel defines it (on x86-64 the last byte);
    `modules_end` behind the last byte; `va_bits`: bits that the page tables translate.
    """

    vmalloc_start: int
    vmalloc_end: int
    modules_start: int
    modules_end: int
    va_bits: int


def address_space(
    version: str, arch: str, page_size: int, config: Mapping[str, str], page_offset: int = 0
) -> AddressSpace:
    """The regions of one kernel without KASLR.

    `page_offset`: the address of pfn 0, which on x86-64 tells whether page tables have five
    levels. `page_size` in bytes.
    """
    if arch == "x86_64":
        return x86_space(page_offset)
    built = int(config.get("CONFIG_ARM64_VA_BITS", 48))
    return arm64_space(version, page_size, built, "CONFIG_KASAN_GENERIC" in config)


def x86_space(page_offset: int) -> AddressSpace:
    """__VMALLOC_BASE_L4 and VMALLOC_SIZE_TB_L4, or those of five levels."""
    five = 0 < page_offset < X86_FOUR_LEVELS_START
    start, size = (0xFFA0000000000000, 12800 * TIB) if five else (0xFFFFC90000000000, 32 * TIB)
    return AddressSpace(
        start, start + size - 1, 0xFFFFFFFFC0000000, 0xFFFFFFFFFF000000, 57 if five else 48
    )


def actual_va_bits(page_size: int, built: int) -> int:
    """The bits of an address on arm64: a kernel for 52 (`built`: CONFIG_ARM64_VA_BITS) runs on
    machines with fewer, with 47 (16 KiB pages) or 48 (VA_BITS_MIN), which the twin's have.
    """
    if built < 52:
        return built
    return 47 if page_size == 16 * KIB else 48


def arm64_space(
    version: str, page_size: int, built: int, kasan: bool = False
) -> AddressSpace:
    """`built`: CONFIG_ARM64_VA_BITS. `kasan`: before 5.11 its shadow lies below the modules."""
    actual = actual_va_bits(page_size, built)
    page_shift = page_size.bit_length() - 1
    page_end = -(1 << (actual - 1))  # _PAGE_END(VA_BITS_MIN)
    modules = page_end
    if kasan and not has_since(version, ARM64_LINEAR_MAP_MOVED):
        modules = shadow_offset(version, "arm64", built) + SHADOW_SPAN - (1 << 64)
    if not has_since(version, NO_BPF_REGION_SINCE):
        modules += 128 * MIB
    start = modules + (2 * GIB if has_since(version, MODULES_2G_SINCE) else 128 * MIB)
    vmemmap_shift = page_shift - STRUCT_PAGE_SHIFT
    # struct pages of the direct map that this machine can have
    vmemmap = (1 << (actual - 1)) >> vmemmap_shift
    if has_since(version, VMEMMAP_BELOW_1G_SINCE):
        end = -GIB - vmemmap - 8 * MIB
    elif has_since(version, VMEMMAP_BY_BITS_SINCE):
        end = -(1 << (built - vmemmap_shift)) - 256 * MIB
    else:
        pud_size = 1 << (page_shift + 2 * (page_shift - 3))
        end = -pud_size - vmemmap - 64 * KIB
    return AddressSpace(
        start & MASK64, end & MASK64, modules & MASK64, start & MASK64, actual
    )

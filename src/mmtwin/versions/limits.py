"""Numbers that a kernel is built with: orders, pageblocks, kmalloc's limits, stacks."""

from collections.abc import Mapping
from dataclasses import dataclass

from mmtwin.versions.configs import INCLUSIVE_MAX_ORDER_SINCE
from mmtwin.versions.releases import has_since

STRUCT_PAGE_SIZE = 64
PMD_SHIFT = {4096: 21, 16384: 25, 65536: 29}
SECTION_SIZE_BITS = {("arm64", 4096): 27, ("arm64", 16384): 27, ("arm64", 65536): 29,
                     ("x86_64", 4096): 27}
ARM64_SECTION_30_UNTIL = "5.12"  # f0b13ee23241: SECTION_SIZE_BITS of arm64 went from 30 to 27
DEFAULT_ORDERS = 11
# log2 of the bytes of a 64-bit kernel's stack: THREAD_SIZE_ORDER of
# arch/x86/include/asm/page_64_types.h, MIN_THREAD_SHIFT of arch/arm64/include/asm/memory.h.
MIN_THREAD_SHIFT = 14
# 32-bit kernels, which the twin does not boot: THREAD_SIZE of page_32_types.h and
# arch/arm/include/asm/thread_info.h.
THREAD_SIZE_32_BIT = {"i386": 8192, "arm": 8192}
VMAP_STACK_MANDATED = "6.17"  # ef6861b8e6dd: every arm64 kernel maps its stacks virtually
ISOLATE_BIT_SINCE = "6.17"
PAGE_BLOCK_MAX_SINCE = "6.16"  # e13e7922d034


@dataclass(frozen=True)
class Limits:
    """Compile-time limits. Orders are log2 of pages; sizes and shifts are bytes and log2 of bytes.

    `nr_orders`: NR_PAGE_ORDERS (MAX_ORDER before 6.4), so the largest order is one less.
    `kmalloc_shift_high`: the largest size that has a kmalloc cache; above, whole pages.
    `thread_size`, `thread_align`: THREAD_SIZE and THREAD_ALIGN, bytes of a task's kernel stack;
    `vmap_stack`: stacks are mapped virtually (CONFIG_VMAP_STACK).
    """

    page_shift: int
    nr_orders: int
    pageblock_order: int
    pmd_order: int
    kmalloc_shift_high: int
    kmalloc_shift_max: int
    kmalloc_min_size: int
    thread_size: int
    thread_align: int
    vmap_stack: bool
    section_size_bits: int
    pageblock_bits: int
    struct_page_size: int = STRUCT_PAGE_SIZE


def nr_page_orders(version: str, config: Mapping[str, str]) -> int:
    """NR_PAGE_ORDERS: FORCE_MAX_ZONEORDER, then ARCH_FORCE_MAX_ORDER, count orders before 6.4
    and name the largest from then on (23baf831a32c).
    """
    if "CONFIG_ARCH_FORCE_MAX_ORDER" in config:
        value = int(config["CONFIG_ARCH_FORCE_MAX_ORDER"])
        return value + 1 if has_since(version, INCLUSIVE_MAX_ORDER_SINCE) else value
    return int(config.get("CONFIG_FORCE_MAX_ZONEORDER", DEFAULT_ORDERS))


def section_size_bits(version: str, arch: str, page_size: int) -> int:
    """SECTION_SIZE_BITS; `page_size` in bytes."""
    if arch == "arm64" and not has_since(version, ARM64_SECTION_30_UNTIL):
        return 30
    return SECTION_SIZE_BITS[arch, page_size]


def kmalloc_min_size(version: str, arch: str) -> int:
    """The smallest kmalloc cache. arm64 aligns for DMA, 128 bytes, until it may bounce small
    buffers (6.5, 9382bc44b5f5): from then on 8, as on x86-64.
    """
    if arch == "x86_64":
        return 8
    return 8 if has_since(version, "6.5") else 128


def pageblock_bits(version: str, config: Mapping[str, str]) -> int:
    """NR_PAGEBLOCK_BITS: bits that the kernel keeps for each pageblock. A migratetype and a skip
    mark take four; since 6.17 isolation is a bit of its own, and they are rounded up to eight.
    """
    own_bit = has_since(version, ISOLATE_BIT_SINCE) and "CONFIG_MEMORY_ISOLATION" in config
    return 8 if own_bit else 4


def has_vmap_stack(version: str, arch: str, config: Mapping[str, str]) -> bool:
    """Whether kernel stacks are virtually mapped: CONFIG_VMAP_STACK."""
    mandated = arch == "arm64" and has_since(version, VMAP_STACK_MANDATED)
    return mandated or config.get("CONFIG_VMAP_STACK", "n") not in ("n", "")


def thread_size(arch: str, page_size: int, config: Mapping[str, str], vmap_stack: bool) -> int:
    """THREAD_SIZE in bytes: KASAN, whose frames are larger, doubles it (on arm64 not the one by
    hardware tags). With pages larger than a stack a mapped one takes a whole page.
    """
    kasan = "CONFIG_KASAN" in config
    if arch == "arm64":
        kasan = "CONFIG_KASAN_GENERIC" in config or "CONFIG_KASAN_SW_TAGS" in config
    size = 1 << (MIN_THREAD_SHIFT + kasan)
    return max(size, page_size) if vmap_stack else size


def limits_of(version: str, arch: str, page_size: int, config: Mapping[str, str]) -> Limits:
    """The limits of one kernel; `page_size` in bytes. Raises ValueError for another page size."""
    if page_size not in PMD_SHIFT or (arch == "x86_64" and page_size != 4096):
        raise ValueError(f"no {arch} kernel has pages of {page_size} bytes")
    page_shift = page_size.bit_length() - 1
    orders = nr_page_orders(version, config)
    pmd_order = PMD_SHIFT[page_size] - page_shift
    pageblock_order = min(pmd_order, orders - 1)
    if has_since(version, PAGE_BLOCK_MAX_SINCE):
        largest = int(config.get("CONFIG_PAGE_BLOCK_MAX_ORDER", orders - 1))
        pageblock_order = min(pageblock_order, largest)
    vmap_stack = has_vmap_stack(version, arch, config)
    stack = thread_size(arch, page_size, config, vmap_stack)
    return Limits(
        page_shift=page_shift,
        nr_orders=orders,
        pageblock_order=pageblock_order,
        pmd_order=pmd_order,
        kmalloc_shift_high=page_shift + 1,
        kmalloc_shift_max=orders + page_shift - 1,
        kmalloc_min_size=kmalloc_min_size(version, arch),
        thread_size=stack,
        # so that one bit of the stack pointer tells of an overflow
        thread_align=2 * stack if arch == "arm64" and vmap_stack else stack,
        vmap_stack=vmap_stack,
        section_size_bits=section_size_bits(version, arch, page_size),
        pageblock_bits=pageblock_bits(version, config),
    )

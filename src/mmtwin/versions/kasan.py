"""Where KASAN's shadow lies on each architecture, and what CONFIG_KASAN turns on with it.

Sources: arch/x86/Kconfig, arch/arm64/Kconfig (KASAN_SHADOW_OFFSET, HAVE_ARCH_KASAN*), their
asm/kasan.h and asm/memory.h; lib/Kconfig.kasan.
"""

from collections.abc import Mapping

from mmtwin.versions.releases import has_since

MASK64 = (1 << 64) - 1
SHADOW_SPAN = 1 << 61  # the shadow of all 64-bit addresses
X86_SHADOW_OFFSET = 0xDFFFFC0000000000
# arm64: by the bits of a kernel address; f4693c2716b3 (5.11) changed the order of the areas.
ARM64_SHADOW_OFFSETS = {47: (0xDFFFD00000000000, 0xDFFFC00000000000),
                        48: (0xDFFFA00000000000, 0xDFFF800000000000),
                        52: (0xDFFFA00000000000, 0xDFFF800000000000)}
ARM64_LINEAR_MAP_MOVED = "5.11"
ARM64_VMALLOC_SINCE = "5.13"  # HAVE_ARCH_KASAN_VMALLOC, which KASAN selects there
X86_TASK_SIZE = (1 << 47) - 4096
X86_VMEMMAP = 0xFFFFEA0000000000
# x86-64: with five levels of page tables the direct map lies below this address.
X86_FOUR_LEVELS_START = 0xFFFF800000000000
ARM64_16K_SINCE = "6.12"  # with 16 KiB pages 48 bits of addresses leave no room for the shadow
SWITCHES = ("CONFIG_KASAN_GENERIC", "CONFIG_KASAN_OUTLINE", "CONFIG_KASAN_STACK",
            "CONFIG_KASAN_VMALLOC")


def kasan_switches(
    version: str, arch: str, page_size: int, config: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """A configuration with what CONFIG_KASAN=y brings along, unless `given` says otherwise.

    Virtually mapped stacks go where the vmalloc area has no shadow. Raises ValueError where the
    architecture has no KASAN.
    """
    if arch == "arm64" and page_size == 16384 and not has_since(version, ARM64_16K_SINCE):
        raise ValueError(f"arm64 {version} with 16 KiB pages and 48 address bits has no KASAN")
    made = dict(config)
    tags = any(f"CONFIG_KASAN_{mode}_TAGS" in made for mode in ("SW", "HW"))
    for symbol in () if tags else SWITCHES:
        made.setdefault(symbol, "y")
        if symbol in given and given[symbol] in ("n", "0"):
            made[symbol] = "n"
    late = arch == "arm64" and not has_since(version, ARM64_VMALLOC_SINCE)
    if late:
        made.pop("CONFIG_KASAN_VMALLOC", None)
    if made.get("CONFIG_KASAN_VMALLOC", "n") == "n":
        made.pop("CONFIG_VMAP_STACK", None)
    return made


def shadow_offset(version: str, arch: str, va_bits: int) -> int:
    """KASAN_SHADOW_OFFSET; `va_bits`: of a kernel address on arm64."""
    if arch == "x86_64":
        return X86_SHADOW_OFFSET
    return ARM64_SHADOW_OFFSETS[va_bits][has_since(version, ARM64_LINEAR_MAP_MOVED)]


def kernel_start(arch: str, va_bits: int, page_offset: int) -> int:
    """The first address that has a shadow: kasan_shadow_to_mem(KASAN_SHADOW_START)."""
    if arch == "x86_64":
        bits = 47 if page_offset >= X86_FOUR_LEVELS_START else 56
        return MASK64 + 1 - (1 << bits)
    return MASK64 + 1 - (1 << va_bits)


def task_size(arch: str, va_bits: int) -> int:
    """TASK_SIZE: user addresses lie below."""
    return X86_TASK_SIZE if arch == "x86_64" else 1 << va_bits


def vmemmap_of(arch: str, va_bits: int) -> int:
    """The address of the struct page of pfn 0 where nothing is randomized (vmemmap)."""
    return X86_VMEMMAP if arch == "x86_64" else MASK64 + 1 - (1 << (va_bits - 6))

"""The shape of a machine: Layout from a profile and its memory, and where RAM is mapped."""

from collections.abc import Iterable, Sequence
from typing import Any

from mmtwin.kernel.layout import Layout
from mmtwin.versions.address_space import actual_va_bits, address_space
from mmtwin.versions.profiles import Profile

MASK64 = (1 << 64) - 1
GIB = 1 << 30
# Where the direct map begins: x86-64 with four and with five levels of page tables, no KASLR
# (arch/x86/include/asm/page_64_types.h: __PAGE_OFFSET_BASE_L4, _L5).
X86_PAGE_OFFSETS = (0xFFFF888000000000, 0xFF11000000000000)
# arm64: _PAGE_OFFSET(va) is -(1 << va); the machine may have fewer bits than the kernel was built
# for (VA_BITS_MIN of arch/arm64/include/asm/memory.h: 47 with 16 KiB pages, else 48).
ARM64_VA_BITS = (48, 47, 52)
ARM64_MEMSTART_ALIGN = GIB  # arch/arm64/include/asm/kernel-pgtable.h: PUD_SIZE and its like
RAM_START = {"x86_64": 0, "arm64": GIB}
NR_ZONE_TYPES = 5
MAX_CACHES = 2048
MOST_PAGES = 1 << 32


def direct_map_bases(profile: Profile, ram_start: int) -> list[int]:
    """Addresses that pfn 0 may have on this architecture, the likeliest first.

    `ram_start`: physical address of the first byte of RAM. On arm64 the direct map begins at the
    RAM, so pfn 0 lies below it and its address may wrap around (64 bits).
    """
    if profile.arch == "x86_64":
        return list(X86_PAGE_OFFSETS)
    start = ram_start // ARM64_MEMSTART_ALIGN * ARM64_MEMSTART_ALIGN
    built = int(profile.config.get("CONFIG_ARM64_VA_BITS", 48))
    order = [actual_va_bits(profile.page_size, built), *ARM64_VA_BITS]
    return [(-(1 << bits) - start) & MASK64 for bits in dict.fromkeys(order)]


def find_page_offset(
    profile: Profile, ram_start: int, ram_end: int, addresses: Iterable[int]
) -> int:
    """The address of pfn 0, by addresses of objects that the machine's events or lists name.

    `ram_start`, `ram_end`: physical bytes; `addresses`: kernel addresses of the direct map.
    With KASLR the base is none of the usual ones; then it is the highest GiB boundary (what KASLR
    aligns to) from which all addresses lie inside RAM. Raises ValueError if there is none.
    """
    seen = [address & MASK64 for address in addresses if address >> 40]
    bases = direct_map_bases(profile, ram_start)
    if not seen:
        return bases[0]
    low, high = min(seen), max(seen)
    for base in bases:
        if ram_start <= (low - base) & MASK64 and (high - base) & MASK64 < ram_end:
            return base
    base = (low - ram_start) // GIB * GIB
    if high - base >= ram_end:
        raise ValueError(f"addresses {low:#x} to {high:#x} lie in no direct map of this machine")
    return base & MASK64


def round_up(value: int, multiple: int) -> int:
    """The next multiple."""
    return -(-value // multiple) * multiple


def layout_of(
    profile: Profile,
    ranges: Sequence[tuple[int, int]],
    cpus: int = 1,
    nodes: int = 1,
    page_offset: int | None = None,
    **settings: Any,
) -> Layout:
    """The Layout of a machine with this profile.

    `ranges`: (first pfn, pfn behind the last) of its memory; `page_offset`: address of pfn 0, the
    architecture's own if None; `settings`: other fields of Layout. `mem_map` ends on a block of
    the largest order, so that a buddy's record always exists; what is no memory is a hole.
    """
    limits = profile.limits
    first = min(start for start, _ in ranges)
    end = round_up(max(end for _, end in ranges), 1 << (limits.nr_orders - 1))
    if not 0 <= first < end <= MOST_PAGES:
        raise ValueError(f"pfns {first} to {end} are no machine's")
    if page_offset is None:
        page_offset = direct_map_bases(profile, first << limits.page_shift)[0]
    names = profile.migratetypes
    space = address_space(
        profile.version, profile.arch, profile.page_size, profile.config, page_offset
    )
    return Layout(
        min_pfn=first,
        max_pfn=end,
        page_shift=limits.page_shift,
        page_offset=page_offset,
        pageblock_order=limits.pageblock_order,
        nr_orders=limits.nr_orders,
        nr_migratetypes=len(names),
        migrate_isolate=names.index("Isolate") if "Isolate" in names else -1,
        migrate_cma=names.index("CMA") if "CMA" in names else -1,
        nr_nodes=nodes,
        nr_zone_types=max(NR_ZONE_TYPES, 1 + max(number for _, number in profile.zones)),
        nr_cpus=cpus,
        max_caches=settings.pop("max_caches", MAX_CACHES),
        features=profile.features,
        **vars(space),
        **settings,
    )

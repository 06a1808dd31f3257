"""Page flags: the bits of /proc/kpageflags, and where `struct page` keeps the kernel's own.

Sources: include/linux/kernel-page-flags.h and its uapi part; enum pageflags and enum pagetype of
include/linux/page-flags.h, checked against the type information of Debian's kernels.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mmtwin.versions.releases import has_since

# KPF_*: bits of an entry of /proc/kpageflags, an ABI: 0 to 26 never moved.
KPF_FIRST = (
    "LOCKED ERROR REFERENCED UPTODATE DIRTY LRU ACTIVE SLAB WRITEBACK RECLAIM BUDDY MMAP ANON "
    "SWAPCACHE SWAPBACKED COMPOUND_HEAD COMPOUND_TAIL HUGE UNEVICTABLE HWPOISON NOPAGE KSM THP "
    "OFFLINE ZERO_PAGE IDLE PGTABLE"
)
KPF = {name: bit for bit, name in enumerate(KPF_FIRST.split())} | {
    "RESERVED": 32, "MLOCKED": 33, "MAPPEDTODISK": 34, "PRIVATE": 35, "PRIVATE_2": 36,
    "OWNER_PRIVATE": 37, "ARCH": 38, "UNCACHED": 39, "SOFTDIRTY": 40, "ARCH_2": 41, "ARCH_3": 42,
}
# Bits for hacking that change: (name until then, name since, bit, release).
KPF_RENAMED = (("MAPPEDTODISK", "OWNER_2", 34, "6.11"),)
KPF_ENDS = {"UNCACHED": "6.8"}
KPF_SINCE = {"ARCH_3": "6.2"}

# enum pageflags from bit 0: names of PG_*; (flag, the switch it needs) where one is needed.
OLD_FLAGS = (
    "locked referenced uptodate dirty lru active workingset waiters error slab owner_priv_1 "
    "arch_1 reserved private private_2 writeback head mappedtodisk reclaim swapbacked unevictable "
    "mlocked"
)
# 6.12: writeback and head moved down for folios; error, mappedtodisk and slab went.
NEW_FLAGS = (
    "locked writeback referenced uptodate dirty lru head waiters active workingset owner_priv_1 "
    "owner_2 arch_1 reserved private private_2 reclaim swapbacked unevictable"
)
NEW_ORDER_SINCE = "6.12"
DROPBEHIND_SINCE = "6.14"
# A page's type in the top byte of page_type since 6.11; before, bits that are clear.
PAGE_TYPES = {
    "buddy": 0xF0, "offline": 0xF1, "table": 0xF2, "guard": 0xF3, "hugetlb": 0xF4, "slab": 0xF5,
    "zsmalloc": 0xF6, "unaccepted": 0xF7, "large_kmalloc": 0xF8,
}
PAGE_TYPE_SINCE = "6.11"
LARGE_KMALLOC_SINCE = "6.15"


def kpf_bits(version: str) -> dict[str, int]:
    """`{"KPF_BUDDY": 10, ...}`: the bits of /proc/kpageflags of a release, by name."""
    bits = dict(KPF)
    for old, new, bit, release in KPF_RENAMED:
        if has_since(version, release):
            del bits[old]
            bits[new] = bit
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


def page_flag_bits(version: str, arch: str, config: Mapping[str, str]) -> dict[str, int]:
    """`{"PG_locked": 0, ...}`: bit numbers in `page->flags`; slab is no flag since 6.12."""
    new = has_since(version, NEW_ORDER_SINCE)
    names = (NEW_FLAGS if new else OLD_FLAGS).split()
    if new:
        if has_since(version, DROPBEHIND_SINCE):
            names.append("dropbehind")
        names.append("mlocked")
    elif arch == "x86_64":
        names.append("uncached")
    if config.get("CONFIG_MEMORY_FAILURE") == "y":
        names.append("hwpoison")
    if "y" in (config.get("CONFIG_PAGE_IDLE_FLAG"), config.get("CONFIG_IDLE_PAGE_TRACKING")):
        names += ["young", "idle"]
    names.append("arch_2")
    if new and arch == "arm64":
        names.append("arch_3")
    return {f"PG_{name}": bit for bit, name in enumerate(names)}


@dataclass(frozen=True)
class PageFlagFields:
    """What `page->flags` holds above the flags: (name, first bit, bits, base it is printed in)."""

    fields: tuple[tuple[str, int, int, int], ...]

    def value(self, node: int, zone: int) -> int:
        """The fields of a page of a node and zone that no fault has looked at."""
        numbers = {"node": node, "zone": zone}
        return sum(
            numbers.get(name, (1 << bits) - 1) << first for name, first, bits, _ in self.fields
        )

    def names(self, value: int) -> list[str]:
        """As %pGp prints them since 5.13 (c244297acbe5): `zone=2`, `lastcpupid=0x1fffff`."""
        found = []
        for name, first, bits, base in self.fields:
            number = value >> first & (1 << bits) - 1
            found.append(f"{name}={number:#x}" if base == 16 else f"{name}={number}")
        return found


def page_flag_fields(config: Mapping[str, str]) -> PageFlagFields:
    """Where node, zone and lastcpupid lie: include/linux/page-flags-layout.h, with vmemmap."""
    optional = ("CONFIG_ZONE_DMA", "CONFIG_ZONE_DMA32", "CONFIG_HIGHMEM", "CONFIG_ZONE_DEVICE")
    zones = 2 + sum(config.get(symbol) == "y" for symbol in optional)
    widths = [("node", int(config.get("CONFIG_NODES_SHIFT", 0)), 10),
              ("zone", (zones - 1).bit_length(), 10)]
    if config.get("CONFIG_NUMA_BALANCING") == "y":
        cpus = int(config.get("CONFIG_NR_CPUS", 1))
        widths.append(("lastcpupid", 8 + (cpus - 1).bit_length(), 16))
    first, fields = 64, []
    for name, bits, base in widths:
        first -= bits
        if bits:
            fields.append((name, first, bits, base))
    return PageFlagFields(tuple(fields))


def page_types(version: str) -> dict[str, int]:
    """`{"PGTY_buddy": 0xf0, ...}`: the types a page may have; {} before they were values."""
    if not has_since(version, PAGE_TYPE_SINCE):
        return {}
    late = has_since(version, LARGE_KMALLOC_SINCE)
    return {f"PGTY_{name}": value for name, value in PAGE_TYPES.items()
            if late or name != "large_kmalloc"}

"""The memory of a machine that is booted from a profile: RAM, holes, zones, what is reserved.

x86-64: RAM from 0 with the holes of a PC (page 0, 640 KiB to 1 MiB, 3 GiB to 4 GiB); DMA below
16 MiB, DMA32 below 4 GiB, Normal above. arm64: RAM from 1 GiB in one piece; DMA below 4 GiB,
Normal above. Nodes share the RAM in equal runs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.constants import ZONE_DMA, ZONE_DMA32, ZONE_NORMAL, PG_hole, PG_reserved
from mmtwin.kernel.mm import MM
from mmtwin.versions.kernel_image import image_of, keeps_low_memory
from mmtwin.versions.profiles import Profile

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
UNITS = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": 1 << 40}
SMALLEST, LARGEST = 64 * MIB, 16 << 40
SHADOW = "KASAN shadow"
ACPI_TABLES = 128 * KIB  # at the end of low memory on x86

ZONE_ENDS = {
    "x86_64": ((ZONE_DMA, 16 * MIB), (ZONE_DMA32, 4 * GIB), (ZONE_NORMAL, 1 << 52)),
    "arm64": ((ZONE_DMA, 4 * GIB), (ZONE_NORMAL, 1 << 52)),
}
Range = tuple[int, int]


@dataclass(frozen=True)
class Reserved:
    """Pages that the page allocator never gets; `start` and `end` are pfns."""

    start: int
    end: int
    what: str


@dataclass(frozen=True)
class ZoneRange:
    """A zone as free_area_init() makes it, in pfns and pages."""

    node: int
    type: int
    start: int
    spanned: int
    present: int


@dataclass(frozen=True)
class MemoryMap:
    """Pfns of RAM, its zones, what of it is reserved, and the CMA area if there is one."""

    ram: list[Range]
    zones: list[ZoneRange]
    reserved: list[Reserved]
    cma: list[Range]


def parse_memory(memory: int | str) -> int:
    """Bytes of `"4G"`, `"256M"` or a number. Raises ValueError outside 64 MiB to 16 TiB."""
    if isinstance(memory, str):
        found = re.fullmatch(r"(\d+)\s*([KMGT]?)i?B?", memory.strip(), re.I)
        if not found:
            raise ValueError(f"memory {memory!r}: not a size like 256M or 4G")
        memory = int(found[1]) * UNITS[found[2].upper()]
    if not SMALLEST <= memory <= LARGEST:
        raise ValueError(f"memory of {memory} bytes: a machine has 64 MiB to 16 TiB")
    return memory


def ram_of(arch: str, memory: int) -> list[Range]:
    """Byte ranges of RAM. What a hole displaces lies behind it, so that all `memory` exists."""
    if arch != "x86_64":
        return [(GIB, GIB + memory)]
    low = min(memory, 3 * GIB)
    ranges = [(4 * KIB, 0x9F000), (MIB, low - ACPI_TABLES)]
    if memory > low:
        ranges.append((4 * GIB, 4 * GIB + memory - low))
    return ranges


def overlap(ranges: list[Range], start: int, end: int) -> list[Range]:
    """The parts of the ranges that lie in [start, end)."""
    return [(max(a, start), min(b, end)) for a, b in ranges if a < end and b > start]


def node_ranges(ram: list[Range], nodes: int, block: int) -> Iterator[tuple[int, Range]]:
    """(node, pfns of RAM): equal shares in order, cut at multiples of `block` pages."""
    total = sum(end - start for start, end in ram)
    share = -(-total // nodes // block) * block
    node, left = 0, share
    for start, end in ram:
        while start < end:
            stop = end
            if node < nodes - 1:
                stop = min(end, -(-(start + left) // block) * block)
            yield node, (start, stop)
            left -= stop - start
            start = stop
            if left <= 0 and node < nodes - 1:
                node, left = node + 1, share


def zones_of_map(profile: Profile, ram: list[Range], nodes: int) -> list[ZoneRange]:
    """The zones with pages of each node."""
    shift = profile.limits.page_shift
    block = 1 << (profile.limits.nr_orders - 1)
    by_node: dict[int, list[Range]] = {}
    for node, part in node_ranges(ram, nodes, block):
        by_node.setdefault(node, []).append(part)
    types = {number for _, number in profile.zones}
    found = []
    for node, ranges in sorted(by_node.items()):
        floor = 0
        for kind, end in ZONE_ENDS[profile.arch]:
            if kind not in types:
                continue  # its memory belongs to the next zone
            parts = overlap(ranges, floor >> shift, end >> shift)
            floor = end
            if parts:
                first, last = parts[0][0], parts[-1][1]
                present = sum(b - a for a, b in parts)
                found.append(ZoneRange(node, kind, first, last - first, present))
    return found


class Memblock:
    """Takes pages from the end of RAM downwards, as memblock does before the page allocator."""

    def __init__(self, ram: list[Range], taken: list[Reserved]) -> None:
        self.ram = ram
        self.reserved = taken

    def take(self, pages: int, align: int, below: int, what: str) -> Range:
        """The highest free run of so many pages below a pfn; ValueError if there is none."""
        for start, end in reversed(self.ram):
            top = min(end, below)
            while top - pages >= start:
                first = (top - pages) // align * align
                if first < start:
                    break
                clash = [r for r in self.reserved if r.start < first + pages and r.end > first]
                if not clash:
                    self.reserved.append(Reserved(first, first + pages, what))
                    return first, first + pages
                top = min(r.start for r in clash)
        raise ValueError(f"not enough memory for the kernel: {what} does not fit")


def shadow_pages(ram: list[Range]) -> int:
    """Pages of KASAN's shadow: one for eight of each range, in pfns."""
    return sum(-(-(end - start) // 8) for start, end in ram)


def make_map(profile: Profile, memory: int, cpus: int, nodes: int) -> MemoryMap:
    """The memory map of a machine; `memory` in bytes.

    Reserved are: the kernel's image without its init part, on x86 since 5.13 the first MiB,
    mem_map (64 bytes a page), the direct map's page tables, a per-CPU area for each CPU, the hash
    tables of dentries and inodes. The CMA area of arm64 the page allocator gets, as pageblocks of
    their own type. With KASAN an eighth of the RAM is its shadow (kasan_init()).
    """
    shift = profile.limits.page_shift
    page = 1 << shift
    ram = [(start >> shift, end >> shift) for start, end in ram_of(profile.arch, memory)]
    image = image_of(profile.version, profile.arch, page)
    base = (GIB if profile.arch == "arm64" else 0) + image.offset
    first = base >> shift
    taken = [Reserved(first, first - (-(image.size - image.init) >> shift), "kernel image")]
    if keeps_low_memory(profile.version, profile.arch):
        taken.append(Reserved(ram[0][0], ram[0][1], "first MiB"))
    block = Memblock(ram, taken)
    cma = []
    megabytes = int(profile.config.get("CONFIG_CMA_SIZE_MBYTES", 0)) if profile.on("CMA") else 0
    pageblock = 1 << profile.limits.pageblock_order
    low = (4 * GIB) >> shift
    if megabytes and memory >= 4 * megabytes * MIB:
        pages = -(-(megabytes * MIB >> shift) // pageblock) * pageblock
        try:
            cma.append(block.take(pages, pageblock, low, "CMA"))
            block.reserved.pop()
        except ValueError:
            pass  # the kernel, too, goes on without ("Failed to reserve")
    guard = [Reserved(start, end, "CMA") for start, end in cma]
    block.reserved += guard
    total = sum(end - start for start, end in ram)
    top = 1 << 60
    block.take(-(-total * profile.limits.struct_page_size // page), 1, top, "mem_map")
    block.take(max(total >> 15, 8), 1, top, "page tables")
    for cpu in range(cpus):
        block.take(-(-image.percpu // page), 1, top, f"per-CPU area {cpu}")
    if profile.features["kasan"]:
        block.take(shadow_pages(ram), 1, top, SHADOW)
    dentries = 1 << max((total << shift >> 13).bit_length() - 1, 9)
    block.take(max(dentries * 8 // page, 1), 1, top, "dentry hash table")
    block.take(max(dentries * 4 // page, 1), 1, top, "inode hash table")
    reserved = sorted((r for r in block.reserved if r not in guard), key=lambda r: r.start)
    return MemoryMap(ram, zones_of_map(profile, ram, nodes), reserved, cma)


def map_of(mm: MM) -> MemoryMap:
    """The memory map that a machine has: another one can be booted with it."""
    flags = mm.view("page")["flags"][: mm.max_pfn]
    cma = np.zeros(mm.max_pfn, dtype=bool)
    if mm.migrate_cma >= 0:
        blocks = np.repeat(mm.view("pageblock") == mm.migrate_cma, 1 << int(mm.pageblock_order))
        cma[: len(blocks)] = blocks[: mm.max_pfn]
    zones = [
        ZoneRange(
            int(zone["node"]), int(zone["type"]), int(zone["start_pfn"]),
            int(zone["spanned_pages"]), int(zone["present_pages"]),
        )
        for zone in mm.view("zone") if zone["present_pages"]
    ]  # fmt: skip
    reserved = [Reserved(a, b, "as recorded") for a, b in runs((flags & PG_reserved) != 0)]
    return MemoryMap(runs((flags & PG_hole) == 0), zones, reserved, runs(cma))


def runs(there: npt.NDArray[np.bool_]) -> list[Range]:
    """Where an array is True: [(first index, index behind the last)]."""
    edges = np.flatnonzero(np.diff(there.astype(np.int8), prepend=0, append=0))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def free_ranges(memory: MemoryMap) -> list[Range]:
    """Runs of RAM that nothing reserves, by address; the CMA area is none of them."""
    taken = sorted([(r.start, r.end) for r in memory.reserved] + memory.cma)
    found = []
    for start, end in memory.ram:
        for a, b in taken:
            if a >= end or b <= start:
                continue
            if a > start:
                found.append((start, a))
            start = max(start, b)
        if start < end:
            found.append((start, end))
    return found

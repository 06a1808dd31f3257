"""Where `page->flags` keeps section, node, zone, lastcpupid, KASAN tag and LRU fields.

    | SECTION | NODE | ZONE | LAST_CPUPID | KASAN_TAG | LRU_GEN | LRU_REFS | ... | FLAGS |

Source: include/linux/page-flags-layout.h, kernel/bounds.c; the pgoff and mask macros of
include/linux/mm.h (mmzone.h since 5.14).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mmtwin.versions.limits import section_size_bits
from mmtwin.versions.page_flags import page_flag_bits, word_bits
from mmtwin.versions.releases import has_since, release_key
from mmtwin.versions.zones import zones_of

# MAX_PHYSMEM_BITS and SECTION_SIZE_BITS of asm/sparsemem.h, 4 KiB pages.
SECTIONS = {
    "x86_64": (46, 27), "i386": (32, 26), "arm64": (48, 27), "arm": (32, 28), "riscv64": (56, 27),
    "riscv32": (34, 27), "ppc64": (46, 24), "ppc": (32, 27), "s390x": (46, 28),
    "mips64": (48, 28), "mips": (36, 28), "loongarch64": (48, 29), "sparc64": (53, 30),
    "ia64": (50, 30), "alpha": (48, 27), "parisc64": (42, 27), "sh": (32, 26), "m68k": (32, 26),
    "xtensa": (32, 26),
}  # fmt: skip
ALIASES = {
    "amd64": "x86_64", "x86-64": "x86_64", "x64": "x86_64", "aarch64": "arm64", "x86": "i386",
    "i686": "i386", "i586": "i386", "x86_32": "i386", "ppc64le": "ppc64", "powerpc64": "ppc64",
    "riscv": "riscv64", "s390": "s390x", "armv7l": "arm", "armhf": "arm", "powerpc": "ppc",
    "loongarch": "loongarch64", "mipsel": "mips", "mips64el": "mips64", "sparc": "sparc64",
}  # fmt: skip
PAE_SECTIONS = {"i386": (36, 29), "arm": (36, 28)}
LRU_GEN_SINCE = "6.1"  # ec1c86b25f4b
LRU_GEN_WIDTH, LRU_REFS_WIDTH = 3, 2  # order_base_2(MAX_NR_GENS + 1), MAX_NR_TIERS - 2
LAST_PID_SHIFT = 8
# NR_CPUS_BITS was rounded down (ilog2) until f2d5dcb48f7b; that counted one bit too many for a
# power of two (bits_per), until 5af385f5f4cd. Which stable releases those are by their line, and
# of 6.9 the release candidates up to rc6, whose next commits have the second.
ONE_BIT_MORE = {
    (4, 19): range(312, 313), (5, 4): range(274, 275), (5, 10): range(215, 216),
    (5, 15): range(154, 158), (6, 1): range(84, 90), (6, 6): range(24, 30), (6, 7): range(12, 13),
    (6, 8): range(3, 9),
}  # fmt: skip
CANDIDATE = re.compile(r"v?6\.9(?:\.0)?-(?:0\.)?rc(?:[1-5]|6(?!.*-\d{5}-g))")
HW_TAG_4_BITS_SINCE = "6.16"  # the patch is of April 2025; 6.14 has 8 bits, 6.18 has 4
FIELDS_PRINTED_SINCE = "5.13"  # c244297acbe5
# What %pGp prints of the fields: its name, and whether in hexadecimal.
PRINTED = {"section": False, "node": False, "zone": False, "lastcpupid": True, "kasantag": True}


@dataclass(frozen=True)
class PageFlagLayout:
    """`fields`: (name, first bit, bits) from the top down; `flags`: bit by PG_ name.

    `zones` are the names of the zones by number; `bits` of an unsigned long.
    """

    bits: int
    flags: Mapping[str, int]
    fields: tuple[tuple[str, int, int], ...]
    zones: tuple[str, ...]

    @property
    def lowest(self) -> int:
        """The first bit above the unused ones."""
        return self.fields[-1][1] if self.fields else self.bits

    def numbers(self, value: int) -> dict[str, int]:
        """`{"node": 0, "zone": 2, ...}` of a word."""
        return {name: value >> first & (1 << bits) - 1 for name, first, bits in self.fields}

    def value(self, node: int, zone: int) -> int:
        """The fields of a page of a node and zone that no fault has looked at.

        Its lastcpupid is -1; other fields are 0.
        """
        numbers = {"node": node, "zone": zone, "lastcpupid": -1}
        return sum((numbers.get(name, 0) & (1 << bits) - 1) << first
                   for name, first, bits in self.fields)  # fmt: skip

    def names(self, value: int) -> list[str]:
        """As %pGp prints the fields since 5.13: `zone=2`, `lastcpupid=0x1fffff`."""
        numbers = self.numbers(value)
        return [f"{name}={numbers[name]:#x}" if PRINTED[name] else f"{name}={numbers[name]}"
                for name in PRINTED if name in numbers]  # fmt: skip


def nr_cpus_bits(version: str, cpus: int) -> int:
    """NR_CPUS_BITS of kernel/bounds.c for CONFIG_NR_CPUS, of a release as a log prints it."""
    line, sublevel = release_key(version)[:2], release_key(version)[2]
    if sublevel in ONE_BIT_MORE.get(line, ()) or CANDIDATE.match(version):
        return cpus.bit_length()
    stable = ONE_BIT_MORE.get(line)
    if line >= (6, 9) or (stable and sublevel >= stable.stop):
        return (cpus - 1).bit_length()
    return cpus.bit_length() - 1


def sections_of(version: str, arch: str, config: Mapping[str, str]) -> tuple[int, int]:
    """MAX_PHYSMEM_BITS and SECTION_SIZE_BITS."""
    if arch == "arm64":
        page_size = 65536 if config.get("CONFIG_ARM64_64K_PAGES") == "y" else 4096
        section = section_size_bits(version, arch, page_size)
        return int(config.get("CONFIG_ARM64_PA_BITS", "48")), section
    pae = (config.get("CONFIG_X86_PAE"), config.get("CONFIG_ARM_LPAE"))
    if arch in PAE_SECTIONS and "y" in pae:
        return PAE_SECTIONS[arch]
    return SECTIONS.get(arch, (46, 27))


def tag_width(version: str, config: Mapping[str, str]) -> int:
    """KASAN_TAG_WIDTH."""
    if config.get("CONFIG_KASAN_HW_TAGS") == "y":
        return 4 if has_since(version, HW_TAG_4_BITS_SINCE) else 8
    return 8 if config.get("CONFIG_KASAN_SW_TAGS") == "y" else 0


def section_width(version: str, arch: str, config: Mapping[str, str]) -> int:
    """SECTIONS_WIDTH: 0 without sparsemem, and with vmemmap."""
    if config.get("CONFIG_SPARSEMEM") != "y" or config.get("CONFIG_SPARSEMEM_VMEMMAP") == "y":
        return 0
    physmem, size = sections_of(version, arch, config)
    return physmem - size


def pack(
    bits: int, flags: int, section: int, node_shift: int, zone: int, cpupid: int, tag: int,
    generation: int, counts_shift: bool,
) -> tuple[tuple[str, int, int], ...]:  # fmt: skip
    """(name, first bit, bits) of the fields that fit above `flags` flags in a word of `bits`.

    `counts_shift`: until 5.13 a node that did not fit was counted all the same. A word that has
    too few bits gets fields below the flags (the kernel does not build).
    """
    room = bits - flags
    taken = zone + generation + section
    node = node_shift if taken + node_shift <= room else 0
    if taken + (node_shift if counts_shift else node) + tag + cpupid > room:
        cpupid = 0
    rest = room - taken - node - tag - cpupid
    refs = max(min(LRU_REFS_WIDTH, rest), 0) if generation else 0
    fields, first = [], bits
    for name, width in (("section", section), ("node", node), ("zone", zone),
                        ("lastcpupid", cpupid), ("kasantag", tag), ("lru_gen", generation),
                        ("lru_refs", refs)):  # fmt: skip
        if width:
            first -= width
            fields.append((name, first, width))
    return tuple(fields)


def page_flag_layout(version: str, arch: str, config: Mapping[str, str]) -> PageFlagLayout:
    """The layout of a kernel: which fields fit, and where.

    `config`: ZONE_*, HIGHMEM, NODES_SHIFT, NR_CPUS, NUMA_BALANCING, SPARSEMEM,
    SPARSEMEM_VMEMMAP, KASAN_SW_TAGS, KASAN_HW_TAGS, LRU_GEN and what page flags need;
    NR_CPUS_BITS where it is not what NR_CPUS makes in this version.
    """
    bits, flags = word_bits(arch), page_flag_bits(version, arch, config)
    zones = tuple(name for name, _ in zones_of(config))
    cpupid = 0
    if config.get("CONFIG_NUMA_BALANCING") == "y":
        bits_of_cpus = nr_cpus_bits(version, int(config.get("CONFIG_NR_CPUS", 1)))
        cpupid = LAST_PID_SHIFT + int(config.get("NR_CPUS_BITS", bits_of_cpus))
    generations = config.get("CONFIG_LRU_GEN") == "y" and has_since(version, LRU_GEN_SINCE)
    fields = pack(
        bits, len(flags), section_width(version, arch, config),
        int(config.get("CONFIG_NODES_SHIFT", 0)), (len(zones) - 1).bit_length(), cpupid,
        tag_width(version, config), LRU_GEN_WIDTH * generations,
        not has_since(version, FIELDS_PRINTED_SINCE),
    )  # fmt: skip
    return PageFlagLayout(bits, flags, fields, zones)

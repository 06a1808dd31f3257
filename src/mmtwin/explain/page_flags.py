"""What a `page->flags` word means: its flags and fields as %pGp and dump_page print them.

A word does not say how its kernel was configured; which fields it has, and how wide they are,
depends on that. Without the configuration the likeliest layout is found: of those that real
kernels have, the one that leaves no bit unexplained and no value odd.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from mmtwin.versions.page_flag_layout import (
    FIELDS_PRINTED_SINCE,
    LAST_PID_SHIFT,
    LRU_GEN_SINCE,
    LRU_GEN_WIDTH,
    PRINTED,
    PageFlagLayout,
    nr_cpus_bits,
    pack,
    page_flag_layout,
    section_width,
    sections_of,
    tag_width,
)
from mmtwin.versions.page_flags import page_flag_bits, page_flag_names, word_bits
from mmtwin.versions.releases import has_since
from mmtwin.versions.uname import KernelName, releases
from mmtwin.versions.zones import zones_of

PAGE_SHIFT = 12
IMPOSSIBLE = 30.0
MAX_NR_GENS = 4
FAR_SECTION = 4096  # memory from 512 GiB on
# How odd a flag is in a word that somebody asks about; others count COMMON.
ODD = {
    "error": 2.0, "arch_1": 2.0, "owner_priv_1": 0.8, "private_2": 2.0, "waiters": 0.8,
    "young": 2.0, "idle": 2.0, "hwpoison": 1.0, "arch_2": 3.0, "arch_3": 3.0, "uncached": 3.0,
    "mappedtodisk": 0.8, "owner_2": 0.8, "dropbehind": 2.0, "skip_kasan_poison": 2.0,
    "compound_lock": 2.0, "slab": 0.0, "head": 0.0, "writeback": 0.5,
}  # fmt: skip
COMMON = 0.3
OF_USER_PAGES = {"lru", "uptodate", "dirty", "swapbacked", "mlocked", "unevictable", "reclaim"}
MARGIN = 0.6  # by how much another release's reading must be less odd to win
ARCHITECTURES = ("x86_64", "arm64", "riscv64", "ppc64", "s390x", "arm", "i386")  # tried in turn
# Logs of one are taken for the other's; tried where a word is odd for the architecture said.
CONFUSED = {"arm64": ("riscv64",), "ppc64": ("ppc",)}
DOUBTFUL, CONFUSED_COST = 3.0, 0.5
# Cost of NODES_SHIFT by architecture; ANY_NODES for others.
NODES = {
    "x86_64": {10: 0.0, 6: 0.1, 0: 0.5, 8: 1.4, 1: 1.2, 2: 0.9, 3: 1.2, 4: 1.2},
    "arm64": {0: 0.0, 4: 0.15, 2: 0.3, 10: 0.3, 6: 0.4, 9: 0.5, 7: 1.0},
    "ppc64": {8: 0.0, 0: 0.6},
    "riscv64": {0: 0.0, 2: 0.3},
    "s390x": {4: 0.0, 1: 0.0, 0: 0.4},
    "loongarch64": {6: 0.0, 0: 0.4},
    "mips64": {0: 0.0, 6: 0.5},
}
ANY_NODES = 1.6
REFERENCED = 0.5  # lru_refs that are not 0
# Cost of NR_CPUS by its bits.
CPUS = {
    "x86_64": {13: 0.0, 3: 0.1, 9: 0.3, 6: 0.2, 8: 0.3, 12: 0.3, 4: 0.5, 7: 0.6, 5: 0.7, 2: 0.9},
    "arm64": {12: 0.0, 8: 0.1, 3: 0.1, 9: 0.2, 10: 0.3, 6: 0.4, 4: 0.5, 7: 0.6, 5: 0.7, 2: 0.9},
}  # fmt: skip
MOST_CPUS = {"x86_64": 13, "ppc64": 13}
ANY_CPUS = 1.5
# syzbot's arm64 guests in qemu: 8 CPUs, memory below 4 GiB, KASAN tags. Its others have more
# memory and no tags. Chosen on about five printed words.
GUEST_CPUPID, TAGGED_GUEST = (1 << 11) - 1, 1.3
LONELY = 0.6  # nodes without a zone that machines with nodes have
DISTRIBUTIONS_NODES = 10  # they have ZONE_DEVICE as well
# Who builds kernels of one NODES_SHIFT on x86: (its name has, that, the cost of others, bits of
# NR_CPUS where they are always the same).
BUILDERS = {
    "syzkaller": (re.compile("syzkaller"), 6, 1.0, 3),
    "distribution": (re.compile(r"\.(el[789]|fc\d\d)|-(amd64|generic|aws|azure|gcp|oracle)$"),
                     10, 1.0, 0),
}  # fmt: skip
OTHER_CPUS = 1.5
# arch/arm64/configs/gki_defconfig of Android's kernels has CONFIG_KASAN_HW_TAGS.
TAGGED_KERNELS, UNTAGGED = re.compile("android"), 0.6
# Kernels of before 5.13 that print fields, too: most of its merge window, openEuler's 5.10.
SHOW_EARLY = re.compile(r"5\.12\.0(\+|-syzkaller)|5\.10\.0-.*(euleros|\.oe\d)")
POWERMAC = re.compile(r"P(ower)?MacG[34]")  # 32-bit ppc
# Switches that only say how many flags there are.
FLAG_SWITCHES = {
    "CONFIG_MEMORY_FAILURE": "y", "CONFIG_PAGE_IDLE_FLAG": "y", "CONFIG_IDLE_PAGE_TRACKING": "y",
    "CONFIG_LRU_GEN": "y", "CONFIG_TRANSPARENT_HUGEPAGE": "y",
}  # fmt: skip
DEVICE_COST = 0.6
# The zones that kernels of an architecture have: (switches, cost).
DMA, DMA32, HIGH, DEVICE = (
    "CONFIG_ZONE_DMA", "CONFIG_ZONE_DMA32", "CONFIG_HIGHMEM", "CONFIG_ZONE_DEVICE"
)  # fmt: skip
ZONES = {
    "x86_64": (((DMA, DMA32), 0.0), ((DMA, DMA32, DEVICE), DEVICE_COST), ((DMA32,), 0.9),
               ((), 1.0), ((DMA32, DEVICE), 1.6), ((DMA,), 1.5)),
    "arm64": (((DMA, DMA32), 0.0), ((DMA, DMA32, DEVICE), DEVICE_COST), ((DMA32,), 0.5),
              ((), 1.2)),
    "riscv64": (((DMA32,), 0.0), ((DMA32, DEVICE), 0.4)),
    "ppc64": (((DMA,), 0.2), ((DMA, DEVICE), 0.0), ((), 0.5)),
    "s390x": (((DMA,), 0.0),),
    "loongarch64": (((DMA32,), 0.0), ((DMA, DMA32), 0.1)),
    "i386": (((DMA, HIGH), 0.0), ((HIGH,), 0.5), ((DMA,), 0.5), ((), 0.8)),
    "arm": (((DMA, HIGH), 0.2), ((HIGH,), 0.0), ((), 0.3), ((DMA,), 0.3)),
    "ppc": (((DMA, HIGH), 0.0), ((DMA,), 0.2), ((HIGH,), 0.5), ((), 0.5)),
}  # fmt: skip
OTHER_ZONES = (((DMA,), 0.1), ((), 0.0), ((DMA32,), 0.2), ((HIGH,), 0.4))
# Cost of a page's zone by its name where no pfn says more.
ARM64_ZONE_COST = {"Normal": 0.0, "DMA": 0.4, "DMA32": 0.6, "Movable": 1.5, "Device": 3.0}
ZONE_COST = {
    "Normal": 0.0, "DMA32": 0.5, "DMA": 1.6, "HighMem": 0.4, "Movable": 1.5, "Device": 3.0
}  # fmt: skip


@dataclass(frozen=True)
class PageFlags:
    """A word as a kernel reads it. `text` is what its %pGp prints, the fields last."""

    release: str
    arch: str
    value: int
    layout: PageFlagLayout
    config: Mapping[str, str]
    names: tuple[str, ...]
    shown: bool  # the kernel prints the fields, too: since 5.13

    @property
    def text(self) -> str:
        """`head|node=0|zone=2`."""
        return "|".join([*self.names, *(self.layout.names(self.value) if self.shown else ())])


@dataclass(frozen=True)
class Evidence:
    """What else is known of a page: its pfn, and what the kernel printed of the word.

    `tagged`: pointers beside it have KASAN's tags; `builder`: who built the kernel (BUILDERS);
    `kernel`: its name in full.
    """

    pfn: int | None = None
    printed: str | None = None
    tagged: bool = False
    builder: str = ""
    kernel: str = ""


def readings(
    value: int, arch: str, given: Mapping[str, str], evidence: Evidence
) -> list[tuple[str, str, PageFlags]]:
    """(first, last release, reading) of runs of releases that read a word alike.

    Those that know all its bits; every run if none does. The configuration is that of the newest
    release's likeliest layout.
    """
    if value >> word_bits(arch):
        raise too_wide(value, arch)
    every = releases()
    config = likeliest(value, every[-1], arch, given, evidence)[1].config
    runs: list[tuple[str, str, PageFlags]] = []
    for release in every:
        layout = page_flag_layout(release, arch, config)
        names = flag_names(value, release, layout.flags)
        each = PageFlags(release, arch, value, layout, config, names, shows(release, evidence))
        if runs and runs[-1][2].text == each.text:
            runs[-1] = (runs[-1][0], release, each)
        else:
            runs.append((release, release, each))
    known = [run for run in runs if "0x" not in "|".join(run[2].names)]
    return known or runs


def flag_names(value: int, release: str, flags: Mapping[str, int]) -> tuple[str, ...]:
    """The names of the flags set, in the order of %pGp; bits without a name in hexadecimal."""
    rest = value & (1 << len(flags)) - 1
    names = []
    for mask, name in page_flag_names(release, flags):
        if rest & mask:
            names.append(name)
            rest &= ~mask
    return (*names, hex(rest)) if rest else tuple(names)


def too_wide(value: int, arch: str) -> ValueError:
    """What to say of a word that the architecture's cannot be."""
    bits = word_bits(arch)
    fits = "one of 64 bits, as --arch x86_64, has room" if bits < 64 and not value >> 64 else (
        f"at most {(1 << bits) - 1:#x}"
    )
    shown = f"{value:#x}" if value < 1 << 128 else f"a number of {value.bit_length()} bits"
    return ValueError(f"{shown} is wider than {arch}'s {bits}-bit page->flags: {fits}")


def read_page_flags(
    value: int, kernel: KernelName, arch: str, given: Mapping[str, str], evidence: Evidence
) -> PageFlags:
    """A word as the named kernel reads it, of releases and configurations that may be meant.

    Raises ValueError for words wider than the architecture's.
    """
    if value >> word_bits(arch):
        raise too_wide(value, arch)
    if arch == "ppc64" and POWERMAC.search(kernel.text) and not value >> 32:
        arch = "ppc"
    also = [each for each in CONFUSED.get(arch, ()) if evidence.printed is None]
    builder = next((name for name, (pattern, *_) in BUILDERS.items()
                    if pattern.search(kernel.text)), "")  # fmt: skip
    known = replace(evidence, builder=builder, kernel=kernel.text)
    best: tuple[float, PageFlags] | None = None
    for place, release in enumerate(kernel.readings):
        cost, found = likeliest(value, release, arch, given, known)
        if place:
            cost += MARGIN
        if best is None or cost < best[0]:
            best = cost, found
        for other in also if cost > DOUBTFUL else ():
            cost, found = likeliest(value, release, other, given, known)
            if cost + CONFUSED_COST < best[0]:
                best = cost + CONFUSED_COST, found
    assert best is not None
    return best[1]


def read_dump(
    value: int, kernel: KernelName, arch: str | None, bits: int | None,
    given: Mapping[str, str], evidence: Evidence,
) -> PageFlags:  # fmt: skip
    """A word of a page dump: as `read_page_flags`, whose brackets tell what fits.

    Where the architecture is not said, or contradicts the brackets, others are tried; `bits` is
    how wide the dump's raw words are.
    """
    first = arch or ("arm" if bits == 32 else "arm64" if evidence.tagged else "x86_64")
    best = None
    for each in dict.fromkeys((first, *ARCHITECTURES)):
        if value >> word_bits(each) or (bits or word_bits(each)) != word_bits(each):
            continue
        found = read_page_flags(value, kernel, each, given, evidence)
        if evidence.printed is None or found.text == evidence.printed:
            return found
        best = best or found
    if best is None:
        return read_page_flags(value, kernel, first, given, evidence)
    return best


def likeliest(
    value: int, release: str, arch: str, given: Mapping[str, str], evidence: Evidence
) -> tuple[float, PageFlags]:
    """The least odd layout of a release, and how odd it is."""
    flags = page_flag_bits(release, arch, {**FLAG_SWITCHES, **given})
    names = flag_names(value, release, flags)
    of_flags = oddness_of_flags(names)
    if evidence.printed is not None:
        shown = [part for part in evidence.printed.split("|") if part and "=" not in part]
        of_flags += IMPOSSIBLE * (shown != list(names))
    best, config = float("inf"), None
    for each, prior, fields, zones, section in candidates(
        release, arch, given, len(flags), evidence
    ):
        if of_flags + prior > best + TAGGED_GUEST:  # the most that fields take off
            continue
        cost = of_flags + prior + oddness_of_fields(
            value, (len(flags), flags["PG_lru"]), fields, zones, section, arch, evidence)
        if cost < best:
            best, config = cost, each
    if config is None:
        config = {**FLAG_SWITCHES, **given}
    layout = page_flag_layout(release, arch, config)
    found = PageFlags(release, arch, value, layout, config, names, shows(release, evidence))
    return best, found


def shows(release: str, evidence: Evidence) -> bool:
    """Whether a kernel prints the fields beside the flags: as it did, else as its release does."""
    if evidence.printed:
        return "=" in evidence.printed
    return has_since(release, FIELDS_PRINTED_SINCE) or bool(SHOW_EARLY.match(evidence.kernel))


Candidate = tuple[dict[str, str], float, tuple[tuple[str, int, int], ...], tuple[str, ...], int]


def candidates(
    release: str, arch: str, given: Mapping[str, str], flags: int, evidence: Evidence
) -> Iterator[Candidate]:
    """Configurations of an architecture as `given` where they are, what each costs, its fields,
    zones and the bits of a section's size.
    """
    bits, shift = word_bits(arch), not has_since(release, FIELDS_PRINTED_SINCE)
    switches = {**FLAG_SWITCHES, **given}
    generation = LRU_GEN_WIDTH * (
        has_since(release, LRU_GEN_SINCE) and switches["CONFIG_LRU_GEN"] == "y"
    )
    nodes, cpus = list(node_options(arch, given)), list(cpu_options(arch, given))
    options = product(zone_options(arch, given), memory_models(arch, given),
                      tag_options(arch, given, evidence))  # fmt: skip
    for (zone, zone_prior), (memory, memory_prior), (tag, tag_prior) in options:
        config = {**switches, **zone, **memory, **tag, **given}
        zones = tuple(name for name, _ in zones_of(config))
        sections = section_width(release, arch, config)
        size = sections_of(release, arch, config)[1]
        tags = tag_width(release, config)
        prior = zone_prior + memory_prior + tag_prior
        for node, node_prior in nodes:
            usual = usual_zones(zone, node, arch)
            if arch == "riscv64" and sections and not node:
                usual += 0.5  # those with classic sparsemem have NUMA as well
            for cpu, cpu_prior in cpus if node else [(0, 0.0)]:
                width = cpu and nr_cpus_bits(evidence.kernel or release, cpu)
                fields = pack(bits, flags, sections, node, (len(zones) - 1).bit_length(),
                              cpu and LAST_PID_SHIFT + width, tags, generation, shift)  # fmt: skip
                if fields and fields[-1][1] < flags:
                    continue  # #error "Not enough bits in page flags"
                found = {"CONFIG_NODES_SHIFT": str(node),
                         "CONFIG_NUMA_BALANCING": "y" if cpu else "n",
                         "CONFIG_NR_CPUS": str(cpu or 1)}  # fmt: skip
                if cpu and width != nr_cpus_bits(release, cpu):
                    found["NR_CPUS_BITS"] = str(width)
                cost = prior + node_prior + cpu_prior + usual
                cost += unlike(evidence.builder, arch, node, cpu)
                yield {**config, **found, **given}, cost, fields, zones, size


def unlike(builder: str, arch: str, node: int, cpus: int) -> float:
    """What a width of the node and NR_CPUS cost beside what a builder's kernels have."""
    if arch != "x86_64" or builder not in BUILDERS:
        return 0.0
    _, usual, cost, bits = BUILDERS[builder]
    strange = bits and cpus and cpus != 1 << bits
    return (0.0 if node == usual else cost) + (OTHER_CPUS if strange else 0.0)


def usual_zones(zone: Mapping[str, str], node: int, arch: str) -> float:
    """What zones cost beside a width of the node: kernels for nodes have those of Kconfig."""
    if arch not in ("x86_64", "arm64"):
        return 0.0
    cost = LONELY * ((DMA not in zone) + (DMA32 not in zone)) if node else 0.0
    if arch == "arm64":
        return cost
    if not node and DMA not in zone and DMA32 in zone:
        cost -= 0.4  # small guests
    if node == DISTRIBUTIONS_NODES:
        cost += -DEVICE_COST if DEVICE in zone else DEVICE_COST
    return cost


def node_options(arch: str, given: Mapping[str, str]) -> Iterator[tuple[int, float]]:
    """NODES_SHIFT and its cost; 0 without CONFIG_NUMA."""
    costs = NODES.get(arch, {0: 0.0})
    if "CONFIG_NODES_SHIFT" in given or given.get("CONFIG_NUMA") == "n":
        yield int(given.get("CONFIG_NODES_SHIFT", "0")), 0.0
        return
    for shift in range(11) if word_bits(arch) == 64 else (0,):
        yield shift, costs.get(shift, ANY_NODES)


def cpu_options(arch: str, given: Mapping[str, str]) -> list[tuple[int, float]]:
    """NR_CPUS and its cost; 0 without NUMA_BALANCING."""
    balancing = given.get("CONFIG_NUMA_BALANCING")
    found = [(0, 0.0)] if balancing != "y" else []
    if balancing == "n":
        return found
    costs, most = CPUS.get(arch, CPUS["x86_64"]), MOST_CPUS.get(arch, 12)
    known = given.get("CONFIG_NR_CPUS")
    if known is not None:
        return [*found, (int(known), 0.0)]
    return [*found, *((1 << bits, costs.get(bits, ANY_CPUS)) for bits in range(1, most + 1))]


Options = Iterator[tuple[dict[str, str], float]]


def zone_options(arch: str, given: Mapping[str, str]) -> Options:
    """The zones' switches and their cost."""
    switches = (DMA, DMA32, HIGH, DEVICE)
    known = {symbol: given[symbol] for symbol in switches if symbol in given}
    for on, cost in ZONES.get(arch, OTHER_ZONES):
        config = dict.fromkeys(on, "y")
        agrees = all((config.get(symbol, "n") == "y") == (value == "y")
                     for symbol, value in known.items())  # fmt: skip
        if agrees:
            yield config, cost
    if known:
        yield known, 5.0


def memory_models(arch: str, given: Mapping[str, str]) -> Options:
    """vmemmap or no sparsemem, and classic sparsemem."""
    if "CONFIG_SPARSEMEM" in given or "CONFIG_SPARSEMEM_VMEMMAP" in given:
        yield {"CONFIG_SPARSEMEM": "y"}, 0.0
        return
    yield {"CONFIG_SPARSEMEM": "y", "CONFIG_SPARSEMEM_VMEMMAP": "y"}, 0.0
    yield {"CONFIG_SPARSEMEM": "y"}, 2.5
    if arch in ("i386", "arm"):
        pae = {"CONFIG_X86_PAE": "y", "CONFIG_ARM_LPAE": "y"}
        yield {"CONFIG_SPARSEMEM": "y", **pae}, 2.5


def tag_options(arch: str, given: Mapping[str, str], evidence: Evidence) -> Options:
    """KASAN's tags: none, by software, by hardware."""
    usual = arch == "arm64" and bool(TAGGED_KERNELS.search(evidence.kernel))
    yield {}, 4.0 if evidence.tagged else UNTAGGED if usual else 0.0
    if arch == "arm64" and not given.keys() & {"CONFIG_KASAN_SW_TAGS", "CONFIG_KASAN_HW_TAGS"}:
        yield {"CONFIG_KASAN_SW_TAGS": "y"}, 0.8 if usual else 1.2
        yield {"CONFIG_KASAN_HW_TAGS": "y"}, 0.6 if usual else 1.2


def oddness_of_flags(names: tuple[str, ...]) -> float:
    """How unlikely these flags are together."""
    cost = sum(6.0 if name.startswith("0x") else ODD.get(name, COMMON) for name in names)
    if "slab" in names and OF_USER_PAGES.intersection(names):
        cost += 3.0
    return cost


def oddness_of_fields(
    value: int, flags: tuple[int, int], fields: tuple[tuple[str, int, int], ...],
    zones: tuple[str, ...], section_bits: int, arch: str, evidence: Evidence,
) -> float:  # fmt: skip
    """How unlikely the fields of a word are; `flags`: how many there are, the bit of PG_lru."""
    numbers = {name: value >> first & (1 << bits) - 1 for name, first, bits in fields}
    count, lru = flags
    lowest = fields[-1][1] if fields else word_bits(arch)
    cost = IMPOSSIBLE * bool(value >> count & (1 << lowest - count) - 1)
    if numbers.get("lru_gen", 0) > MAX_NR_GENS:
        return cost + IMPOSSIBLE
    if numbers.get("lru_gen") or numbers.get("lru_refs"):
        cost += 0.2 if value >> lru & 1 else 2.2 if numbers["lru_gen"] else 1.0
        cost += REFERENCED * bool(numbers.get("lru_refs"))
    zone = numbers.get("zone", 0)
    if zone >= len(zones):
        return cost + IMPOSSIBLE
    cost += zone_cost(zones[zone], zones, arch, evidence.pfn)
    node = numbers.get("node", 0)
    cost += 0.0 if not node else 0.7 if node == 1 else 1.6 if node < 8 else 3.5
    if "lastcpupid" in numbers:
        width = next(bits for name, _, bits in fields if name == "lastcpupid")
        cost += cpupid_cost(numbers["lastcpupid"], width)
    if numbers.get("kasantag"):
        cost += 0.5
    if arch == "arm64" and zone == 0 and numbers.get("lastcpupid") == GUEST_CPUPID:
        cost -= TAGGED_GUEST * (numbers.get("kasantag") == 0)
    if numbers.get("section", 0) > FAR_SECTION:
        cost += 3.0
    if "section" in numbers and evidence.pfn is not None:
        there = evidence.pfn >> section_bits - PAGE_SHIFT
        cost += -1.0 if numbers["section"] == there else IMPOSSIBLE
    if evidence.printed is not None:
        shown = {name: number for name, number in numbers.items() if name in PRINTED}
        cost += IMPOSSIBLE * (shown != printed_fields(evidence.printed))
    return cost


@cache
def printed_fields(text: str) -> dict[str, int]:
    """`{"node": 0, "zone": 2}` of `slab|node=0|zone=2`."""
    pairs = (part.split("=") for part in text.split("|") if "=" in part)
    return {name: int(number, 0) for name, number in pairs}


def cpupid_cost(cpupid: int, width: int) -> float:
    """How unlikely a lastcpupid is: -1 in a page that no NUMA fault has looked at."""
    if cpupid + 1 == 1 << width:
        return 0.0
    if not cpupid:
        return 2.5
    cpu, pid = cpupid >> LAST_PID_SHIFT, cpupid & (1 << LAST_PID_SHIFT) - 1
    return 3.0 + (0.0 if pid else 2.0) + (0.0 if cpu < 256 else 2.0)


def zone_cost(name: str, zones: tuple[str, ...], arch: str, pfn: int | None) -> float:
    """How unlikely a page is in a zone: by its pfn where that is known."""
    if arch == "arm64":
        if pfn is not None and pfn >= 1 << 20:
            return {"Normal": 0.0, "Movable": 0.8}.get(name, 2.0)
        return ARM64_ZONE_COST[name] + 0.8 * (pfn is not None and name != zones[0])
    if arch not in ("x86_64", "i386"):
        return 0.0 if name == zones[0] else 1.5 if arch == "ppc64" else 0.5
    if pfn is None or arch == "i386":
        return ZONE_COST[name]
    place = "DMA" if pfn < 1 << 12 else "DMA32" if pfn < 1 << 20 else "Normal"
    while place not in zones:  # its pages are in the next zone
        place = "DMA32" if place == "DMA" else "Normal"
    if name == place:
        return 0.0
    return {"Movable": 1.5, "Device": 2.5}.get(name, 8.0)

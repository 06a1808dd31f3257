"""Boots a machine of a profile: an MM in the state of a kernel that has just started.

The order is the kernel's: zones and zonelists, memory freed to the buddy allocator, SLUB's own
caches and those of kmalloc, watermarks and per-CPU list sizes, then those that drivers and file
systems create. Nothing else is allocated: no process, no page cache, no kernel stack.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmtwin.kernel.constants import (
    MIGRATE_MOVABLE,
    USE_FREE,
    USE_RESERVED,
    PG_buddy,
    PG_hole,
    PG_reserved,
)
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mmzone_init import (
    build_zonelists,
    free_area_init,
    free_area_init_empty,
    init_per_zone_wmark_min,
    per_cpu_pages_init,
    set_recommended_min_free_kbytes,
    setup_per_cpu_pageset,
)
from mmtwin.kernel.policy import install
from mmtwin.kernel.slab_kmalloc import kmem_cache_init
from mmtwin.kernel.slub_cache import draw_random_seq, kmem_cache_create, lay_out
from mmtwin.kernel.slub_defs import DEFS as SLUB_DEFS
from mmtwin.kernel.thread_stack import thread_stack_cache_init
from mmtwin.machine.boot_caches import BootCache, boot_caches, unmerged_caches
from mmtwin.machine.chains import link_list
from mmtwin.machine.layouts import layout_of
from mmtwin.machine.memory_map import MIB, MemoryMap, Range, free_ranges, make_map, parse_memory
from mmtwin.machine.proc_pages import split_run
from mmtwin.machine.slub_debug import set_up_slub_debug
from mmtwin.machine.sysctl import of_cmdline, set_sysctls
from mmtwin.versions.profiles import Profile

MOST_CPUS, MOST_NODES = 512, 64
# khugepaged, and what it does to min_free_kbytes, is off on machines with less (mm/huge_memory.c).
LEAST_FOR_HUGE_PAGES = 512 * MIB
DEBUG_FLAGS = SLUB_DEFS["SLAB_DEBUG_FLAGS"]
NEVER_MERGE = SLUB_DEFS["SLAB_NEVER_MERGE"]
GOLDEN = 0x9E3779B97F4A7C15
GFP_ATOMIC = SLUB_DEFS["GFP_ATOMIC"]
MASK64 = (1 << 64) - 1
U32_MAX = (1 << 32) - 1


def mix(seed: int) -> int:
    """A 64-bit state with all bits at work, not 0, from a small seed (splitmix64)."""
    value = (seed + 1) * GOLDEN & MASK64
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & MASK64
    value = (value ^ value >> 27) * 0x94D049BB133111EB & MASK64
    return (value ^ value >> 31) or 1


def boot_mm(
    profile: Profile, memory: int | str, cpus: int = 1, nodes: int = 1, seed: int = 1,
    policy: Mapping[str, Any] | None = None, memory_map: MemoryMap | None = None, **settings: Any,
) -> MM:
    """An MM booted from a profile. `memory` in bytes or as `"4G"`; `policy`: policies that are
    swapped from the start; `memory_map`: where its memory lies, and its nodes, in place of what
    `memory` and `nodes` say; `settings`: fields of Layout.

    Raises ValueError for a size, a number of CPUs or of nodes that no machine has.
    """
    if not 1 <= cpus <= MOST_CPUS:
        raise ValueError(f"{cpus} CPUs: a machine has 1 to {MOST_CPUS}")
    if memory_map is None:
        if not 1 <= nodes <= min(MOST_NODES, cpus):
            raise ValueError(f"{nodes} nodes: a machine has 1 to {MOST_NODES}, and a CPU for each")
        memory_map = make_map(profile, parse_memory(memory), cpus, nodes)
        if 1 + max(zone.node for zone in memory_map.zones) < nodes:
            raise ValueError(f"{memory} of memory are too little for {nodes} nodes")
    nodes = 1 + max(zone.node for zone in memory_map.zones)
    layout = layout_of(profile, memory_map.ram, cpus, nodes, seed=mix(seed), **settings)
    mm = MM(layout, profile)
    for slot, function in (policy or {}).items():
        install(mm, slot, function, booting=True)
    mm.jiffies = -300 * hz_of(profile) & U32_MAX  # INITIAL_JIFFIES
    init_memory(mm, memory_map)
    if profile.features["kasan"]:
        from mmtwin.machine.boot_kasan import kasan_init

        kasan_init(mm, profile, memory_map)
    set_up_slub_debug(mm, profile)
    kmem_cache_init(mm)
    if profile.on("DEBUG_KMEMLEAK"):
        kmemleak_init(mm, profile, memory_map)
    setup_per_cpu_pageset(mm)
    init_per_zone_wmark_min(mm)
    managed = int(mm.view("zone")["managed_pages"].sum()) << mm.page_shift
    if profile.on("TRANSPARENT_HUGEPAGE") and managed >= LEAST_FOR_HUGE_PAGES:
        set_recommended_min_free_kbytes(mm)
    create_boot_caches(mm, profile)
    thread_stack_cache_init(mm)
    set_sysctls(mm, of_cmdline(profile.cmdline))
    if mm.kmemleak is not None:
        mm.kmemleak.late_init()
    return mm


def hz_of(profile: Profile) -> int:
    """CONFIG_HZ: jiffies in a second."""
    return int(profile.config.get("CONFIG_HZ", 250))


def kmemleak_init(mm: MM, profile: Profile, memory_map: MemoryMap) -> None:
    """kmemleak_boot_config() and kmemleak_init(): on unless the configuration or the command line
    say otherwise. The data section is a root.

    Raises ValueError if the machine keeps no bytes of objects, without which there is no scanning.
    """
    if not mm.contents:
        raise ValueError("kmemleak needs the bytes of objects: Layout.contents")
    from mmtwin.kernel.kmemleak import Kmemleak
    from mmtwin.kernel.kmemleak_object import KMEMLEAK_GREY

    pool = int(profile.config.get("CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE", 16000))
    kmemleak = Kmemleak(mm, hz_of(profile), pool, profile.on("DEBUG_KMEMLEAK_AUTO_SCAN"))
    mm.kmemleak = kmemleak
    kmemleak.verbose = profile.on("DEBUG_KMEMLEAK_VERBOSE")
    kmemleak.min_unref_scans = 2 if kmemleak.verbose else 1
    option = profile.cmdline.get("kmemleak")
    off = profile.on("DEBUG_KMEMLEAK_DEFAULT_OFF") and option != "on"
    if off or option == "off":
        kmemleak.disable()
        return
    kmemleak.init()
    start, end = data_section(mm, memory_map)
    kmemleak.create_object(start, end - start, KMEMLEAK_GREY, GFP_ATOMIC)
    kmemleak.percpu_sections = [
        (page_address(mm, part.start), page_address(mm, part.end))
        for part in memory_map.reserved if part.what.startswith("per-CPU area")
    ]


def data_section(mm: MM, memory_map: MemoryMap) -> Range:
    """Where the kernel's global variables lie: (first address, address behind the last).

    The last MiB of the image, by its address of the direct map. The real section's place inside
    the image differs between builds.
    """
    image = next(part for part in memory_map.reserved if part.what == "kernel image")
    end = page_address(mm, image.end)
    return max(page_address(mm, image.start), end - MIB), end


def page_address(mm: MM, pfn: int) -> int:
    """page_to_virt()"""
    return int(mm.page_offset + (pfn << mm.page_shift)) & MASK64


def init_memory(mm: MM, memory_map: MemoryMap) -> None:
    """mem_map, zones with their free pages, and the CMA area."""
    init_mem_map(mm, memory_map)
    for zone in memory_map.zones:
        free_area_init(mm, zone.node, zone.type, zone.start, zone.spanned, zone.present, 0)
    free_area_init_empty(mm)
    per_cpu_pages_init(mm)
    mm.view("pageblock")[:] = MIGRATE_MOVABLE
    for start, end in memory_map.cma:
        shift = mm.pageblock_order
        mm.view("pageblock")[start >> shift : end >> shift] = mm.migrate_cma
    for zone in memory_map.zones:
        number = zone.node * mm.nr_zone_types + zone.type
        limits = zone.start, zone.start + zone.spanned
        blocks = free_blocks_in(mm, free_ranges(memory_map), limits, mm.nr_orders - 1)
        free_to_zone(mm, number, blocks, MIGRATE_MOVABLE)
        blocks = free_blocks_in(mm, memory_map.cma, limits, mm.nr_orders - 1)
        # cma_init_reserved_areas(): block after block, merged ones go to the lists' heads
        blocks = {order: pfns[::-1] for order, pfns in blocks.items()}
        free_to_zone(mm, number, blocks, mm.migrate_cma)
    build_zonelists(mm)


def init_mem_map(mm: MM, memory_map: MemoryMap) -> None:
    """Every record of mem_map: holes, reserved pages, and the rest free but on no list yet."""
    page = mm.view("page")
    page["flags"][: mm.max_pfn] = PG_hole
    for start, end in memory_map.ram:
        fill_pages(mm, start, end, users=USE_FREE)
    for reserved in memory_map.reserved:
        fill_pages(
            mm, reserved.start, reserved.end, users=USE_RESERVED, flags=PG_reserved, refcount=1
        )


def fill_pages(mm: MM, start: int, end: int, **fields: int) -> None:
    """Writes the same record to a run of pages: on no list, in no cache, and these fields."""
    page = mm.view("page")
    record = np.zeros(1, dtype=page.dtype)
    record["next"] = record["prev"] = record["cache"] = -1
    for name, value in fields.items():
        record[name] = value
    # as whole words: mem_map is the largest thing that a boot writes
    page.view(np.uint64).reshape(len(page), -1)[start:end] = record.view(np.uint64)


def free_blocks_in(
    mm: MM, ranges: list[Range], limits: Range, largest: int
) -> dict[int, list[int]]:
    """{order: first pfns by address} of the blocks into which memblock frees ranges.

    __free_pages_memory(): at each place the largest aligned block that fits.
    """
    blocks: dict[int, list[int]] = {}
    for start, end in ranges:
        start, end = max(start, limits[0]), min(end, limits[1])
        if start < end:
            for pfn, order in split_run(start, end, largest):
                blocks.setdefault(order, []).append(pfn)
    return blocks


def free_to_zone(mm: MM, number: int, blocks: dict[int, list[int]], migratetype: int) -> None:
    """What __free_pages_core() does with a zone's boot memory: blocks go to the lists' tails.

    All at once; none of them can merge, since each is the largest that fits its place.
    """
    zone = mm.view("zone")[number]
    page = mm.view("page")
    for order, pfns in blocks.items():
        heads = np.array(pfns, dtype=np.int64)
        page["flags"][heads] = PG_buddy
        page["order"][heads] = order
        page["migratetype"][heads] = migratetype
        head = int(zone["free_list"]) + order * mm.nr_migratetypes + migratetype
        link_list(mm, head, pfns)
        count = len(pfns) << order
        zone["nr_free"][order] += len(pfns)
        zone["nr_free_pages"] += count
        zone["managed_pages"] += count
        if migratetype == mm.migrate_cma:
            zone["nr_free_cma"] += count


def resize(mm: MM, number: int, cache: BootCache) -> None:
    """Gives a cache that has no slab yet the size that the kernel's structure has.

    Those of SLUB itself: struct kmem_cache and kmem_cache_node differ between releases.
    """
    record = mm.view("cache")[number]
    if int(record["object_size"]) == cache.object_size:
        return
    refcount, capacity = int(record["refcount"]), int(record["sheaf_capacity"])
    lay_out(mm, number, cache.object_size, cache.align, int(record["flags"]))
    record["refcount"], record["sheaf_capacity"] = refcount, capacity
    if mm.view("has")[0].freelist_random:
        draw_random_seq(mm, number)


def create_cache(mm: MM, cache: BootCache, name: str) -> int:
    """kmem_cache_create() of a cache that the list knows, by one of its names."""
    number: int = kmem_cache_create(
        mm, name, cache.object_size, cache.align,
        sum(SLUB_DEFS.get(flag, 0) for flag in cache.flags),
        usersize=cache.usersize, ctor=1 if cache.ctor else 0,
        sheaf_capacity=cache.sheaf_capacity, freeptr_offset=cache.freeptr_offset,
    )
    return number


def create_boot_caches(mm: MM, profile: Profile) -> None:
    """The caches of Debian's kernel that kmem_cache_init() did not make, in the order of boot.

    They are known by what slabinfo showed at the end, so none of them is merged again; names that
    shared a cache there share it here. Where no caches are merged (slab_nomerge, slub_debug=Z,
    KASAN: slab_unmergeable()) each name has its own, as it was asked for if that is known.
    """
    has = mm.view("has")[0]
    separate = not has.slab_merge or int(has.slub_debug_flags) & NEVER_MERGE or mm.kasan
    own = unmerged_caches(profile) if separate else {}
    merges, has.slab_merge = has.slab_merge, 0
    there = {name: number for number, name in enumerate(mm.cache_names)}
    try:
        for cache in boot_caches(profile):
            if mm.kmalloc_classed and cache.name.startswith(("kmalloc-", "dma-kmalloc-")):
                continue  # the policy's are there
            if cache.name in there:
                resize(mm, there[cache.name], cache)
                continue
            number = create_cache(mm, own.get(cache.name, cache), cache.name)
            if separate:
                for name in cache.aliases:
                    create_cache(mm, own.get(name, cache), name)
                continue
            record = mm.view("cache")[number]
            record["refcount"] += len(cache.aliases)
            if cache.freeptr_offset is not None and not record["flags"] & DEBUG_FLAGS:
                record["offset"] = cache.freeptr_offset
            if cache.aliases:
                mm.cache_aliases.setdefault(number, []).extend(cache.aliases)
    finally:
        has.slab_merge = merges

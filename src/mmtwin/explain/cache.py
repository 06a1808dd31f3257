"""Why a slab cache's size, order and number of objects are what they are, step by step.

The numbers come from the functions that the twin makes caches with (kernel/slub_layout.py).
"""

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mmtwin.kernel import slab_kmalloc, slab_order, slub_layout
from mmtwin.kernel.align import align_up
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.machine.boot_caches import boot_caches

if TYPE_CHECKING:
    from mmtwin.versions.profiles import Profile

KMALLOC = re.compile(r"(dma-kmalloc|kmalloc(?:-rcl|-cg|-rnd-\d\d)?)-(\d+)(k|M)?")
TYPE_FLAGS = {
    "kmalloc": 0, "kmalloc-rcl": DEFS["SLAB_RECLAIM_ACCOUNT"], "kmalloc-cg": DEFS["SLAB_ACCOUNT"],
    "dma-kmalloc": DEFS["SLAB_CACHE_DMA"],
}  # fmt: skip
UNITS = {None: 1, "k": 1 << 10, "M": 1 << 20}
# Flags that change a layout, as users write them.
LAYOUT_FLAGS = (
    "SLAB_HWCACHE_ALIGN", "SLAB_TYPESAFE_BY_RCU", "SLAB_RECLAIM_ACCOUNT", "SLAB_CACHE_DMA",
    "SLAB_CACHE_DMA32", "SLAB_RED_ZONE", "SLAB_POISON", "SLAB_STORE_USER",
    "SLAB_CONSISTENCY_CHECKS", "SLAB_ACCOUNT", "SLAB_NO_MERGE", "SLAB_PANIC", "SLAB_KMALLOC",
)  # fmt: skip


@dataclass
class Asked:
    """A cache as its creator asks for it: sizes in bytes, `flags` SLAB_*; `align` 0: none said."""

    name: str
    object_size: int
    align: int = 0
    flags: int = 0
    ctor: bool = False
    freeptr_offset: int | None = None
    kmalloc: bool = False


@dataclass
class Explained:
    """A cache's layout: each figure, and (what, value, why, kernel function) of every step."""

    asked: Asked
    profile: str
    cpus: int
    figures: dict[str, int] = field(default_factory=dict)
    steps: list[tuple[str, str, str, str]] = field(default_factory=list)
    tried: list[tuple[int, int, int, int, bool]] = field(default_factory=list)

    def step(self, what: str, value: str, why: str, source: str) -> None:
        """Adds a step."""
        self.steps.append((what, value, why, source))


def find_cache(name: str, profile: "Profile") -> Asked:
    """A cache that kernels of a profile make, by its name. Raises ValueError with the nearest."""
    match = KMALLOC.fullmatch(name)
    if match:
        size = int(match[2]) * UNITS[match[3]]
        served = kmalloc_sizes(profile)
        if size not in served:
            larger = [each for each in served if each >= size]
            told = f"; kmalloc({size}) takes {kmalloc_cache_name(match[1], larger[0])}"
            raise ValueError(f"{profile.name} has no cache {name!r}{told if larger else ''}")
        flags = TYPE_FLAGS.get(match[1], DEFS["SLAB_NO_MERGE"]) | DEFS["SLAB_KMALLOC"]
        return Asked(name, size, 0, flags, kmalloc=True)
    known = {}
    for cache in boot_caches(profile):
        for each in (cache.name, *cache.aliases):
            known[each] = cache
    if name not in known:
        near = get_close_matches(name, known, 3, 0.6)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ValueError(f"no cache {name!r} is known of {profile.name}{hint}")
    cache = known[name]
    flags = 0
    for flag in cache.flags:
        flags |= DEFS.get(flag, 0)
    return Asked(
        name, cache.object_size, cache.align, flags, bool(cache.ctor), cache.freeptr_offset
    )


def kmalloc_sizes(profile: "Profile") -> list[int]:
    """The sizes in bytes of a profile's kmalloc caches, ascending: create_kmalloc_caches()."""
    has = SimpleNamespace(**profile.features)
    smallest = max(has.kmalloc_minalign, has.kmalloc_dma_align)
    odd = {96: 32, 192: 64}  # only where the smallest cache is not larger than that
    return sorted(
        size for size, _ in slab_kmalloc.KMALLOC_INFO
        if smallest <= size <= 1 << profile.limits.kmalloc_shift_high
        and smallest <= odd.get(size, smallest)
    )  # fmt: skip


def kmalloc_cache_name(prefix: str, size: int) -> str:
    """`kmalloc-1k` of 1024."""
    names = dict(slab_kmalloc.KMALLOC_INFO)
    return f"{prefix}-{names[size]}"


def parse_flags(text: str) -> int:
    """`SLAB_HWCACHE_ALIGN|SLAB_PANIC`, with or without `SLAB_`. Raises ValueError for another."""
    flags = 0
    for word in filter(None, text.replace(",", "|").split("|")):
        name = "SLAB_" + word.strip().upper().removeprefix("SLAB_")
        if name not in LAYOUT_FLAGS:
            near = get_close_matches(name, LAYOUT_FLAGS, 2, 0.5) or LAYOUT_FLAGS[:3]
            raise ValueError(f"no flag {word!r}; nearest: {', '.join(near)}")
        flags |= DEFS[name]
    return flags


def explain_cache(asked: Asked, profile: "Profile", cpus: int) -> Explained:
    """The layout of a cache on a machine of a profile with so many CPUs.

    Raises ValueError if no slab holds an object.
    """
    if asked.object_size < 1:
        raise ValueError(f"objects of {asked.object_size} bytes")
    has = SimpleNamespace(**profile.features)
    found = Explained(asked, profile.name, cpus)
    flags = asked.flags | has.slub_debug_flags
    align = explain_alignment(found, has, flags)
    layout = explain_object(found, has, flags, align)
    explain_order(found, has, layout["size"], profile)
    explain_limits(found, has, layout, profile.page_size)
    return found


def explain_slab_allocator(
    size: int, align: int, page_size: int, reclaimable: bool, early: bool, bufctl: bool, word: int,
    max_order: int = slab_order.MAX_ORDER_HIGH,
) -> Explained:
    """A cache of the SLAB allocator, which Linux had until 6.7: its slabs' order and objects.

    `size`: bytes from object to object, as /proc/slabinfo shows it; `bufctl`: as before 3.13;
    `max_order`: slab_max_order=, 1 on a machine with more than 32 MiB, else 0.
    Raises ValueError if no slab holds an object.
    """
    if size < 1:
        raise ValueError(f"objects of {size} bytes")
    found = Explained(Asked(f"objects of {size} bytes", size, align), "SLAB", 1)
    order, objects = slab_order.calculate_slab_order(
        size, page_size, align or word, reclaimable, early, bufctl, word, max_order,
        tried=found.tried,
    )
    if order < 0:
        raise ValueError(f"objects of {size} bytes fit into no slab")
    source = "calculate_slab_order()"
    for each, _, count, left, taken in found.tried:
        why = "at most 1/8 may be over" if not reclaimable else "reclaimable: the first that fits"
        found.step(f"order {each}", f"{count} objects",
                   f"{left} of {page_size << each} bytes over, {why}: "
                   + ("taken" if taken else "too much"), source)  # fmt: skip
    found.step("per slab", f"{objects} objects in {1 << order} page" + ("s" if order else ""),
               "with the list of free objects inside" if size < page_size // 32 or early else
               "the list of free objects lies elsewhere if it does not fit", source)  # fmt: skip
    found.figures = {"size": size, "order": order, "pages": 1 << order, "objects": objects}
    return found


def explain_alignment(found: Explained, has: Any, flags: int) -> int:
    """The objects' alignment."""
    asked = found.asked
    if asked.kmalloc:
        align = slab_kmalloc.boot_cache_align(has, asked.object_size, flags)
        size = asked.object_size
        if align == slub_layout.calculate_alignment(has, flags, has.kmalloc_minalign, size):
            why = f"the least of kmalloc on this machine (ARCH_KMALLOC_MINALIGN {align})"
        elif size & (size - 1) == 0:
            why = "a kmalloc size that is a power of two is aligned to itself"
        else:
            why = f"the largest power of two that divides {size}"
        source = "create_boot_cache()"
    else:
        align = slub_layout.calculate_alignment(has, flags, asked.align, asked.object_size)
        source = "calculate_alignment()"
        if asked.align and align == asked.align:
            why = "as asked"
        elif flags & DEFS["SLAB_HWCACHE_ALIGN"] and align > 8:
            share = has.cache_line // align
            why = f"SLAB_HWCACHE_ALIGN: a cache line of {has.cache_line} bytes " + (
                f"is shared by {share} objects" if share > 1 else "begins with the object"
            )
        else:
            why = "no less than a word, and the architecture's least alignment"
    found.figures["align"] = align
    found.step("alignment", f"{align} bytes", why, source)
    return int(align)


def explain_object(found: Explained, has: Any, flags: int, align: int) -> dict[str, int]:
    """What lies in an object, and the bytes from one to the next."""
    asked = found.asked
    layout: dict[str, int] = slub_layout.object_layout(
        has, asked.object_size, align, flags, asked.ctor, asked.freeptr_offset
    )
    rounded = align_up(asked.object_size, slub_layout.WORD)
    found.step("object", f"{asked.object_size} bytes", "what its creator asks for"
               + (f"; {rounded} in whole words" if rounded > asked.object_size else ""),
               "calculate_sizes()")  # fmt: skip
    if flags & DEFS["SLAB_RED_ZONE"]:
        right = layout["inuse"] - asked.object_size
        found.step("red zones", f"{layout['red_left_pad']} + {right} bytes",
                   "before and behind the object: slub_debug=Z", "calculate_sizes()")  # fmt: skip
    offset = layout["offset"]
    if asked.freeptr_offset is not None and offset < layout["inuse"]:
        offset = layout["offset"] = asked.freeptr_offset
    if offset >= layout["inuse"]:
        why = "behind the object: a free one may not be written ("
        reasons = (("SLAB_TYPESAFE_BY_RCU", "readers may still look at it"),
                   ("SLAB_POISON", "it holds poison"), ("SLAB_RED_ZONE", "too small"))  # fmt: skip
        told = [text for name, text in reasons if flags & DEFS[name]]
        why += (told[0] if told else "it has a constructor") + ")"
    elif asked.freeptr_offset is not None and flags & DEFS["SLAB_TYPESAFE_BY_RCU"]:
        why = "where the cache's creator has room for it"
    elif asked.freeptr_offset is not None:
        why = "in the middle of the smaller objects that the cache was first made for"
    else:
        why = "inside the free object, in its middle: a small overflow does not reach it"
    found.step("free pointer", f"at byte {offset}", why, "calculate_sizes()")
    if flags & DEFS["SLAB_STORE_USER"]:
        tracks = 2 * has.track_bytes
        found.step("tracks", f"{tracks} bytes", "who allocated and freed it: slub_debug=U",
                   "calculate_sizes()")  # fmt: skip
    size = layout["size"]
    found.step("size", f"{size} bytes", "from one object to the next"
               + (f", {size - asked.object_size} more than asked" if size > asked.object_size
                  else ""), "calculate_sizes()")  # fmt: skip
    found.figures.update({name: int(layout[name]) for name in
                          ("size", "inuse", "offset", "red_left_pad")})  # fmt: skip
    found.figures["object_size"] = asked.object_size
    return layout


def explain_order(found: Explained, has: Any, size: int, profile: "Profile") -> None:
    """How many pages a slab has."""
    page_size, nr_orders = profile.page_size, profile.limits.nr_orders
    order = slub_layout.calculate_order(
        has, size, page_size, nr_orders, found.cpus, found.cpus, found.tried
    )
    if order < 0:
        raise ValueError(f"objects of {size} bytes fit into no block of {profile.name}'s pages")
    wanted = slub_layout.minimum_objects(has, found.cpus, found.cpus)
    found.step("objects wanted", str(wanted),
               "slub_min_objects=" if has.slub_min_objects else
               f"4 * (fls({found.cpus}) + 1), for {found.cpus} CPU"
               + ("s" if found.cpus > 1 else ""), "calculate_order()")  # fmt: skip
    for each, fraction, objects, left, taken in found.tried:
        share = left / (page_size << each)
        limit = f"at most 1/{fraction} may be over" if fraction > 1 else "anything may be over"
        found.step(f"order {each}", f"{objects} objects",
                   f"{left} of {page_size << each} bytes over ({share:.1%}), {limit}: "
                   + ("taken" if taken else "too much"), "calc_slab_order()")  # fmt: skip
    if not found.tried:
        found.step(f"order {order}", "", "a slab holds no more than 32,767 objects",
                   "calculate_order()")  # fmt: skip
    objects = (page_size << order) // size
    found.figures.update({"order": order, "pages": 1 << order, "objects": objects,
                          "left_over": (page_size << order) - objects * size})  # fmt: skip
    found.step("per slab", f"{objects} objects in {1 << order} page" + ("s" if order else ""),
               f"{objects * found.asked.object_size / (page_size << order):.1%} of it used by "
               "objects as asked for", "oo_make()")  # fmt: skip


def explain_limits(found: Explained, has: Any, layout: dict[str, int], page_size: int) -> None:
    """What CPUs and nodes keep."""
    size, flags = layout["size"], layout["flags"]
    partial, slabs = slub_layout.cpu_partial_limits(
        has, size, page_size, found.figures["objects"], flags
    )
    minimum = slub_layout.minimum_partial(size)
    found.figures.update({"cpu_partial": partial, "cpu_partial_slabs": slabs,
                          "min_partial": minimum})  # fmt: skip
    if partial:
        value = f"{partial} objects" + (f", {slabs} slabs" if slabs else "")
        found.step("kept by a CPU", value, "on its list of partial slabs", "set_cpu_partial()")
    found.step("kept by a node", f"{minimum} slabs", "empty ones beyond are given back",
               "set_min_partial()")  # fmt: skip


def lines_of(found: Explained) -> list[str]:
    """The explanation as lines of text."""
    cpus = f"{found.cpus} CPU" + ("s" if found.cpus > 1 else "")
    head = f"{found.asked.name}: {found.profile}, {cpus}"
    widths = [max(len(step[place]) for step in found.steps) for place in (0, 1)]
    lines = [head]
    for what, value, why, source in found.steps:
        lines.append(f"  {what:<{widths[0]}}  {value:>{widths[1]}}  {why}  [{source}]")
    return lines


def json_of(found: Explained) -> dict[str, Any]:
    """The explanation in plain values."""
    return {
        "name": found.asked.name,
        "profile": found.profile,
        "cpus": found.cpus,
        **found.figures,
        "steps": [
            dict(zip(("what", "value", "why", "source"), step, strict=True))
            for step in found.steps
        ],
    }

"""Caches and slabs from /proc alone: slabinfo, /sys/kernel/slab and kpageflags.

/proc tells how many slabs a cache has and which pages are slabs, but not which slab is whose, nor
which objects are free. What else is known (from events) comes as hints; the rest is filled in so
that every count of slabinfo holds. Keys and shuffled orders are drawn from the machine's seed.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmtwin.machine.boot_caches import BootCache, boot_caches
from mmtwin.machine.proc_pages import KPF_COMPOUND_TAIL, KPF_SLAB, Flags, has_flag
from mmtwin.machine.texts import SlabText, sizes
from mmtwin.versions.profiles import Profile
from mmtwin.versions.slab_flags import slab_flag_bits

WORD = 8
BOOT_CACHES = ("kmem_cache", "kmem_cache_node")  # never shared: refcount is -1
# attribute of /sys/kernel/slab -> flag
ATTRIBUTE_FLAGS = {
    "hwcache_align": "SLAB_HWCACHE_ALIGN", "reclaim_account": "SLAB_RECLAIM_ACCOUNT",
    "cache_dma": "SLAB_CACHE_DMA", "destroy_by_rcu": "SLAB_TYPESAFE_BY_RCU",
    "red_zone": "SLAB_RED_ZONE", "poison": "SLAB_POISON", "store_user": "SLAB_STORE_USER",
    "sanity_checks": "SLAB_CONSISTENCY_CHECKS", "trace": "SLAB_TRACE",
}


@dataclass
class SlabHints:
    """What events tell beyond /proc.

    `cache_of` names the cache of a slab's first page, `live` says of an object's address whether
    it is in use.
    """

    cache_of: Mapping[int, str] = field(default_factory=dict)
    live: Mapping[int, bool] = field(default_factory=dict)


def slab_heads(flags: Flags) -> list[tuple[int, int]]:
    """(first pfn, pages) of every slab: a KPF_SLAB page that is no tail, and its tails."""
    slab, tail = has_flag(flags, KPF_SLAB), has_flag(flags, KPF_COMPOUND_TAIL)
    heads = np.flatnonzero(slab & ~tail)
    if not len(heads):
        return []
    # the first page behind each head that is no tail
    ends = np.flatnonzero(np.append(~tail, True))
    after = ends[np.searchsorted(ends, heads, side="right")]
    return [(int(a), int(b - a)) for a, b in zip(heads, after, strict=True)]


def number(attributes: Mapping[str, str], name: str, otherwise: int = 0) -> int:
    """A numeric attribute, or `otherwise` where the kernel has none."""
    try:
        return sizes(attributes, name)
    except (KeyError, ValueError):
        return otherwise


def cache_entry(
    profile: Profile,
    line: SlabText,
    attributes: Mapping[str, str],
    draw: random.Random,
    known: BootCache | None,
) -> dict[str, Any]:
    """One cache in a truth's form, without slabs and without what follows from the rest.

    `known`: the cache of that name in Debian's kernel, for what /sys/kernel/slab does not say.
    """
    bits = slab_flag_bits(profile.version, profile.config)
    object_size = number(attributes, "object_size", line.size)
    order = (line.pages - 1).bit_length()
    names = {flag for name, flag in ATTRIBUTE_FLAGS.items() if number(attributes, name)}
    flags = sum(bits.get(flag, 0) for flag in names.union(known.flags if known else ()))
    shuffled: list[int] = []
    if profile.on("SLAB_FREELIST_RANDOM"):
        shuffled = [index * line.size for index in range(line.objects_per_slab)]
        draw.shuffle(shuffled)
    hardened = profile.on("SLAB_FREELIST_HARDENED")
    zoned = bits["SLAB_RED_ZONE"]
    return {
        "name": line.name, "size": line.size, "object_size": object_size,
        "random": draw.getrandbits(64) if hardened else None,
        "oo": order << 16 | line.objects_per_slab,
        "min_partial": number(attributes, "min_partial", 5),
        "cpu_partial": number(attributes, "cpu_partial"),
        "red_left_pad": number(attributes, "align", WORD) if flags & zoned else 0,
        "flags": flags, "ctor": 1 if attributes.get("ctor", "").strip() else 0,
        "refcount": -1 if line.name in BOOT_CACHES else 1 + number(attributes, "aliases"),
        "random_seq": shuffled,
        "sheaf_capacity": known.sheaf_capacity if known and known.sheaf_capacity else None,
        "freeptr_offset": known.freeptr_offset if known else None,
        "slabs": [], "cpu": [], "node_partial": [],
    }


def deal_slabs(
    lines: Sequence[SlabText], heads: Sequence[tuple[int, int]], hints: SlabHints
) -> dict[str, list[int]]:
    """Which slab is whose: {cache: first pfns}, as many as slabinfo counts where pages suffice.

    Hints come first. The rest goes, by size of slab, to the caches that still lack some, the ones
    that lack most first and each in a row of addresses.
    """
    owners: dict[str, list[int]] = {line.name: [] for line in lines}
    rest: dict[int, list[int]] = {}
    for pfn, pages in heads:
        name = hints.cache_of.get(pfn)
        if name in owners:
            owners[name].append(pfn)
        else:
            rest.setdefault(pages, []).append(pfn)
    for pages, pfns in rest.items():
        lacking = [line for line in lines if line.pages == pages]
        lacking.sort(key=lambda line: len(owners[line.name]) - line.slabs)
        place = 0
        for line in lacking:
            count = max(line.slabs - len(owners[line.name]), 0)
            owners[line.name] += pfns[place : place + count]
            place += count
    return {name: sorted(pfns) for name, pfns in owners.items()}


def fill_slabs(
    entry: dict[str, Any], line: SlabText, pfns: Sequence[int], base: int, shift: int,
    live: Mapping[int, bool],
) -> None:
    """Gives a cache its slabs; those with free objects go on the node's partial list.

    Free objects are those that hints name, and then as many as slabinfo counts beyond them, in the
    last slabs. `base`: address of pfn 0.
    """
    slabs: list[dict[str, Any]] = []
    for pfn in pfns:
        start = (base + (pfn << shift)) % (1 << 64) + entry["red_left_pad"]
        objects = [start + index * line.size for index in range(line.objects_per_slab)]
        free = [address for address in objects if live.get(address) is False]
        slabs.append({"pfn": pfn, "objects": len(objects), "all": objects, "free": free})
    missing = max(line.objects - line.active, 0) - sum(len(slab["free"]) for slab in slabs)
    for slab in reversed(slabs):
        if missing <= 0:
            break
        unknown = [a for a in slab["all"] if a not in live and a not in slab["free"]]
        taken = unknown[:missing]
        slab["free"] = sorted(slab["free"] + taken)
        missing -= len(taken)
    for slab in slabs:
        del slab["all"]
        slab["inuse"] = slab["objects"] - len(slab["free"])
        slab["frozen"] = 0
        slab["where"] = "node" if slab["free"] else "?"
        if slab["free"]:
            entry["node_partial"].append(slab["pfn"])
    entry["slabs"] = slabs


def slab_truth(
    profile: Profile,
    lines: Sequence[SlabText],
    attributes: Mapping[str, Mapping[str, str]],
    flags: Flags,
    page_offset: int,
    hints: SlabHints,
    seed: int,
    heads: Sequence[tuple[int, int]] | None = None,
) -> list[dict[str, Any]]:
    """The `slab` part of a truth, as far as /proc and the hints tell it; newest cache first.

    `heads`: (first pfn, pages) of the slabs, else those that `flags` (kpageflags) shows.
    """
    draw = random.Random(seed)
    debian = {cache.name: cache for cache in boot_caches(profile)}
    owners = deal_slabs(lines, slab_heads(flags) if heads is None else heads, hints)
    caches = []
    for line in lines:
        mine = attributes.get(line.name, {})
        entry = cache_entry(profile, line, mine, draw, debian.get(line.name))
        fill_slabs(
            entry, line, owners[line.name], page_offset, profile.limits.page_shift, hints.live
        )
        caches.append(entry)
    return caches

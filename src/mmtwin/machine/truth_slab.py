"""SLUB's part of a truth: caches, slabs with their free lists, CPUs' slabs, partial lists."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmtwin.kernel.constants import (
    __GFP_COMP,
    __GFP_DMA,
    __GFP_DMA32,
    __GFP_RECLAIMABLE,
    USE_SLAB,
    PG_head,
    PG_partial,
    PG_slab,
    PG_tail,
)
from mmtwin.kernel.mm import MM
from mmtwin.kernel.slub_defs import DEFS as SLUB_DEFS
from mmtwin.machine.chains import link_list
from mmtwin.machine.texts import sizes
from mmtwin.versions.profiles import Profile
from mmtwin.versions.slab_flags import slab_flag_bits

MASK64 = (1 << 64) - 1
WORD = 8
KMALLOC_NAMES = (
    (re.compile(r"kmalloc-(\d+[kM]?)"), "KMALLOC_NORMAL"),
    (re.compile(r"kmalloc-rcl-(\d+[kM]?)"), "KMALLOC_RECLAIM"),
    (re.compile(r"dma-kmalloc-(\d+[kM]?)"), "KMALLOC_DMA"),
    (re.compile(r"kmalloc-cg-(\d+[kM]?)"), "KMALLOC_CGROUP"),
    (re.compile(r"kmalloc-rnd-(?P<copy>\d\d)-(\d+[kM]?)"), "KMALLOC_RANDOM_1"),
    (re.compile(r"kmalloc-no-objext-(\d+[kM]?)"), "KMALLOC_NO_OBJ_EXT"),
)
UNITS = {"k": 1 << 10, "M": 1 << 20}
KMALLOC_INDEXES = 32
SPECIAL_INDEX = {96: 1, 192: 2}  # kmalloc_info


def twin_slab_flags(profile: Profile, value: int) -> int:
    """The twin's SLAB_* of a kernel's slab flags; flags that the twin has no use for fall away."""
    bits = slab_flag_bits(profile.version, profile.config)
    flags = 0
    for name, mask in bits.items():
        if value & mask:
            flags |= SLUB_DEFS.get(name, 0)
    return flags


def slab_order(size: int, objects: int, page_size: int, preferred: tuple[int, int]) -> int:
    """The order of a slab that holds so many objects of `size` bytes.

    `preferred`: (order, objects) of the cache; a slab may have been taken smaller.
    """
    if objects == preferred[1]:
        return preferred[0]
    order = 0
    while (page_size << order) // size < objects:
        order += 1
    return order


def add_cache(
    mm: MM, profile: Profile, number: int, truth: Mapping[str, Any],
    attributes: Mapping[str, str] | None,
) -> None:
    """Fills the record of a cache; `attributes`: its /sys/kernel/slab, where there is one."""
    cache = mm.view("cache")[number]
    page_size = 1 << mm.page_shift
    size = truth["size"]
    oo_objects, oo_order = truth["oo"] & 0xFFFF, truth["oo"] >> 16
    flags = twin_slab_flags(profile, truth.get("flags") or 0)
    for name in ("size", "object_size", "offset"):
        cache[name] = truth[name]
    cache["min_partial"] = truth.get("min_partial") or 0
    min_order = max(0, (-(-size // page_size) - 1).bit_length())
    cache["oo_order"], cache["oo_objects"] = oo_order, oo_objects
    cache["min_order"] = min_order
    cache["min_objects"] = (page_size << min_order) // size
    cache["inuse"] = -(-truth["object_size"] // WORD) * WORD
    cache["red_left_pad"] = truth.get("red_left_pad") or 0
    cache["flags"] = flags
    cache["cpu_partial"] = truth.get("cpu_partial") or 0
    cache["cpu_partial_slabs"] = -(-2 * (truth.get("cpu_partial") or 0) // max(oo_objects, 1))
    cache["sheaf_capacity"] = truth.get("sheaf_capacity") or 0
    cache["allocflags"] = (
        (__GFP_COMP if oo_order else 0)
        | (__GFP_DMA if flags & SLUB_DEFS["SLAB_CACHE_DMA"] else 0)
        | (__GFP_DMA32 if flags & SLUB_DEFS["SLAB_CACHE_DMA32"] else 0)
        | (__GFP_RECLAIMABLE if flags & SLUB_DEFS["SLAB_RECLAIM_ACCOUNT"] else 0)
    )
    cache["refcount"] = np.uint32(truth.get("refcount") or 0).astype(np.int32)
    cache["ctor"] = 1 if truth.get("ctor") else 0
    cache["alive"] = 1
    cache["defrag_ratio"] = 1000
    cache["random"] = truth.get("random") or 0
    cache["address"] = truth.get("addr") or 0
    cache["align"] = WORD
    if attributes:
        cache["align"] = sizes(attributes, "align")
        cache["usersize"] = sizes(attributes, "usersize") if "usersize" in attributes else 0
    set_random_seq(mm, number, truth.get("random_seq") or [])


def set_random_seq(mm: MM, number: int, offsets: Sequence[int]) -> None:
    """The shuffled order of a cache's new slabs: byte offsets."""
    cache = mm.view("cache")[number]
    cache["random_seq"] = -1
    if offsets:
        start = mm.next_random_seq
        mm.view("random_seq")[start : start + len(offsets)] = offsets
        cache["random_seq"] = start
        mm.next_random_seq = start + len(offsets)


def write_chain(mm: MM, number: int, objects: Sequence[int], last: int = 0) -> int:
    """Writes the free pointers of a list of free objects into RAM; its first object, 0 if empty.

    `last`: what the last one points to. Hardened where the machine is (freelist_ptr()).
    """
    if not objects:
        return last
    cache = mm.view("cache")[number]
    chain = np.array([*objects, last], dtype=np.uint64)
    places = chain[:-1] + np.uint64(cache["offset"])
    values = chain[1:]
    if mm.profile.on("SLAB_FREELIST_HARDENED"):
        values = values ^ np.uint64(cache["random"]) ^ places.byteswap()
    words = (places - np.uint64(mm.page_offset)) >> np.uint64(3)
    mm.view("ram")[words] = values
    return int(chain[0])


def add_slab(mm: MM, number: int, truth: Mapping[str, Any]) -> None:
    """Makes the pages of a slab and its own free list."""
    cache = mm.view("cache")[number]
    preferred = int(cache["oo_order"]), int(cache["oo_objects"])
    objects = truth["objects"]
    order = slab_order(int(cache["size"]), objects, 1 << mm.page_shift, preferred)
    pfn = truth["pfn"]
    if pfn < mm.min_pfn or pfn + (1 << order) > mm.max_pfn or pfn & ((1 << order) - 1):
        raise ValueError(f"slab {pfn} of {mm.cache_names[number]} is no block of order {order}")
    page = mm.view("page")
    block = page[pfn : pfn + (1 << order)]
    block["users"] = USE_SLAB
    block["refcount"] = 0
    block["refcount"][0] = 1
    if order:
        block["flags"][1:] = PG_tail
        block["compound_head"] = pfn
    head = page[pfn]
    head["flags"] = PG_slab | (PG_head if order else 0)
    head["order"] = order
    head["cache"] = number
    head["objects"] = objects
    head["inuse"] = truth["inuse"]
    head["frozen"] = truth["frozen"]
    head["freelist"] = write_chain(mm, number, truth["free"])
    node = mm.view("cache_node")[number * mm.nr_nodes + node_of(mm, pfn)]
    node["nr_slabs"] += 1
    node["total_objects"] += objects


def node_of(mm: MM, pfn: int) -> int:
    """page_to_nid()"""
    return int(mm.view("zone")["node"][mm.view("page")["zone"][pfn]])


def add_cpu(mm: MM, number: int, cpu: int, truth: Mapping[str, Any] | None) -> None:
    """A CPU's slab with its free list, and its partial list in order."""
    record = mm.view("cache_cpu")[number * mm.nr_cpus + cpu]
    record["slab"] = record["partial"] = -1
    record["sheaf_main"] = record["sheaf_spare"] = record["sheaf_rcu"] = -1
    record["tid"] = cpu
    if truth is None:
        return
    if truth.get("slab") is not None:
        record["slab"] = truth["slab"]
        record["freelist"] = write_chain(mm, number, truth.get("freelist") or [])
    page = mm.view("page")
    following, free = -1, 0
    # counts stand in the first slab; those behind keep what they had when they were first
    for slabs, pfn in enumerate(reversed(truth.get("partial") or []), 1):
        free += int(page[pfn]["objects"]) - int(page[pfn]["inuse"])
        page[pfn]["next"] = following
        page[pfn]["slabs"] = slabs
        page[pfn]["pobjects"] = free
        following = pfn
    record["partial"] = following


def set_pobjects(mm: MM, truth: Mapping[str, Any]) -> None:
    """Counts of CPU partial slabs as the kernel holds them, where it does (before 5.16).

    They were summed up when each slab was put on the list and are not kept up to date since.
    """
    for slab in truth["slabs"]:
        if "pobjects" in slab and slab["where"].startswith("cpupartial"):
            mm.view("page")["pobjects"][slab["pfn"]] = slab["pobjects"] & 0xFFFF


def add_node(mm: MM, number: int, truth: Mapping[str, Any]) -> None:
    """The partial list of node 0, in order (a truth shows no other node)."""
    for node in range(mm.nr_nodes):
        record = mm.view("cache_node")[number * mm.nr_nodes + node]
        record["partial"] = mm.new_list_head()
        record["barn_full"] = record["barn_empty"] = -1
    record = mm.view("cache_node")[number * mm.nr_nodes]
    pfns = truth.get("node_partial") or []
    link_list(mm, int(record["partial"]), pfns)
    record["nr_partial"] = len(pfns)
    mm.view("page")["flags"][np.asarray(pfns, dtype=np.int64)] |= PG_partial


def kmalloc_place(name: str) -> tuple[int, int] | None:
    """(type, index) of a kmalloc cache by its name, None for another cache."""
    for pattern, kind in KMALLOC_NAMES:
        found = pattern.fullmatch(name)
        if found:
            size = found[found.re.groups]
            number = int(size.rstrip("kM")) * UNITS.get(size[-1], 1)
            index = SPECIAL_INDEX.get(number, (number - 1).bit_length())
            copy = int(found["copy"]) - 1 if "copy" in found.re.groupindex else 0
            return SLUB_DEFS[kind] + copy, index
    return None


def add_caches(
    mm: MM, profile: Profile, caches: Sequence[Mapping[str, Any]],
    attributes: Mapping[str, Mapping[str, str]],
) -> None:
    """Every cache of a truth, oldest first, so that numbers follow the order of creation.

    `caches`: the truth's `slab`, in the order of slab_caches (newest first); `attributes`: a
    recording's /sys/kernel/slab by cache. Raises ValueError if the truth contradicts the machine.
    """
    if mm.nr_caches + len(caches) > mm.max_caches:
        raise ValueError(f"{len(caches)} caches are more than this machine has room for")
    table = mm.view("kmalloc_cache")
    for truth in reversed(caches):
        number = mm.nr_caches
        mm.nr_caches += 1
        mm.cache_names.append(truth["name"])
        add_cache(mm, profile, number, truth, attributes.get(truth["name"]))
        add_node(mm, number, truth)
        for slab in truth["slabs"]:
            add_slab(mm, number, slab)
        by_cpu = {entry["cpu"]: entry for entry in truth.get("cpu") or []}
        for cpu in range(mm.nr_cpus):
            add_cpu(mm, number, cpu, by_cpu.get(cpu))
        if not mm.view("has")[0].cpu_partial_counts_slabs:
            set_pobjects(mm, truth)
        place = kmalloc_place(truth["name"])
        if place:
            table[place[0] * KMALLOC_INDEXES + place[1]] = number

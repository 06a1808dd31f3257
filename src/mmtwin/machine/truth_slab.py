"""SLUB's part of a truth: caches, slabs with their free lists, CPUs' slabs, partial lists."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.constants import (
    USE_SLAB,
    PG_head,
    PG_partial,
    PG_slab,
    PG_tail,
)
from mmtwin.kernel.mm import MM
from mmtwin.kernel.slab_kmalloc import adopt_kmalloc_caches
from mmtwin.kernel.slub_defs import DEFS as SLUB_DEFS
from mmtwin.kernel.slub_state import adopt_cache, adopt_sheaf
from mmtwin.machine.blame import part
from mmtwin.machine.chains import link_list
from mmtwin.machine.texts import sizes
from mmtwin.versions.profiles import Profile
from mmtwin.versions.slab_flags import slab_flag_bits

MASK64 = (1 << 64) - 1
WORD = 8
KMALLOC_NAME = re.compile(r"(dma-)?kmalloc-((rcl|cg|no-objext|rnd-\d\d)-)?\d+[kM]?")


def twin_slab_flags(bits: Mapping[str, int], value: int) -> int:
    """The twin's SLAB_* of a kernel's slab flags; flags that the twin has no use for fall away.

    `bits`: slab_flag_bits() of the kernel.
    """
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


def cache_fields(
    mm: MM, bits: Mapping[str, int], truth: Mapping[str, Any],
    attributes: Mapping[str, str] | None,
) -> dict[str, int]:
    """The fields of kmem_cache_t that a truth and /sys/kernel/slab tell; `bits`: its SLAB_*."""
    page_size = 1 << mm.page_shift
    size = truth["size"]
    if not 0 < truth["object_size"] <= size <= page_size << (mm.nr_orders - 1):
        raise ValueError(f"objects of {truth['name']} cannot be of {size} bytes")
    if not truth["oo"] & 0xFFFF or not 0 <= truth["oo"] >> 16 < mm.nr_orders:
        raise ValueError(f"slabs of {truth['name']} cannot be of oo {truth['oo']:#x}")
    order = max(0, (-(-size // page_size) - 1).bit_length())
    fields = {
        **{name: truth[name] for name in ("size", "object_size")},
        **{name: truth.get(name) or 0 for name in (
            "min_partial", "cpu_partial", "red_left_pad", "random",
        )},
        "oo_order": truth["oo"] >> 16,
        "oo_objects": truth["oo"] & 0xFFFF,
        "min_order": order,
        "min_objects": (page_size << order) // size,
        "flags": twin_slab_flags(bits, truth.get("flags") or 0),
        # unsigned in a truth; the boot caches have -1
        "refcount": (((truth.get("refcount") or 0) + (1 << 31)) & 0xFFFFFFFF) - (1 << 31),
        "ctor": 1 if truth.get("ctor") else 0,
        "address": truth.get("addr") or 0,
    }
    # what a truth leaves out follows from the rest as the kernel computes it
    for name in ("offset", "sheaf_capacity"):
        if truth.get(name) is not None:
            fields[name] = truth[name]
    for name in ("align", "usersize"):
        if attributes and name in attributes:
            fields[name] = sizes(attributes, name)
    return fields


def write_chains(
    mm: MM, numbers: npt.NDArray[np.int64], lists: Sequence[Sequence[int]]
) -> npt.NDArray[np.uint64]:
    """Writes the free pointers of lists of free objects into RAM; of each the first object, 0 if
    it is empty.

    `numbers`: the cache of each list. Hardened where the machine is (freelist_ptr()).
    """
    lengths = np.array([len(each) for each in lists], dtype=np.int64)
    objects = np.array([*chain.from_iterable(lists)], dtype=np.uint64)
    heads = np.zeros(len(lists), dtype=np.uint64)
    if not len(objects):
        return heads
    behind = np.cumsum(lengths)
    there = lengths > 0
    heads[there] = objects[(behind - lengths)[there]]
    values = np.append(objects[1:], np.uint64(0))
    values[behind[there] - 1] = 0
    cache = mm.view("cache")
    places = objects + np.repeat(cache["offset"][numbers].astype(np.uint64), lengths)
    if mm.profile.on("SLAB_FREELIST_HARDENED"):
        keys = np.repeat(cache["random"][numbers].astype(np.uint64), lengths)
        values ^= keys ^ places.byteswap()
    places -= np.uint64(mm.page_offset)
    bad = places > np.uint64((mm.max_pfn << mm.page_shift) - WORD)
    if bad.any():
        name = mm.cache_names[np.repeat(numbers, lengths)[bad][0]]
        raise ValueError(f"a free object of {name} lies outside RAM")
    mm.view("ram")[places >> np.uint64(3)] = values
    return heads


def add_slabs(mm: MM, caches: Sequence[tuple[int, Mapping[str, Any]]]) -> None:
    """Makes the pages of the slabs of caches (number, truth), and their own free lists."""
    slabs = [slab for _number, truth in caches for slab in truth["slabs"]]
    numbers = np.repeat(
        np.array([number for number, _truth in caches], np.int64),
        [len(truth["slabs"]) for _number, truth in caches],
    )
    page = mm.view("page")
    pfns = np.array([slab["pfn"] for slab in slabs], dtype=np.int64)
    orders = np.array(slab_orders(mm, caches), np.int64)
    sizes = np.left_shift(1, orders)
    bad = (pfns < mm.min_pfn) | (pfns > mm.max_pfn - sizes) | (pfns & (sizes - 1) != 0)
    if bad.any():
        pfn, order, name = pfns[bad][0], orders[bad][0], mm.cache_names[numbers[bad][0]]
        raise ValueError(f"slab {pfn} of {name} is no block of order {order}")
    for order in sorted(set(orders.tolist())):  # np.unique() imports numpy.ma: 0.01 s
        blocks = pfns[orders == order, None] + np.arange(1 << order)
        page["users"][blocks] = USE_SLAB
        page["refcount"][blocks] = 0
        page["flags"][blocks[:, 1:]] = PG_tail
        if order:
            page["compound_head"][blocks] = blocks[:, :1]
    page["refcount"][pfns] = 1
    page["flags"][pfns] = np.where(orders > 0, PG_slab | PG_head, PG_slab)
    page["order"][pfns] = orders
    page["cache"][pfns] = numbers
    for name in ("objects", "inuse", "frozen"):
        page[name][pfns] = np.array([slab[name] for slab in slabs], page[name].dtype)
    page["freelist"][pfns] = write_chains(mm, numbers, [slab["free"] for slab in slabs])
    nodes = numbers * mm.nr_nodes + mm.view("zone")["node"][page["zone"][pfns]].astype(np.int64)
    node = mm.view("cache_node")
    np.add.at(node["nr_slabs"], nodes, 1)
    np.add.at(node["total_objects"], nodes, page["objects"][pfns])


def slab_orders(mm: MM, caches: Sequence[tuple[int, Mapping[str, Any]]]) -> list[int]:
    """The order of every slab of caches (number, truth)."""
    found = []
    cache = mm.view("cache")
    for number, truth in caches:
        preferred = int(cache["oo_order"][number]), int(cache["oo_objects"][number])
        size = int(cache["size"][number])
        orders: dict[int, int] = {}
        for slab in truth["slabs"]:
            objects = slab["objects"]
            if objects not in orders:
                orders[objects] = slab_order(size, objects, 1 << mm.page_shift, preferred)
            found.append(orders[objects])
    return found


def add_cpu(mm: MM, number: int, cpu: int, truth: Mapping[str, Any] | None) -> None:
    """A CPU's slab with its free list, and its partial list in order."""
    record = mm.view("cache_cpu")[number * mm.nr_cpus + cpu]
    if truth is None:
        return
    named = [truth.get("slab") or 0, *(truth.get("partial") or [])]
    if any(not 0 <= pfn < mm.max_pfn for pfn in named):
        raise ValueError(f"CPU {cpu} of {mm.cache_names[number]} has a slab that is no page")
    if truth.get("slab") is not None:
        record["slab"] = truth["slab"]
        record["freelist"] = write_chains(mm, np.array([number]), [truth.get("freelist") or []])[0]
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
    record = mm.view("cache_node")[number * mm.nr_nodes]
    pfns = truth.get("node_partial") or []
    link_list(mm, int(record["partial"]), pfns)
    record["nr_partial"] = len(pfns)
    mm.view("page")["flags"][np.asarray(pfns, dtype=np.int64)] |= PG_partial


def add_sheaves(mm: MM, number: int, truth: Mapping[str, Any]) -> None:
    """A cache's sheaves: each CPU's main, spare and RCU sheaf, and the barn's full ones, in order.

    A truth does not tell an empty sheaf from none, nor where a sheaf lies in memory: a CPU has a
    main sheaf, the others only with objects, and the barn has no empty ones.
    """
    for cpu, sheaves in enumerate((truth.get("sheaves") or ())[: mm.nr_cpus]):
        adopt_sheaf(mm, number, sheaves["main"], "main", cpu=cpu)
        for name, place in (("spare", "spare"), ("rcu_free", "rcu")):
            if sheaves[name]:
                adopt_sheaf(mm, number, sheaves[name], place, cpu=cpu)
    for objects in truth.get("barn_full") or ():
        adopt_sheaf(mm, number, objects, "full")


def add_lists(mm: MM, number: int, truth: Mapping[str, Any]) -> None:
    """The lists that a cache's slabs are on."""
    add_node(mm, number, truth)
    by_cpu = {entry["cpu"]: entry for entry in truth.get("cpu") or []}
    for cpu in range(mm.nr_cpus):
        add_cpu(mm, number, cpu, by_cpu.get(cpu))
    add_sheaves(mm, number, truth)
    if not mm.view("has")[0].cpu_partial_counts_slabs:
        set_pobjects(mm, truth)


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
    bits = slab_flag_bits(profile.version, profile.config)
    found: list[tuple[int, Mapping[str, Any]]] = []
    for truth in reversed(caches):
        with part(f"cache {truth['name']!s:.60}"):
            fields = cache_fields(mm, bits, truth, attributes.get(truth["name"]))
            number = adopt_cache(
                mm, truth["name"], truth.get("random_seq") or (), truth.get("freeptr_offset"),
                **fields,
            )
        record = mm.view("cache")[number]
        if truth.get("freeptr_offset") and not record["flags"] & SLUB_DEFS["SLAB_DEBUG_FLAGS"]:
            record["offset"] = truth["freeptr_offset"]
        if KMALLOC_NAME.fullmatch(truth["name"]) and "SLAB_KMALLOC" in bits:
            record["flags"] |= SLUB_DEFS["SLAB_KMALLOC"]
        found.append((number, truth))
    add_slabs(mm, found)
    for number, truth in found:
        with part(f"cache {truth['name']!s:.60}"):
            add_lists(mm, number, truth)
    adopt_kmalloc_caches(mm)

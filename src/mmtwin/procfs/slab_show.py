"""The twin's caches as /sys/kernel/slab shows them (mm/slub.c: show_slab_objects and the like)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmtwin.kernel.slub_cache import slab_unmergeable
from mmtwin.kernel.slub_defs import DEFS as SLUB
from mmtwin.procfs.state import cache_numbers, mm_of, node_slabs, profile_of
from mmtwin.procfs.sys_kernel_slab import (
    CpuPartial,
    Entry,
    SlabAlias,
    SlabAttributes,
    SlabCount,
    resolve,
)
from mmtwin.versions.proc_items import SLAB_ATTRIBUTES
from mmtwin.versions.proc_items import names as item_names

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM

FLAGS = {
    "red_zone": "SLAB_RED_ZONE",
    "poison": "SLAB_POISON",
    "store_user": "SLAB_STORE_USER",
    "sanity_checks": "SLAB_CONSISTENCY_CHECKS",
    "trace": "SLAB_TRACE",
    "reclaim_account": "SLAB_RECLAIM_ACCOUNT",
    "hwcache_align": "SLAB_HWCACHE_ALIGN",
    "cache_dma": "SLAB_CACHE_DMA",
    "destroy_by_rcu": "SLAB_TYPESAFE_BY_RCU",
}
ID_LETTERS = {
    "d": "SLAB_CACHE_DMA",
    "D": "SLAB_CACHE_DMA32",
    "a": "SLAB_RECLAIM_ACCOUNT",
    "F": "SLAB_CONSISTENCY_CHECKS",
    "A": "SLAB_ACCOUNT",
}
FIELDS = {
    "object_size": "object_size",
    "slab_size": "size",
    "align": "align",
    "order": "oo_order",
    "objs_per_slab": "oo_objects",
    "cpu_partial": "cpu_partial",
    "min_partial": "min_partial",
    "usersize": "usersize",
    "sheaf_capacity": "sheaf_capacity",
}


def show(machine: Any, base: list[Entry] | None = None) -> list[Entry]:
    """The twin's caches, newest first: a `Machine` or its MM.

    A cache that others may be merged into has a folder named by its flags and size, and links from
    its names (sysfs_slab_add). `base`: the kernel's own folder. Where it is given its names, links
    and order stand, and what the twin does not hold (the constructor's symbol, `skip_kfence`) is
    printed as it is there; caches that the twin has not are left out.
    """
    mm = mm_of(machine)
    if base is None:
        return own_entries(mm)
    shown = {mm.cache_names[number]: attributes(mm, number) for number in cache_numbers(mm)}
    entries: list[Entry] = []
    owner = {id(entry): name for name, entry in resolve(base).items() if name in shown}
    for entry in base:
        if not isinstance(entry, SlabAttributes):
            entries.append(entry)
        elif id(entry) in owner:
            values = shown[owner[id(entry)]]
            known = {name: values.get(name, before) for name, before in entry.values.items()}
            known.update((name, entry.values[name]) for name in UNKNOWN if name in entry.values)
            entries.append(SlabAttributes(entry.name, known))
    return entries


def own_entries(mm: MM) -> list[Entry]:
    """Folders and links as a kernel makes them."""
    entries: dict[str, Entry] = {}
    for number in cache_numbers(mm):
        name = mm.cache_names[number]
        folder = name if unmergeable(mm, number) else unique_id(mm, number)
        if folder in entries:
            continue  # the kernel too makes no second folder of a name
        entries[folder] = SlabAttributes(folder, attributes(mm, number))
        names = [*mm.cache_aliases.get(number, ()), *([name] if folder != name else ())]
        entries.update((alias, SlabAlias(alias, folder)) for alias in names)
    return list(entries.values())


def unmergeable(mm: MM, number: int) -> bool:
    """Whether no other cache may share this one (slab_unmergeable)."""
    return bool(slab_unmergeable(mm.view("has")[0], mm.view("cache")[number]))


def unique_id(mm: MM, number: int) -> str:
    """The folder of a cache that may be shared (create_unique_id)."""
    cache = mm.view("cache")[number]
    letters = "".join(
        letter for letter, flag in ID_LETTERS.items() if int(cache["flags"]) & SLUB[flag]
    )
    return f":{letters}{'-' if letters else ''}{int(cache['size']):07}"


# What the twin prints in its own way when it has to.
UNKNOWN = ("ctor", "skip_kfence", "failslab")


def attributes(mm: MM, number: int) -> dict[str, str]:
    """A cache's attributes by name, in the order of printing."""
    cache = mm.view("cache")[number]
    values = {name: str(int(cache[field])) for name, field in FIELDS.items()}
    values |= counts(mm, number)
    flags = int(cache["flags"])
    values |= {name: str(int(flags & SLUB[flag] != 0)) for name, flag in FLAGS.items()}
    refcount = int(cache["refcount"])
    values["aliases"] = str(0 if refcount < 0 else refcount - 1)
    values["ctor"] = f"ctor_{int(cache['ctor'])}" if cache["ctor"] else ""
    values["remote_node_defrag_ratio"] = str(int(cache["defrag_ratio"]) // 10)
    values["failslab"] = values["skip_kfence"] = "0"
    return {name: values[name] for name in item_names(SLAB_ATTRIBUTES, profile_of(mm))}


def counts(mm: MM, number: int) -> dict[str, str]:
    """The attributes that count slabs and objects, by node and CPU."""
    nodes = [node_slabs(mm, number, node) for node in range(mm.nr_nodes)]
    cpu_slabs, partial = cpu_counts(mm, number)
    return {
        "objects": by_node([node.objects - node.free for node in nodes]),
        "objects_partial": by_node([node.partial_inuse for node in nodes]),
        "total_objects": by_node([node.objects for node in nodes]),
        "slabs": by_node([node.slabs for node in nodes]),
        "partial": by_node([node.partial for node in nodes]),
        "cpu_slabs": by_node(cpu_slabs),
        "slabs_cpu_partial": str(partial),
    }


def by_node(numbers: list[int]) -> str:
    """A count as the kernel prints it."""
    return str(SlabCount(sum(numbers), {node: n for node, n in enumerate(numbers) if n}))


def cpu_counts(mm: MM, number: int) -> tuple[list[int], CpuPartial]:
    """Slabs held for CPUs, by node, and the CPU partial lists.

    The first slab of a list has its length. How many objects are free on it is counted there too
    before b47291ef02b0 (5.16); since, the kernel takes half of each slab.
    """
    page = mm.view("page")
    half = bool(mm.view("has")[0].cpu_partial_counts_slabs)
    objects_per_slab = int(mm.view("cache")["oo_objects"][number])
    slabs_of = [0] * mm.nr_nodes
    cpus = {}
    for cpu in range(mm.nr_cpus):
        record = mm.view("cache_cpu")[number * mm.nr_cpus + cpu]
        slab, first = int(record["slab"]), int(record["partial"])
        if slab >= 0:
            slabs_of[node_of(mm, slab)] += 1
        if slab >= 0 and first >= 0:  # a CPU without a slab is passed over, with its list
            slabs_of[node_of(mm, first)] += int(page["slabs"][first])
        if first >= 0:
            slabs = int(page["slabs"][first])
            free = slabs * objects_per_slab // 2 if half else int(page["pobjects"][first])
            cpus[cpu] = free, slabs
    slabs = sum(count for _, count in cpus.values())
    free = sum(count for count, _ in cpus.values())
    if half:
        free = slabs * objects_per_slab // 2
    return slabs_of, CpuPartial(free, slabs, cpus)


def node_of(mm: MM, pfn: int) -> int:
    """page_to_nid()"""
    return int(np.int64(mm.view("zone")["node"][mm.view("page")["zone"][pfn]]))

"""The geometry of a recording's caches, computed by the twin's rules and held against
/sys/kernel/slab.
"""

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mmtwin.kernel import slub_layout
from mmtwin.kernel.slub_defs import DEFS
from mmtwin.machine.boot_caches import boot_caches
from mmtwin.machine.recorded import own_attributes
from mmtwin.recordings.recording import Recording

if TYPE_CHECKING:
    from mmtwin.versions.profiles import Profile

# What /sys/kernel/slab says of a cache's flags.
FLAG_ATTRIBUTES = {
    "destroy_by_rcu": "SLAB_TYPESAFE_BY_RCU",
    "hwcache_align": "SLAB_HWCACHE_ALIGN",
    "cache_dma": "SLAB_CACHE_DMA",
    "reclaim_account": "SLAB_RECLAIM_ACCOUNT",
    "red_zone": "SLAB_RED_ZONE",
    "poison": "SLAB_POISON",
    "store_user": "SLAB_STORE_USER",
    "sanity_checks": "SLAB_CONSISTENCY_CHECKS",
}
KMALLOC = re.compile(r"(dma-)?kmalloc-")
GEOMETRY = ("slab_size", "order", "objs_per_slab", "cpu_partial", "min_partial")


def number_of(attributes: dict[str, str], name: str) -> int:
    """An attribute's number (`64(2) C0=64(2)`: the first); 0 if it is missing."""
    match = re.match(r"\d+", attributes.get(name, ""))
    return int(match[0]) if match else 0


def geometry_of(
    name: str,
    attributes: dict[str, str],
    profile: "Profile",
    cpus: int,
    freeptr_offset: int | None = None,
) -> dict[str, int]:
    """What the twin makes of a cache with this object size, alignment, flags and constructor.

    `freeptr_offset`: where its creator wants the free pointer (kmem_cache_args, d345bd2e9834,
    6.12), which /sys/kernel/slab does not say. calculate_sizes(), calculate_order(),
    set_cpu_partial() of mm/slub.c by the profile's features. Sizes in bytes.
    """
    has = SimpleNamespace(**profile.features)
    flags = DEFS["SLAB_KMALLOC"] if KMALLOC.match(name) else 0
    for attribute, flag in FLAG_ATTRIBUTES.items():
        if number_of(attributes, attribute):
            flags |= DEFS[flag]
    page_size = profile.page_size
    layout = slub_layout.object_layout(
        has, number_of(attributes, "object_size"), number_of(attributes, "align"), flags,
        bool(attributes.get("ctor")), freeptr_offset,
    )  # fmt: skip
    size = layout["size"]
    order = slub_layout.calculate_order(has, size, page_size, profile.limits.nr_orders, cpus, cpus)
    objects = (page_size << order) // size if order >= 0 else 0
    partial, _slabs = slub_layout.cpu_partial_limits(has, size, page_size, objects, flags)
    return {
        "slab_size": size,
        "order": order,
        "objs_per_slab": objects,
        "cpu_partial": partial,
        "min_partial": slub_layout.minimum_partial(size),
    }


def compare_geometry(recording: Recording, profile: "Profile") -> dict[str, Any]:
    """{"caches": how many /sys/kernel/slab lists, "exact": those the twin lays out just so,
    "differing": names}.
    """
    cpus = recording.machine.cpus
    caches = own_attributes(recording)
    differing = []
    wanted = {cache.name: cache.freeptr_offset for cache in boot_caches(profile)}
    for name, attributes in caches.items():
        known = [item for item in GEOMETRY if item in attributes]
        twin = geometry_of(name, attributes, profile, cpus, wanted.get(name))
        if any(twin[item] != number_of(attributes, item) for item in known):
            differing.append(name)
    return {
        "caches": len(caches),
        "exact": len(caches) - len(differing),
        "differing": sorted(differing),
    }

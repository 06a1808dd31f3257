"""A slab as a machine makes it: where its objects lie, and the order of the free ones."""

from dataclasses import dataclass
from typing import Any

from mmtwin.kernel.slub_defs import DEFS
from mmtwin.kernel.slub_state import read_freelist
from mmtwin.machine.machine import Machine
from mmtwin.machine.views import Cache

# Flags that a layout follows from.
KEPT = ("SLAB_HWCACHE_ALIGN", "SLAB_TYPESAFE_BY_RCU", "SLAB_RECLAIM_ACCOUNT", "SLAB_CACHE_DMA",
        "SLAB_RED_ZONE", "SLAB_POISON", "SLAB_STORE_USER", "SLAB_CONSISTENCY_CHECKS",
        "SLAB_KMALLOC")  # fmt: skip


@dataclass(frozen=True)
class Slab:
    """A slab; bytes and byte offsets into it.

    `free`: offsets of the free objects, in the order in which they will be given out; `parts`:
    (first byte, bytes, what, class of a colour) of one object, counted from where its room begins.
    """

    title: str
    size: int
    object_size: int
    objects: int
    page_size: int
    order: int
    red_left_pad: int
    free: tuple[int, ...]
    parts: tuple[tuple[int, int, str, str], ...]

    @property
    def bytes(self) -> int:
        """Of the whole slab."""
        return self.page_size << self.order


def new_slab(
    machine: Machine, name: str, object_size: int, align: int, flags: int, ctor: bool,
    freeptr_offset: int | None, live: int,
) -> Slab:  # fmt: skip
    """A new slab of a cache of one's own, of which `live` objects are given out.

    Raises ValueError if it does not hold so many.
    """
    kept = DEFS["SLAB_NO_MERGE"]
    for flag in KEPT:
        kept |= flags & DEFS[flag]
    details = {}
    if freeptr_offset is not None and flags & DEFS["SLAB_TYPESAFE_BY_RCU"]:
        details["freeptr_offset"] = freeptr_offset
    cache = machine.kmem_cache_create(
        "drawn", object_size, align, kept, ctor=int(ctor), **details
    )
    if not 0 <= live <= cache.oo_objects:
        raise ValueError(f"a slab of {name} holds {cache.oo_objects} objects, not {live}")
    objects = [machine.kmem_cache_alloc(cache) for _ in range(max(live, 1))]
    start = machine.page(machine.page(machine.virt_to_pfn(objects[0])).head).address
    if live == 0:
        machine.kmem_cache_free(cache, objects[0])
    facts: Any = machine.profile
    tracks = 2 * facts.features["track_bytes"] if cache.flags & DEFS["SLAB_STORE_USER"] else 0
    keeps_size = tracks and cache.flags & DEFS["SLAB_KMALLOC"]
    return Slab(
        f"A slab of {name}, {facts.name}", cache.size, object_size, cache.oo_objects,
        facts.page_size, cache.oo_order, cache.red_left_pad,
        free_offsets(machine, cache, start),
        object_parts(cache, tracks, facts.features["orig_size_bytes"] if keeps_size else 0),
    )  # fmt: skip


def free_offsets(machine: Machine, cache: Cache, start: int) -> tuple[int, ...]:
    """Offsets of the free objects of a slab at an address, the CPU's list first, then its own."""
    addresses = list(cache.cpu_slab(machine.cpu)["freelist"])
    slab = machine.page(machine.virt_to_pfn(start)).slab
    if slab is not None:
        own = read_freelist(machine.mm, cache.number, slab["freelist"])
        addresses += [int(address) for address in own]
    size = cache.size * cache.oo_objects
    return tuple(address - start for address in addresses if start <= address < start + size)


def object_parts(
    cache: Cache, track_bytes: int, orig_size_bytes: int
) -> tuple[tuple[int, int, str, str], ...]:
    """The parts of an object's room of a cache."""
    left, offset = cache.red_left_pad, cache.offset
    asked, inuse = cache.object_size, cache.inuse
    pieces = [(0, left, "red zone before the object", "c5")] if left else []
    inside = offset < inuse
    if inside:
        pieces.append((left, offset, "object", "c0"))
        after = min(offset + 8, max(asked, offset + 8))
        pieces.append((left + offset, 8, "free pointer, while the object is free", "c1"))
        if asked > after:
            pieces.append((left + after, asked - after, "object", "c0"))
        at = max(asked, after)
    else:
        pieces.append((left, asked, "object", "c0"))
        at = asked
    if inuse > at:
        what = "red zone behind the object" if left else "rounded up to a word"
        pieces.append((left + at, inuse - at, what, "c5" if left else "c2"))
        at = inuse
    if not inside:
        pieces.append((left + at, 8, "free pointer, while the object is free", "c1"))
        at += 8
    if track_bytes:
        pieces.append((left + at, track_bytes, "tracks: allocated by, freed by", "c6"))
        at += track_bytes
    if orig_size_bytes:
        pieces.append((left + at, orig_size_bytes, "size asked of kmalloc", "c7"))
        at += orig_size_bytes
    if cache.size > left + at:
        pieces.append((left + at, cache.size - left - at, "padding to the alignment", "c2"))
    return tuple(piece for piece in pieces if piece[1] > 0)

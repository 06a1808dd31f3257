"""State from outside: caches and slabs as a kernel was seen to hold them, and the same read back.

What machine/ builds a recorded machine with, and what replay/ compares and resynchronises by.
Plain Python: used once for each slab, or after a wrong prediction.
"""

from mmtwin.kernel import slub_layout
from mmtwin.kernel.constants import (
    PG_head,
    PG_partial,
    PG_slab,
    PG_tail,
    USE_SLAB,
)
from mmtwin.kernel.lists import list_entries
from mmtwin.kernel.slub_cache import SlabError, cache_record, lay_out, new_record, relink, set_random_seq
from mmtwin.kernel.slub_freelist import MASK64

CPU_SLAB = "cpu"
CPU_PARTIAL = "cpu partial"
NODE_PARTIAL = "node"
FULL = "full"


def adopt_cache(mm, name, random_seq=(), freeptr_offset=None, **fields):
    """Makes the record of a cache that a kernel had: its number.

    `fields`: of kmem_cache_t, as the kernel had them; `object_size` at least. Those not given follow
    from object_size, align, flags and ctor as the kernel computes them. `random_seq`: byte offsets.
    Raises SlabError for a field that the record does not have.
    """
    cache = new_record(mm, name)
    record = mm.view("cache")[cache]
    unknown = set(fields) - set(record.dtype.names)
    if unknown:
        raise SlabError(f"a slab cache has no {', '.join(sorted(unknown))}")
    has = mm.view("has")[0]
    size, flags = fields["object_size"], fields.get("flags", 0)
    align = fields.get("align") or slub_layout.calculate_alignment(has, flags, 0, size)
    lay_out(mm, cache, size, align, flags, fields.get("ctor", 0), freeptr_offset)
    for field, value in fields.items():
        record[field] = value
    if "oo_objects" in fields or "oo_order" in fields:
        if "cpu_partial_slabs" not in fields and has.cpu_partial_counts_slabs:
            record["cpu_partial_slabs"] = -(-int(record["cpu_partial"]) * 2 // int(record["oo_objects"]))
    set_random_seq(mm, cache, random_seq)
    return cache


def write_freelist(mm, cache, objects):
    """Links free objects (addresses, head first) as a hardened or plain free list; the head or 0."""
    if not objects:
        return 0
    record = mm.view("cache")[cache]
    ram = mm.view("ram")
    key = int(record["random"])
    offset = int(record["offset"])
    hardened = mm.view("has")[0].freelist_hardened
    for place, following in zip(objects, [*objects[1:], 0], strict=True):
        where = (place + offset) & MASK64
        value = following
        if hardened:
            value ^= key ^ int.from_bytes(where.to_bytes(8, "little"), "big")
        ram[((where - mm.page_offset) & MASK64) >> 3] = value
    return objects[0]


def read_freelist(mm, cache, head, limit=65536):
    """The addresses on a free list, head first. Raises SlabError if it is longer than `limit`."""
    record = mm.view("cache")[cache]
    ram = mm.view("ram")
    key = int(record["random"])
    offset = int(record["offset"])
    hardened = mm.view("has")[0].freelist_hardened
    found = []
    entry = int(head)
    while entry:
        found.append(entry)
        if len(found) > limit:
            raise SlabError(f"free list of {mm.cache_names[cache]} does not end")
        where = (entry + offset) & MASK64
        place = ((where - mm.page_offset) & MASK64) >> 3
        if place >= len(ram):
            raise SlabError(f"free list of {mm.cache_names[cache]} leads to {entry:#x}")
        entry = int(ram[place])
        if hardened:
            entry ^= key ^ int.from_bytes(where.to_bytes(8, "little"), "big")
    return found


def adopt_slab(
    mm, cache, pfn, order, objects, inuse, free_list, where=FULL, *, cpu=0, cpu_free=(), frozen=None,
    pobjects=0,
):
    """Makes the pages at `pfn` a slab of a cache, as a kernel had it.

    `inuse`, `frozen`: the slab's own counters (all objects of a CPU slab count as in use).
    `free_list`: the slab's free objects, `cpu_free` those on the CPU's list: addresses, head first.
    `where`: CPU_SLAB, CPU_PARTIAL (of `cpu`; `pobjects` as the kernel had it, or 0 to count), behind
    those already there; NODE_PARTIAL, last on its node's list; or FULL, on no list.
    """
    pages = mm.view("page")
    page = pages[pfn]
    page["flags"] = PG_slab | (PG_head if order else 0)
    page["users"] = USE_SLAB
    page["order"] = order
    page["cache"] = cache
    page["objects"] = objects
    page["inuse"] = inuse
    page["refcount"] = 1
    page["next"] = -1
    page["prev"] = -1
    page["pobjects"] = pobjects
    for tail in range(pfn + 1, pfn + (1 << order)):
        pages[tail]["flags"] = PG_tail
        pages[tail]["compound_head"] = pfn
    page["freelist"] = write_freelist(mm, cache, list(free_list))
    on_cpu = where == CPU_SLAB or (where == CPU_PARTIAL and not mm.view("has")[0].slub_delayed_freezing)
    page["frozen"] = on_cpu if frozen is None else frozen
    node = int(mm.view("zone")[int(page["zone"])]["node"])
    n = mm.view("cache_node")[cache * mm.nr_nodes + node]
    n["nr_slabs"] += 1
    n["total_objects"] += objects
    c = mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]
    if where == CPU_SLAB:
        c["slab"] = pfn
        c["freelist"] = write_freelist(mm, cache, list(cpu_free))
    elif where == CPU_PARTIAL:
        append_cpu_partial(mm, cache, cpu, pfn, pobjects)
    elif where == NODE_PARTIAL:
        page["flags"] |= PG_partial
        relink(mm, int(n["partial"]), [*list_entries(mm, int(n["partial"])), pfn])
        n["nr_partial"] += 1


def append_cpu_partial(mm, cache, cpu, pfn, pobjects):
    """Puts a slab last on a CPU partial list and counts again, from the last to the first.

    `pobjects`: what the slab's own count says, 0 to count free objects (before 5.16 they bound the list).
    """
    pages = mm.view("page")
    c = mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]
    chain = [*cpu_partial(mm, cache, cpu), pfn]
    c["partial"] = chain[0]
    objects = 0
    for place, entry in enumerate(reversed(chain)):
        objects += int(pages[entry]["objects"]) - int(pages[entry]["inuse"])
        pages[entry]["slabs"] = place + 1
        if not pobjects:
            pages[entry]["pobjects"] = objects
        pages[entry]["next"] = chain[len(chain) - place] if place else -1


def cpu_partial(mm, cache, cpu=0):
    """The pfns on a CPU partial list, first to last."""
    following = mm.view("page")["next"]
    found = []
    pfn = int(mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]["partial"])
    while pfn >= 0:
        found.append(pfn)
        pfn = int(following[pfn])
    return found


def cpu_slab(mm, cache, cpu=0):
    """(pfn or -1, the CPU's free objects, head first)."""
    c = mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]
    return int(c["slab"]), read_freelist(mm, cache, c["freelist"])


def node_partial(mm, cache, node=0):
    """The pfns on a node's partial list, first to last."""
    return list_entries(mm, int(mm.view("cache_node")[cache * mm.nr_nodes + node]["partial"]))


def slabs_of(mm, cache):
    """The pfns of all slabs of a cache, ascending."""
    pages = mm.view("page")[: mm.max_pfn]
    mine = (pages["cache"] == cache) & ((pages["flags"] & PG_slab) != 0)
    return [int(pfn) for pfn in mine.nonzero()[0]]

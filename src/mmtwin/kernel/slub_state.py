"""State from outside: caches and slabs as a kernel was seen to hold them, and the same read back.

What machine/ builds a recorded machine with, and what replay/ compares and resynchronises by.
Plain Python: used once for each slab, or after a wrong prediction.
"""

import numpy as np

from mmtwin.kernel import slub_layout
from mmtwin.kernel.constants import (
    USE_SLAB,
    PG_head,
    PG_partial,
    PG_slab,
    PG_tail,
)
from mmtwin.kernel.lists import list_entries
from mmtwin.kernel.slub_cache import (
    SlabError,
    lay_out,
    new_record,
    relink,
    set_random_seq,
)
from mmtwin.kernel.slub_freelist import MASK64

CPU_SLAB = "cpu"
CPU_PARTIAL = "cpu partial"
NODE_PARTIAL = "node"
FULL = "full"


def adopt_cache(mm, name, random_seq=(), freeptr_offset=None, **fields):
    """Makes the record of a cache that a kernel had: its number.

    `fields`: of kmem_cache_t, as the kernel had them; `object_size` at least. Those not given
    follow from object_size, align, flags and ctor as the kernel computes them. `random_seq`:
    byte offsets. Raises SlabError for a field that the record does not have.
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
            record["cpu_partial_slabs"] = -(
                -int(record["cpu_partial"]) * 2 // int(record["oo_objects"])
            )
    set_random_seq(mm, cache, random_seq)
    return cache


def write_freelist(mm, cache, objects):
    """Links free objects (addresses, head first) as a hardened or plain free list; the head or
    0.
    """
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
    mm,
    cache,
    pfn,
    order,
    objects,
    inuse,
    free_list,
    where=FULL,
    *,
    cpu=0,
    cpu_free=(),
    frozen=None,
    pobjects=0,
):
    """Makes the pages at `pfn` a slab of a cache, as a kernel had it.

    `inuse`, `frozen`: the slab's own counters (all objects of a CPU slab count as in use).
    `free_list`: the slab's free objects, `cpu_free` those on the CPU's list: addresses, head
    first. `where`: CPU_SLAB, CPU_PARTIAL (of `cpu`; `pobjects` as the kernel had it, or 0 to
    count), behind those already there; NODE_PARTIAL, last on its node's list; or FULL, on no
    list.
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
    on_cpu = where == CPU_SLAB or (
        where == CPU_PARTIAL and not mm.view("has")[0].slub_delayed_freezing
    )
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

    `pobjects`: what the slab's own count says, 0 to count free objects (before 5.16 they bound
    the list).
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


def slabs_by_cache(mm):
    """{cache: the pfns of its slabs, ascending} of all caches that have any."""
    pages = mm.view("page")[: mm.max_pfn]
    pfns = np.flatnonzero(pages["flags"] & PG_slab)
    found = {}
    for pfn, cache in zip(pfns.tolist(), pages["cache"][pfns].tolist(), strict=True):
        found.setdefault(cache, []).append(pfn)
    return found


def adopt_sheaf(mm, cache, objects, where, *, cpu=0, node=0, address=0):
    """Makes a sheaf of a cache that holds these objects (addresses, the next to be given last).

    `where`: "main", "spare" or "rcu" of `cpu`, or "full", "empty": last in the barn of `node`.
    `address`: of the kernel's struct slab_sheaf, 0 if unknown. Its number. Raises SlabError if the
    objects do not fit.
    """
    record = mm.view("cache")[cache]
    capacity = int(record["sheaf_capacity"])
    sheaves = mm.view("sheaf")
    if len(objects) > min(max(capacity, 1), sheaves.dtype["objects"].shape[0]):
        raise SlabError(f"{len(objects)} objects in a sheaf of {mm.cache_names[cache]}")
    number = mm.next_sheaf
    mm.next_sheaf = number + 1
    sheaf = sheaves[number]
    sheaf["cache"], sheaf["node"], sheaf["address"] = cache, node, address
    sheaf["size"], sheaf["capacity"] = len(objects), capacity
    sheaf["next"] = sheaf["prev"] = -1
    sheaf["objects"][: len(objects)] = objects
    if where in ("main", "spare", "rcu"):
        mm.view("cache_cpu")[cache * mm.nr_cpus + cpu][f"sheaf_{where}"] = number
        return number
    n = mm.view("cache_node")[cache * mm.nr_nodes + node]
    last = int(n[f"barn_{where}"])
    if last < 0:
        n[f"barn_{where}"] = number
    else:
        while sheaves[last]["next"] >= 0:
            last = int(sheaves[last]["next"])
        sheaves[last]["next"] = number
    n[f"nr_{where}"] += 1
    return number


def sheaf_contents(mm, cache, cpu=0, node=0):
    """What the sheaves hold: {"main", "spare", "rcu": addresses or None, "full": [addresses,
    ...]}.
    """
    sheaves = mm.view("sheaf")

    def contents(number):
        return (
            None
            if number < 0
            else sheaves[number]["objects"][: int(sheaves[number]["size"])].tolist()
        )

    c = mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]
    found = {name: contents(int(c[f"sheaf_{name}"])) for name in ("main", "spare", "rcu")}
    found["full"] = []
    number = int(mm.view("cache_node")[cache * mm.nr_nodes + node]["barn_full"])
    while number >= 0:
        found["full"].append(contents(number))
        number = int(sheaves[number]["next"])
    return found


def live_objects(mm, cache, slabs=None):
    """The addresses of all live objects of a cache, ascending; `slabs`: its slabs, if known."""
    record = mm.view("cache")[cache]
    size, pad = int(record["size"]), int(record["red_left_pad"])
    pages = mm.view("page")
    free = set()
    for cpu in range(mm.nr_cpus):
        free.update(cpu_slab(mm, cache, cpu)[1])
        found = sheaf_contents(mm, cache, cpu)
        for name in ("main", "spare", "rcu"):
            free.update(found[name] or ())
    for node in range(mm.nr_nodes):
        for objects in sheaf_contents(mm, cache, 0, node)["full"]:
            free.update(objects)
    live = []
    for pfn in slabs_of(mm, cache) if slabs is None else slabs:
        free.update(read_freelist(mm, cache, pages[pfn]["freelist"]))
        start = (mm.page_offset + (pfn << mm.page_shift) + pad) & MASK64
        every = range(start, start + size * int(pages[pfn]["objects"]), size)
        live += [address for address in every if address not in free]
    return live


def restart_slab(mm, cache, pfn, predicted, actual):
    """Begins a new slab elsewhere in random_seq, after the fact: its random start is an input.

    `predicted`, `actual`: the addresses of the object that the twin gave and that the kernel
    gave from a slab of which nothing was seen before. Every free object of the slab, on free
    lists and in sheaves, takes the place of the one as far behind it. Returns {old address: new
    address} of all objects of the slab, {} if the cache is not shuffled or an address is no
    object.
    """
    record = mm.view("cache")[cache]
    first, count = int(record["random_seq"]), int(record["oo_objects"])
    if first < 0:
        return {}
    limit = int(mm.view("page")[pfn]["objects"]) * int(record["size"])
    offsets = [
        int(place) for place in mm.view("random_seq")[first : first + count] if place < limit
    ]
    start = (mm.page_offset + (pfn << mm.page_shift) + int(record["red_left_pad"])) & MASK64
    if predicted - start not in offsets or actual - start not in offsets:
        return {}
    shift = offsets.index(actual - start) - offsets.index(predicted - start)
    turned = {
        start + offset: start + offsets[(place + shift) % len(offsets)]
        for place, offset in enumerate(offsets)
    }
    page = mm.view("page")[pfn]
    free = read_freelist(mm, cache, page["freelist"])
    page["freelist"] = write_freelist(mm, cache, [turned[entry] for entry in free])
    for cpu in range(mm.nr_cpus):
        c = mm.view("cache_cpu")[cache * mm.nr_cpus + cpu]
        if c["slab"] == pfn:
            free = read_freelist(mm, cache, c["freelist"])
            c["freelist"] = write_freelist(mm, cache, [turned[entry] for entry in free])
    for number in range(mm.next_sheaf):
        sheaf = mm.view("sheaf")[number]
        if sheaf["cache"] == cache:
            for place in range(int(sheaf["size"])):
                entry = int(sheaf["objects"][place])
                sheaf["objects"][place] = turned.get(entry, entry)
    return turned

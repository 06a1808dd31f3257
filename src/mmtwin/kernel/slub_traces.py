"""A debug cache looked through: validate_slab_cache(), alloc_traces, free_traces, what remains.

mm/slub.c: validate_slab(), list_slab_objects(), process_slab(), add_location(),
slab_debugfs_show() (list_locations() before 5.14). Plain Python.
"""

from mmtwin.kernel import slub_defs
from mmtwin.kernel.constants import COMPLAINT_OBJECTS_REMAIN
from mmtwin.kernel.lists import list_entries
from mmtwin.kernel.slub_cache import SlabError, flush_all
from mmtwin.kernel.slub_debug import check_object, check_slab, on_freelist
from mmtwin.kernel.slub_freelist import MASK64
from mmtwin.kernel.slub_meta import get_orig_size
from mmtwin.kernel.slub_options import current_frames
from mmtwin.kernel.slub_report import Report
from mmtwin.kernel.slub_state import read_freelist, slabs_of


def listed_slabs(mm, cache, node):
    """(slabs of a node's partial list in order, full slabs by address) of a debug cache."""
    head = int(mm.view("cache_node")[cache * mm.nr_nodes + node]["partial"])
    partial = [int(pfn) for pfn in list_entries(mm, head)]
    zones, pages = mm.view("zone"), mm.view("page")
    known = set(partial)
    full = [
        pfn for pfn in slabs_of(mm, cache)
        if pfn not in known and zones[int(pages[pfn]["zone"])]["node"] == node
    ]
    return partial, full


def objects_of(mm, cache, pfn):
    """The addresses of all objects of a slab, in order."""
    record = mm.view("cache")[cache]
    start = (mm.page_offset + (pfn << mm.page_shift) + int(record["red_left_pad"])) & MASK64
    size, count = int(record["size"]), int(mm.view("page")["objects"][pfn])
    return range(start, start + size * count, size)


def free_objects(mm, cache, pfn):
    """__fill_map(): the free objects of a slab, as far as its list can be read."""
    page = mm.view("page")[pfn]
    try:
        return set(read_freelist(mm, cache, int(page["freelist"]), int(page["objects"])))
    except SlabError:
        return set()


def validate_slab(mm, cache, pfn):
    """validate_slab(): checks a slab's counters, its list and each object, up to the first error.
    """
    if not check_slab(mm, cache, pfn) or not on_freelist(mm, cache, pfn, 0):
        return
    free = free_objects(mm, cache, pfn)
    for object in objects_of(mm, cache, pfn):
        value = slub_defs.SLUB_RED_INACTIVE if object in free else slub_defs.SLUB_RED_ACTIVE
        if not check_object(mm, cache, pfn, object, value):
            break


def validate_slab_cache(mm, cache):
    """Checks every slab that a debug cache can find, as `echo 1 > validate` does.

    Full slabs are known only with SLAB_STORE_USER. Returns how many slabs were looked at.
    validate_slab_cache().
    """
    flush_all(mm, cache)
    looked_at = 0
    tracked = int(mm.view("cache")["flags"][cache]) & slub_defs.SLAB_STORE_USER
    for node in range(mm.nr_nodes):
        partial, full = listed_slabs(mm, cache, node)
        for pfn in [*partial, *(full if tracked else ())]:
            validate_slab(mm, cache, pfn)
            looked_at += 1
    return looked_at


def list_slab_objects(mm, cache, pfn):
    """list_slab_objects(): what remains in a slab of a cache that is destroyed."""
    report = Report(mm, cache, pfn)
    debug, warns = mm.slub_debug, report.has.slub_counts_remaining
    debug.errors += 1
    within = "" if warns else f" in {report.name}"
    report.slab_bug(f"Objects remaining{within} on __kmem_cache_shutdown()")
    if not warns:
        report.end_slab_err()
    free = free_objects(mm, cache, pfn)
    for object in objects_of(mm, cache, pfn):
        if object not in free:
            debug.errors += 1 if warns else 0
            report.lines.append(
                f"{report.info}Object 0x{debug.pointer(object)} @offset={object - report.base}"
            )
            report.print_tracking(object)
    if warns:
        report.end_slab_err()
    report.keep(COMPLAINT_OBJECTS_REMAIN, report.base)
    mm.complaints[-1]["detail"] = cache


def report_remaining(mm, cache):
    """kmem_cache_destroy() of a cache that still has objects: its partial slabs, and a WARN."""
    for node in range(mm.nr_nodes):
        for pfn in listed_slabs(mm, cache, node)[0]:
            list_slab_objects(mm, cache, pfn)
    words = f"kmem_cache_destroy {mm.cache_names[cache]}: Slab cache still has objects"
    if not mm.view("has")[0].slub_info_prefix:
        words += f" when called from {current_frames(mm)[0]}"
    mm.complaints.append(
        {"kind": COMPLAINT_OBJECTS_REMAIN, "address": 0, "detail": cache, "text": words + "\n"}
    )


class Location:
    """Objects with one place of allocation or freeing: struct location."""

    def __init__(self):
        self.ages = []
        self.pids = set()
        self.cpus = set()
        self.nodes = set()
        self.count = 0


def locations(mm, cache, which):
    """{(address, handle, wasted bytes): Location} of a cache's live objects, by their tracks."""
    found = {}
    record = mm.view("cache")[cache]
    pages, zones = mm.view("page"), mm.view("zone")
    for node in range(mm.nr_nodes):
        partial, full = listed_slabs(mm, cache, node)
        for pfn in [*partial, *full]:
            report = Report(mm, cache, pfn)
            free = free_objects(mm, cache, pfn)
            for object in objects_of(mm, cache, pfn):
                if object in free:
                    continue
                track = report.track(object, which)
                size = int(record["object_size"])
                asked = get_orig_size(mm, cache, object) if which == 0 else size
                key = track.address, track.handle, size - asked
                place = found.setdefault(key, Location())
                place.count += 1
                place.ages.append((mm.jiffies - track.when) & MASK64)
                place.pids.add(track.pid)
                place.cpus.add(track.cpu)
                place.nodes.add(int(zones[int(pages[pfn]["zone"])]["node"]))
    return dict(sorted(found.items()))


def ranges(numbers):
    """%*pbl: `0-2,5`."""
    parts, ordered = [], sorted(numbers)
    while ordered:
        last = next(
            (place for place, number in enumerate(ordered[1:]) if number != ordered[place] + 1),
            len(ordered) - 1,
        )
        first, final = ordered[0], ordered[last]
        parts.append(str(first) if first == final else f"{first}-{final}")
        ordered = ordered[last + 1 :]
    return ",".join(parts)


def traces(mm, cache, which):
    """The text of alloc_traces or free_traces (`which`: TRACK_ALLOC, TRACK_FREE) in debugfs.

    Before 64dd68497be7 (5.14) alloc_calls, free_calls of sysfs, without stacks, by address.
    Raises SlabError for a cache without SLAB_STORE_USER, which has no such file.
    """
    if not int(mm.view("cache")["flags"][cache]) & slub_defs.SLAB_STORE_USER or not mm.slub_bytes:
        raise SlabError(f"{mm.cache_names[cache]} keeps no tracks (slub_debug=U)")
    debug, debugfs = mm.slub_debug, mm.view("has")[0].slub_traces_debugfs
    places = list(locations(mm, cache, which).items())
    if debugfs:
        places.sort(key=lambda place: -place[1].count)
    lines = []
    for (address, handle, waste), place in places:
        name = debug.symbol(address) if address else "<not-available>"
        line = f"{place.count:7} {name}"
        if waste:
            line += f" waste={place.count * waste}/{waste}"
        total, least, most = sum(place.ages), min(place.ages), max(place.ages)
        spread = total != least
        line += f" age={least}/{total // place.count}/{most}" if spread else f" age={least}"
        first, last = min(place.pids), max(place.pids)
        line += f" pid={first}-{last}" if first != last else f" pid={first}"
        line += f" cpus={ranges(place.cpus)}" if mm.nr_cpus > 1 else ""
        line += f" nodes={ranges(place.nodes)}" if mm.nr_nodes > 1 else ""
        lines.append(line)
        if debugfs and handle:
            lines += [*(f"        {function}" for function in debug.stack(handle)), ""]
    return "\n".join(lines or ["No data"]) + "\n"

"""validate(): KASAN's shadow against what SLUB and the page allocator say of the same memory."""

from mmtwin.kernel.constants import PG_slab
from mmtwin.kernel.kasan import (
    KASAN_SLAB_FREE,
    KASAN_SLAB_FREE_META,
    KASAN_SLAB_REDZONE,
)
from mmtwin.kernel.kasan_shadow import GRANULE, round_up
from mmtwin.kernel.slub_cache import live_caches
from mmtwin.kernel.slub_defs import SLAB_KASAN, SLAB_TYPESAFE_BY_RCU
from mmtwin.kernel.slub_state import live_objects, slabs_by_cache

FREE = (KASAN_SLAB_FREE, KASAN_SLAB_FREE_META, KASAN_SLAB_REDZONE)


def validate(mm):
    """What is wrong with the shadow, as sentences.

    The quarantine's bytes are those of its objects, each waits once and is a live one for SLUB;
    objects that wait or are free are inaccessible, live ones accessible from their first byte on;
    what lies behind an object is a red zone.
    """
    problems = _quarantine_problems(mm)
    waiting = {object for _, object in mm.kasan.quarantine.objects()}
    slabs = slabs_by_cache(mm)
    for cache in live_caches(mm):
        if cache in slabs and int(mm.view("cache")["flags"][cache]) & SLAB_KASAN:
            problems += _cache_problems(mm, cache, slabs[cache], waiting)
    return problems


def _quarantine_problems(mm):
    found, seen = [], set()
    quarantine = mm.kasan.quarantine
    sizes = mm.view("cache")["size"]
    for queue in quarantine.queues():
        total = sum(int(sizes[cache]) for cache, _ in queue.entries)
        if total != queue.bytes:
            found.append(f"kasan: a queue of {total} bytes says {queue.bytes}")
    for cache, object in quarantine.objects():
        if object in seen:
            found.append(f"kasan: {object:#x} waits twice")
        seen.add(object)
        page = mm.view("page")[mm.kasan.page_of(object)]
        if not int(page["flags"]) & PG_slab or int(page["cache"]) != cache:
            found.append(f"kasan: {object:#x} waits but is no object of its cache")
    return found


def _cache_problems(mm, cache, slabs, waiting):
    record = mm.view("cache")[cache]
    name, size, inside = mm.cache_names[cache], int(record["size"]), int(record["object_size"])
    by_rcu = int(record["flags"]) & SLAB_TYPESAFE_BY_RCU
    found, live = [], set(live_objects(mm, cache, slabs))
    shadow = mm.kasan.shadow
    pad = int(record["red_left_pad"])
    zone = round_up(inside, GRANULE) // GRANULE
    for pfn in slabs:
        start = mm.kasan.page_address(pfn) + pad
        count = int(mm.view("page")["objects"][pfn])
        # granule by granule; the last object ends where its right red zone does
        whole = shadow.bytes(start, (count * size - pad) // GRANULE)
        for number in range(count):
            object = start + number * size
            own = whole[number * size // GRANULE : ((number + 1) * size - pad) // GRANULE]
            first = own[0]
            used = object in live and object not in waiting
            if used and first >= GRANULE:
                found.append(f"{name}: {object:#x} is in use, its shadow {first:#x}")
            if not used and not by_rcu and first not in FREE:
                found.append(f"{name}: {object:#x} is free, its shadow {first:#x}")
            if (own[zone:] != KASAN_SLAB_REDZONE).any():
                found.append(f"{name}: no red zone behind {object:#x}")
    return found

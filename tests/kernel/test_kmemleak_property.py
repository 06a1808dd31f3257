"""kmemleak against a naive model of reachability, and runs in which nothing leaks."""

import random
from bisect import bisect_right
from collections import deque
from unittest import mock

import pytest
from any_steps import Step, any_steps
from leak_machine import GFP_KERNEL, Leaks
from slub_machine import VERSIONS

from mmtwin.kernel import kmemleak_scan
from mmtwin.kernel.kmemleak_object import KMEMLEAK_BLACK, OBJECT_NO_SCAN, KmemleakObject
from mmtwin.kernel.slub_validate import validate

# In 7.3 sheaves refer to free and to live objects alike.
PLAIN = [version for version in VERSIONS if version != "7.3"]


def words_of(leaks: Leaks, o: KmemleakObject) -> list[int]:
    """What an object holds, one word at a time, as the kernel goes over it: scan_object() scans
    4096 bytes at a time, and what lies across such a border of an unaligned object is lost.
    """
    if o.flags & OBJECT_NO_SCAN:
        return []
    ram = leaks.mm.view("ram")
    parts = [(start, size) for start, size, _ in o.areas] or [(o.pointer, o.size)]
    found = []
    for start, size in parts:
        found += [
            int(ram[((place - leaks.mm.page_offset) & (1 << 64) - 1) >> 3])
            for place in range(-(-start // 8) * 8, start + size - 7, 8)
            if (place + 7 - start) // 4096 == (place - start) // 4096 or o.areas
        ]
    return found


def naive_orphans(leaks: Leaks) -> set[int]:
    """The addresses of all that no grey object refers to often enough, found one by one."""
    objects = list(leaks.k.object_list)
    behind = sorted(objects, key=lambda o: o.pointer)
    starts = [o.pointer for o in behind]
    count = dict.fromkeys(objects, 0)
    gray = deque(o for o in objects if o.min_count == 0)
    while gray:
        holder = gray.popleft()
        for word in words_of(leaks, holder):
            place = bisect_right(starts, word) - 1
            hit = behind[place] if place >= 0 else holder
            if hit is holder or word >= hit.pointer + hit.size or hit.min_count == KMEMLEAK_BLACK:
                continue
            if count[hit] < hit.min_count:
                count[hit] += 1
                if count[hit] == hit.min_count:
                    gray.append(hit)
            elif hit.excess_ref:
                target = leaks.k.tree.at.get(hit.excess_ref)
                if target is None or target is holder or count[target] >= target.min_count:
                    continue
                count[target] += 1
                if count[target] == target.min_count:
                    gray.append(target)
    return {o.pointer for o in objects if count[o] < o.min_count}


CALLS = (
    "alloc", "alloc", "alloc", "free", "point", "point", "point", "root", "root",
    "unroot", "not_leak", "ignore", "no_scan", "area", "vmalloc", "unaligned",
)  # fmt: skip


def do_step(leaks: Leaks, live: list[int], what: str, one: int, two: int) -> None:
    """One step of a run: `one` and `two` choose objects, sizes and places."""
    if what == "alloc":
        live.append(leaks.kmalloc((8, 32, 64, 100, 200, 9000)[one % 6]))
    elif what == "root" and live:
        size = leaks.object(live[one % len(live)]).size
        leaks.store(leaks.root + one % 64 * 8, live[one % len(live)] + two % size)
    elif what == "unroot":
        leaks.store(leaks.root + one % 64 * 8, 0)
    if not live:
        return
    address = live[one % len(live)]
    o = leaks.object(address)
    other = live[two % len(live)]
    if what == "free":
        live.remove(address)
        leaks.kfree(address)
    elif what == "point":
        leaks.store(address + two % (o.size // 8) * 8, other + one % leaks.object(other).size)
    elif what == "not_leak":
        leaks.k.not_leak(address)
    elif what == "ignore":
        leaks.k.ignore(address)
    elif what == "no_scan":
        leaks.k.no_scan(address)
    elif what == "area" and o.size >= 32:
        leaks.k.scan_area(address + 8, 16, GFP_KERNEL)
    elif what == "vmalloc" and o.size >= 64 and not o.excess_ref:
        memory = leaks.page(0)
        leaks.k.vmalloc(address, memory, 4096, GFP_KERNEL)
        leaks.store(address + 8, memory)
    elif what == "unaligned":
        start = leaks.page(2) + one % 8
        leaks.k.alloc(start, 9000 + two % 9, 0, GFP_KERNEL)
        leaks.store((start + two % 8000) & ~7, other)


@any_steps(CALLS)
def test_what_is_found_is_what_a_naive_search_finds(number: int, run: list[Step]) -> None:
    few = (0, 2, 16)[number // len(PLAIN) % 3]
    with mock.patch.object(kmemleak_scan, "FEW", few):  # alone, or many objects at a time
        hold_against_model(PLAIN[number % len(PLAIN)], run)


def hold_against_model(version: str, run: list[Step]) -> None:
    """One run, and what both say of it."""
    leaks = Leaks(version, pages=512)
    live: list[int] = []
    for what, one, two in run:
        do_step(leaks, live, what, one, two)
    assert leaks.settle() == naive_orphans(leaks)
    assert not leaks.mm.complaints
    validate(leaks.mm)


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_reported_where_nothing_leaks(seed: int) -> None:
    """Lists that hang from global variables, changed all the time, scanned now and then."""
    rng = random.Random(seed)
    leaks = Leaks(VERSIONS[seed % len(VERSIONS)])
    heads = [leaks.root + 8 * number for number in range(16)]
    lists: list[list[int]] = [[] for _ in heads]
    for _ in range(600):
        place = rng.randrange(len(heads))
        chain = lists[place]
        if chain and rng.random() < 0.4:
            number = rng.randrange(len(chain))
            gone = chain.pop(number)
            following = chain[number] if number < len(chain) else 0
            leaks.store(chain[number - 1] + 8 if number else heads[place], following)
            leaks.kfree(gone)
        else:
            fresh = leaks.kmalloc(rng.choice([24, 64, 150, 700, 3000, 12000]))
            leaks.store(fresh + 8, chain[0] if chain else 0)
            leaks.store(heads[place], fresh)
            chain.insert(0, fresh)
        if rng.random() < 0.03:
            assert leaks.scan() == 0
    assert leaks.settle() == set()
    assert leaks.k.show() == ""
    validate(leaks.mm)

"""The scan: which objects does a chain of pointers reach from memory that counts?

mm/kmemleak.c: kmemleak_scan(), scan_block(), scan_object(), scan_gray_list(), update_refs(),
update_checksum(). Memory is scanned in waves, many objects at a time, as arrays of words; what is
grey after each wave is what the kernel's list holds, in the same order.
"""

import zlib

import numpy as np

from mmtwin.kernel.constants import PG_hole
from mmtwin.kernel.kmemleak_object import (
    KMEMLEAK_BLACK,
    OBJECT_ALLOCATED,
    OBJECT_FULL_SCAN,
    OBJECT_NO_SCAN,
    OBJECT_PHYS,
    OBJECT_REPORTED,
    OBJECT_SUSPECT,
)
from mmtwin.kernel.vmalloc_bytes import stack_addresses, structure_addresses

MASK64 = (1 << 64) - 1
MAX_SCAN_SIZE = 4096
MOST_WORDS = 1 << 20  # gathered at a time
SLICE_WORDS = 4096    # blocks from here on are not gathered but sliced
FEW = 16  # objects that are scanned one by one
NOBODY = -1


def spans(mm, start, end):
    """The parts of [start, end) that lie in RAM, as (byte offset in RAM, bytes)."""
    if mm.vmalloc is not None and mm.vmalloc_start <= start < mm.vmalloc_end:
        yield from mapped_spans(mm, start, end)
        return
    offset = (start - mm.page_offset) & MASK64
    size = min(end - start, (mm.max_pfn << mm.page_shift) - offset)
    if size > 0:
        yield offset, size


def mapped_spans(mm, start, end):
    """The same for addresses that page tables lead to, page by page."""
    page_size = 1 << mm.page_shift
    while start < end:
        inside = start & (page_size - 1)
        size = min(page_size - inside, end - start)
        pfn = mm.vmalloc.tables.translate(start)
        if pfn >= 0:
            yield (pfn << mm.page_shift) + inside, size
        start += size


def read_bytes(mm, address, size):
    """`size` bytes of memory; zeros where the machine has none."""
    ram = mm.view("ram").view("u1")
    data = b"".join(
        ram[place : place + count].tobytes() for place, count in spans(mm, address, address + size)
    )
    return data.ljust(size, b"\0")


def block_words(mm, start, end):
    """scan_block(): the aligned words of [start, end), as (index in mm.ram, words).

    A word that only begins inside is left out; at each MAX_SCAN_SIZE of an object that is not
    aligned itself one is lost, as in the kernel.
    """
    if start & 7:
        chunks = [
            (each, min(each + MAX_SCAN_SIZE, end)) for each in range(start, end, MAX_SCAN_SIZE)
        ]
    else:
        chunks = [(start, end)]
    for first, last in chunks:
        first = (first + 7) & ~7
        if first + 8 <= last:
            for offset, size in spans(mm, first, last):
                yield offset >> 3, size >> 3


class Scan:
    """One pass over the memory: the objects as arrays, by their place in `objects`."""

    def __init__(self, k):
        self.k = k
        self.ram = k.mm.view("ram")
        self.objects = list(k.object_list)
        objects = self.objects
        count = len(objects)
        self.min_count = np.fromiter((o.min_count for o in objects), np.int64, count)
        self.count = np.zeros(count, np.int64)
        self.has_excess = np.fromiter((o.excess_ref != 0 for o in objects), bool, count)
        self.place_of = {object: place for place, object in enumerate(objects)}
        virtual = np.fromiter((not o.flags & OBJECT_PHYS for o in objects), bool, count)
        first = np.fromiter((o.pointer for o in objects), np.uint64, count)
        size = np.fromiter((o.size for o in objects), np.uint64, count)
        known = virtual.nonzero()[0]
        order = known[np.argsort(first[known], kind="stable")]
        self.sorted = order
        self.first = first[order]
        self.size = size[order]
        self.gray = [int(place) for place in (self.min_count == 0).nonzero()[0]]
        self.find_plain(first, size, virtual)

    def find_plain(self, first, size, virtual):
        """Notes where in RAM the objects are that are scanned as a whole: nearly all."""
        mm = self.k.mm
        offset = first - np.uint64(mm.page_offset & MASK64)
        whole = np.fromiter(
            (not o.areas and not o.flags & OBJECT_NO_SCAN for o in self.objects),
            bool, len(self.objects),
        )  # fmt: skip
        self.start_word = (offset >> np.uint64(3)).astype(np.int64)
        self.words = (size >> np.uint64(3)).astype(np.int64)
        self.plain = virtual & whole & (first & np.uint64(7) == 0) & (self.words < SLICE_WORDS)
        end = np.uint64(mm.max_pfn << mm.page_shift)
        self.plain &= (self.words > 0) & (offset < end) & (offset + size <= end)

    def is_white(self):
        """color_white() of all."""
        return self.count < self.min_count

    # ---- words

    def found(self, words, scanner):
        """The objects that words point into, in their order; `scanner`: who holds each word."""
        k = self.k
        near = (words >= np.uint64(k.min_addr)) & (words < np.uint64(k.max_addr))
        places = near.nonzero()[0]
        if not len(places):
            return places, places
        words = words[places]
        above = np.searchsorted(self.first, words, side="right") - 1
        inside = above >= 0
        inside[inside] = (
            words[inside] - self.first[above[inside]] < self.size[above[inside]]
        )
        hits = self.sorted[above[inside]]
        holder = scanner[places[inside]] if len(scanner) > 1 else np.full(len(hits), scanner[0])
        other = hits != holder  # a reference to itself is none
        return hits[other], holder[other]

    def update(self, hits, holders):
        """update_refs() for references, in their order: what becomes grey joins the list."""
        surplus = self.has_excess[hits]
        if surplus.any():
            for hit, holder in zip(
                hits[surplus].tolist(), holders[surplus].tolist(), strict=True
            ):
                self.update_one(hit, holder)
            hits = hits[~surplus]
        hits = hits[self.count[hits] < self.min_count[hits]]
        if not len(hits):
            return
        different, first, times = np.unique(hits, return_index=True, return_counts=True)
        needed = self.min_count[different]
        self.count[different] = np.minimum(self.count[different] + times, needed)
        gray = self.count[different] >= needed
        self.gray.extend(different[gray][np.argsort(first[gray])].tolist())

    def update_one(self, hit, holder):
        """pointer_update_refs() for one reference. What an object with an excess_ref does not
        need itself counts for another.
        """
        if self.min_count[hit] != KMEMLEAK_BLACK and self.count[hit] >= self.min_count[hit]:
            if not self.has_excess[hit]:
                return
            target = self.k.tree.at.get(self.objects[hit].excess_ref)
            if target is None:
                return
            hit = self.place_of[target]
            if hit == holder:
                return
        if self.count[hit] < self.min_count[hit]:
            self.count[hit] += 1
            if self.count[hit] >= self.min_count[hit]:
                self.gray.append(hit)

    def scan_words(self, words, scanner=NOBODY):
        """Scans an array of words that one holder has."""
        for start in range(0, len(words), MOST_WORDS):
            self.update(*self.found(words[start : start + MOST_WORDS], np.array([scanner])))

    def scan_range(self, start, end):
        """scan_large_block(): memory that belongs to no object."""
        for first, count in block_words(self.k.mm, start, end):
            self.scan_words(self.ram[first : first + count])

    # ---- objects

    def blocks(self, place):
        """scan_object(): what is scanned of an object, as (index in mm.ram, words)."""
        k, object = self.k, self.objects[place]
        if object.flags & OBJECT_NO_SCAN or not object.flags & OBJECT_ALLOCATED:
            return
        if object.flags & OBJECT_PHYS:
            start = k.mm.page_offset + object.pointer & MASK64
            yield from block_words(k.mm, start, start + object.size)
        elif not object.areas or object.flags & OBJECT_FULL_SCAN:
            yield from block_words(k.mm, object.pointer, object.pointer + object.size)
        else:
            for start, size, _area in object.areas:
                yield from block_words(k.mm, start, start + size)

    def scan_gray_list(self):
        """scan_gray_list(): objects that are referenced, and those they refer to."""
        anybody = bool(self.has_excess.any())
        while self.gray:
            wave, self.gray = self.gray, []
            if len(wave) <= FEW:
                for place in wave:
                    self.scan_object(place)
                continue
            places = np.array(wave)
            plain = self.plain[places]
            if not anybody or plain.all():  # the order in which references come does not matter
                self.scan_plain(places[plain])
                wave = places[~plain].tolist()
            firsts, counts, owners, total = [], [], [], 0
            for place in wave:
                for first, count in self.blocks(place):
                    if count >= SLICE_WORDS or total + count > MOST_WORDS:
                        self.gather(firsts, counts, owners)
                        firsts, counts, owners, total = [], [], [], 0
                    if count >= SLICE_WORDS:
                        self.scan_words(self.ram[first : first + count], place)
                        continue
                    firsts.append(first)
                    counts.append(count)
                    owners.append(place)
                    total += count
            self.gather(firsts, counts, owners)

    def scan_object(self, place):
        """Scans an object alone: quick where few pointers are in it."""
        k = self.k
        for first, count in self.blocks(place):
            words = self.ram[first : first + count]
            words = words[words - np.uint64(k.min_addr) < np.uint64(k.max_addr - k.min_addr)]
            if len(words) > FEW:
                self.scan_words(words, place)
                continue
            for word in words.tolist():
                object = k.tree.find(word)
                hit = place if object is None else self.place_of[object]
                if hit != place:
                    self.update_one(hit, place)

    def scan_plain(self, places):
        """Scans many objects of few words each."""
        ends = np.cumsum(self.words[places])
        start = 0
        while start < len(places):
            done = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, done + MOST_WORDS)), start + 1)
            part = places[start:stop]
            self.gather(self.start_word[part], self.words[part], part)
            start = stop

    def gather(self, firsts, counts, owners):
        """Scans many short blocks at once."""
        if not len(firsts):
            return
        counts = np.array(counts)
        ends = np.cumsum(counts)
        index = np.arange(ends[-1]) + np.repeat(np.array(firsts) - (ends - counts), counts)
        owner = np.repeat(np.array(owners), counts)
        if len(owner) == 1:
            owner = owner[:1]
        self.update(*self.found(self.ram[index], owner))

    # ---- memory that is no object

    def scan_roots(self):
        """Per-CPU sections, struct pages in use, task stacks, and what the twin keeps in records
        of its own where the kernel has it in memory: sheaves, vmap_areas' trees and tasks.
        """
        mm = self.k.mm
        for start, end in self.k.percpu_sections:
            self.scan_range(start, end)
        pages = mm.view("page")[mm.min_pfn : mm.max_pfn]
        used = (pages["refcount"] > 0) & (pages["flags"] & PG_hole == 0)
        self.scan_words(pages["freelist"][used])
        sheaves = mm.view("sheaf")[: mm.next_sheaf]
        sheaves = sheaves[sheaves["address"] != 0]
        if len(sheaves):
            self.scan_words(sheaves["address"].copy())
            slots = sheaves["objects"]
            room = np.arange(slots.shape[1]) < sheaves["capacity"][:, None]
            self.scan_words(slots[room])
        if mm.vmalloc is not None:
            self.scan_words(np.array(structure_addresses(mm), dtype=np.uint64))
        if mm.tasks is not None:
            self.scan_words(np.array(task_addresses(mm), dtype=np.uint64))
            if self.k.stack_scan:
                self.scan_stacks()

    def scan_stacks(self):
        """Every task's kernel stack, all THREAD_SIZE bytes of it. kmemleak_scan_task_stacks()"""
        mm = self.k.mm
        for task in mm.tasks.tasks.values():
            stack = task.stack
            if stack is not None:
                self.scan_range(stack.low, stack.low + stack.size)

    def scan_modified(self):
        """Objects that changed since the scan before are grey for this one: a pointer to them may
        have been moved meanwhile.
        """
        for place in self.is_white().nonzero()[0].tolist():
            object = self.objects[place]
            if update_checksum(self.k, object):
                self.count[place] = self.min_count[place]
                self.gray.append(place)
            elif self.k.has.kmemleak_confirms:
                object.count = int(self.count[place])
                if self.k.is_unreferenced(object) and not object.flags & OBJECT_REPORTED:
                    object.flags |= OBJECT_SUSPECT
        self.scan_gray_list()

    def keep(self):
        """Writes the counts back to the objects."""
        for object, count in zip(self.objects, self.count.tolist(), strict=True):
            object.count = count


def task_addresses(mm):
    """What tasks refer to, stacks that CPUs keep, and what waits for a grace period: the kernel
    has these pointers in task_structs, all of which are on one list, in per-CPU variables and in
    RCU's lists.
    """
    found = []
    tasks = mm.tasks
    stacks = [stack for kept in tasks.cached_stacks for stack in kept]
    for _function, *waiting in tasks.rcu:
        for each in waiting:
            found += [getattr(each, "address", 0), getattr(each, "security", 0)]
            stacks.append(each if hasattr(each, "low") else None)
    stacks += [task.stack for task in tasks.tasks.values()]
    for stack in stacks:
        if stack is not None:
            found += stack_addresses(mm, stack)
    for task in tasks.tasks.values():
        found += [task.address, task.security, task.delays, task.kthread, task.pid_struct]
        for shared in (task.cred, task.files, task.fs, task.sighand, task.signal, task.mm):
            if shared is not None:
                found += [shared.address, shared.security]
    return found


def crc32(seed, data):
    """crc32(): of include/linux/crc32.h, which inverts neither its seed nor its result."""
    return zlib.crc32(data, seed ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def update_checksum(k, object):
    """update_checksum(): whether an object was modified since it was last looked at."""
    if object.flags & OBJECT_PHYS:
        return False
    old = object.checksum
    object.checksum = crc32(0, read_bytes(k.mm, object.pointer, object.size))
    return object.checksum != old


def prepare(k, full):
    """The start of __kmemleak_scan(): each object forgets its references."""
    mm = k.mm
    k.jiffies_last_scan = mm.jiffies
    for object in k.object_list:
        if object.flags & OBJECT_PHYS and not object.flags & OBJECT_NO_SCAN:
            last = (object.pointer + object.size) >> mm.page_shift
            if object.pointer >> mm.page_shift < mm.min_pfn or last > mm.max_pfn:
                object.paint(KMEMLEAK_BLACK)
        if not object.is_white():
            object.unref_scans = 0
        object.count = 0
        if full:
            object.flags &= ~OBJECT_SUSPECT


def scan_once(k, full):
    """__kmemleak_scan(): one pass. A second one, `full` False, only confirms the suspects."""
    prepare(k, full)
    scan = Scan(k)
    scan.scan_roots()
    scan.scan_gray_list()
    if full:
        scan.scan_modified()
    scan.keep()
    for object in k.object_list:
        if not object.is_white():
            object.flags &= ~OBJECT_SUSPECT
    return any(object.flags & OBJECT_SUSPECT for object in k.object_list)


def kmemleak_scan(k):
    """kmemleak_scan(): flags the objects that no pointer leads to; those that are newly so.

    `k`: the Kmemleak. Where kernels scan twice (7.3), an object must be found by both.
    """
    suspects = scan_once(k, True)
    if k.has.kmemleak_confirms:
        if not suspects:
            return []
        scan_once(k, False)
    leaks = []
    for object in k.object_list:
        if not k.is_unreferenced(object) or object.flags & OBJECT_REPORTED:
            continue
        if k.has.kmemleak_confirms:
            if not object.flags & OBJECT_SUSPECT:
                continue
            object.unref_scans += 1
            if object.unref_scans < k.min_unref_scans:
                continue
        object.flags |= OBJECT_REPORTED
        leaks.append(object)
    return leaks

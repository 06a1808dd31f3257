"""A recording's events with their roles: demands told from responses, every object's cache named.

`Annotated(recording)` goes over the recording once to learn which place in the kernel uses which
cache, and hands out its events in blocks of constant size with `role`, `cache` and `ahead` filled
in.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.recordings.callers import caches_of
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.recording import Recording
from mmtwin.recordings.roles import CONSTANTS as PAGE_SUMS
from mmtwin.recordings.roles import Annotator
from mmtwin.recordings.sites import SiteTable
from mmtwin.recordings.stream import Events, own, words
from mmtwin.recordings.truth_index import Copy

KMALLOC = CONSTANTS["KIND_KMALLOC"]
KMEM_CACHE_ALLOC = CONSTANTS["KIND_KMEM_CACHE_ALLOC"]
PAGE_ALLOC = CONSTANTS["KIND_MM_PAGE_ALLOC"]
WINDOW = 60_000  # events that an answer may lie ahead (roles.pxd)
SPARE = 1 << 17  # room for what a reader puts there at once
MOST_PAGES = 1 << 28
MASK64 = (1 << 64) - 1
DIRECT_MAP = {"x86_64": 0xFFFF_8880_0000_0000, "arm64": 0xFFFF_0000_0000_0000}
# __GFP_DMA, __GFP_RECLAIMABLE, __GFP_ACCOUNT: which kmalloc type. The first two never moved.
TYPE_BITS = 0x1 | 0x10 | 0x400000

# Who allocates the vector of what a slab's objects are charged to: 5.9 (10befea91b61), 5.16
# (4b5f8d9a895a), 6.10 (21c690a349ba).
VECTOR_FUNCTIONS = (
    "memcg_alloc_page_obj_cgroups", "memcg_alloc_slab_cgroups", "alloc_slab_obj_exts",
)  # fmt: skip

MOST_KEPT = 1 << 19  # events, 32 MiB

# [(event number, {pfn: number of its cache})]
PagesAt = list[tuple[int, dict[int, int]]]


@dataclass(frozen=True)
class Block:
    """Events `first` to `first + ready - 1`, final, at the start of `events`; the rest only to
    look ahead into.
    """

    events: Events
    first: int
    ready: int


class Annotated:
    """The annotated events of a recording.

    `names`: as the recording's, with the caches of its snapshots added; `page_offset`: kernel
    virtual address of pfn 0; `nr_pages`: pfns below it may occur; `sites`: the settled SiteTable;
    `page_sums`: of the blocks handed out last, see Annotator.page_sums();
    `truth_index`: {name of a truth: number of the event just before which RAM was copied}. With
    `keep` the events of a small recording are read once and kept for blocks().
    """

    def __init__(
        self, recording: Recording, type_bits: int = TYPE_BITS, keep: bool = False
    ) -> None:
        self.recording = recording
        self._kept: list[Events] = []
        self._room = MOST_KEPT if keep else 0  # for so many more, -1: they were too many
        self.page_shift = recording.machine.page_size.bit_length() - 1
        self.nr_pages = self._count_pages()
        self.page_offset = find_page_offset(recording)
        self.page_sums = np.zeros(PAGE_SUMS["SUMS"], dtype=np.int64)
        self.sites = SiteTable(self.nr_pages, self.page_offset, self.page_shift, type_bits)
        self.pages_at: PagesAt = []
        self._place_of: dict[str, int] = {}  # of a truth, in pages_at
        self.truth_index = self._learn()
        self.names = list(recording.names)
        self._number = {name: number for number, name in enumerate(self.names)}
        self.sites.decide(self._candidates())

    def number_of(self, name: str) -> int:
        """The number of a name in `names`; it is added if it is not there."""
        if name not in self._number:
            self._number[name] = len(self.names)
            self.names.append(name)
        return self._number[name]

    def _count_pages(self) -> int:
        for snapshot in self.recording.snapshots.values():
            if "kpageflags" in snapshot:
                return min(len(snapshot.array("kpageflags")), MOST_PAGES)
        highest = 0
        for events in self.recording.blocks():
            pages = events["address"][events["kind"] == PAGE_ALLOC]
            pages = pages[pages < MOST_PAGES]
            highest = max(highest, int(pages.max()) if len(pages) else 0)
        return max(highest + 1024, self.recording.machine.mem_bytes >> self.page_shift)

    def _learn(self) -> dict[str, int]:
        """Learns from every event, and from each truth at the event it stands before, the first
        time it is met; which event that is.
        """
        slabs = {
            name: self._slabs(snapshot.truth)
            for name, snapshot in self.recording.snapshots.items()
            if snapshot.truth is not None
        }
        copies: dict[str, Copy] = {}
        first = seen = 0
        for events, markers in self.recording.blocks_with_markers():
            done = 0
            for marker in markers[seen:]:
                word, _, name = marker.text.partition(" ")
                if word == "DUMP" and name in slabs and name not in copies:
                    copies[name] = Copy(name, self.recording.snapshots[name].truth, marker.index)
                    self._place_of[name] = len(self.pages_at)
                    self.pages_at.append((marker.index, slabs[name]))
                    done = self._learn_events(events, done, marker.index - first)
                    self.sites.learn_pages(slabs[name])
                elif word == "DUMPED" and name in copies:
                    copies[name].ends(marker.index)
            self._learn_events(events, done, len(events))
            self._keep(events)
            for copy in copies.values():
                copy.look(events, first)
            first += len(events)
            seen = len(markers)
        return {name: copies[name].index() for name in slabs if name in copies}

    def _keep(self, events: Events) -> None:
        self._room = max(self._room - len(events), -1) if self._room > 0 else -1
        if self._room < 0:
            self._kept.clear()
        else:
            self._kept.append(own(events))

    def times(self) -> Iterator[npt.NDArray[np.uint64]]:
        """The times of all events, in pieces."""
        for events in self._kept or self.recording.blocks():
            yield np.ascontiguousarray(events["time"])

    def _learn_events(self, events: Events, start: int, stop: int) -> int:
        """Learns from events `start` to `stop` of a block; `stop`."""
        self.sites.learn(events.ctypes.data + start * EVENT.itemsize, stop - start)
        return stop

    def _slabs(self, truth: dict[str, Any]) -> dict[int, int]:
        """{pfn: number of its cache} of the slabs of a truth."""
        pages = {}
        for cache in truth["slab"]:
            number = self.recording.number_of(cache["name"])
            for slab in cache["slabs"]:
                order = slab_order(cache, slab, self.recording.machine.page_size)
                for pfn in range(slab["pfn"], slab["pfn"] + (1 << order)):
                    pages[pfn] = number
        return pages

    def _candidates(self) -> Any:
        """A function from a site that nothing else settles to its cache: of those whose sizes fit
        the only one, or the one that the site's function is known to use.
        """
        by_sizes: dict[tuple[int, int], set[str]] = {}
        for name, object_size, size in cache_sizes(self.recording):
            if not name.startswith(("kmalloc-", "dma-kmalloc-")):
                by_sizes.setdefault((object_size, size), set()).add(name)
        listed = set().union(*by_sizes.values())
        roots: dict[str, str] = {}

        def choose(site: np.void) -> int:
            if site["kind"] == KMALLOC:
                return -1
            fitting = by_sizes.get((int(site["bytes_req"]), int(site["bytes_alloc"])), set())
            if len(fitting) > 1:
                roots.update({} if roots else roots_of_aliases(self.recording, listed))
                found = self.recording.symbols.find(int(site["call_site"]))
                names = caches_of(found[0]) if found else ()
                fitting = fitting.intersection(roots.get(name, name) for name in names)
            return self.number_of(min(fitting)) if len(fitting) == 1 else -1

        return choose

    def _vector_sites(self) -> list[int]:
        """Call sites of the kmalloc of a slab's vector of cgroups, by the symbols."""
        ranges = list(self.recording.symbols.functions("|".join(VECTOR_FUNCTIONS)))
        records = self.sites.records()
        sites = {int(site) for site in records["call_site"][records["kind"] == KMALLOC]}
        return sorted(
            site for site in sites if any(first <= site < last for first, last, _name in ranges)
        )

    def blocks(self, size: int = 1 << 18, since: str = "") -> Iterator[Block]:
        """All events, annotated, in order; memory does not depend on the recording's length.

        A block is overwritten by the next. `since`: only those from this truth's marker on.
        """
        cpus = self.recording.machine.cpus
        annotator = Annotator(self.sites, cpus, 2 << self.page_shift, self._vector_sites())
        self.page_sums = annotator.page_sums()
        number = self._place_of.get(since, 0)
        known = list(self.pages_at[number : number + 1])
        room = np.empty(size + WINDOW + SPARE, dtype=EVENT)
        first = known[0][0] if since else 0
        before, held = first, 0

        def place(rows: int) -> Events:
            """Where a reader may put events at once: behind those held, if there is room."""
            return room[held:] if len(room) - held >= rows else np.empty(rows, EVENT)

        for events in self._kept or self.recording.blocks(place):
            if before:
                passed = min(before, len(events))
                before -= passed
                events = events[passed:]
            while len(events):
                count = min(len(events), len(room) - held)
                if events.ctypes.data != room[held:].ctypes.data:
                    words(room)[held : held + count] = words(events[:count])
                events = events[count:]
                self._annotate(annotator, room, (held, held + count), first, known)
                held += count
                while held >= size + WINDOW:
                    yield Block(room[:held], first, size)
                    words(room)[: held - size] = words(room)[size:held]
                    held -= size
                    first += size
        yield Block(room[:held], first, held)

    def _annotate(
        self, annotator: Annotator, room: Events, part: tuple[int, int], first: int, known: PagesAt
    ) -> None:
        """Annotates a part of the room, `first` the number of its first event; `known`: the truth
        to take in on the way, if it is still to come.
        """
        start, stop = part
        if known and known[0][0] < first + stop:
            middle = max(known[0][0] - first, start)
            annotator.annotate(room.ctypes.data, start, middle, first)
            annotator.know_pages(known.pop(0)[1])
            start = middle
        annotator.annotate(room.ctypes.data, start, stop, first)


def slab_order(cache: dict[str, Any], slab: dict[str, Any], page_size: int) -> int:
    """The order of one slab of a truth: its cache's, or what its own number of objects needs if it
    is smaller. `page_size` in bytes.
    """
    order = int(cache["oo"]) >> 16
    if slab["objects"] >= int(cache["oo"]) & 0xFFFF:
        return order
    while order and (page_size << (order - 1)) >= slab["objects"] * int(cache["size"]):
        order -= 1
    return order


def cache_sizes(recording: Recording) -> list[tuple[str, int, int]]:
    """[(name, object_size, size)] of the caches that the recording's truths or /sys/kernel/slab
    name, in bytes.
    """
    for snapshot in recording.snapshots.values():
        if snapshot.truth is not None:
            return [(c["name"], c["object_size"], c["size"]) for c in snapshot.truth["slab"]]
    listed: set[str] = set()
    for snapshot in recording.snapshots.values():
        if "slabinfo" in snapshot:
            lines = snapshot.text("slabinfo").split("\n")[2:]
            listed.update(line.split()[0] for line in lines if line.split())
    caches = recording.sys_kernel_slab
    sizes = []
    for name, attributes in caches.items():
        attributes = caches.get(attributes.get("@link", ""), attributes)
        if name in listed and "object_size" in attributes and "slab_size" in attributes:
            sizes.append((name, int(attributes["object_size"]), int(attributes["slab_size"])))
    return sizes


def roots_of_aliases(recording: Recording, listed: set[str]) -> dict[str, str]:
    """{a merged cache's name: the name that slabinfo lists for what it is merged into}."""
    links = {
        name: attributes["@link"]
        for name, attributes in recording.sys_kernel_slab.items()
        if "@link" in attributes
    }
    roots = {links[name]: name for name in sorted(listed) if name in links}
    return {name: roots[link] for name, link in links.items() if link in roots}


def find_page_offset(recording: Recording) -> int:
    """The kernel virtual address of pfn 0, found from slabs: the first object after a slab's page
    lies in it.

    Where no event tells, it is the architecture's base of the direct map.
    """
    shift = recording.machine.page_size.bit_length() - 1
    votes: Counter[int] = Counter()
    for events in recording.blocks():
        votes.update(offset_votes(events, shift))
        if votes and votes.most_common(1)[0][1] >= 64:
            break
    if votes:
        return votes.most_common(1)[0][0]
    return DIRECT_MAP.get(recording.machine.arch, DIRECT_MAP["x86_64"])


def offset_votes(events: npt.NDArray[np.void], shift: int) -> list[int]:
    """Candidates for the address of pfn 0: from each page taken and the object allocated right
    after it.
    """
    kinds = events["kind"]
    objects = np.isin(kinds[1:], (KMALLOC, KMEM_CACHE_ALLOC))
    pages = np.flatnonzero((kinds[:-1] == PAGE_ALLOC) & objects)
    pages = pages[events["pid"][pages] == events["pid"][pages + 1]][:4096]
    votes = []
    for page, following in zip(events[pages], events[pages + 1], strict=True):
        block = shift + min(int(page["order"]), 20)
        base = int(following["address"]) >> block << block
        votes.append((base - (int(page["address"]) << shift)) & MASK64)
    return votes

"""Which slab cache a place in the kernel allocates from.

No kernel names the cache in `kmem_cache_alloc`, and 5.10 not even in `kmem_cache_free`. But one
place in the kernel (call site and sizes) allocates from one cache, so what is known of any object
of a slab page tells its place: the name in a free, or the page's cache in a snapshot's truth.
`SiteTable` gathers this in one pass.
"""

import ctypes

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs
from mmtwin.package_files import files

TEXT = files(__package__).joinpath("sites.pxd").read_text()
SITE = parse_structs(TEXT)["site_t"]

if not cython.compiled:
    from mmtwin.recordings.event import (
        KIND_KMALLOC,
        KIND_KMEM_CACHE_ALLOC,
        KIND_KMEM_CACHE_FREE,
        KIND_MM_PAGE_ALLOC,
        as_events,
        event_at,
        wrap64,
    )

    PLACES = parse_constants(TEXT)["PLACES"]
    MOST_SITES = parse_constants(TEXT)["MOST_SITES"]

    def as_sites(address, count):
        """The records at an address, for the uncompiled run."""
        return (SITE * count).from_address(address)

    def site_at(table, place):
        """One record of the table."""
        return table[place]

    def page_of(sites, address):
        """The pfn of an address, -1 if it is none that is followed."""
        pfn = wrap64(address - sites.page_offset) >> sites.page_shift
        return pfn if pfn < sites.nr_pages else -1

    def as_s32(address, count):
        """The integers at an address, for the uncompiled run."""
        return (ctypes.c_int32 * count).from_address(address)




class SiteTable:
    """Call sites with the caches they were seen to use.

    `nr_pages`: pfns below it are followed; `page_offset`: kernel address of pfn 0; `type_bits`:
    the gfp bits that choose between kmalloc types, as the recorded kernel numbers them.
    """

    def __init__(self, nr_pages, page_offset, page_shift, type_bits):
        table = np.zeros(PLACES, dtype=np.dtype(SITE))
        table["cache"] = -1
        table["name"] = -1
        page_site = np.full(max(nr_pages, 1), -1, dtype=np.int32)
        self._buffers = {"table": table, "page_site": page_site}
        self.table = as_sites(table.ctypes.data, PLACES)
        self.page_site = as_s32(page_site.ctypes.data, len(page_site))
        self.nr_pages = nr_pages
        self.nr_sites = 0
        self.page_offset = page_offset
        self.page_shift = page_shift
        self.type_bits = type_bits

    def _find(self, event, add):
        """The number of an allocation's site; -1 if it is not there and not added."""
        hashed = wrap64((event.call_site * 31 + event.bytes_req) * 31 + event.bytes_alloc)
        hashed = wrap64((hashed ^ (hashed >> 16)) * 31 + event.kind + (event.gfp & self.type_bits))
        place = (hashed ^ (hashed >> 29)) & (PLACES - 1)
        while self.table[place].kind != 0:
            site = site_at(self.table, place)
            if (
                site.call_site == event.call_site
                and site.bytes_req == event.bytes_req
                and site.bytes_alloc == event.bytes_alloc
                and site.kind == event.kind
                and site.gfp == event.gfp & self.type_bits
            ):
                return place
            place = (place + 1) & (PLACES - 1)
        if not add or self.nr_sites >= MOST_SITES:
            return -1
        self.nr_sites += 1
        self.table[place].call_site = event.call_site
        self.table[place].bytes_req = event.bytes_req
        self.table[place].bytes_alloc = event.bytes_alloc
        self.table[place].kind = event.kind
        self.table[place].gfp = event.gfp & self.type_bits
        return place

    def _root(self, number):
        while self.table[number].parent != number + 1 and self.table[number].parent:
            number = self.table[number].parent - 1
        return number

    def _join(self, number, other):
        """Two sites had objects in one slab: they use one cache."""
        if number == other:
            return
        first = self._root(number)
        second = self._root(other)
        if first != second:
            self.table[first].parent = second + 1
        elif self.table[number].parent:
            self.table[number].parent = first + 1

    def _vote(self, number, name, weight):
        for place in range(4):
            if self.table[number].name[place] == name or self.table[number].name[place] < 0:
                self.table[number].name[place] = name
                self.table[number].votes[place] += weight
                return

    def learn(self, address, count):
        """Takes in `count` events at a memory address (array of EVENT)."""
        events = as_events(address, count)
        for i in range(count):
            event = event_at(events, i)
            if event.kind == KIND_KMALLOC or event.kind == KIND_KMEM_CACHE_ALLOC:
                pfn = page_of(self, event.address)
                if pfn >= 0:
                    number = self._find(event, True)
                    if self.page_site[pfn] >= 0 and number >= 0:
                        self._join(number, self.page_site[pfn])
                    self.page_site[pfn] = number
            elif event.kind == KIND_KMEM_CACHE_FREE:
                pfn = page_of(self, event.address)
                if pfn >= 0 and event.cache >= 0 and self.page_site[pfn] >= 0:
                    self._vote(self.page_site[pfn], event.cache, 1)
            elif event.kind == KIND_MM_PAGE_ALLOC and event.address < self.nr_pages:
                for page in range(
                    event.address, min(event.address + (1 << (event.order & 15)), self.nr_pages)
                ):
                    self.page_site[page] = -1

    def learn_pages(self, pages):
        """Takes in a snapshot's truth: {pfn: number of its cache in names} at the events' present
        end.
        """
        for pfn, name in pages.items():
            if 0 <= pfn < self.nr_pages and self.page_site[pfn] >= 0:
                self._vote(self.page_site[pfn], name, 8)

    def cache_of(self, event):
        """The cache of an allocation event, -1 if not known."""
        number = self._find(event, False)
        return self.table[number].cache if number >= 0 else -1

    def decide(self, candidates):
        """Settles every site: by the votes, else by `candidates(site record) -> number in names or
        -1`.
        """
        table = self._buffers["table"]
        votes = {}
        for number in np.flatnonzero(table["kind"]):
            mine = votes.setdefault(self._root(int(number)), {})
            for name, count in zip(table["name"][number], table["votes"][number], strict=True):
                if count:
                    mine[int(name)] = mine.get(int(name), 0) + int(count)
        for number in np.flatnonzero(table["kind"]):
            mine = votes[self._root(int(number))]
            if mine:
                table["cache"][number] = max(mine, key=mine.get)
            else:
                table["cache"][number] = candidates(table[number])

    def records(self):
        """The sites as numpy records: call_site, bytes_req, bytes_alloc, gfp, kind, cache, votes.
        """
        table = self._buffers["table"]
        return table[table["kind"] != 0]

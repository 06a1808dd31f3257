"""validate(): every invariant of the page allocator's state."""

import numpy as np

from mmtwin.kernel.constants import (
    MIGRATE_HIGHATOMIC,
    MIGRATE_PCPTYPES,
    USE_FREE,
    PG_buddy,
    PG_pcp,
)
from mmtwin.kernel.page_alloc_pcp import pindex_to_order


class _Census:
    """The free blocks seen so far: where they are, and what is wrong with them."""

    def __init__(self, mm):
        self.mm = mm
        self.page = mm.view("page")[: mm.next_head]
        names = ("next", "prev", "flags", "order", "zone", "migratetype", "users")
        self.next, self.prev, self.flags, self.order, self.zone, self.type, self.users = (
            self.page[name].tolist() for name in names
        )
        self.owner = bytearray(mm.max_pfn)
        self.pageblock = mm.view("pageblock").tolist()
        self.hygiene = mm.view("has")[0].freelist_hygiene
        self.problems = []
        self.blocks = {}

    def complain(self, text):
        self.problems.append(text)

    def walk(self, head, where):
        """The entries of a list, first to last; stops at a broken link."""
        previous, entry, entries = head, self.next[head], []
        while entry != head:
            if not 0 <= entry < self.mm.max_pfn or self.prev[entry] != previous:
                self.complain(f"{where}: broken link {previous} -> {entry}")
                return entries
            if len(entries) > self.mm.max_pfn:
                self.complain(f"{where}: endless")
                return entries
            entries.append(entry)
            previous, entry = entry, self.next[entry]
        if self.prev[head] != previous:
            self.complain(f"{where}: the head's prev is not the last entry")
        return entries

    def block(self, pfn, order, flag, zone, where):
        """Checks a block's first record, its place, and that it is on no other list."""
        end = pfn + (1 << order)
        if self.flags[pfn] & (PG_buddy | PG_pcp) != flag:
            self.complain(f"{where}: page {pfn} has flags {self.flags[pfn]:#x}")
        if self.order[pfn] != order:
            self.complain(f"{where}: page {pfn} has order {self.order[pfn]}")
        if self.zone[pfn] != zone:
            self.complain(f"{where}: page {pfn} is of zone {self.zone[pfn]}")
        if pfn & ((1 << order) - 1):
            self.complain(f"{where}: page {pfn} is not aligned")
        if any(self.owner[pfn:end]):
            self.complain(f"{where}: page {pfn} is on two lists")
        self.owner[pfn:end] = b"\1" * (1 << order)
        if any(use != USE_FREE for use in self.users[pfn:end]):
            self.complain(f"{where}: block {pfn} has pages in use")
        self.blocks[pfn] = order


def validate(mm):
    """What is wrong with the page allocator's state, as sentences; nothing, one hopes."""
    census = _Census(mm)
    for number in range(mm.nr_zones):
        if mm.view("zone")[number]["free_list"]:
            _check_zone(mm, number, census)
    for index, pcp in enumerate(mm.view("pcp")):
        if pcp["nr_lists"]:
            _check_pcp(mm, index, pcp, census)
    _check_pages(mm, census)
    return census.problems


def _check_zone(mm, number, census):
    zone = mm.view("zone")[number]
    total = {}
    head = int(zone["free_list"]) - 1
    nr_free = zone["nr_free"].tolist()
    for order in range(mm.nr_orders):
        blocks = 0
        for migratetype in range(mm.nr_migratetypes):
            head += 1
            if census.next[head] == census.prev[head] == head:
                continue
            where = f"zone {number} order {order} type {migratetype}"
            entries = census.walk(head, where)
            for pfn in entries:
                census.block(pfn, order, PG_buddy, number, where)
                _check_type(mm, pfn, migratetype, census, where)
            blocks += len(entries)
            total[migratetype] = total.get(migratetype, 0) + (len(entries) << order)
        if blocks != nr_free[order]:
            census.complain(f"zone {number}: nr_free[{order}] {nr_free[order]}, not {blocks}")
    expected = {
        "nr_free_pages": sum(n for t, n in total.items() if t != mm.migrate_isolate),
        "nr_free_cma": total.get(mm.migrate_cma, 0),
        "nr_free_highatomic": total.get(MIGRATE_HIGHATOMIC, 0),
    }
    for field, pages in expected.items():
        if zone[field] != pages:
            census.complain(f"zone {number}: {field} {zone[field]}, not {pages}")
    if zone["nr_reserved_highatomic"] < 0 or zone["watermark_boost"] < 0:
        census.complain(f"zone {number}: a counter is negative")
    held = int(mm.view("pcp")["free_diff"][number * mm.nr_cpus : (number + 1) * mm.nr_cpus].sum())
    if zone["nr_free_behind"] != held:
        census.complain(
            f"zone {number}: CPUs are {zone['nr_free_behind']} free pages behind,"
            f" they hold back {held}"
        )


def _check_type(mm, pfn, migratetype, census, where):
    if census.type[pfn] != migratetype:
        census.complain(f"{where}: page {pfn} says type {census.type[pfn]}")
    block_type = census.pageblock[pfn >> mm.pageblock_order]
    if census.hygiene and block_type != migratetype:
        census.complain(f"{where}: the pageblock of {pfn} is of type {block_type}")


def _check_pcp(mm, index, pcp, census):
    number, pages = index // mm.nr_cpus, 0
    for pindex in range(int(pcp["nr_lists"])):
        where = f"pcp {index} list {pindex}"
        order = pindex_to_order(mm, pindex)
        for pfn in census.walk(int(pcp["lists"]) + pindex, where):
            census.block(pfn, order, PG_pcp, number, where)
            pages += 1 << order
    if pages != pcp["count"]:
        census.complain(f"pcp {index}: count {pcp['count']}, not {pages}")


def _check_pages(mm, census):
    page = census.page[: mm.max_pfn]
    for pfn in ((page["flags"] & (PG_buddy | PG_pcp)) != 0).nonzero()[0].tolist():
        if pfn not in census.blocks:
            census.complain(f"page {pfn} says it is free but is on no list")
    owner = np.frombuffer(census.owner, dtype=np.uint8)
    for pfn in ((page["users"] == USE_FREE) & (owner == 0)).nonzero()[0].tolist():
        census.complain(f"page {pfn} is free but in no block")
    for pfn, order in census.blocks.items():
        if census.flags[pfn] & PG_buddy and order < mm.nr_orders - 1:
            _check_merged(mm, pfn, order, census)


def _check_merged(mm, pfn, order, census):
    buddy = pfn ^ (1 << order)
    if buddy < pfn or census.blocks.get(buddy) != order or not census.flags[buddy] & PG_buddy:
        return
    if census.zone[buddy] != census.zone[pfn]:
        return
    types = [census.pageblock[p >> mm.pageblock_order] for p in (pfn, buddy)]
    if order >= mm.pageblock_order and types[0] != types[1] and max(types) >= MIGRATE_PCPTYPES:
        return
    census.complain(f"blocks {pfn} and {buddy} of order {order} are free but not merged")

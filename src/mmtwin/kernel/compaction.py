"""Compaction's free scanner: which free pages the movable ones of a zone move to
(mm/compaction.c).

Only what compaction of a whole zone does (compact_node(), of /proc/sys/vm/compact_memory): its
free scanner goes down from the zone's end, pageblock by pageblock, and takes whole free blocks as
it needs pages, without an event. Which pages migrate is the caller's to say.
"""

import cython
import numpy as np

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64
    from mmtwin.kernel.constants import (
        ALLOC_CMA,
        MIGRATE_MOVABLE,
        USE_UNKNOWN,
        WMARK_MIN,
        PG_buddy,
        PG_head,
        PG_slab,
    )
    from mmtwin.kernel.mmzone import get_pfnblock_migratetype, zone_watermark_ok
    from mmtwin.kernel.page_alloc_buddy import (
        account_freepages,
        del_page_from_free_list,
        mod_free_pages,
    )
    from mmtwin.kernel.page_alloc_state import set_users
    from mmtwin.kernel.ram import pfn_to_page, zone_at

    COMPACT_CLUSTER_MAX, FREEPAGES = 32, 8192


class CompactControl:
    """struct compact_control of one compact_zone() with `whole_zone`, `ignore_skip_hint` and
    MIGRATE_SYNC; `mm`: the MM.

    Isolated pages are in use for nothing known: single ones, or, since 733aea0b3a7b (6.9), blocks
    in a list for each order (cc->freepages[]), which are split when pages of them are needed.
    """

    def __init__(self, mm):
        freepages = np.zeros(FREEPAGES, dtype=np.int64)
        order = np.zeros(FREEPAGES, dtype=np.int64)
        self._buffers = {"freepages": freepages, "order": order}
        self.freepages = as_s64(freepages.ctypes.data, FREEPAGES)
        self.order = as_s64(order.ctypes.data, FREEPAGES)
        self.mm = mm
        self.zone = -1
        self.free_pfn = self.migrate_pfn = 0
        self.nr_migratepages = self.nr_freepages = self.nr_blocks = self.left = 0

    def begin(self, number):
        """compact_zone(): the scanners start at both ends of zone `number`."""
        zone = zone_at(self.mm, number)
        self.zone = number
        self.migrate_pfn = zone.start_pfn
        last = zone.start_pfn + zone.spanned_pages - 1
        self.free_pfn = last >> self.mm.pageblock_order << self.mm.pageblock_order
        self.nr_migratepages = self.nr_freepages = self.nr_blocks = 0

    def suitable_migration_target(self, block):
        """suitable_migration_target(): a movable pageblock that is not free as a whole."""
        page = pfn_to_page(self.mm, block)
        if page.flags & PG_buddy and page.order >= self.mm.pageblock_order:
            return False
        migratetype = get_pfnblock_migratetype(self.mm, block)
        return migratetype == MIGRATE_MOVABLE or migratetype == self.mm.migrate_cma

    def isolate_free_page(self, pfn):
        # takes a whole free block, unless that reaches the min watermark; how many pages
        zone = zone_at(self.mm, self.zone)
        order = pfn_to_page(self.mm, pfn).order
        mark = zone.watermark[WMARK_MIN] + (1 << order)
        if not zone_watermark_ok(self.mm, self.zone, 0, mark, 0, ALLOC_CMA):
            return 0
        account_freepages(self.mm, zone, -(1 << order), pfn_to_page(self.mm, pfn).migratetype)
        mod_free_pages(self.mm, self.zone, -(1 << order))
        del_page_from_free_list(self.mm, zone, pfn, order)
        return 1 << order

    def isolate_freepages_block(self, end, stride):
        """isolate_freepages_block(): free blocks from `free_pfn` to `end`, until there are enough;
        how many pages. `free_pfn` is then how far it came.
        """
        blockpfn = self.free_pfn
        total = 0
        while blockpfn < end:
            page = pfn_to_page(self.mm, blockpfn)
            if page.flags & (PG_head | PG_slab):
                blockpfn += (1 << page.order) - 1
            elif page.flags & PG_buddy and self.nr_freepages + (1 << page.order) <= FREEPAGES:
                isolated = self.isolate_free_page(blockpfn)
                if not isolated:
                    break
                self.keep(blockpfn, isolated)
                total += isolated
                if self.nr_migratepages <= self.nr_freepages:
                    blockpfn += isolated
                    break
                blockpfn += isolated - 1
            blockpfn += stride
        self.free_pfn = blockpfn if blockpfn < end else end
        return total

    def keep(self, pfn, pages):
        """An isolated block: its pages in turn (split_map_pages()), or it is the last of its
        order's list.
        """
        set_users(self.mm, pfn, pages, USE_UNKNOWN)
        for place in range(pages):
            pfn_to_page(self.mm, pfn + place).refcount = 1
        if self.mm.has.compact_singles:
            for place in range(pages):
                self.add(pfn + place, 0)
            return
        self.add(pfn, 0)
        for place in range(self.nr_blocks - 1, 0, -1):
            self.freepages[place] = self.freepages[place - 1]
            self.order[place] = self.order[place - 1]
        order = 0
        while pages > 1 << order:
            order += 1
        self.freepages[0] = pfn
        self.order[0] = order
        self.nr_freepages += pages - 1

    def add(self, pfn, order):
        """A block becomes the first of its order's list."""
        self.freepages[self.nr_blocks] = pfn
        self.order[self.nr_blocks] = order
        self.nr_blocks += 1
        self.nr_freepages += 1 << order

    def remove(self, place):
        """A block leaves its list."""
        self.nr_blocks -= 1
        self.nr_freepages -= 1 << self.order[place]
        while place < self.nr_blocks:
            self.freepages[place] = self.freepages[place + 1]
            self.order[place] = self.order[place + 1]
            place += 1

    def isolate_freepages(self):
        """isolate_freepages(): until there are as many as are to migrate.

        The scanner goes on where it stopped. Where a pageblock gave nothing it takes larger steps
        in the next.
        """
        zone = zone_at(self.mm, self.zone)
        size = 1 << self.mm.pageblock_order
        start = self.free_pfn >> self.mm.pageblock_order << self.mm.pageblock_order
        end = start + size
        if end > zone.start_pfn + zone.spanned_pages:
            end = zone.start_pfn + zone.spanned_pages
        low = (self.migrate_pfn >> self.mm.pageblock_order) + 1 << self.mm.pageblock_order
        stride = 1
        while start >= low:
            if self.suitable_migration_target(start):
                isolated = self.isolate_freepages_block(end, stride)
                if self.nr_freepages >= self.nr_migratepages:
                    if self.free_pfn >= end:
                        self.free_pfn = start - size
                    return
                if self.free_pfn < end:
                    return
                stride = 1 if isolated else min(COMPACT_CLUSTER_MAX, stride << 1)
            end = start
            start -= size
            self.free_pfn = start

    def compaction_alloc(self):
        """compaction_alloc(): the page that the next one moves to, -1 if there is none.

        Of the first block of the smallest order; what is left of it goes to the lists of its
        orders.
        """
        if self.nr_blocks == 0:
            self.isolate_freepages()
            if self.nr_blocks == 0:
                return -1
        first = self.nr_blocks - 1
        for place in range(first - 1, -1, -1):
            if self.order[place] < self.order[first]:
                first = place
        pfn = self.freepages[first]
        order = self.order[first]
        self.remove(first)
        while order > 0:
            order -= 1
            self.add(pfn + (1 << order), order)
        if not self.mm.has.compact_singles:
            self.nr_migratepages -= 1
        return pfn

    def release(self, pfn, order):
        """release_freepages(), since 733aea0b3a7b (6.9) release_free_list(), of one block, which
        the caller frees: whether it was isolated.
        """
        for place in range(self.nr_blocks - 1, -1, -1):
            if self.freepages[place] == pfn and self.order[place] == order:
                self.remove(place)
                return True
        return False

    def give_up(self):
        """One of the blocks that are left leaves the lists; `left` is its order."""
        self.left = self.order[self.nr_blocks - 1]
        pfn = self.freepages[self.nr_blocks - 1]
        self.remove(self.nr_blocks - 1)
        return pfn

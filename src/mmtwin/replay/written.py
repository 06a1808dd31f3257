"""What a write to a file of /proc/sys made the kernel do, of which no event names all: compaction.

proc_sys_call_handler() allocates a buffer for what is written and frees it afterwards; what its
task does in between it does for the write.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.compaction import CompactControl
from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.sheaves import Sheaves

if not cython.compiled:
    from mmtwin.kernel.casts import as_u64
    from mmtwin.kernel.constants import USE_KERNEL, PG_slab
    from mmtwin.kernel.ram import pfn_to_page
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import event_at
    from mmtwin.replay.counts import COUNTS
    from mmtwin.replay.resync import copy_use, page_is_free, put_away
    from mmtwin.replay.unseen import INTERRUPT

    globals().update(COUNTS)
    globals().update(EVENT_CONSTANTS)
    globals().update(parse_constants(files(__package__).joinpath("written.pxd").read_text()))


class Written(Sheaves):
    """As Sheaves; `write_sites`: call sites of the buffers of writes to /proc/sys."""

    def __init__(self, mm, gfp_bits, resync, bulk_sites, maple, write_sites):
        Sheaves.__init__(self, mm, gfp_bits, resync, bulk_sites, maple)
        write_site = np.array([*write_sites, 0], dtype=np.uint64)
        self._buffers["write_site"] = write_site
        self.write_site = as_u64(write_site.ctypes.data, len(write_site))
        self.nr_write_sites = len(write_sites) if resync else 0
        self.write_pid = -1
        self.write_buffer = 1
        self.cc = CompactControl(mm)
        self.compacting = False
        self.batch_left = 0

    def _after_kmalloc(self, event):
        """A kmalloc may be the array of a vmalloc's pages, or what a write begins with."""
        if event.bytes_req >= 16 and self.mm.has.vmalloc_bulk:
            self._vmalloc(event)
        for place in range(self.nr_write_sites):
            if self.write_site[place] == event.call_site:
                self.write_pid = event.pid
                self.write_buffer = event.address

    def _written(self):
        """The write is over, and with it what it made the kernel do."""
        self.write_pid = -1
        self.write_buffer = 1
        self.compacting = False
        while self.cc.nr_freepages:
            self.cc.nr_freepages -= 1
            self.count[UNEXPLAINED_NOT_COMPACTED] += 1
            target = self.cc.freepages[self.cc.nr_freepages]
            put_away(self.mm, target, 0, self._fate(target))
            self.seen = self.mm.next_step

    def _page_migrates(self, event, number):
        """The task that writes frees a page: if it compacts memory, that page has moved to one
        which compaction took unseen, or it is one that it took too many.
        """
        page = pfn_to_page(self.mm, event.address)
        if self.compacting and self.cc.release(event.address):
            return
        if page.flags & PG_slab or page_is_free(self.mm, event.address):
            return
        if not self.compacting or not self.batch_left:
            self.batch_left = self._batch(event, number)
            least = LEAST_OF_KERNEL if page.users == USE_KERNEL else LEAST_MIGRATED
            if not self.compacting and (
                self.batch_left < least or not self._is_first(event, number)
            ):
                return
            if not self.compacting or self.cc.zone != page.zone:
                self.cc.begin(page.zone)
            self.compacting = True
            self.cc.nr_migratepages = self.batch_left
            self.cc.migrate_pfn = event.address
        self.batch_left -= 1
        target = self.cc.compaction_alloc()
        if target >= 0:
            self.count[COUNT_MIGRATED] += 1
            copy_use(self.mm, event.address, target, 0)

    def _is_first(self, event, number):
        """Whether nothing else came of the write before: dropping caches frees pages too, but
        objects with them.
        """
        for i in range(number - 1, -1, -1):
            before = event_at(self.events, i)
            if before.pid == event.pid and before.flags & INTERRUPT == 0:
                return before.kind == KIND_KMALLOC and before.address == self.write_buffer
        return False

    def _batch(self, event, number):
        """How many pages migrate together: of one pageblock, the last isolated first
        (isolate_migratepages_block()).
        """
        size = 1
        last = event.address
        for i in range(number + 1, self.available):
            following = event_at(self.events, i)
            if following.pid != event.pid or following.flags & INTERRUPT:
                continue
            if following.kind == KIND_MM_PAGE_PCPU_DRAIN:
                continue
            if following.kind != KIND_MM_PAGE_FREE or following.order or following.ahead:
                break
            if following.role != ROLE_DEMAND or following.address >= last:
                break
            if following.address >> self.mm.pageblock_order != last >> self.mm.pageblock_order:
                break
            last = following.address
            size += 1
        return size

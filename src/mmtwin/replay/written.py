"""What a write to a file of /proc/sys made the kernel do, of which no event names all: compaction,
and other watermarks and sizes of the per-CPU lists.

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
    from mmtwin.kernel.casts import as_s64, as_u64
    from mmtwin.kernel.compaction import COMPACT_CLUSTER_MAX
    from mmtwin.kernel.constants import USE_KERNEL, WMARK_HIGH, WMARK_LOW, WMARK_MIN, PG_slab
    from mmtwin.kernel.ram import pcp_of, pfn_to_page, zone_at
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import event_at
    from mmtwin.replay.counts import COUNTS
    from mmtwin.replay.resync import copy_use, page_is_free, put_away
    from mmtwin.replay.unseen import INTERRUPT

    globals().update(COUNTS)
    globals().update(EVENT_CONSTANTS)
    globals().update(parse_constants(files(__package__).joinpath("written.pxd").read_text()))


class Written(Sheaves):
    """As Sheaves; `write_sites`: call sites of the buffers of writes to /proc/sys; `settings`:
    what those change (write_sites.py).
    """

    def __init__(self, mm, gfp_bits, resync, bulk_sites, maple, write_sites, settings):
        Sheaves.__init__(self, mm, gfp_bits, resync, bulk_sites, maple)
        write_site = np.array([*write_sites, 0], dtype=np.uint64)
        self._buffers["write_site"] = write_site
        self.write_site = as_u64(write_site.ctypes.data, len(write_site))
        self.nr_write_sites = len(write_sites) if resync else 0
        setting = np.array([*settings, [0] * SETTING], dtype=np.int64)
        self._buffers["setting"] = setting
        self.setting = as_s64(setting.ctypes.data, setting.size)
        self.nr_settings = len(settings)
        self.write_bytes = 0
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
                self.write_bytes = event.bytes_req

    def _written(self):
        """The write is over, and with it what it made the kernel do."""
        self.write_pid = -1
        self.write_buffer = 1
        self.compacting = False
        while self.cc.nr_blocks:
            target = self.cc.give_up()
            self.count[UNEXPLAINED_NOT_COMPACTED] += 1 << self.cc.left
            put_away(self.mm, target, self.cc.left, self._fate(target))
            self.seen = self.mm.next_step
        self._set(-1)

    def _set(self, kind):
        """The first settings not made yet that take as many bytes to write, of every zone."""
        for place in range(self.nr_settings):
            first = place * SETTING
            if not self.setting[first] <= self.write_bytes <= self.setting[first + 1]:
                continue
            if kind < 0:
                kind = self.setting[first + 3] >= 0
            if kind != (self.setting[first + 3] >= 0):
                continue
            self.setting[first + 1] = 0
            zone = zone_at(self.mm, self.setting[first + 2])
            if kind:
                zone.watermark[WMARK_MIN] = self.setting[first + 3]
                zone.watermark[WMARK_LOW] = self.setting[first + 4]
                zone.watermark[WMARK_HIGH] = self.setting[first + 5]
            if self.setting[first + 6] >= 0:
                for cpu in range(self.mm.nr_cpus):
                    pcp = pcp_of(self.mm, self.setting[first + 2], cpu)
                    pcp.high_min = self.setting[first + 6]
                    if not self.mm.has.pcp_auto_tune:
                        pcp.high = pcp.high_max = pcp.high_min

    def _page_migrates(self, event, number):
        """The task that writes frees a page: if it compacts memory, that page has moved to one
        which compaction took unseen, or it is one that it took too many.
        """
        page = pfn_to_page(self.mm, event.address)
        if self.compacting and self.cc.release(event.address, event.order):
            return
        if event.order or page.flags & PG_slab or page_is_free(self.mm, event.address):
            return
        if not self.compacting:
            least = LEAST_OF_KERNEL if page.users == USE_KERNEL else LEAST_MIGRATED
            if not self._is_first(event, number) or self._freed(event, number, False) < least:
                return
        if not self.compacting or not self.batch_left:
            self.batch_left = self._freed(event, number, True)
            if not self.compacting or self.cc.zone != page.zone:
                self.cc.begin(page.zone)
            self.compacting = True
            self.cc.nr_migratepages = self.batch_left
            # isolate_migratepages_block() ends at a full cluster, else at the pageblock's end
            self.cc.migrate_pfn = event.address + 1
            if self.batch_left != COMPACT_CLUSTER_MAX:
                block = event.address >> self.mm.pageblock_order
                self.cc.migrate_pfn = block + 1 << self.mm.pageblock_order
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

    def _freed(self, event, number, together):
        """How many pages the task frees one after the other, `together`: that may migrate as one
        batch, of one pageblock, the last isolated first (isolate_migratepages_block()).
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
            if following.role != ROLE_DEMAND or (together and following.address >= last):
                break
            if together and (following.address ^ last) >> self.mm.pageblock_order:
                break
            last = following.address
            size += 1
        return size

"""The pages of a replay: demands for pages, and the twin's responses held against the kernel's.

What the twin's tracepoints wrote after a demand is put into queues by kind, and so is what the
recording says; whichever comes later is compared with what waits. `Engine` adds the objects.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.trace import STEPS
from mmtwin.replay.counts import COUNTS
from mmtwin.replay.mend import Mend

if not cython.compiled:
    from mmtwin.kernel.casts import as_u32, as_u64
    from mmtwin.kernel.constants import ALLOC_FROM_ZONE, MIGRATE_PCPTYPES, PG_large_kmalloc
    from mmtwin.kernel.page_alloc import alloc_pages, alloc_pages_bulk, free_pages, may_oom
    from mmtwin.kernel.page_alloc_buddy import mod_free_pages, pcp_allowed_order
    from mmtwin.kernel.page_alloc_pcp import order_to_pindex
    from mmtwin.kernel.page_alloc_state import (
        add_pcp_block,
        recall_alloc,
        recall_free,
        recall_refill,
        take_free_page,
    )
    from mmtwin.kernel.ram import pcp_of, pfn_to_page
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import as_events, event_at
    from mmtwin.replay.gfp_bits import moved_gfp
    from mmtwin.replay.mend import MENDING, queue_of
    from mmtwin.replay.queues import QUEUES, empty, first_is, get, put, skip_to
    from mmtwin.replay.resync import (
        drain_page,
        is_block,
        page_is_free,
        return_block,
        take_page,
        vacate,
    )

    globals().update(COUNTS)
    globals().update(STEPS)
    globals().update(EVENT_CONSTANTS)
    globals().update(QUEUES)
    globals().update(MENDING)
    globals().update(parse_constants(files(__package__).joinpath("pages.pxd").read_text()))

    def set_cpu(mm, event):
        """The event's CPU runs."""
        mm.cpu = event.cpu if event.cpu < mm.nr_cpus else 0

    def node_of(mm, event):
        """The node that is asked for, -1 for any."""
        return event.node if event.node < mm.nr_nodes and mm.nr_nodes > 1 else -1

    def as_item(pfn):
        """A pfn as a signed number."""
        return pfn

    def low40(value):
        """The pfn of an item of the kernel's queue."""
        return value & 0xFFFFFFFFFF

    def gfp_of(pages, recorded):
        """The twin's bits of a recorded gfp mask."""
        if recorded & pages.moved_bits:
            return moved_gfp(pages.bits, recorded)
        return recorded & pages.same_bits

    def collect(pages, cpu):
        """Takes in the steps the twin wrote since the last demand."""
        if (
            pages.seen != pages.mm.next_step
            or pages.nr_wrong
            or pages.nr_extra
            or pages.filled
            or not empty(queue_of(pages, cpu, QUEUE_KERNEL_ZONE))
        ):
            pages._take_in(cpu)

    def watch_alloc(pages, event, twin):
        """Keeps account of an object given out."""
        pages.objects.add(
            event.address, twin, event.call_site, event.bytes_req, event.bytes_alloc
        )

    def step_at(mm, number):
        """A record of the ring of steps."""
        return mm.step[number & (mm.ring_size - 1)]


# The steps that are compared.
COMPARED_STEPS = (
    "STEP_MM_PAGE_ALLOC_ZONE_LOCKED",
    "STEP_MM_PAGE_PCPU_DRAIN",
    "STEP_SLUB_ALLOC_SLAB",
    "STEP_SLUB_FREE_SLAB",
)


class Pages(Mend):
    """The pages of an MM.

    `gfp_bits`: 32 ints, the twin's gfp bit of each recorded bit; `resync`: whether what the twin
    got wrong is set right; `bulk_sites`: call sites of the kmalloc of a vmalloc's array of pages.
    """

    def __init__(self, mm, gfp_bits, resync, bulk_sites):
        Mend.__init__(self, mm, resync)
        bits = np.array(gfp_bits, dtype=np.uint32)
        bulk_site = np.array([*bulk_sites, 0], dtype=np.uint64)
        self._buffers["bits"] = bits
        self._buffers["bulk_site"] = bulk_site
        self.bits = as_u32(bits.ctypes.data, len(bits))
        same = [1 << bit for bit in range(len(bits)) if bits[bit] == 1 << bit]
        self.same_bits = sum(same)
        self.moved_bits = sum(1 << bit for bit in np.flatnonzero(bits).tolist()) - sum(same)
        self.bulk_site = as_u64(bulk_site.ctypes.data, len(bulk_site))
        self.nr_bulk_sites = len(bulk_sites)
        self.silent = False
        self.victim = -1
        self.coming = 0
        self.refilled = 0
        self.refill_pfn = 0
        for name in COMPARED_STEPS:
            mm.step_mask |= 1 << STEPS[name]

    def counts(self):
        """What was counted, as a numpy array by COUNT_* and UNEXPLAINED_*; it goes on changing."""
        return self._buffers["count"]

    def observe(self, address, start, stop, available):
        """Only keeps account of the objects of events `start` to `stop`: the twin stands still."""
        with cython.nogil:
            self._observe(address, start, stop, available)
            self.objects.doubt()  # the twin may not have them

    def _observe(self, address, start, stop, available):
        events = as_events(address, available)
        for i in range(start, stop):
            event = event_at(events, i)
            if event.kind == KIND_KMALLOC or event.kind == KIND_KMEM_CACHE_ALLOC:
                if event.address != 0:
                    watch_alloc(self, event, event.address)
            elif event.kind == KIND_KFREE or event.kind == KIND_KMEM_CACHE_FREE:
                self.objects.remove(event.address)

    def recall(self, address, start, stop):
        """Events before the start's state: what they left in fields of the per-CPU lists that
        nothing shows.
        """
        with cython.nogil:
            self._recall(address, start, stop)

    def _recall(self, address, start, stop):
        events = as_events(address, stop)
        for i in range(start, stop):
            event = event_at(events, i)
            set_cpu(self.mm, event)
            if event.address >= self.mm.max_pfn:
                continue
            if event.kind == KIND_MM_PAGE_ALLOC_ZONE_LOCKED:
                if event.order == 0 and event.extra & 1:
                    self.refilled += 1
                    self.refill_pfn = event.address
                continue
            if self.refilled and event.kind != KIND_MM_PAGE_ALLOC_EXTFRAG:
                recall_refill(self.mm, self.refill_pfn, 0, self.refilled)
                self.refilled = 0
            if event.kind == KIND_MM_PAGE_ALLOC:
                recall_alloc(self.mm, event.address, event.order)
            elif event.kind == KIND_MM_PAGE_FREE:
                recall_free(self.mm, event.address, event.order)

    def _compare_page(self, pfn, predicted):
        """Counts a page given out; whoever gave it out, the per-CPU lists or the zone."""
        if self.mm.last_alloc_from != ALLOC_FROM_ZONE:
            self.count[COUNT_PCP_PREDICTED] += 1
            if pfn == predicted:
                self.count[COUNT_PCP_EXACT] += 1

    def _page_alloc(self, event):
        set_cpu(self.mm, event)
        predicted = alloc_pages(self.mm, gfp_of(self, event.gfp), event.order, -1)
        self.last_page = predicted
        collect(self, event.cpu)
        self._compare_page(event.address, predicted)
        if predicted == event.address:
            event.extra |= EXTRA_EXACT
        if predicted < 0:
            self.count[UNEXPLAINED_FAILED_ALLOC] += 1
        if predicted < 0 or self.mm.oom_victim:
            self.victim = event.pid
        if self.resync and event.address != self.last_page:
            self._set_page_right(event, self.last_page, gfp_of(self, event.gfp))

    def _failed_demand(self, event):
        """The kernel found no page. Who may have the OOM killer called and fails all the same is
        its victim.
        """
        self.count[UNEXPLAINED_FAILED_DEMAND] += 1
        if may_oom(self.mm, gfp_of(self, event.gfp), event.order):
            self.victim = event.pid

    def _page_free(self, event, order):
        set_cpu(self.mm, event)
        if not is_block(self.mm, event.address, order):
            if page_is_free(self.mm, event.address):
                self.count[UNEXPLAINED_SILENT_PAGE_ALLOC] += 1
            else:
                self.count[UNEXPLAINED_UNKNOWN_OBJECT] += 1
            if not self.resync:
                return
            self.objects.doubt()
            vacate(self.mm, event.address, order)
            self.seen = self.mm.next_step
        if pfn_to_page(self.mm, event.address).flags & PG_large_kmalloc:
            self.objects.doubt()
        free_pages(self.mm, event.address, order)
        collect(self, event.cpu)

    def _drain_event(self, event):
        """A page left a per-CPU list: the twin's drains come just before, with the free that
        caused them.
        """
        self.count[COUNT_DRAIN_PREDICTED] += 1
        mine = queue_of(self, event.cpu, QUEUE_TWIN_DRAIN)
        skipped = skip_to(mine, event.address)
        self.count[UNEXPLAINED_DRAIN_MISSED] += skipped
        if first_is(mine, event.address):
            get(mine)
            if not skipped:
                self.count[COUNT_DRAIN_EXACT] += 1
        else:
            self.count[UNEXPLAINED_EXTERNAL_DRAIN] += 1
            if self.resync and event.address < self.mm.max_pfn:
                drain_page(self.mm, event.address)
                self.seen = self.mm.next_step

    def _is_bulk_site(self, call_site):
        """Whether this is where vmalloc asks for the array of an area's pages."""
        for place in range(self.nr_bulk_sites):
            if self.bulk_site[place] == call_site:
                break
        else:
            return False
        return True

    def _vmalloc_size(self, event):
        """How many pages a vmalloc asks for whose array of pages is this kmalloc, 0 if it is none.

        No event names the pages (vm_area_alloc_pages(), 343ab8178f31, 5.13).
        """
        return event.bytes_req // 8 if self._is_bulk_site(event.call_site) else 0

    def _vmalloc_pages(self, cpu, left):
        """Pages of a vmalloc: __vmalloc_area_node() asks for them a hundred at a time."""
        self.silent = True  # nothing tells of them before their blocks do
        while left > 0:
            taken = alloc_pages_bulk(self.mm, GFP_VMALLOC, -1, left if left < 100 else 100)
            collect(self, cpu)
            if taken < 1:
                break
            self.count[COUNT_SILENT_PAGES] += taken
            left -= taken
        self.silent = False

    def _take_in(self, cpu):
        """Compares the steps the twin wrote since the last demand."""
        first = self.seen
        if self.mm.next_step - first > self.mm.ring_size:
            first = self.mm.next_step - self.mm.ring_size
        self.nr_wrong = 0
        self.nr_extra = 0
        self.filled = False
        taken = 0
        for number in range(first, self.mm.next_step):
            record = step_at(self.mm, number)
            if record.kind == STEP_MM_PAGE_ALLOC_ZONE_LOCKED:
                self._compare_zone(cpu, record.args[0], record.args[1])
                taken += 1
            elif record.kind == STEP_MM_PAGE_PCPU_DRAIN:
                put(queue_of(self, cpu, QUEUE_TWIN_DRAIN), record.args[0])
            elif record.kind == STEP_SLUB_ALLOC_SLAB:
                put(queue_of(self, cpu, QUEUE_TWIN_SLAB), record.args[1])
            elif record.kind == STEP_SLUB_FREE_SLAB:
                put(queue_of(self, cpu, QUEUE_TWIN_SLAB_FREE), record.args[1])
        self.seen = self.mm.next_step
        self._finish_zone(cpu, taken)

    def _zone_item(self, event):
        """A block that the kernel took from its free lists, and how, as one number."""
        migratetype = event.migratetype if 0 <= event.migratetype < MIGRATE_PCPTYPES else 1
        refill = event.extra & 1
        order = event.order
        return as_item(event.address) | order << 40 | refill << 47 | migratetype << 48

    def _compare_zone(self, cpu, predicted, order):
        """A block the twin took from the free lists, against the kernel's next."""
        queue = queue_of(self, cpu, QUEUE_KERNEL_ZONE)
        if not empty(queue):
            self._count_zone(predicted, low40(get(queue)), order)
        elif self.silent or self.coming:
            put(queue_of(self, cpu, QUEUE_TWIN_ZONE), predicted)
            self.coming -= self.coming > 0
        else:
            self.count[UNEXPLAINED_ZONE_EXTRA] += 1
            if self.nr_extra < MOST_WRONG:
                self.extra[self.nr_extra] = predicted
                self.nr_extra += 1

    def _count_zone(self, predicted, recorded, order):
        self.count[COUNT_ZONE_PREDICTED] += 1
        if recorded == predicted:
            self.count[COUNT_ZONE_EXACT] += 1
        elif self.nr_wrong < MOST_WRONG and 0 <= recorded < self.mm.max_pfn:
            self.wrong[3 * self.nr_wrong] = predicted
            self.wrong[3 * self.nr_wrong + 1] = recorded
            self.wrong[3 * self.nr_wrong + 2] = order
            self.nr_wrong += 1

    def _finish_zone(self, cpu, taken):
        """What only the kernel took from its free lists, or only the twin; then wrong blocks.

        `taken`: how many blocks the twin took.
        """
        queue = queue_of(self, cpu, QUEUE_KERNEL_ZONE)
        pages = 0
        number = 0
        while not empty(queue):
            item = get(queue)
            number = pfn_to_page(self.mm, low40(item)).zone
            pages += 1 << ((item >> 40) & 127)
            if self.mm.has.freelist_hygiene or empty(queue):
                mod_free_pages(self.mm, number, -pages)
                pages = 0
            self.count[COUNT_ZONE_PREDICTED] += 1
            self.count[UNEXPLAINED_ZONE_MISSED] += 1
            if self.resync and (item >> 47) & 1 and pcp_allowed_order(self.mm, (item >> 40) & 127):
                self._fill_list(cpu, item, taken == 0 and not self.filled)
        if self.resync:
            # The kernel's list was not empty: the blocks go back whence they came.
            for place in range(self.nr_extra - 1, -1, -1):
                return_block(self.mm, self.extra[place])
            self.seen = self.mm.next_step
        self._set_zone_right()

    def _fill_list(self, cpu, item, was_empty):
        """A block that the kernel put on a CPU's list; `was_empty`: it had nothing left there, so
        what the twin has there was taken unseen.
        """
        pfn = low40(item)
        order = (item >> 40) & 127
        zone = pfn_to_page(self.mm, pfn).zone
        pindex = order_to_pindex(self.mm, item >> 48, order)
        cpu = cpu if cpu < self.mm.nr_cpus else 0
        pcp = pcp_of(self.mm, zone, cpu)
        head = pcp.lists + pindex
        if was_empty:
            while pfn_to_page(self.mm, head).next != head:
                left = pfn_to_page(self.mm, head).next
                if not take_free_page(self.mm, left, pfn_to_page(self.mm, left).order):
                    break
                self.count[UNEXPLAINED_SILENT_PAGE_ALLOC] += 1
            self.filled = True
        if take_page(self.mm, pfn, order):
            add_pcp_block(self.mm, zone, cpu, pindex, pfn, order, True)
            pfn_to_page(self.mm, pfn).refcount = 0

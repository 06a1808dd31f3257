"""Setting the twin's pages right after a miss, so that one miss stays one: what the kernel took is
taken, and what the twin took instead goes where the kernel has it.

That is read off the events to come. Demands tell what is in use now; the kernel's responses are
asked only about the very pages that were predicted wrongly.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.replay.counts import COUNTS
from mmtwin.replay.fate import Mentions
from mmtwin.replay.objects import Objects
from mmtwin.replay.queues import QUEUE

MENDING = parse_constants(files(__package__).joinpath("mend.pxd").read_text())

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64, as_u32
    from mmtwin.kernel.constants import ALLOC_FROM_PCP, PG_pcp
    from mmtwin.kernel.page_alloc_buddy import mod_free_pages
    from mmtwin.kernel.page_alloc_freelist import prep_new_page, set_kswapd_hopeless
    from mmtwin.kernel.page_alloc_state import take_free_page
    from mmtwin.kernel.ram import page_address, pfn_to_page, zone_at
    from mmtwin.recordings.event import wrap64
    from mmtwin.replay.fate import FATES, take_used
    from mmtwin.replay.queues import QUEUES, as_queues, empty, get_last, queue_at, rename, replace
    from mmtwin.replay.resync import (
        exchange_blocks,
        give_back_slab,
        is_block,
        page_is_free,
        put_away,
        slab_is_unused,
        swap_blocks,
        vacate,
    )

    globals().update(COUNTS)
    globals().update(QUEUES)
    globals().update(FATES)
    globals().update(MENDING)

    def queue_of(mend, cpu, number):
        """A CPU's queue: QUEUE_*."""
        return queue_at(mend.queues, (cpu if cpu < mend.mm.nr_cpus else 0) * NR_QUEUES + number)


class Mend:
    """An MM, what is counted of it, its queues, and what was wrong after the last demand.

    `resync`: whether what the twin got wrong is set right.
    """

    def __init__(self, mm, resync):
        count = np.zeros(COUNTS["COUNT_PLACES"], dtype=np.int64)
        wrong = np.zeros(3 * MOST_WRONG, dtype=np.int64)
        extra = np.zeros(MOST_WRONG, dtype=np.int64)
        queues = np.zeros(mm.nr_cpus * NR_QUEUES, dtype=np.dtype(QUEUE))
        mention = np.zeros(mm.max_pfn, dtype=np.uint32)
        self._buffers = {
            "count": count,
            "wrong": wrong,
            "extra": extra,
            "queues": queues,
            "mention": mention,
        }
        self.mm = mm
        self.count = as_s64(count.ctypes.data, len(count))
        self.wrong = as_s64(wrong.ctypes.data, len(wrong))
        self.extra = as_s64(extra.ctypes.data, len(extra))
        self.queues = as_queues(queues.ctypes.data, len(queues))
        self.mention = as_u32(mention.ctypes.data, len(mention))
        self.objects = Objects()
        self.mentions = Mentions(mm)
        self.resync = resync
        self.seen = mm.next_step
        self.nr_wrong = self.nr_extra = 0
        self.filled = False
        self.available = 0
        self.turn = self.looked = self.used_order = 0
        self.last_page = self.demand = self.now = self.used = self.refused = -1
        self.orderly = False

    def _fate(self, pfn):
        """Where the kernel has a page that the twin gave out and the kernel did not (FATE_*)."""
        if pfn < 0:
            return FATE_UNKNOWN
        fate = self.mentions.fate(self.now + 1, pfn)
        if fate & FATE_USED == FATE_USED:
            self.count[UNEXPLAINED_SILENT_PAGE_ALLOC] += 1
            if fate >> 8:
                self.used_order = fate >> 8
                self.used = pfn >> self.used_order << self.used_order
        return fate & FATE_USED

    def _fate_of_refused(self, pfn, order):
        """Where the kernel has a block that the twin found first on its list and the kernel did
        not (FATE_*). One that no event tells of, first a second time in a row and refused again,
        cannot be on that list: it was taken unseen.
        """
        fate = self._fate(pfn)
        if pfn < 0 or not self.orderly:
            return fate
        if fate != FATE_UNKNOWN or pfn != self.refused:
            self.refused = pfn
            return fate
        self.count[UNEXPLAINED_SILENT_PAGE_ALLOC] += 1
        self.used = pfn
        self.used_order = order
        return FATE_USED

    def _take_used(self):
        """After a miss: what the kernel must have taken unseen leaves the twin's free lists."""
        if self.now < self.looked:
            return  # not long ago
        self.looked = self.now + FATE_WINDOW // 16
        self.turn += 1
        self.count[UNEXPLAINED_SILENT_PAGE_ALLOC] += take_used(
            self.mm, self.events, self.now, self.available, self.mention, self.turn
        )

    def _take_rest(self):
        """What is free of a block that was taken unseen is in use too."""
        if self.used >= 0:
            take_free_page(self.mm, self.used, self.used_order)
            self.used = -1

    def _leave_list(self, pfn):
        """The kernel takes this block from a per-CPU list on which the twin has others before it:
        those that turn out to be in use were taken unseen.
        """
        entry = pfn_to_page(self.mm, pfn).prev
        for _ in range(MOST_WRONG):
            if entry >= self.mm.first_head:
                return
            before = pfn_to_page(self.mm, entry).prev
            if self._fate(entry) == FATE_USED:
                take_free_page(self.mm, entry, pfn_to_page(self.mm, entry).order)
            entry = before

    def _judge_boost(self, mine, wanted):
        """The kernel went to another zone than the twin: kswapd has given up, so that a boost
        which was taken for ended stands in the twin's zone, or does not in the kernel's, which it
        stood in. That is not seen of a zone that was passed by for a cause of its own.
        """
        if not self._elsewhere(mine, wanted):
            return
        upper = pfn_to_page(self.mm, mine).zone
        lower = pfn_to_page(self.mm, wanted).zone
        if upper > lower and not zone_at(self.mm, upper).watermark_boost:
            if zone_at(self.mm, upper).boost_ended:
                set_kswapd_hopeless(self.mm, upper, True)
        elif upper < lower and zone_at(self.mm, lower).watermark_boost:
            set_kswapd_hopeless(self.mm, lower, False)

    def _elsewhere(self, mine, wanted):
        """Whether the kernel's block is in another zone than the twin's, if it has one."""
        return mine >= 0 and pfn_to_page(self.mm, mine).zone != pfn_to_page(self.mm, wanted).zone

    def _set_page_right(self, event, predicted, gfp):
        """The kernel gave out another page: the twin takes that one and puts its own where the
        kernel has it.

        Where the kernel had to fill its list first, what the twin had left on it stays taken.
        """
        self.objects.doubt()
        self._judge_boost(predicted, event.address)
        self._take_used()
        mine = predicted
        other = self._elsewhere(mine, event.address)
        if mine >= 0 and ((self.filled and not other) or page_is_free(self.mm, mine)):
            mine = -1
        fate = self._fate_of_refused(mine, event.order)
        if other and fate == FATE_UNKNOWN and self.mm.last_alloc_from == ALLOC_FROM_PCP:
            fate = FATE_LIST  # its zone was passed by
        if pfn_to_page(self.mm, event.address).flags & PG_pcp and not self.filled:
            self._leave_list(event.address)
        if mine >= 0 and exchange_blocks(self.mm, mine, event.address, event.order, fate):
            self._take_rest()
            self.seen = self.mm.next_step
            return
        if mine >= 0 and is_block(self.mm, mine, event.order):
            if self.nr_extra and fate == FATE_UNKNOWN:
                fate = FATE_BUDDY
            put_away(self.mm, mine, event.order, FATE_LIST if fate == FATE_UNKNOWN else fate)
        if not page_is_free(self.mm, event.address):
            self.count[UNEXPLAINED_SILENT_PAGE_FREE] += 1
        self._take_rest()
        vacate(self.mm, event.address, event.order)
        prep_new_page(self.mm, event.address, event.order, gfp, 0)
        self.seen = self.mm.next_step

    def _set_zone_right(self):
        """Blocks that the twin took for others change places with the kernel's; what is known by
        their pfns goes with them.
        """
        if not self.resync or not self.nr_wrong:
            return
        self.objects.doubt()
        self._take_used()
        for place in range(self.nr_wrong):
            mine = self.wrong[3 * place]
            wanted = self.wrong[3 * place + 1]
            order = self.wrong[3 * place + 2]
            self._judge_boost(mine, wanted)
            if self._elsewhere(mine, wanted):
                mod_free_pages(self.mm, pfn_to_page(self.mm, mine).zone, 1 << order)
                mod_free_pages(self.mm, pfn_to_page(self.mm, wanted).zone, -(1 << order))
            if not self._swap(place, mine, wanted, order) and not exchange_blocks(
                self.mm, mine, wanted, order, self._fate_of_refused(mine, order)
            ):
                self.wrong[3 * place + 1] = mine
                continue
            if mine <= self.last_page < mine + (1 << order):
                self.last_page += wanted - mine  # the page just given out
            for cpu in range(self.mm.nr_cpus):
                rename(queue_of(self, cpu, QUEUE_TWIN_SLAB), mine, 1 << order, wanted - mine)
        self._take_rest()
        self.seen = self.mm.next_step

    def _swap(self, place, mine, wanted, order):
        """Whether the kernel's block is one that the twin took too, only later: they are swapped,
        and what was predicted later is the other one then.
        """
        for later in range(place + 1, self.nr_wrong):
            if self.wrong[3 * later] == wanted and self.wrong[3 * later + 2] == order:
                if not swap_blocks(self.mm, mine, wanted, order):
                    return False
                self.wrong[3 * later] = mine
                return True
        late = queue_of(self, self.mm.cpu, QUEUE_TWIN_ZONE)
        if not replace(late, wanted, mine):
            return False
        if swap_blocks(self.mm, mine, wanted, order):
            return True
        replace(late, mine, wanted)
        return False

    def _after_exchanges(self, address):
        """Where an object of the twin's is after the last demand's blocks changed places."""
        if not self.resync:
            return address
        for place in range(self.nr_wrong):
            mine = self.wrong[3 * place]
            size = 1 << (self.mm.page_shift + self.wrong[3 * place + 2])
            offset = wrap64(address - page_address(self.mm, mine))
            if offset < size:
                address = page_address(self.mm, self.wrong[3 * place + 1]) + offset
        return address

    def _undo_slabs(self, cpu):
        """Slabs that the twin made and the kernel did not: what is not used goes back, the last
        first: pages are then on their CPU's list as before.
        """
        queue = queue_of(self, cpu, QUEUE_TWIN_SLAB)
        while not empty(queue):
            mine = get_last(queue)
            if self.resync and slab_is_unused(self.mm, mine):
                order = pfn_to_page(self.mm, mine).order
                give_back_slab(self.mm, mine)
                put_away(self.mm, mine, order, self._fate(mine))
                self.seen = self.mm.next_step

"""Several CPUs, one zone->lock: what a CPU does to the free lists happens where it has the lock.

free_unref_page_commit() writes its event before it takes the lock to drain its list; meanwhile
another CPU may take blocks (rmqueue_bulk()). The pages drained tell when it had the lock.
"""

import cython
import numpy as np

from mmtwin.replay.shrunk import Shrunk

if not cython.compiled:
    from mmtwin.kernel.casts import as_s64
    from mmtwin.recordings.event import CONSTANTS as EVENT_CONSTANTS
    from mmtwin.recordings.event import event_at

    globals().update(EVENT_CONSTANTS)


class LockOrder(Shrunk):
    """As Shrunk; a page whose free drains a list after other CPUs' events is freed there."""

    def __init__(
        self, mm, gfp_bits, resync, bulk_sites, maple, write_sites, settings, kernfs_sites
    ):
        Shrunk.__init__(
            self, mm, gfp_bits, resync, bulk_sites, maple, write_sites, settings, kernfs_sites
        )
        held = np.zeros(mm.nr_cpus, dtype=np.int64)
        self._buffers["held"] = held
        self.held = as_s64(held.ctypes.data, len(held))
        self.stop = 0

    def _free_in_turn(self, event, number, order):
        """A block is freed: now, or when its CPU has the lock."""
        if self.mm.nr_cpus > 1 and event.cpu < self.mm.nr_cpus and self._waits(event, number):
            self.held[event.cpu] = number + 1
        else:
            self._page_free(event, order)

    def _waits(self, event, number):
        """Whether the CPU's next event is a page drained, with others' events before it."""
        for i in range(number + 1, self.stop):
            following = event_at(self.events, i)
            if following.cpu == event.cpu:
                return following.kind == KIND_MM_PAGE_PCPU_DRAIN and i > number + 1
        return False

    def _has_lock(self, cpu):
        """A CPU drains its list: for the block that it frees, if that waited."""
        if cpu >= self.mm.nr_cpus or self.held[cpu] == 0:
            return
        event = event_at(self.events, self.held[cpu] - 1)
        self.held[cpu] = 0
        self._page_free(event, 0 if event.kind == KIND_MM_PAGE_FREE_BATCHED else event.order)

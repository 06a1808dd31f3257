"""Where in the events a truth was taken.

RAM is copied at some instant between the markers `DUMP name` and `DUMPED name`. The guest spins
then, but an interrupt may run (an RCU callback that frees objects), before the copy or after it:
the truth itself tells which of these events it has seen.
"""

from typing import Any

from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.stream import Events, own

ALLOCS = (CONSTANTS["KIND_KMALLOC"], CONSTANTS["KIND_KMEM_CACHE_ALLOC"])
FREES = (CONSTANTS["KIND_KFREE"], CONSTANTS["KIND_KMEM_CACHE_FREE"])
MOST_EVENTS = 10_000


class Copy:
    """The copy of RAM that a snapshot's truth was read from, made behind event `first`, the number
    of its first marker; `last` is that of the second, which ends() tells.
    """

    def __init__(self, name: str, truth: Any, first: int) -> None:
        self.name = name
        self.truth = truth
        self.first = first
        self.last = first + MOST_EVENTS
        self.ended = False
        # (number of the event, object, whether it is live after it)
        self.changes: list[tuple[int, int, bool]] = []

    def ends(self, last: int) -> None:
        """The second marker is event `last`."""
        if not self.ended:
            self.ended = True
            self.last = min(last, self.last)

    def look(self, events: Events, first: int) -> None:
        """Takes in a block of events, `first` the number of its first one."""
        if self.last - self.first < 2 or self.last <= first or self.first >= first + len(events):
            return
        start = max(self.first - first, 0)
        for row, event in enumerate(own(events[start : self.last - first]), first + start):
            if event["kind"] in ALLOCS or event["kind"] in FREES:
                live = bool(event["kind"] in ALLOCS)
                self.changes.append((row, int(event["address"]), live))

    def index(self) -> int:
        """The number of the event just before which RAM was copied: there most objects that the
        events between the markers name are as the truth has them.
        """
        if not self.changes or not self.ended:
            return self.first
        named = {address for _row, address, _live in self.changes}
        live = {
            address
            for cache in self.truth["slab"]
            for slab in cache["slabs"]
            for address in named.intersection(slab["live"])
        }
        agreeing = 0
        best, index = 0, self.first
        for row, address, is_live in self.changes:
            agreeing += 1 if (address in live) == is_live else -1
            if agreeing > best:
                best, index = agreeing, row + 1
        return index

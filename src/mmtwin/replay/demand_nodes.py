"""The nodes of the twin's own maple trees by number, and which of them each event takes along."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmtwin.kernel.constants import __GFP_DIRECT_RECLAIM as MAY_SLEEP
from mmtwin.recordings.annotate import Annotated
from mmtwin.replay.demand_streams import Asked, Seen, Stream
from mmtwin.replay.maple_script import Script

# Functions of lib/maple_tree.c; of the calls that ask for nodes, RCU's own frees are none.
FUNCTIONS = r"(mas|mt|mtree|__mt|__mas)_\w+"
RCU_FUNCTIONS = r"mt_free_rcu|mt_free_walk|rcu_do_batch"
RCU = ("rcu", False)


@dataclass(slots=True)
class Record:
    """An event that names one node. `own`: that one, -1 unknown; `silent`: those that go with it,
    taken behind it or given back before it; `shown`: where a later free shows each to be, 0 for
    none.
    """

    index: int
    own: int
    silent: list[int]
    shown: list[int]


class Nodes:
    """Numbers are given again when nothing before the block at hand can have the last one. Without
    `annotated` no call site is known.
    """

    def __init__(self, annotated: Annotated | None, machine: Any) -> None:
        self.machine = machine
        symbols = annotated.recording.symbols if annotated else None
        self.ranges = list(symbols.functions(FUNCTIONS)) if symbols else []
        self.rcu = list(symbols.functions(RCU_FUNCTIONS)) if symbols else []
        self.sites: dict[int, bool] = {}
        self.block = 0
        self.at: dict[int, int] = {}  # numbers by the twin's own address
        self.ended: deque[tuple[int, int]] = deque()
        self.count = 0
        self.where = np.zeros(1024, dtype=np.uint64)
        self.records: list[Record] = []
        self.taken: dict[int, tuple[Record, int]] = {}  # silently: the record, the place in it
        self.waiting = Stream()
        self.unplaced: list[tuple[Asked, Asked | None]] = []
        self.now = 0
        self.known = bool(self.ranges)

    def is_trees(self, site: int) -> bool:
        """Whether a call site is one of lib/maple_tree.c."""
        if site not in self.sites:
            self.sites[site] = any(first <= site <= end for first, end, _name in self.ranges)
        return self.sites[site] and not self.is_rcu(site)

    def is_rcu(self, site: int) -> bool:
        """Whether a call site frees what waited for a grace period."""
        return any(first <= site <= end for first, end, _name in self.rcu)

    def key(self, taken: bool, gfp: int) -> tuple[str, bool]:
        """What a request or a free is compared by."""
        return ("alloc" if taken else "free", bool(taken and gfp & MAY_SLEEP))

    def new(self, address: int) -> int:
        """The twin took a node: its number."""
        if self.ended and self.ended[0][0] < self.block:
            number = self.ended.popleft()[1]
        else:
            number = self.count
            self.count += 1
            if number == len(self.where):
                self.where = np.concatenate([self.where, np.zeros_like(self.where)])
        self.where[number] = 0
        self.at[address] = number
        return number

    def end(self, address: int) -> int:
        """The twin gave a node back: the number it had, -1 if it had none."""
        number = self.at.pop(address, -1)
        if number >= 0:
            self.ended.append((self.now, number))
        return number

    def later(self, address: int, silent: list[int], after: Asked | None) -> None:
        """The twin gave a node back, to be freed after a grace period, and with it `silent`: their
        addresses. `after`: what its task asked for before that, in the same step. Frees come in
        the order of the requests (call_rcu()), on each CPU.
        """
        numbers = [self.at.pop(each, -1) for each in silent]
        asked = Asked(self.now, RCU, self.at.pop(address, -1), numbers)
        self.unplaced.append((asked, after))

    def _place(self) -> None:
        """Puts what waits for a grace period in order: of two tasks' steps, an exec for one, the
        twin carries out one after the other where the kernel's ran side by side.
        """
        unplaced, self.unplaced = self.unplaced, []
        for asked, after in unplaced:
            if after is not None and after.at < 0:
                self.unplaced.append((asked, after))
                continue
            asked.at = asked.since if after is None else after.at
            asked.since = min(asked.since, asked.at)
            self.waiting.asked.append(asked)
        self.waiting.asked = deque(sorted(self.waiting.asked, key=lambda asked: asked.at))

    def match_later(self, until: int, first: int) -> None:
        """The same, and the events up to number `until` that RCU's frees are."""
        self._place()
        for asked, seen in self.waiting.match(until, False):
            if seen is None:
                continue
            self.named(asked, seen, first)
            numbers = (asked.number, *asked.silent)
            self.ended.extend((seen.index, number) for number in numbers if number >= 0)

    def named(self, asked: Asked, seen: Seen, first: int) -> None:
        """A demand of the twin's found its event. `first`: before that event, nothing is carried
        out.
        """
        silent = [node for node in asked.silent if node >= 0]
        taken = asked.key[0] == "alloc"  # type: ignore[index]
        if not taken:
            if asked.number in self.taken:
                record, place = self.taken[asked.number]
                record.shown[place] = seen.value
            for node in (asked.number, *silent):
                self.taken.pop(node, None)
        if seen.index >= first:
            record = Record(seen.index, asked.number, silent, [0] * len(silent))
            self.records.append(record)
            if taken:
                self.taken.update((node, (record, place)) for place, node in enumerate(silent))
        elif taken:
            self.where[asked.number] = seen.value

    def load(self, script: Script) -> None:
        """Hands the records from the block's first event on over."""
        self.records = [record for record in self.records if record.index >= self.block]
        self.records.sort(key=lambda record: record.index)
        rows = [(record.index, record.own, record.silent, record.shown) for record in self.records]
        script.load(self.block, rows, self.where)

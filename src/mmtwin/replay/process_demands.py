"""What the processes of a recording demand of the kernel, before its events are carried out.

`ProcessDemands` runs the twin's own processes over a recording (process_replay.py), a little ahead
of the kernel side of a replay. Each step of a process (a fault, a system call, a fork, an exec, an
exit) asks the twin's own allocators for pages, page tables, areas and nodes of maple trees. They
are held against the events of that task within the step, in order: so the page or node of a demand
is known on both sides, and when the twin gives one back, which the kernel has to.
"""

from collections import Counter, defaultdict, deque
from typing import Any

import numpy as np

from mmtwin.kernel.constants import __GFP_COMP as COMP
from mmtwin.kernel.constants import __GFP_MOVABLE as MOVABLE
from mmtwin.kernel.constants import load_constants
from mmtwin.kernel.exit import rcu_do_batch
from mmtwin.kernel.sched import tasks_of
from mmtwin.kernel.trace import STEPS
from mmtwin.machine.recorded import twin_gfp_of
from mmtwin.recordings.annotate import Annotated, Block
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.process_events import FAULTS, Step, check_process_events, missing
from mmtwin.recordings.recording import Recording
from mmtwin.recordings.stream import Events
from mmtwin.replay.demand_nodes import RCU, Nodes
from mmtwin.replay.demand_streams import Asked, Seen, Stream
from mmtwin.replay.maple_script import Script
from mmtwin.replay.process_replay import ProcessReplay
from mmtwin.versions.gfp import translate_gfp

FAULT = load_constants("memory_defs.pxd")
PAGE_ALLOC, PAGE_FREE = STEPS["STEP_MM_PAGE_ALLOC"], STEPS["STEP_MM_PAGE_FREE"]
NODE_ALLOC, NODE_BULK = STEPS["STEP_MAPLE_ALLOC"], STEPS["STEP_MAPLE_ALLOC_BULK"]
NODE_FREE, NODE_FREE_BULK = STEPS["STEP_MAPLE_FREE"], STEPS["STEP_MAPLE_FREE_BULK"]
NODE_RCU, NODE_RCU_BULK = STEPS["STEP_MAPLE_FREE_RCU"], STEPS["STEP_MAPLE_FREE_RCU_BULK"]
WANTED = (PAGE_ALLOC, PAGE_FREE, NODE_ALLOC, NODE_BULK, NODE_FREE, NODE_FREE_BULK, NODE_RCU,
          NODE_RCU_BULK)  # fmt: skip
KIND_PAGE_ALLOC, KIND_PAGE_FREE = CONSTANTS["KIND_MM_PAGE_ALLOC"], CONSTANTS["KIND_MM_PAGE_FREE"]
KIND_ALLOC, KIND_FREE = CONSTANTS["KIND_KMEM_CACHE_ALLOC"], CONSTANTS["KIND_KMEM_CACHE_FREE"]
EXACT = CONSTANTS["EXTRA_EXACT"]
INTERRUPT = 0x18
RING = 1 << 17  # steps that one demand of a process may lead to
BEHIND = 1 << 16  # events that a task's step may last
MOST_WAITING = 256  # nodes that wait for a grace period
NODES, PAGES, FREES = "maple_nodes", "pages", "freed_pages"
CLOSING = frozenset((
    *FAULTS, "enter", "exit", "task_newtask", "sched_process_exec",
    "sched_process_exit",
))  # fmt: skip


def page_kind(gfp: int) -> str:
    """What a page of a gfp mask of the twin's is for: a process's own, a page table, a batch of an
    mmu_gather; "" for anything else.
    """
    if gfp & MOVABLE:
        return "user_pages"
    if gfp & ~COMP == FAULT["GFP_PGTABLE_USER"]:
        return "page_tables"
    return "gather_pages" if gfp & ~COMP == FAULT["GFP_NOWAIT_NOWARN"] else ""


def has_processes(recording: Recording) -> bool:
    """Whether a recording tells enough of processes to follow them."""
    try:
        check_process_events(recording)
    except RecordingError:
        return False
    return not missing(recording) or all("vm_unmapped" in kind for kind in missing(recording))


class Watched(ProcessReplay):
    """A ProcessReplay whose steps `demands` looks at."""

    demands: "ProcessDemands"

    def take(self, step: Step) -> None:
        """One step."""
        if step.what not in CLOSING:
            super().take(step)
            return
        entered = self.entered.get(step.pid)
        self.demands.before(step)
        super().take(step)
        self.demands.after(step, entered)

    def _exited(self) -> None:
        pid = self.exiting
        super()._exited()
        if pid:
            self.demands.exited(pid, self.dead[pid])

    def _meet_snapshot(self) -> None:
        super()._meet_snapshot()
        self.demands.skip()  # what was taken over, nobody asked for


class ProcessDemands:
    """The demands of one recording's processes. `first`: number of the event from which on the
    kernel side predicts. Raises RecordingError if it tells too little of processes.
    """

    def __init__(self, annotated: Annotated, first: int) -> None:
        self.first = first
        self.job = Watched(annotated.recording, ring_size=RING)
        self.job.demands = self
        self.machine: Any = self.job.machine
        tasks_of(self.machine)
        for kind in WANTED:
            self.machine.step_mask |= 1 << kind
        self.ring = self.machine.view("step")
        self.read = self.machine.next_step
        self.streams: dict[tuple[int, str], Stream] = defaultdict(Stream)
        self.fed = 0
        self.since: dict[int, int] = {}  # where a task's step began
        self.born: dict[int, int] = {}
        # pages: the twin's by pfn, numbered; the kernel's by number
        self.page_at: dict[int, int] = {}
        self.pages = 0
        self.kernel_page: dict[int, int] = {}
        self.freed_at: dict[int, deque[int]] = defaultdict(deque)
        self.demanded: Counter[str] = Counter()
        self.foreseen: Counter[str] = Counter()
        self.vain: Counter[str] = Counter()
        self.exact: Counter[str] = Counter()
        self.found: dict[str, list[int]] = defaultdict(list)
        self.nodes = Nodes(annotated, self.machine)
        names = annotated.names
        self.node_name = names.index("maple_node") if "maple_node" in names else -1
        self.gfp_bits = twin_gfp_of(annotated.recording)
        self.gfps: dict[int, int] = {}

    # ---- the kernel's side

    def advance(self, block: Block, script: Script | None) -> None:
        """Runs the processes to the end of what is known of the events, and tells `script` which
        nodes the block's events take along.
        """
        for stream in self.streams.values():
            stream.forget(block.first - BEHIND)
        old = block.first - BEHIND
        for pfn in [pfn for pfn, at in self.freed_at.items() if not at or at[-1] < old]:
            del self.freed_at[pfn]
        self._feed(block.events[self.fed - block.first :])
        self.nodes.block = block.first
        self.job.run_to(self.fed)
        for pid, _kind in list(self.streams):
            self._match(pid, self.fed, False)
        self.nodes.match_later(self.fed, self.first)
        if script is not None:
            self.nodes.load(script)

    def _feed(self, events: Events) -> None:
        kinds = events["kind"]
        cache = events["cache"]
        task = events["flags"] & INTERRUPT == 0
        chosen = (kinds == KIND_PAGE_ALLOC) & task | (kinds == KIND_PAGE_FREE)
        objects = (kinds == KIND_ALLOC) & task | (kinds == KIND_FREE)
        chosen |= objects & (cache == self.node_name) & (self.node_name >= 0)
        rows = np.flatnonzero(chosen)
        part = events[rows]
        columns = (part[name].tolist() for name in (
            "kind", "pid", "gfp", "order", "address", "call_site"))  # fmt: skip
        for row, kind, pid, gfp, order, value, site in zip(
            rows.tolist(), *columns, strict=True
        ):
            index = self.fed + row
            if kind == KIND_PAGE_FREE:
                self.freed_at[value].append(index)
            elif kind == KIND_PAGE_ALLOC:
                gfp = self._gfp(gfp)
                what = page_kind(gfp)
                if what:
                    self._seen(pid, PAGES, what, Seen(index, (what, order, gfp & ~COMP), value))
            elif kind == KIND_FREE and self.nodes.is_rcu(site):
                self.nodes.waiting.seen.append(Seen(index, RCU, value))
            elif self.nodes.is_trees(site):
                key = self.nodes.key(kind == KIND_ALLOC, self._gfp(gfp))
                what = NODES if kind == KIND_ALLOC else ""
                self._seen(pid, NODES, what, Seen(index, key, value))
        self.fed += len(events)

    def _gfp(self, recorded: int) -> int:
        if recorded not in self.gfps:
            self.gfps[recorded] = translate_gfp(recorded, self.gfp_bits)
        return self.gfps[recorded]

    def _seen(self, pid: int, stream: str, what: str, seen: Seen) -> None:
        self.streams[pid, stream].seen.append(seen)
        if what and seen.index >= self.first:
            self.demanded[what] += 1

    # ---- the twin's side

    def skip(self) -> None:
        """What the twin did up to now is no demand."""
        self.read = self.machine.next_step

    def before(self, step: Step) -> None:
        """A task's step begins: the one before it is over."""
        self.skip()
        if step.pid in self.since:
            self._match(step.pid, step.index, True)

    def after(self, step: Step, entered: Step | None) -> None:
        """A step was carried out; `entered`: the system call that the task was in."""
        pid, what = step.pid, step.what
        self.nodes.now = step.index
        fault = what in FAULTS
        since = self.since.get(pid, self.born.get(pid, 0))
        if fault:
            since = step.index
        elif entered is not None and what != "sched_process_exit":
            since = entered.index
        elif what == "sched_process_exec":
            since = self.born.get(pid, 0)
        if what not in ("sched_process_exec", "sched_process_exit"):
            self.since[pid] = step.index
        self._take_in(pid, since)
        if not fault:
            self._match(pid, step.index + 1, True)
        if what == "task_newtask":
            self.born[step.args[0]] = self.since[step.args[0]] = step.index
        if len(tasks_of(self.machine).rcu) > MOST_WAITING:
            rcu_do_batch(self.machine)
            self.skip()

    def exited(self, pid: int, index: int) -> None:
        """A task whose end event `index` announced is gone."""
        self.nodes.now = index
        self._take_in(pid, self.since.get(pid, self.born.get(pid, 0)))
        self._match(pid, self.fed, True)
        for kind in (PAGES, NODES, FREES):
            self.streams.pop((pid, kind), None)
        self.since.pop(pid, None)
        self.born.pop(pid, None)

    def _steps(self) -> list[list[int]]:
        """The twin's steps since the last look: [kind, arguments]."""
        count = self.machine.next_step - self.read
        if count > RING:
            self.vain["steps_lost"] += count - RING
            count = RING
        places = np.arange(self.machine.next_step - count, self.machine.next_step) & (RING - 1)
        part = self.ring[places]
        self.read = self.machine.next_step
        rows = zip(part["kind"].tolist(), part["args"].tolist(), strict=True)
        return [[kind, *args] for kind, args in rows]

    def _take_in(self, pid: int, since: int) -> None:
        """The twin's steps become demands of a task."""
        if self.machine.next_step == self.read:
            return
        named: Asked | None = None
        last: Asked | None = None
        given: list[int] = []
        below: list[int] = []
        for kind, value, second, third, *_ in self._steps():
            if kind == PAGE_ALLOC:
                what = page_kind(third)
                if what:
                    self.pages += 1
                    self.page_at[value] = self.pages
                    asked = Asked(since, (what, second, third & ~COMP), self.pages)
                    self.streams[pid, PAGES].asked.append(asked)
            elif kind == PAGE_FREE:
                number = self.page_at.pop(value, None)
                if number is not None:
                    self.streams[pid, FREES].asked.append(Asked(since, FREES, number))
            elif kind == NODE_ALLOC:
                key = self.nodes.key(True, second)
                named = last = Asked(since, key, self.nodes.new(value))
                self.streams[pid, NODES].asked.append(named)
            elif kind == NODE_BULK:
                if named is not None:
                    named.silent.append(self.nodes.new(value))
            elif kind == NODE_FREE_BULK:
                given.append(self.nodes.end(value))
            elif kind == NODE_RCU_BULK:
                below.append(value)
            elif kind == NODE_RCU:
                self.nodes.later(value, below, last)
                below = []
            elif kind == NODE_FREE:
                named = None
                last = Asked(since, self.nodes.key(False, 0), self.nodes.end(value), given)
                self.streams[pid, NODES].asked.append(last)
                given = []

    # ---- both

    def _match(self, pid: int, until: int, final: bool) -> None:
        """Demands of a task find their events before a number."""
        pages = self.streams.get((pid, PAGES))
        for asked, seen in pages.match(until, final) if pages else ():
            what = asked.key[0]  # type: ignore[index]
            self._count(what, seen)
            if seen is not None:
                self.kernel_page[asked.number] = seen.value
        nodes = self.streams.get((pid, NODES))
        for asked, seen in nodes.match(until, final) if nodes else ():
            if asked.key != self.nodes.key(False, 0):
                self._count(NODES, seen)
            asked.at = asked.since if seen is None else seen.index
            if seen is not None:
                self.nodes.named(asked, seen, self.first)
        frees = self.streams.get((pid, FREES))
        if frees and final:
            self._match_frees(frees)

    def _count(self, what: str, seen: Seen | None) -> None:
        if seen is None:
            self.vain[what] += 1
        elif seen.index >= self.first:
            self.foreseen[what] += 1
            self.found[what].append(seen.index)

    def _match_frees(self, frees: Stream) -> None:
        """The pages that the twin gave back, in order."""
        last = -1
        while frees.asked:
            asked = frees.asked.popleft()
            pfn = self.kernel_page.pop(asked.number, None)
            if pfn is None:
                continue
            at = self.freed_at.get(pfn)
            while at and at[0] < asked.since:
                at.popleft()
            if not at:
                self.vain[FREES] += 1
                continue
            index = at.popleft()
            if not at:
                del self.freed_at[pfn]
            if index >= self.first:
                self.foreseen[FREES] += 1
                self.exact[FREES] += index > last
            last = index

    # ---- the figures

    def compare(self, block: Block) -> None:
        """A block was carried out: of its demands that were foreseen, which did the kernel side
        answer right?
        """
        behind = block.first + block.ready
        extra = block.events["extra"]
        for what, indexes in self.found.items():
            done = [index - block.first for index in indexes if block.first <= index < behind]
            self.exact[what] += int(np.count_nonzero(extra[done] & EXACT)) if done else 0
            self.found[what] = [index for index in indexes if index >= behind]

    def figures(self) -> dict[str, dict[str, int]]:
        """{kind: {"demands": of the kernel, of this kind; "predicted": foreseen; "exact": answered
        right; "in_vain": the twin's that the kernel did not have}}.
        """
        kinds = ("user_pages", "page_tables", "gather_pages", NODES)
        figures = {
            kind: {"demands": self.demanded[kind], "predicted": self.foreseen[kind],
                   "exact": self.exact[kind], "in_vain": self.vain[kind]}
            for kind in kinds if self.demanded[kind] or self.foreseen[kind]
        }  # fmt: skip
        figures[FREES] = {"predicted": self.foreseen[FREES], "exact": self.exact[FREES],
                          "in_vain": self.vain[FREES]}  # fmt: skip
        return figures

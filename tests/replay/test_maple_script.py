"""Silent maple nodes in a replay: those that go with a named one, in the order of the kernel."""

import numpy as np
import pytest

from mmtwin.kernel.slub import kmem_cache_alloc_node, kmem_cache_free
from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.counts import COUNTS, UNEXPLAINED
from mmtwin.replay.engine import Engine
from mmtwin.replay.maple_script import Script

GFP = 0xCC0
SOFTIRQ = 0x10
MASK64 = (1 << 64) - 1


class Kernel:
    """The side that is recorded: nodes by number, the events that name some, what goes with them.
    """

    def __init__(self) -> None:
        self.k, self.other = (Machine.boot("x86_64-6.1", memory="64M", seed=3) for _ in range(2))
        self.cache = self.k.mm.cache_names.index("maple_node")
        for machine in (self.k, self.other):  # a slab is there
            node = kmem_cache_alloc_node(machine.mm, self.cache, GFP, -1)
            kmem_cache_free(machine.mm, self.cache, node)
        self.node: dict[int, int] = {}
        self.rows: list[tuple[str, int, int, int]] = []
        self.records: list[tuple[int, int, list[int], list[int]]] = []

    def take(self, *numbers: int) -> None:
        """Nodes of no event."""
        for number in numbers:
            address = kmem_cache_alloc_node(self.k.mm, self.cache, GFP, -1)
            self.node[number] = address & MASK64

    def give(self, *numbers: int) -> None:
        for number in numbers:
            kmem_cache_free(self.k.mm, self.cache, self.node[number])

    def event(
        self, kind: str, number: int, pid: int = 1, flags: int = 0, silent: tuple[int, ...] = ()
    ) -> None:
        """The event of a node; the silent ones that go with it."""
        self.records.append((len(self.rows), number, list(silent), [0] * len(silent)))
        self.rows.append((kind, self.node[number], pid, flags))

    def named(self, number: int, pid: int = 1, silent: tuple[int, ...] = ()) -> None:
        self.take(number)
        self.event("ALLOC", number, pid, silent=silent)

    def freed(self, number: int, pid: int = 1, silent: tuple[int, ...] = ()) -> None:
        self.give(*silent)
        self.event("FREE", number, pid, silent=silent)
        self.give(number)

    def replayed(self) -> tuple[Script, Engine]:
        """The other side's replay of it."""
        events = np.zeros(len(self.rows), dtype=EVENT)
        events["role"] = CONSTANTS["ROLE_DEMAND"]
        events["bytes_alloc"] = 256
        for event, (kind, address, pid, flags) in zip(events, self.rows, strict=True):
            event["kind"] = CONSTANTS[f"KIND_KMEM_CACHE_{kind}"]
            event["address"], event["pid"], event["flags"] = address, pid, flags
            event["gfp"] = GFP
        script = Script(self.other.mm, self.cache)
        script.load(0, self.records, np.zeros(64, dtype=np.uint64))
        bits = [1 << bit for bit in range(32)]
        engine = Engine(self.other.mm, [self.cache], bits, 8192, maple=script)
        engine.objects.reserve(len(events))
        engine.run(events.ctypes.data, 0, len(events), len(events))
        return script, engine


@pytest.fixture()
def kernel() -> Kernel:
    return Kernel()


def assert_exact(kernel: Kernel) -> Script:
    script, engine = kernel.replayed()
    counts = engine.counts()
    named = sum(kind == "ALLOC" for kind, *_ in kernel.rows)
    assert counts[COUNTS["COUNT_OBJECTS_EXACT"]] == named
    assert not any(counts[place] for place in UNEXPLAINED.values())
    assert script.unforeseen == script.renamed == script.unknown == 0
    assert kernel.other.validate() == []
    return script


def test_nodes_that_no_event_names(kernel: Kernel) -> None:
    kernel.named(0, silent=(1, 2, 3))
    kernel.take(1, 2, 3)
    kernel.named(4)
    kernel.freed(0, silent=(1, 3))
    kernel.named(5)
    kernel.named(6)
    kernel.named(7)
    script = assert_exact(kernel)
    assert (script.taken, script.given) == (3, 2)


def test_without_its_records_nodes_are_missed(kernel: Kernel) -> None:
    kernel.named(0, silent=(1, 2))
    kernel.take(1, 2)
    kernel.named(3)
    kernel.records.clear()
    script, engine = kernel.replayed()
    assert script.unforeseen == 2
    assert engine.counts()[COUNTS["COUNT_OBJECTS_EXACT"]] == 1


def test_another_task_runs_before_the_silent_nodes_are_taken(kernel: Kernel) -> None:
    """Task 1 was interrupted right behind its event, and task 2 got the node that it would have
    taken next.
    """
    kernel.named(0, pid=1, silent=(1, 2))
    kernel.rows.append(("FREE", 0, 1, SOFTIRQ))  # of something else
    kernel.named(3, pid=2, silent=(4,))
    kernel.take(4)
    kernel.freed(3, pid=2, silent=(4,))
    kernel.take(1, 2)
    kernel.named(5, pid=1)
    kernel.named(6, pid=2)
    assert_exact(kernel)


def test_another_task_runs_at_once(kernel: Kernel) -> None:
    kernel.named(0, pid=1, silent=(1, 2))
    kernel.named(3, pid=2)
    kernel.named(4, pid=2)
    kernel.take(1, 2)
    kernel.named(5, pid=1)
    script = assert_exact(kernel)
    assert script.taken == 2


def test_another_task_runs_after_the_silent_nodes_were_taken(kernel: Kernel) -> None:
    kernel.named(0, pid=1, silent=(1, 2))
    kernel.take(1, 2)
    kernel.named(3, pid=2)
    kernel.named(4, pid=1)
    assert_exact(kernel)


def test_two_tasks_wait(kernel: Kernel) -> None:
    kernel.named(0, pid=1, silent=(1, 2))
    kernel.named(3, pid=2, silent=(4, 5))
    kernel.named(6, pid=3)
    kernel.take(4, 5)
    kernel.named(7, pid=2)
    kernel.take(1, 2)
    kernel.named(8, pid=1)
    assert_exact(kernel)


def test_what_waits_lasts_over_the_end_of_a_block(kernel: Kernel) -> None:
    kernel.named(0, pid=1, silent=(1, 2))
    kernel.named(3, pid=2)
    script, engine = kernel.replayed()
    kernel.take(1, 2)
    kernel.rows.clear()
    kernel.records.clear()
    kernel.named(4, pid=1)
    events = np.zeros(1, dtype=EVENT)
    events["role"] = CONSTANTS["ROLE_DEMAND"]
    events["kind"] = CONSTANTS["KIND_KMEM_CACHE_ALLOC"]
    events["address"], events["pid"], events["gfp"] = kernel.node[4], 1, GFP
    where = np.zeros(64, dtype=np.uint64)
    script.load(2, [(2, 4, [], [])], where)
    engine.run(events.ctypes.data, 0, 1, 1)
    assert where[[1, 2, 4]].tolist() == [kernel.node[number] for number in (1, 2, 4)]
    assert engine.counts()[COUNTS["COUNT_OBJECTS_EXACT"]] == 3


def interrupted_free(kernel: Kernel, late: bool) -> None:
    """Node 0 is freed, and in an interrupt nodes 1 and 2: before it or behind it, though its event
    comes first; then a request takes two, of which a free shows the silent one.
    """
    for number in range(5):
        kernel.named(number)
    kernel.event("FREE", 0)
    kernel.give(*((1, 2, 0) if late else (0, 1, 2)))
    kernel.event("FREE", 1, flags=SOFTIRQ)
    kernel.event("FREE", 2, flags=SOFTIRQ)
    kernel.freed(4)
    kernel.named(5, silent=(6, 7))
    kernel.take(6, 7)
    kernel.records[-1][3][0] = kernel.node[6]
    kernel.freed(5, silent=(7,))
    kernel.freed(6)
    for number in range(8, 11):
        kernel.named(number)


@pytest.mark.parametrize("late", [False, True])
def test_a_free_that_an_interrupt_came_into(kernel: Kernel, late: bool) -> None:
    interrupted_free(kernel, late)
    assert_exact(kernel)


@pytest.mark.parametrize("late", [False, True])
def test_where_nothing_tells_a_free_comes_with_its_event(kernel: Kernel, late: bool) -> None:
    interrupted_free(kernel, late)
    for record in kernel.records:
        record[3][:] = [0] * len(record[3])
    _script, engine = kernel.replayed()
    exact = engine.counts()[COUNTS["COUNT_OBJECTS_EXACT"]]
    assert (exact == sum(kind == "ALLOC" for kind, *_ in kernel.rows)) is not late


def test_silent_nodes_were_taken_before_an_interrupt_that_frees_beside_them(
    kernel: Kernel,
) -> None:
    """The CPU's list is empty, and its next slab gets a node back in the interrupt: the silent
    node is the one that was there before.
    """
    for number in range(32):
        kernel.named(number)
    kernel.freed(3)
    kernel.freed(17)
    kernel.named(40)  # the last of one slab
    assert kernel.node[40] == kernel.node[17]
    kernel.event("ALLOC", 40, silent=(41,))
    kernel.rows.pop(-2)
    kernel.records[-2:] = [(len(kernel.rows) - 1, 40, [41], [0])]
    kernel.take(41)
    assert kernel.node[41] == kernel.node[3]
    kernel.records[-1][3][0] = kernel.node[41]
    kernel.event("FREE", 5, flags=SOFTIRQ)
    kernel.give(5)
    kernel.named(42)
    script, engine = kernel.replayed()
    assert engine.counts()[COUNTS["COUNT_OBJECTS_EXACT"]] == 32 + 2
    assert script.renamed == script.unknown == 0

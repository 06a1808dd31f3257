"""Maple nodes that no event names: tasks that store into trees, and what a replay makes of it."""

import numpy as np
import pytest

from mmtwin.kernel import lists
from mmtwin.kernel.slub import (
    kmem_cache_alloc,
    kmem_cache_alloc_bulk,
    kmem_cache_free,
    kmem_cache_free_bulk,
)
from mmtwin.machine import Machine
from mmtwin.recordings import default_recording_path, open_recording
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay import replay
from mmtwin.replay.counts import COUNTS
from mmtwin.replay.engine import Engine
from mmtwin.replay.maple import Maple
from mmtwin.replay.maple_ahead import CONSTANTS as MAPLE
from mmtwin.replay.maple_ahead import Ahead

GFP = 0xCC0
RESCHED, SOFTIRQ = 0x04, 0x10
COMPILED = not lists.__file__.endswith(".py")
needs_speed = pytest.mark.skipif(not COMPILED, reason="minutes, uncompiled")
SITES = {"alloc": 0x1000, "destroy": 0x2000, "tree": 0x3000, "rcu": 0x4000, "area": 0x5000}
RANGES = [
    (SITES["alloc"], SITES["alloc"], MAPLE["WHAT_ALLOC"]),
    (SITES["destroy"], SITES["destroy"], MAPLE["WHAT_SPARE"]),
    (SITES["tree"], SITES["tree"], MAPLE["WHAT_ROOT"]),
    (SITES["area"], SITES["area"], MAPLE["WHAT_AREA"]),
]
NAMES = ("maple_node", "vm_area_struct", "mm_struct")


def machine(options=()):
    """A machine with a cache of maple nodes, some of whose slabs are there already."""
    k = Machine.boot("x86_64-6.1", memory="64M", cpus=1, seed=3, cmdline=dict(options))
    k.mm.slub_bytes = 0  # as in a replay: its own lists show no red zones
    k.kmem_cache_create("maple_node", 256, align=256)
    cache = k.mm.cache_names.index("maple_node")
    nodes = [kmem_cache_alloc(k.mm, cache, GFP) for _ in range(40)]
    for node in nodes[::-1]:
        kmem_cache_free(k.mm, cache, node)
    return k, cache


class Tasks:
    """What tasks with trees of one leaf make of a machine, and the events that tell of it."""

    def __init__(self, options=()):
        self.k, self.cache = machine(options)
        self.cpu = self.cache * self.k.mm.nr_cpus  # its place among all CPUs' of all caches
        self.rows = []
        self.root = {}
        self.replaced = []
        self.interrupts = 0

    def event(self, kind, site, address, pid):
        row = np.zeros(1, dtype=EVENT)[0]
        row["kind"] = CONSTANTS[kind]
        row["role"] = CONSTANTS["ROLE_DEMAND"]
        row["call_site"] = SITES[site]
        row["address"] = address
        row["pid"] = pid
        row["bytes_req"] = row["bytes_alloc"] = 256
        row["gfp"] = GFP
        self.rows.append(row)

    def free(self, site, node, pid):
        self.event("KIND_KMEM_CACHE_FREE", site, node, pid)
        kmem_cache_free(self.k.mm, self.cache, node)

    def first(self, pid):
        node = kmem_cache_alloc(self.k.mm, self.cache, GFP)
        self.event("KIND_KMEM_CACHE_ALLOC", "alloc", node, pid)
        return node

    def area(self, pid):
        """vm_area_alloc(): of another cache, so only an event."""
        self.event("KIND_KMEM_CACHE_ALLOC", "area", 0x1000, pid)
        self.rows[-1]["cache"] = 1

    def store(self, pid, uses, between=""):
        """mas_preallocate() for one leaf, a store that replaces it if it is for a new area,
        mas_destroy(). `between`: who frees nodes between the first and the silent ones: an
        interrupt before the first's event ("early"), when the CPU's list has run out ("within") or
        in mas_destroy() ("destroy"), or another task, to which the flags say that this one gives
        way ("due") or do not ("switch").
        """
        if uses:
            self.area(pid)
        if pid not in self.root:
            self.root[pid] = self.first(pid)
            return
        first = self.first(pid)
        if between in ("early", "due", "switch"):
            self.frees_between(pid, between)
        slots = []
        while len(slots) < 3:
            if (
                between == "within"
                and slots
                and not self.k.mm.view("cache_cpu")["freelist"][self.cpu]
            ):
                self.frees_of_interrupt(pid)
            slots += kmem_cache_alloc_bulk(self.k.mm, self.cache, GFP, 1)
        if uses:
            self.replaced.append(self.root[pid])
            self.root[pid] = slots.pop()
        kmem_cache_free_bulk(self.k.mm, self.cache, slots[1:])
        if between == "destroy":
            self.frees_of_interrupt(pid)
        self.free("destroy", first, pid)
        self.free("destroy", slots[0], pid)

    def frees_of_interrupt(self, pid):
        self.interrupts += len(self.replaced) > 0
        for node in self.replaced:
            self.free("rcu", node, pid)
            self.rows[-1]["flags"] = SOFTIRQ
        self.replaced.clear()

    def frees_between(self, pid, between):
        event = self.rows.pop()
        if between != "early":
            self.rows.append(event)
            event["flags"] = RESCHED if between == "due" else 0
        start = len(self.rows)
        for node in self.replaced:
            self.free("rcu", node, pid if between == "early" else 14)
            self.rows[-1]["flags"] = SOFTIRQ
        self.replaced.clear()
        if between == "early":
            self.rows.append(event)
            for row in self.rows[start:-1][:1]:
                row["ahead"] = len(self.rows) - 1 - start

    def grace_period(self):
        for node in self.replaced:
            self.free("rcu", node, 0)
        self.replaced.clear()

    def exit(self, pid):
        if pid in self.root:
            self.free("tree", self.root.pop(pid), pid)


def events_of(seed, steps=150, options=(), between=""):
    """The events of some tasks' stores and exits, at random; `between`: see Tasks.store()."""
    draw = np.random.default_rng(seed)
    tasks = Tasks(options)
    for _ in range(steps):
        choice = draw.integers(0, 12)
        pid = int(draw.integers(1, 4))
        if choice == 0:
            tasks.grace_period()
        elif choice == 1:
            tasks.exit(pid)
        else:
            tasks.store(pid, choice < 8, between if len(tasks.replaced) > 3 else "")
    return np.array(tasks.rows, dtype=EVENT), tasks


def replayed(events, guessing, options=()):
    """(share of objects predicted exactly, the machine): a replay on a machine like the first."""
    k, cache = machine(options)
    maple = Maple(k.mm, cache, [0, 1, 2], RANGES) if guessing else None
    bits = [1 << bit for bit in range(32)]
    engine = Engine(k.mm, [cache, -1, -1], bits, 8192, True, (), True, maple)
    events = events.copy()
    engine.objects.reserve(len(events))
    engine.run(events.ctypes.data, 0, len(events), len(events))
    counts = engine.counts()
    return counts[COUNTS["COUNT_OBJECTS_EXACT"]] / counts[COUNTS["COUNT_OBJECTS_PREDICTED"]], k


def test_silent_nodes_are_inferred():
    events, _ = events_of(2)
    without, _ = replayed(events, False)
    share, k = replayed(events, True)
    assert share == 1 > without
    assert k.validate() == []


@needs_speed
def test_silent_nodes_empty_slabs():
    events, _ = events_of(6, 600)
    without, _ = replayed(events, False)
    share, k = replayed(events, True)
    assert share > 0.95 > 0.8 > without
    assert k.validate() == []


def test_areas_and_purposes():
    """What stores are for, and how many areas a task has: of a fork's child, and behind exec."""
    ahead = Ahead([0, 1, 2], [
        *RANGES,
        (0x6000, 0x6000, MAPLE["WHAT_COPY"]),
        (0x7000, 0x7000, MAPLE["WHAT_MM"]),
        (0x8000, 0x8000, MAPLE["WHAT_EXEC"]),
    ])  # fmt: skip
    alloc, free = CONSTANTS["KIND_KMEM_CACHE_ALLOC"], CONSTANTS["KIND_KMEM_CACHE_FREE"]
    rows = [  # pid, cache, kind, call site, address
        (1, 2, alloc, 0x7000, 90), (1, 0, alloc, 0x1000, 1), (1, 1, alloc, 0x6000, 50),
        (1, 1, alloc, 0x6000, 51), (1, 0, free, 0x2000, 1),
        (7, 1, alloc, 0x5000, 52), (7, 0, alloc, 0x1000, 2), (7, 0, free, 0x2000, 2),
        (7, 0, alloc, 0x1000, 2), (7, 0, alloc, 0x1000, 3), (7, 0, free, 0x2000, 2),
        (7, 1, free, 0x9000, 52), (7, 0, free, 0x3000, 3),
        (7, 0, alloc, 0x1000, 2), (7, 0, free, 0x2000, 2),
        (7, 2, alloc, 0x8000, 91), (7, 1, alloc, 0x5000, 53), (7, 0, alloc, 0x1000, 4),
        (7, 1, free, 0x9000, 50), (7, 1, free, 0x9000, 51), (7, 0, free, 0x3000, 9),
        (7, 0, alloc, 0x1000, 5), (7, 0, free, 0x2000, 5),
    ]  # fmt: skip
    events = np.zeros(len(rows), dtype=EVENT)
    for event, (pid, cache, kind, site, address) in zip(events, rows, strict=True):
        event["pid"], event["cache"], event["kind"] = pid, cache, kind
        event["call_site"], event["address"], event["gfp"] = site, address, GFP
    events["gfp"][9] = 0x2800
    ahead.look(events.ctypes.data, 0, len(events))
    moments = ahead.buffers["moments"][: len(events)]
    asked = moments[moments["what"] <= MAPLE["WHAT_NOWAIT"]]
    area, bounds, unmap = (MAPLE[f"FOR_{name}"] for name in ("AREA", "BOUNDS", "UNMAP"))
    assert asked["purpose"].tolist() == [bounds, area, unmap, bounds, bounds, area, bounds]
    assert asked["areas"].tolist() == [0, 3, 3, 3, 2, 1, 1]


def moments_of(rows):
    """The moments of events of maple nodes: (pid, what for, address)."""
    ahead = Ahead([0, 1, 2], RANGES)
    events = np.zeros(len(rows), dtype=EVENT)
    for event, (pid, name, address) in zip(events, rows, strict=True):
        alloc = name in ("alloc", "nowait")
        kind = CONSTANTS["KIND_KMEM_CACHE_ALLOC" if alloc else "KIND_KMEM_CACHE_FREE"]
        event["pid"], event["kind"], event["address"] = pid, kind, address
        event["call_site"] = SITES["alloc" if alloc else name]
        event["gfp"] = 0x2800 if name == "nowait" else GFP
    ahead.look(events.ctypes.data, 0, len(events))
    return ahead.buffers["moments"][: len(events)]


def test_an_exit_is_no_unmap():
    """A node taken without waiting that goes as a root held what a munmap() took out; but where
    nothing of its task follows, it was the root of the task's own tree.
    """
    unmap = [(7, "nowait", 1), (7, "tree", 1), (7, "alloc", 2), (7, "destroy", 2)]
    exits = [(8, "nowait", 3), (8, "tree", 3)]
    assert moments_of([*unmap, *exits])["detached"].tolist() == [1, 1, 0, 0, 0, 0]


def test_many_tasks_and_nodes():
    """More than the tables have room for at first: each finds its next all the same."""
    count = 2 * MAPLE["LEAST_SPOTS"]
    first = [(pid, "alloc", pid) for pid in range(1, count)]
    moments = moments_of([*first, *((pid, "tree", pid) for pid, _, _ in first)])
    behind = np.arange(count, 2 * count - 1)  # numbers of moments + 1
    for column in ("next", "follows", "exit"):
        assert moments[column][: count - 1].tolist() == behind.tolist()
        assert not moments[column][count - 1 :].any()


def test_what_interrupts_cut():
    """A free whose event an interrupt's frees follow at once, and the last of those."""
    ahead = Ahead([0, 1, 2], RANGES)
    events = np.zeros(6, dtype=EVENT)
    events["kind"] = CONSTANTS["KIND_KMEM_CACHE_FREE"]
    events["call_site"] = [SITES[name] for name in ("destroy", "rcu", "rcu", "destroy") * 2][:6]
    events["address"] = np.arange(1, 7)
    events["pid"] = [7, 7, 7, 7, 9, 9]  # the last two: a thread for soft interrupts
    events["flags"] = [0, 0x10, 0x10, 0, 0x10, 0x10]
    ahead.look(events.ctypes.data, 0, len(events))
    moments = ahead.buffers["moments"][:6]
    assert moments["cut"].tolist() == [1, 0, 0, 0, 0, 0]
    assert moments["since"].tolist() == [-1, 0, 0, -1, -1, -1]
    assert moments["ends"].tolist() == [0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("between", ["early", "due", "switch"])
def test_silent_nodes_taken_behind_frees(between):
    events, _ = events_of(2, 200, between=between)
    share, k = replayed(events, True)
    assert share > 0.99
    assert k.validate() == []


def test_an_interrupt_between_silent_frees_and_the_one_that_is_named():
    events, _ = events_of(2, 400, between="destroy")
    share, k = replayed(events, True)
    assert share == 1
    assert k.validate() == []


@pytest.mark.parametrize("seed", [2, 6])
def test_an_interrupt_within_a_bulk_is_one_miss(seed):
    """It is let in where the CPU's list has run out, and frees to it."""
    events, tasks = events_of(seed, 400, between="within")
    share, k = replayed(events, True)
    nodes = (events["kind"] == CONSTANTS["KIND_KMEM_CACHE_ALLOC"]) & (events["cache"] == 0)
    assert 0 < round((1 - share) * nodes.sum()) <= tasks.interrupts
    assert k.validate() == []


def test_tasks_that_give_way():
    """Another task runs behind a request: this one was to give way, as its event or an interrupt
    before that says, or may have had to since.
    """
    ahead = Ahead([0, 1, 2], RANGES)
    rows = [  # pid, flags, call site
        (7, RESCHED, "alloc"), (9, 0, "tree"), (7, 0, "alloc"), (9, 0, "tree"),
        (7, SOFTIRQ | RESCHED, "rcu"), (7, 0, "alloc"), (9, 0, "tree"),
        (7, RESCHED, "alloc"), (7, SOFTIRQ, "rcu"), (7, 0, "destroy"), (9, 0, "tree"),
    ]  # fmt: skip
    events = np.zeros(len(rows), dtype=EVENT)
    alloc, free = CONSTANTS["KIND_KMEM_CACHE_ALLOC"], CONSTANTS["KIND_KMEM_CACHE_FREE"]
    for event, (pid, flags, site) in zip(events, rows, strict=True):
        event["pid"], event["flags"], event["gfp"] = pid, flags, GFP
        event["kind"], event["call_site"] = alloc if site == "alloc" else free, SITES[site]
    events["address"] = np.arange(1, len(rows) + 1)
    ahead.look(events.ctypes.data, 0, len(events))
    moments = ahead.buffers["moments"][: len(events)]
    asked = moments[moments["what"] == MAPLE["WHAT_ALLOC"]]
    due, perhaps = MAPLE["YIELDS"], MAPLE["MAY_YIELD"]
    assert asked["yields"].tolist() == [due, perhaps, due, 0]


@needs_speed
def test_silent_nodes_of_a_debug_cache():
    options = (("slub_debug", "FZPU"),)
    events, _ = events_of(5, 600, options)
    without, _ = replayed(events, False, options)
    share, k = replayed(events, True, options)
    assert share > 0.9 > without
    assert k.validate() == []


@needs_speed
@pytest.mark.parametrize("seed", [3, 5])
def test_an_interrupt_within_a_bulk_of_a_debug_cache(seed):
    """It is let in before each node; where, the order of the next ones tells."""
    options = (("slub_debug", "FZPU"),)
    events, tasks = events_of(seed, 400, options, between="within")
    share, k = replayed(events, True, options)
    nodes = (events["kind"] == CONSTANTS["KIND_KMEM_CACHE_ALLOC"]) & (events["cache"] == 0)
    assert round((1 - share) * nodes.sum()) <= tasks.interrupts // 3
    assert k.validate() == []


@needs_speed
def test_nodes_of_a_kernel():
    with open_recording(default_recording_path()) as recording:
        result = replay(recording, statistics=False)
    assert result.misses["maple_node"] < 150
    assert result.to_dict()["fidelity"]["pfn"]["zone"]["exact"] > 5000


def test_last_free_lists_are_the_kernels():
    events, tasks = events_of(5)
    _, k = replayed(events, True)
    ours, theirs = (machine.mm.view("cache_cpu") for machine in (k, tasks.k))
    assert ours["slab"][tasks.cache] == theirs["slab"][tasks.cache]
    assert ours["freelist"][tasks.cache] == theirs["freelist"][tasks.cache]


def test_contradictions_leave_the_twin_sound():
    draw = np.random.default_rng(11)
    k, cache = machine()
    many = 1200
    events = np.zeros(many, dtype=EVENT)
    kinds = [CONSTANTS[f"KIND_KMEM_CACHE_{name}"] for name in ("ALLOC", "FREE", "FREE")]
    kinds.append(CONSTANTS["KIND_MM_PAGE_ALLOC"])
    events["kind"] = draw.choice(kinds, many)
    events["role"] = draw.choice([1, 3, 5], many)
    events["call_site"] = draw.choice(list(SITES.values()), many)
    events["pid"] = draw.integers(0, 5, many)
    events["gfp"] = draw.choice([GFP, 0x2800], many)
    events["bytes_req"] = events["bytes_alloc"] = 256
    pages = 8192 + draw.integers(0, 40, many)
    nodes = (pages << k.mm.page_shift) + draw.integers(0, 16, many) * 256
    nodes = nodes.astype(np.uint64) + np.uint64(k.mm.page_offset)
    page = events["kind"] == CONSTANTS["KIND_MM_PAGE_ALLOC"]
    events["address"] = np.where(page, pages.astype(np.uint64), nodes)
    wild = draw.random(many) < 0.03
    odd = np.array([0, 1 << 63, 2**64 - 1], dtype=np.uint64)
    events["address"][wild] = draw.choice(odd, wild.sum())
    maple = Maple(k.mm, cache, [0, 1, 2], RANGES)
    bits = [1 << bit for bit in range(32)]
    engine = Engine(k.mm, [cache, -1, -1], bits, 8192, True, (), True, maple)
    engine.objects.reserve(many)
    engine.run(events.ctypes.data, 0, many, many)
    assert k.validate() == []


@pytest.mark.skipif(COMPILED, reason="C functions")
def test_a_slab_that_proved_right_is_not_turned():
    k, cache = machine()
    maple = Maple(k.mm, cache, [0, 1, 2], RANGES)
    guess = maple.guesses[0]
    slab = guess.cpu_slab[0]
    guess.open[slab] = 1
    maple.cpu, maple.node = 0, guess.cpu_free[0]
    maple._take_first(guess)
    assert guess.open[slab] == 0


@pytest.mark.skipif(COMPILED, reason="C functions")
@pytest.mark.parametrize("comes_back, leaves", [(("first", "second"), 2), (("second",), 0)])
def test_a_request_of_which_one_node_comes_back_was_for_one_leaf(comes_back, leaves):
    tasks = Tasks()
    first, second = (kmem_cache_alloc(tasks.k.mm, tasks.cache, GFP) for _ in range(2))
    nodes = {"first": first, "second": second}
    tasks.event("KIND_KMEM_CACHE_ALLOC", "alloc", first, 7)
    for name in comes_back:
        tasks.event("KIND_KMEM_CACHE_FREE", "destroy", nodes[name], 7)
    events = np.array(tasks.rows, dtype=EVENT)
    k, cache = machine()
    maple = Maple(k.mm, cache, [0, 1, 2], RANGES)
    maple.look(events.ctypes.data, 0, len(events))
    t = maple._new_tree(maple.guesses[0], 7, 100)
    maple.guesses[0].tree_leaves[t] = 2
    maple._moment(0)
    best = maple.guesses[maple.current[0]]
    assert best.tree_leaves[t] == leaves
    assert best.nr_taken == (6 if leaves else 3)

"""Maple nodes out of sheaves: what a store replaces goes back unseen, through RCU."""

import numpy as np

from mmtwin.kernel.slub import kmem_cache_alloc
from mmtwin.kernel.slub_defs import GFP_KERNEL
from mmtwin.kernel.slub_pcs import kfree_rcu_sheaf, rcu_free_sheaves
from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.counts import COUNTS
from mmtwin.replay.engine import Engine
from mmtwin.replay.maple import Maple
from mmtwin.replay.maple_sheaves import OWN as SITES
from mmtwin.replay.maple_sheaves import SheafNodes

STORE, RCU = 0x1000, 0x2000
RANGES = [(STORE, STORE + 1, SITES["SITE_ONE"]), (RCU, RCU + 1, SITES["SITE_RCU"])]
SOFTIRQ = 0x10
CAPACITY = 12
GRACE = 4_000_000
PAUSE = 10 * GRACE


def boot() -> tuple[Machine, int]:
    """A machine with sheaves, and its cache of maple nodes."""
    k = Machine.boot("x86_64-7.3", memory="1G", seed=5, SLAB_FREELIST_RANDOM=False)
    k.mm.sheaves_unbacked = 1
    if "maple_node" not in k.mm.cache_names:
        k.kmem_cache_create("maple_node", 256, align=256, sheaf_capacity=CAPACITY)
    return k, k.mm.cache_names.index("maple_node")


def stores(count: int) -> list[tuple[str, int, int]]:
    """Kind, call site and address of the events of a task that stores into a tree of one leaf,
    with a grace period after each time that a sheaf became full.
    """
    k, cache = boot()
    rows = []
    root = queued = 0
    for _ in range(count):
        node = kmem_cache_alloc(k.mm, cache, GFP_KERNEL)
        rows.append(("KMEM_CACHE_ALLOC", STORE, node))
        if root:
            kfree_rcu_sheaf(k.mm, cache, root)
            queued += 1
        root = node
        if queued and queued % int(k.mm.view("cache")["sheaf_capacity"][cache]) == 0:
            rcu_free_sheaves(k.mm, 1)
            queued = 0
            rows.append(("KFREE", RCU, 0))
    return rows


def replayed(rows: list[tuple[str, int, int]], inferred: bool) -> tuple[int, int]:
    """Nodes predicted, nodes exact."""
    k, cache = boot()
    events = np.zeros(len(rows), EVENT)
    for number, (kind, site, address) in enumerate(rows):
        event = events[number]
        event["kind"], event["call_site"] = CONSTANTS["KIND_" + kind], site
        event["address"], event["gfp"], event["pid"] = address, GFP_KERNEL, 7
        event["role"] = CONSTANTS["ROLE_DEMAND"]
        event["time"] = PAUSE * number
        event["flags"] = SOFTIRQ if kind == "KFREE" else 0
        event["cache"] = 0 if kind == "KMEM_CACHE_ALLOC" else -1
    nodes = SheafNodes(k.mm, cache, [0, 1, 2], RANGES, [], GRACE) if inferred else Maple(k.mm)
    bits = [1 << bit for bit in range(32)]
    engine = Engine(k.mm, [cache, -1, -1], bits, 8192, False, maple=nodes)
    engine.run(events.ctypes.data, 0, len(events), len(events))
    assert k.validate() == []
    counts = engine.counts()
    predicted = int(counts[COUNTS["COUNT_OBJECTS_PREDICTED"]])
    return predicted, int(counts[COUNTS["COUNT_OBJECTS_EXACT"]])


def test_a_leaf_that_a_store_replaced_comes_back_after_its_grace_period() -> None:
    rows = stores(400)
    nodes = sum(kind == "KMEM_CACHE_ALLOC" for kind, *_ in rows)
    assert len({address for _, _, address in rows}) < nodes
    assert replayed(rows, True) == (nodes, nodes)
    assert replayed(rows, False)[1] < nodes

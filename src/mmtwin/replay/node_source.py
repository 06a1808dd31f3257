"""Where a replay has the maple nodes from that no event names: the processes' own trees, as long
as these foresee them, else inference from the events; or trees that the events tell of.
"""

import numpy as np

from mmtwin.kernel.constants import PG_slab
from mmtwin.kernel.mm import MM
from mmtwin.kernel.slub_resync import object_state
from mmtwin.recordings.annotate import Annotated, Block
from mmtwin.replay.area_trees import AreaTrees
from mmtwin.replay.call_sites import MAPLE_CACHES, maple_ranges
from mmtwin.replay.demand_nodes import Nodes
from mmtwin.replay.dir_trees import DirTrees
from mmtwin.replay.engine import Engine
from mmtwin.replay.maple import Maple
from mmtwin.replay.maple_script import Script
from mmtwin.replay.maple_sheaves import SheafNodes, sheaf_ranges
from mmtwin.replay.timers import hz_of

LEAST = 256  # requests that are judged together
NS_IN_SECOND = 1_000_000_000
MOST_MISSED = 0.3  # of them; inference does better then on the recordings at hand


def inferred_nodes(mm: MM, annotated: Annotated) -> Maple | None:
    """What infers them, from the lists that the twin has now; None without such caches."""
    names = [name for name in MAPLE_CACHES if name in annotated.names]
    if len(names) < len(MAPLE_CACHES) or MAPLE_CACHES[0] not in mm.cache_names:
        return None
    return Maple(
        mm,
        mm.cache_names.index(MAPLE_CACHES[0]),
        [annotated.names.index(name) for name in names],
        maple_ranges(annotated),
    )


class ToldNodes:
    """The nodes of trees that are followed by what the events tell: those of directories and of
    processes' areas. For kernels whose stores ask for what their kind needs (maple_store_type).

    `first`: number of the first event to be carried out.
    """

    def __init__(self, annotated: Annotated, mm: MM, first: int) -> None:
        self.nodes = Nodes(None, mm)
        self.dirs = DirTrees(annotated, mm, self.nodes, first)
        self.areas = AreaTrees(annotated, self.nodes, self.dirs.events.parent, first)

    def advance(self, block: Block, script: Script) -> None:
        """Follows the trees to the end of what is known of the events, and tells `script` which
        nodes the block's events take along.
        """
        self.nodes.block = block.first
        fed = self.dirs.fed
        self.dirs.advance(block)
        events = block.events[fed - block.first :]
        self.areas.advance(events, fed, block.first, self.dirs.claimed)
        self.nodes.load(script)


def sheaf_nodes(mm: MM, annotated: Annotated) -> Maple | None:
    """What infers them where they come from sheaves; None without such caches."""
    if any(name not in annotated.names for name in MAPLE_CACHES):
        return None
    cache = mm.cache_names.index(MAPLE_CACHES[0])
    names = [annotated.names.index(name) for name in MAPLE_CACHES]
    ranges = sheaf_ranges(annotated.recording.symbols)
    grace = grace_period(hz_of(annotated.recording.machine.config))
    return SheafNodes(mm, cache, names, ranges, live_nodes(mm, cache), grace)


def grace_period(hz: int) -> int:
    """How long a grace period of RCU is taken to last, ns: until idle CPUs are looked for
    (RCU_JIFFIES_TILL_FORCE_QS, kernel/rcu/tree.h), a jiffy or more; of 4 ms if `hz` is 0.
    """
    return (1 + (hz > 250) + (hz > 500)) * NS_IN_SECOND // (hz or 250)


def live_nodes(mm: MM, cache: int) -> list[int]:
    """The addresses of a cache's objects in use."""
    size = mm.view("cache")["size"][cache]
    pages = mm.view("page")[: mm.max_pfn]
    slabs = np.flatnonzero((pages["flags"] & PG_slab != 0) & (pages["cache"] == cache))
    places = [
        mm.page_offset + (pfn << mm.page_shift) + int(size) * place
        for pfn in slabs.tolist()
        for place in range(int(pages["objects"][pfn]))
    ]
    return [address for address in places if object_state(mm, cache, address) == 1]


class Trust:
    """How well the nodes that a script foresaw were met of late."""

    def __init__(self, engine: Engine, script: Script) -> None:
        self.engine = engine
        self.script = script
        self.asked = self.missed = 0

    def is_lost(self) -> bool:
        """Whether too many of the last requests' nodes were others."""
        asked = self.script.asked - self.asked
        if asked < LEAST:
            return False
        missed = int(self.engine.cache_misses()[self.script.cache]) - self.missed
        self.asked += asked
        self.missed += missed
        return missed > MOST_MISSED * asked

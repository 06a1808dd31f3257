"""Where a replay has the maple nodes from that no event names: the processes' own trees, as long
as these foresee them, else inference from the events; or trees that the events tell of.
"""

from mmtwin.kernel.mm import MM
from mmtwin.recordings.annotate import Annotated, Block
from mmtwin.replay.area_trees import AreaTrees
from mmtwin.replay.call_sites import MAPLE_CACHES, maple_ranges
from mmtwin.replay.demand_nodes import Nodes
from mmtwin.replay.dir_trees import DirTrees
from mmtwin.replay.engine import Engine
from mmtwin.replay.maple import Maple
from mmtwin.replay.maple_script import Script

LEAST = 256  # requests that are judged together
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

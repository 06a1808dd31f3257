"""Where a replay has the maple nodes from that no event names: the processes' own trees, as long
as these foresee them, else inference from the events.
"""

from mmtwin.kernel.mm import MM
from mmtwin.recordings.annotate import Annotated
from mmtwin.replay.call_sites import MAPLE_CACHES, maple_ranges
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

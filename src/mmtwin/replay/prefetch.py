"""What prefetch_freepointer() buys: a replay's reads of free pointers against a model of a cache.

slab_alloc_node() reads the pointer to the next free object out of the object that it gives away
(get_freepointer_safe()), and prefetches the line where the next call will read. The model is one
level of a set-associative cache with lines of 64 bytes that keeps the most recent; beside SLUB the
owner of an object writes all of it once.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from mmtwin.kernel.trace import STEPS
from mmtwin.recordings.recording import Recording
from mmtwin.replay.run import Replay

LINE = 64  # bytes
PIECE = 512  # events; their steps fit into the ring
ALLOC, FREE, FREE_SLOW = (
    STEPS[f"STEP_SLUB_{name}"] for name in ("ALLOC_FASTPATH", "FREE_FASTPATH", "FREE_SLOWPATH")
)


class CacheModel:
    """A set-associative cache: `touch(line)` says whether the line was there, and brings it in."""

    def __init__(self, size: int, ways: int) -> None:
        self.ways = ways
        self.sets: list[OrderedDict[int, bool]] = [
            OrderedDict() for _ in range(size // LINE // ways)
        ]

    def touch(self, line: int, prefetched: bool = False) -> bool:
        """Whether a line was there; it is the most recent of its set now."""
        lines = self.sets[line % len(self.sets)]
        if line in lines:
            lines.move_to_end(line)
            return True
        if len(lines) >= self.ways:
            lines.popitem(last=False)
        lines[line] = prefetched
        return False


class Run:
    """The accesses of one replay against one cache, with the prefetch or without."""

    def __init__(self, size: int, ways: int, prefetch: bool) -> None:
        self.cache = CacheModel(size, ways)
        self.prefetch = prefetch
        self.reads = self.misses = self.fetched = 0

    def alloc(self, object_: int, following: int, offset: int, size: int) -> None:
        """The fast path gives an object away, whose owner then writes it."""
        self.reads += 1
        self.misses += not self.cache.touch((object_ + offset) // LINE)
        if self.prefetch and following:
            self.fetched += not self.cache.touch((following + offset) // LINE, True)
        self.write(object_, size)

    def write(self, start: int, size: int) -> None:
        """Bytes are written."""
        for line in range(start // LINE, (start + size - 1) // LINE + 1):
            self.cache.touch(line)


def measure(
    recording: Recording,
    size: int = 32 << 10,
    ways: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Replays a recording and counts: {reads, misses_without, misses_with, fetched, ...}.

    `size` in bytes and `ways` of the cache. Raises ValueError for a cache that cannot be.
    """
    if ways < 1 or size < ways * LINE or size % (ways * LINE):
        raise ValueError(f"a cache of {size} bytes in {ways} ways of lines of {LINE} bytes")
    job = Replay(recording, statistics=False)
    mm = job.state
    for kind in (ALLOC, FREE, FREE_SLOW):
        mm.step_mask |= 1 << kind
    caches = mm.view("cache")
    runs = [Run(size, ways, prefetch) for prefetch in (False, True)]
    last = int(mm.next_step)
    for block in job.blocks():
        for start in range(0, block.ready, PIECE):
            job.carry_out(block, start, min(start + PIECE, block.ready))
            steps = new_steps(mm, last)
            last = int(mm.next_step)
            for kind, cache, object_, following in steps:
                offset = int(caches["offset"][cache])
                for run in runs:
                    if kind == ALLOC:
                        run.alloc(object_, following, offset, int(caches["object_size"][cache]))
                    else:
                        run.write(object_ + offset, 8)
        if progress:
            progress(block.first + block.ready, recording.nr_events)
    without, with_ = runs
    return {
        "cache": size, "ways": ways, "reads": with_.reads, "misses_without": without.misses,
        "misses_with": with_.misses, "lines_prefetched": with_.fetched,
    }  # fmt: skip


def new_steps(mm: Any, last: int) -> list[tuple[int, int, int, int]]:
    """(kind, cache, object, next object) of SLUB's steps since step number `last`."""
    first = max(last, int(mm.next_step) - int(mm.ring_size))
    ring = mm.view("step")[np.arange(first, int(mm.next_step)) & (int(mm.ring_size) - 1)]
    mine = ring[np.isin(ring["kind"], (ALLOC, FREE, FREE_SLOW))]
    words = mine["args"][:, :3].astype(np.uint64)
    return [
        (int(kind), int(row[0]), int(row[1]), int(row[2]))
        for kind, row in zip(mine["kind"].tolist(), words.tolist(), strict=True)
    ]

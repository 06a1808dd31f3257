"""An object that is taken before events that come before its own."""

import numpy as np

from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.counts import COUNTS
from mmtwin.replay.engine import Engine

GFP_KERNEL = 0xCC0
SIZE = 192


def test_the_object_is_taken_before_its_slabs_vector() -> None:
    k, other = (Machine.boot("x86_64-5.10", memory="64M", seed=3) for _ in range(2))
    for machine in (k, other):
        machine.kmalloc(SIZE)  # its slab is there
    outer, vector = (k.kmalloc(SIZE) for _ in range(2))
    events = np.zeros(2, EVENT)
    events["kind"], events["cache"] = CONSTANTS["KIND_KMALLOC"], -1
    events["role"] = CONSTANTS["ROLE_DEMAND"]
    events["bytes_req"], events["bytes_alloc"], events["gfp"] = SIZE, SIZE, GFP_KERNEL
    events["address"] = vector, outer
    events["ahead"][0], events["extra"][0] = 1, CONSTANTS["EXTRA_NESTED"]
    engine = Engine(other.mm, [0], [1 << bit for bit in range(32)], 8192)
    engine.run(events.ctypes.data, 0, 2, 2)
    counts = engine.counts()
    assert counts[COUNTS["COUNT_OBJECTS_PREDICTED"]] == 2
    assert counts[COUNTS["COUNT_OBJECTS_EXACT"]] == 2

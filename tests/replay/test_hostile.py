"""Events that contradict the twin and each other: counted, and the twin's state stays sound."""

import numpy as np
import pytest

from mmtwin.machine import Machine
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.replay.engine import Engine
from mmtwin.replay.follow import Follower

KINDS = [number for name, number in CONSTANTS.items() if name.startswith("KIND_")]
ROLES = [number for name, number in CONSTANTS.items() if name.startswith("ROLE_")]
PAGE_KINDS = range(CONSTANTS["KIND_MM_PAGE_ALLOC"], CONSTANTS["KIND_MM_PAGE_ALLOC_EXTFRAG"] + 1)
GFP = [0xCC0, 0x400CC0, 0x1100CCA, 0x2A20, 0x40DC0, 0x1]


def hostile_events(k, seed, many):
    """Random events about few pages and objects, so that they collide."""
    draw = np.random.default_rng(seed)
    events = np.zeros(many, dtype=EVENT)
    events["kind"] = draw.choice(KINDS, many)
    events["role"] = draw.choice(ROLES, many)
    events["ahead"] = np.where(draw.random(many) < 0.2, draw.integers(1, 12, many), 0)
    events["order"] = draw.choice([0, 0, 0, 0, 1, 2, 3, 9, 10, 11, 200], many)
    events["cpu"] = draw.choice([0, 0, 0, 1, 7], many)
    events["flags"] = draw.choice([0, 0, 0x8, 0x10], many)
    events["extra"] = draw.choice([0, 1, 0x80], many)
    events["migratetype"] = draw.integers(-1, 6, many)
    events["pid"] = draw.integers(0, 4, many)
    events["gfp"] = draw.choice(GFP, many)
    events["bytes_req"] = draw.choice([0, 8, 100, 1000, 4000, 9000, 70_000], many)
    events["bytes_alloc"] = draw.choice([8, 128, 1024, 4096, 16_384], many)
    events["cache"] = draw.integers(-1, 30, many)
    events["call_site"] = 0xFFFFFFFF81000000
    pages = 8192 + draw.integers(0, 256, many)
    objects = (pages << k.mm.page_shift) + draw.integers(0, 64, many) * 64
    named = np.isin(events["kind"], PAGE_KINDS)
    objects = objects.astype(np.uint64) + np.uint64(k.mm.page_offset)
    events["address"] = np.where(named, pages, objects)
    wild = draw.random(many) < 0.02
    odd = np.array([0, 16, k.mm.max_pfn - 1, 1 << 63, 2**64 - 1], dtype=np.uint64)
    events["address"][wild] = draw.choice(odd, wild.sum())
    return events


def runner(kind, k):
    """An Engine or Follower on the machine, its caches numbered as the machine numbers them."""
    caches = list(range(k.mm.nr_caches))
    bits = [1 << bit for bit in range(32)]
    if kind == "follow":
        return Follower(k.mm, caches, bits)
    return Engine(k.mm, caches, bits, 8192, kind == "resync", [0xFFFFFFFF81000000])


@pytest.mark.parametrize("kind", ["resync", "free-running", "follow"])
@pytest.mark.parametrize("profile", ["x86_64-5.10", "x86_64-6.1", "x86_64-6.18", "x86_64-7.3"])
def test_contradictions_leave_the_twin_sound(profile, kind):
    k = Machine.boot(profile, memory="64M", cpus=2)
    events = hostile_events(k, 7, 1500)
    run = runner(kind, k)
    run.run(events.ctypes.data, 0, len(events), len(events))
    assert k.validate() == []
    assert run.counts()[0] == len(events)

"""Guesses at maple nodes that will go on alike: a hash of what must be the same in two of them.

It is a sum, each value times a factor of its place.
"""

import cython
import numpy as np

from mmtwin.replay.maple_guess import CONSTANTS

if not cython.compiled:
    from mmtwin.recordings.event import wrap64

    globals().update(CONSTANTS)


def factors():
    """Odd numbers that look random, u64: those of splitmix64."""
    place = np.arange(1, CONSTANTS["HASH_FACTORS"] + 1, dtype=np.uint64)
    mix = place * np.uint64(0x9E3779B97F4A7C15)
    mix = (mix ^ mix >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mix = (mix ^ mix >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mix ^ mix >> np.uint64(31) | np.uint64(1)


def hash_of(shape, g, nr_cpus):
    """A hash, u64. A node counts as its number + 1, so that node 0 counts too."""
    factor = shape.factor
    hash = g.late_under * factor[0]
    at = 1
    for i in range(nr_cpus):
        hash += g.later[i] * factor[at]
        hash += (g.cpu_slab[i] | g.cpu_partial[i] << 16) * factor[at + 1]
        at += 2
        entry = g.cpu_free[i]
        while entry != NO_NODE:
            hash += (entry + 1) * factor[at]
            at += 1
            entry = g.next[entry]
    for i in range(shape.nr_slabs):
        place = g.place[i]
        if place == SLAB_ABSENT:
            continue
        hash += g.bits[i] * factor[FACTOR_SLABS + 2 * i]
        if place == SLAB_ON_NODE or CPU_PARTIAL <= place < CPU_SLAB:
            place |= (g.link[i] + 1) << 16
        hash += place * factor[FACTOR_SLABS + 2 * i + 1]
        entry = g.head[i]
        before = 1
        while entry != NO_NODE:
            hash += before * factor[FACTOR_LINKS + entry]
            before = entry + 2
            entry = g.next[entry]
    at = FACTOR_TREES
    for i in range(g.tree_end):
        if g.tree_order[i]:
            hash += (g.tree_root[i] | g.tree_leaves[i] << 16) * factor[at]
            for k in range(g.tree_leaves[i]):
                hash += (g.leaf[i * GUESS_LEAVES + k] + 1) * factor[at + 1 + k]
            at += GUESS_LEAVES + 1
    at = FACTOR_REQUESTS
    for i in range(g.round_end):
        if g.round_first[i] != NO_NODE:
            hash += (g.round_first[i] + 1) * factor[at]
            for k in range(g.round_slots[i]):
                hash += (g.slot[i * GUESS_SLOTS + k] + 1) * factor[at + 1 + k]
            at += GUESS_SLOTS + 1
    hash = wrap64(hash)
    return hash ^ hash >> 32

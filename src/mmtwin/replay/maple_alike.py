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


def hash_of(shape, g, cpu, nr_cpus):
    """A hash, u64. A node counts as its number + 1, so that node 0 counts too.

    In what order nodes lie on slabs' lists, which ones requests hold that are not settled, and
    other CPUs' lists count where there are other CPUs, and in debug caches, whose requests take
    from slabs' lists. Elsewhere they come to matter late: guesses that differ in nothing else
    crowd out those that do (tried on recordings).
    """
    factor = shape.factor
    hash = g.later[cpu] * factor[0] + (g.cpu_slab[cpu] | g.cpu_partial[cpu] << 16) * factor[1]
    hash += g.late_under * factor[2]
    at = 3
    entry = g.cpu_free[cpu]
    while entry != NO_NODE:
        hash += (entry + 1) * factor[at]
        at += 1
        entry = g.next[entry]
    for i in range(shape.nr_slabs):
        hash += g.bits[i] * factor[FACTOR_SLABS + 2 * i]
        hash += (g.head[i] | g.link[i] << 16) * factor[FACTOR_SLABS + 2 * i + 1]
    at = FACTOR_TREES
    for i in range(g.tree_end):
        if g.tree_order[i]:
            hash += (g.tree_root[i] | g.tree_leaves[i] << 16) * factor[at]
            for k in range(g.tree_leaves[i]):
                hash += (g.leaf[i * GUESS_LEAVES + k] + 1) * factor[at + 1 + k]
            at += GUESS_LEAVES + 1
    if shape.single or nr_cpus > 1:
        hash += hash_of_order(shape, g, nr_cpus)
    hash = wrap64(hash)
    return hash ^ hash >> 32


def hash_of_order(shape, g, nr_cpus):
    """The same of all CPUs' lists, slabs' lists in their order, and requests."""
    factor = shape.factor
    hash = 0
    for i in range(shape.nr_slabs):
        hash += links_of(shape, g, g.head[i], 1)
    for i in range(nr_cpus):
        hash += links_of(shape, g, g.cpu_free[i], i + 2)
        hash += g.later[i] * factor[FACTOR_CPUS + 2 * i]
        hash += (g.cpu_slab[i] | g.cpu_partial[i] << 16) * factor[FACTOR_CPUS + 2 * i + 1]
    at = FACTOR_REQUESTS
    for i in range(g.round_end):
        if g.round_first[i] != NO_NODE:
            hash += (g.round_first[i] + 1) * factor[at]
            for k in range(g.round_slots[i]):
                hash += (g.slot[i * GUESS_SLOTS + k] + 1) * factor[at + 1 + k]
            at += GUESS_SLOTS + 1
    return wrap64(hash)


def links_of(shape, g, entry, before):
    """The same of one list, from a node on, which comes behind `before`."""
    hash = 0
    while entry != NO_NODE:
        hash += before * shape.factor[FACTOR_LINKS + entry]
        before = entry + GUESS_CPUS + 2
        entry = g.next[entry]
    return wrap64(hash)

"""Nodes that a guess had wrong: they were taken unseen, so they are on no list any more."""

import cython

from mmtwin.replay.maple_guess import CONSTANTS

if not cython.compiled:
    from mmtwin.replay.maple_guess import bit_of, empty_node, leave_node

    globals().update(CONSTANTS)


def drop_chain(shape, g, head, node):
    """A free list from a node on: those before it are in use, all if it is not there."""
    entry = head
    while entry != NO_NODE and entry != node:
        g.bits[entry // shape.objects] &= ~bit_of(entry % shape.objects)
        entry = g.next[entry]
    return entry


def drop_before(shape, g, cpu, node):
    """What a CPU would be given before a node, from its own lists, is in use."""
    slab = node // shape.objects
    g.cpu_free[cpu] = drop_chain(shape, g, g.cpu_free[cpu], node)
    if g.cpu_slab[cpu] == slab:
        return
    while g.cpu_partial[cpu] != NO_NODE and g.cpu_partial[cpu] != slab:
        entry = g.cpu_partial[cpu]
        g.cpu_partial[cpu] = g.link[entry]
        drop_list(shape, g, entry)
        g.place[entry] = SLAB_FULL


def drop_list(shape, g, slab):
    """All of a slab's own free list is in use."""
    g.head[slab] = drop_chain(shape, g, g.head[slab], NO_NODE)
    g.free[slab] = 0


def drop_lists(shape, g, cpu, others):
    """All that a CPU could be given is in use, for it makes a slab: ___slab_alloc() comes to
    new_slab() where its lists have run out and get_partial() finds nothing. What is on the node's
    list is on other CPUs' if there are `others`.
    """
    slab = g.cpu_slab[cpu]
    drop_before(shape, g, cpu, NO_NODE)
    if slab != NO_NODE:
        drop_list(shape, g, slab)
    if others:
        empty_node(g, 0 if cpu else 1)  # any other CPU: which one is not known
    while g.node_first != NO_NODE:
        slab = g.node_first
        leave_node(g, slab)
        drop_list(shape, g, slab)
        g.place[slab] = SLAB_FULL

"""A guess at which maple nodes are free, in what order, and which are in which tree.

Requests for several nodes leave open how many were used, so the replay carries a few guesses along
(maple.py), each with the free lists as SLUB would keep them: the rules are those of
kernel/slub_alloc.py, slub_free.py and slub_partial.py for one cache, over numbers in place of
addresses, so that a guess is small enough to be copied.
"""

from importlib.resources import files

import cython

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs

TEXT = files(__package__).joinpath("maple_guess.pxd").read_text()
STRUCTS = parse_structs(TEXT)
CONSTANTS = parse_constants(TEXT)

if not cython.compiled:
    import ctypes

    globals().update(CONSTANTS)

    def as_guesses(address, count):
        """The records at an address."""
        return (STRUCTS["guess_t"] * count).from_address(address)

    def as_shape(address):
        """The record at an address."""
        return STRUCTS["shape_t"].from_address(address)

    def guess_at(guesses, place):
        """One record of an array."""
        return guesses[place]

    def copy_front(g, source):
        """What comes before `bits`."""
        ctypes.memmove(ctypes.addressof(g), ctypes.addressof(source), type(g).bits.offset)

    def bit_of(place):
        """A bit of 64."""
        return 1 << place


def copy_guess(shape, g, source):
    """Copies a guess: as much of it as is in use."""
    copy_front(g, source)
    nodes = shape.nr_slabs * shape.objects
    for k in range(nodes):
        g.next[k] = source.next[k]
    for k in range(shape.nr_slabs):
        g.bits[k] = source.bits[k]
    for k in range(source.tree_end * GUESS_LEAVES):
        g.leaf[k] = source.leaf[k]
    for k in range(source.round_end * GUESS_SLOTS):
        g.slot[k] = source.slot[k]


def first_free(shape, g, cpu):
    """The node that a CPU is given next, NO_NODE if that takes a new slab."""
    if shape.single:
        return g.head[g.node_first] if g.node_first != NO_NODE else NO_NODE
    if g.cpu_free[cpu] != NO_NODE:
        return g.cpu_free[cpu]
    if g.cpu_slab[cpu] != NO_NODE and g.head[g.cpu_slab[cpu]] != NO_NODE:
        return g.head[g.cpu_slab[cpu]]
    if g.cpu_partial[cpu] != NO_NODE:
        return g.head[g.cpu_partial[cpu]]
    if g.node_first != NO_NODE:
        return g.head[g.node_first]
    return NO_NODE


def pop_free(shape, g, cpu):
    """Takes that node."""
    first = first_free(shape, g, cpu)
    if first == NO_NODE:
        return NO_NODE
    slab = first // shape.objects
    g.bits[slab] ^= bit_of(first - slab * shape.objects)
    if shape.single:
        g.head[slab] = g.next[first]
        g.free[slab] -= 1
        if g.free[slab] == 0:
            leave_node(g, slab)
            g.place[slab] = SLAB_FULL
        return first
    if g.cpu_free[cpu] == NO_NODE:
        refill(shape, g, cpu)
    g.cpu_free[cpu] = g.next[first]
    return first


def refill(shape, g, cpu):
    """___slab_alloc() of a CPU without free nodes: its slab's, its partial list, its node's."""
    slab = g.cpu_slab[cpu]
    if slab == NO_NODE or g.head[slab] == NO_NODE:
        if slab != NO_NODE:
            g.place[slab] = SLAB_FULL
        slab = g.cpu_partial[cpu]
        if slab != NO_NODE:
            g.cpu_partial[cpu] = g.link[slab]
        else:
            slab = g.node_first
            leave_node(g, slab)
            taken = 0
            half = shape.partial_slabs // 2
            while shape.partial_slabs and g.node_first != NO_NODE and taken <= half:
                other = g.node_first
                leave_node(g, other)
                g.link[other] = g.cpu_partial[cpu]
                g.cpu_partial[cpu] = other
                g.place[other] = CPU_PARTIAL + cpu
                taken += 1
        g.cpu_slab[cpu] = slab
        g.place[slab] = CPU_SLAB + cpu
    g.cpu_free[cpu] = g.head[slab]
    g.head[slab] = NO_NODE
    g.free[slab] = 0


def leave_node(g, slab):
    """remove_partial()"""
    before = NO_NODE
    entry = g.node_first
    while entry != NO_NODE and entry != slab:
        before = entry
        entry = g.link[entry]
    if entry == NO_NODE:
        return
    if before == NO_NODE:
        g.node_first = g.link[slab]
    else:
        g.link[before] = g.link[slab]
    g.nr_node -= 1


def join_node(g, slab, tail):
    """add_partial()"""
    g.place[slab] = SLAB_ON_NODE
    g.nr_node += 1
    if not tail or g.node_first == NO_NODE:
        g.link[slab] = g.node_first
        g.node_first = slab
        return
    entry = g.node_first
    while g.link[entry] != NO_NODE:
        entry = g.link[entry]
    g.link[entry] = slab
    g.link[slab] = NO_NODE


def bring_first(g, slab, behind):
    """Makes a slab the first of its node's partial ones: those before it go `behind` the last, as
    if each had become full and been freed to since (add_partial()); else it goes before them, as
    if it had not become full.
    """
    if not behind:
        leave_node(g, slab)
        join_node(g, slab, False)
    while g.node_first != slab:
        entry = g.node_first
        leave_node(g, entry)
        join_node(g, entry, True)


def empty_node(g, cpu):
    """The node's slabs are elsewhere: another CPU has them behind those on its partial list."""
    while g.node_first != NO_NODE:
        slab = g.node_first
        leave_node(g, slab)
        g.place[slab] = CPU_PARTIAL + cpu
        g.link[slab] = NO_NODE
        last = g.cpu_partial[cpu]
        if last == NO_NODE:
            g.cpu_partial[cpu] = slab
            continue
        while g.link[last] != NO_NODE:
            last = g.link[last]
        g.link[last] = slab


def runs_out(g, cpu, count):
    """Whether a CPU's list has nodes, but not so many."""
    entry = g.cpu_free[cpu]
    if entry == NO_NODE:
        return False
    while count and entry != NO_NODE:
        count -= 1
        entry = g.next[entry]
    return count != 0


def raise_node(g, cpu, node):
    """What lies before a node of a CPU's list goes behind the last."""
    head = g.cpu_free[cpu]
    last = head
    while last != NO_NODE and g.next[last] != node:
        last = g.next[last]
    if head == node or last == NO_NODE:
        return
    g.next[last] = NO_NODE
    g.cpu_free[cpu] = node
    while g.next[node] != NO_NODE:
        node = g.next[node]
    g.next[node] = head


def leave_list(g, slab):
    """Takes a slab off whichever list of partial slabs it is on; it counts as full."""
    if g.place[slab] == SLAB_ON_NODE:
        leave_node(g, slab)
    elif CPU_PARTIAL <= g.place[slab] < CPU_SLAB:
        cpu = g.place[slab] - CPU_PARTIAL
        before = NO_NODE
        entry = g.cpu_partial[cpu]
        while entry != NO_NODE and entry != slab:
            before = entry
            entry = g.link[entry]
        if entry != NO_NODE and before == NO_NODE:
            g.cpu_partial[cpu] = g.link[slab]
        elif entry != NO_NODE:
            g.link[before] = g.link[slab]
    g.place[slab] = SLAB_FULL


def put_free(shape, g, cpu, head, tail, count):
    """do_slab_free(): linked nodes of one slab, head to tail."""
    slab = head // shape.objects
    if g.place[slab] == SLAB_ABSENT:
        g.place[slab] = SLAB_FULL  # the guess had lost it
        g.head[slab] = NO_NODE
        g.free[slab] = 0
        g.bits[slab] = 0
    base = slab * shape.objects
    entry = head
    for k in range(count):
        g.bits[slab] |= bit_of(entry - base)
        entry = g.next[entry]
    if g.cpu_slab[cpu] == slab:
        g.next[tail] = g.cpu_free[cpu]
        g.cpu_free[cpu] = head
        return
    was = g.head[slab]
    g.next[tail] = was
    g.head[slab] = head
    g.free[slab] += count
    if g.place[slab] >= CPU_PARTIAL:
        return
    if g.free[slab] >= shape.objects and g.nr_node >= shape.min_partial:
        if was != NO_NODE or shape.single or not shape.partial_slabs:
            leave_list(g, slab)
            g.place[slab] = SLAB_ABSENT
            return
    if was == NO_NODE:
        if shape.partial_slabs and not shape.single:
            put_cpu_partial(shape, g, cpu, slab)
        else:
            join_node(g, slab, True)


def put_cpu_partial(shape, g, cpu, slab):
    """put_cpu_partial(): a list that is full goes to the node first."""
    count = 0
    entry = g.cpu_partial[cpu]
    while entry != NO_NODE:
        count += 1
        entry = g.link[entry]
    if count >= shape.partial_slabs:
        entry = g.cpu_partial[cpu]
        g.cpu_partial[cpu] = NO_NODE
        while entry != NO_NODE:
            following = g.link[entry]
            if g.free[entry] >= shape.objects and g.nr_node >= shape.min_partial:
                g.place[entry] = SLAB_ABSENT
            else:
                join_node(g, entry, True)
            entry = following
    g.link[slab] = g.cpu_partial[cpu]
    g.cpu_partial[cpu] = slab
    g.place[slab] = CPU_PARTIAL + cpu


def put_bulk(shape, g, cpu, nodes, count):
    """kmem_cache_free_bulk() with build_detached_freelist(), which overwrites the array."""
    while count:
        count -= 1
        node = nodes[count]
        slab = node // shape.objects
        head = node
        tail = node
        found = 1
        lookahead = 3
        same = count
        while count:
            count -= 1
            node = nodes[count]
            if node // shape.objects == slab:
                g.next[tail] = node
                tail = node
                found += 1
                same -= 1
                if count != same:
                    swapped = nodes[same]
                    nodes[same] = node
                    nodes[count] = swapped
                continue
            lookahead -= 1
            if not lookahead:
                break
        put_free(shape, g, cpu, head, tail, found)
        count = same


def before_node(g, head, node):
    """The node before this one on a list: NO_NODE if it is the first, -1 if it is not there."""
    before = NO_NODE
    entry = head
    while entry != NO_NODE and entry != node:
        before = entry
        entry = g.next[entry]
    return before if entry != NO_NODE else -1


def node_is_free(shape, g, node):
    """Whether a node is on a free list, or in a slab that is not there."""
    slab = node // shape.objects
    return g.place[slab] == SLAB_ABSENT or g.bits[slab] >> (node - slab * shape.objects) & 1 != 0


def take_node(shape, g, node):
    """Takes one node off wherever it is free; whether it was."""
    slab = node // shape.objects
    if g.place[slab] == SLAB_ABSENT or not node_is_free(shape, g, node):
        return False
    g.bits[slab] ^= bit_of(node - slab * shape.objects)
    if g.place[slab] >= CPU_SLAB:
        cpu = g.place[slab] - CPU_SLAB
        before = before_node(g, g.cpu_free[cpu], node)
        if before >= 0:
            if before == NO_NODE:
                g.cpu_free[cpu] = g.next[node]
            else:
                g.next[before] = g.next[node]
            return True
    before = before_node(g, g.head[slab], node)
    if before < 0:
        return False
    if before == NO_NODE:
        g.head[slab] = g.next[node]
    else:
        g.next[before] = g.next[node]
    g.free[slab] -= 1
    if g.free[slab] == 0 and g.place[slab] < CPU_SLAB:
        leave_list(g, slab)
    return True


def give_cpu_slab(shape, g, cpu, slab):
    """Makes a slab that is on a list a CPU's; deactivate_slab() of the one it had."""
    if g.place[slab] >= CPU_SLAB or shape.single or g.place[slab] == SLAB_ABSENT:
        return
    leave_list(g, slab)
    old = g.cpu_slab[cpu]
    if old != NO_NODE:
        count = 0
        last = g.cpu_free[cpu]
        while last != NO_NODE:
            count += 1
            if g.next[last] == NO_NODE:
                break
            last = g.next[last]
        if last != NO_NODE:
            g.next[last] = g.head[old]
            g.head[old] = g.cpu_free[cpu]
            g.free[old] += count
        g.place[old] = SLAB_FULL
        if g.free[old]:
            join_node(g, old, False)
    g.cpu_slab[cpu] = slab
    g.place[slab] = CPU_SLAB + cpu
    g.cpu_free[cpu] = g.head[slab]
    g.head[slab] = NO_NODE
    g.free[slab] = 0


def start_slab(shape, g, cpu, slab, start):
    """A new slab, its free list from rank `start` on: the CPU's, or the node's where CPUs have
    none.
    """
    base = slab * shape.objects
    before = NO_NODE
    for rank in range(shape.objects):
        node = base + shape.order[(start + rank) % shape.objects]
        if before == NO_NODE:
            g.head[slab] = node
        else:
            g.next[before] = node
        before = node
    g.next[before] = NO_NODE
    g.free[slab] = shape.objects
    g.bits[slab] = bit_of(shape.objects) - 1
    g.open[slab] = 1
    join_node(g, slab, False)
    if not shape.single:
        give_cpu_slab(shape, g, cpu, slab)


def turned(shape, slab, node, shift):
    """The node that stands `shift` ranks further on; nodes of other slabs stay."""
    base = slab * shape.objects
    if node == NO_NODE or node // shape.objects != slab:
        return node
    rank = shape.rank[node - base] + shift
    return base + shape.order[rank % shape.objects]


def turn_chain(shape, g, slab, head, shift):
    """Writes a free list of one slab again, every node `shift` ranks further on; its first."""
    if head == NO_NODE or head // shape.objects != slab:
        return head
    first = turned(shape, slab, head, shift)
    before = NO_NODE
    entry = head
    # The new links are kept in `given` until the old ones have been read.
    count = 0
    while entry != NO_NODE and count < 48:
        g.given[count] = turned(shape, slab, entry, shift)
        count += 1
        entry = g.next[entry]
    while count:
        count -= 1
        g.next[g.given[count]] = before
        before = g.given[count]
    return first


def turn_slab(shape, g, mine, wanted):
    """A slab's free list began elsewhere in its shuffled order: `wanted` came where `mine` did.

    Whether it could be: where it began is at random, and of a slab made silently not known before.
    """
    if mine == NO_NODE or mine // shape.objects != wanted // shape.objects:
        return False
    slab = wanted // shape.objects
    if not g.open[slab] or shape.objects > 48:
        return False
    g.open[slab] = 0
    base = slab * shape.objects
    shift = shape.rank[wanted - base] + shape.objects - shape.rank[mine - base]
    bits = 0
    for i in range(shape.objects):
        if g.bits[slab] >> i & 1:
            bits |= bit_of(turned(shape, slab, base + i, shift) - base)
    g.bits[slab] = bits
    g.head[slab] = turn_chain(shape, g, slab, g.head[slab], shift)
    if g.place[slab] >= CPU_SLAB:
        cpu = g.place[slab] - CPU_SLAB
        g.cpu_free[cpu] = turn_chain(shape, g, slab, g.cpu_free[cpu], shift)
    for i in range(g.tree_end):
        if g.tree_order[i]:
            g.tree_root[i] = turned(shape, slab, g.tree_root[i], shift)
    for i in range(g.tree_end * GUESS_LEAVES):
        g.leaf[i] = turned(shape, slab, g.leaf[i], shift)
    for i in range(g.round_end * GUESS_SLOTS):
        g.slot[i] = turned(shape, slab, g.slot[i], shift)
    return True

"""Stores that change more than one node of a maple tree, as kernels before 7.1 do them: what is to
be in the new nodes is put together in a maple_big_node first (lib/maple_tree.c).
"""

from dataclasses import dataclass, fields

from mmtwin.kernel.maple_alloc import GFP_NOWAIT, MapleAlloc
from mmtwin.kernel.maple_tree import ULONG_MAX, MapleTree, maple_node

LEAF_SLOTS = 16
ARANGE_SLOTS = 10


@dataclass(frozen=True)
class MapleFeatures:
    """What the maple tree of a kernel does: rows of the feature table."""

    maple_bulk: bool
    maple_slot_store_full: bool
    maple_frees_from_top: bool
    maple_store_type: bool
    maple_converges: bool
    maple_counts_vacant: bool
    maple_copy: bool


def maple_features(machine):
    """The MapleFeatures of an MM."""
    has = machine.view("has")[0]
    return MapleFeatures(*(bool(getattr(has, field.name)) for field in fields(MapleFeatures)))


class maple_big_node:
    """Entries on their way into new nodes: last indices, entries or nodes, largest gaps."""

    def __init__(self, leaf):
        self.leaf = leaf
        self.pivot = []
        self.slot = []
        self.gap = []

    def take(self, node, start=0, end=None):
        """Appends a node's slots `start` to `end`, all without them (mas_mab_cp())."""
        stop = node.end + 1 if end is None else end + 1
        self.pivot += node.pivots[start:stop]
        self.slot += node.slot[start:stop]
        self.gap += node.gaps[start:stop]

    def take_before(self, node):
        """Puts all of a node's slots in front (mab_shift_right())."""
        self.pivot = node.pivots + self.pivot
        self.slot = node.slot + self.slot
        self.gap = node.gaps + self.gap

    def add(self, child):
        """Appends a new node (mab_set_b_end())."""
        self.pivot.append(child.max)
        self.slot.append(child)
        self.gap.append(child.max_gap())


class MapleSplit(MapleTree):
    """A maple tree with nodes of its own. `machine`: the MM they come from."""

    def __init__(self, machine, alloc_range=True, in_rcu=True):
        MapleTree.__init__(self, alloc_range, in_rcu)
        self.alloc = MapleAlloc(machine)
        self.has = maple_features(machine)
        self.index = self.last = 0  # what a store changes
        self.bulk = False  # MA_STATE_BULK: entries come in order, nodes are filled
        self.rebalance = False  # MA_STATE_REBALANCE: the last leaf may have too few entries

    def slots(self, leaf):
        """How many slots a node has (mt_slots)."""
        return ARANGE_SLOTS if self.alloc_range and not leaf else LEAF_SLOTS

    def min_slots(self, leaf):
        """At this number of slots or below, a node has too few (mt_min_slots)."""
        return self.slots(leaf) // 2 - (1 if self.alloc_range and not leaf else 2)

    def new_node(self, big, start, end, minimum):
        """A node with the slots `start` to `end` of a maple_big_node (mab_mas_cp())."""
        node = maple_node(big.leaf, minimum, self.alloc.pop())
        stop = end + 1
        node.fill(big.pivot[start:stop], big.slot[start:stop], big.gap[start:stop])
        return node

    # ---- one node in place of another

    def put(self, node, old):
        """A node takes another's place in the tree (mas_put_in_tree())."""
        node.parent, node.parent_slot = None, 0
        if old is None or old.parent is None:
            self.root = node
            self.height = 1
            while not node.leaf:
                self.height += 1
                node = node.slot[0]
        else:
            old.parent.set_child(old.parent_slot, node)

    def update_gap(self, node):
        """Tells a node's parents of its largest gap (mas_update_gap(), mas_parent_gap())."""
        while self.alloc_range and node.parent is not None:
            if not node.parent.set_gap(node.parent_slot, node.max_gap()):
                return
            node = node.parent

    def free(self, node):
        """A node that is no longer in the tree goes (mas_free())."""
        if self.in_rcu:
            self.alloc.free_rcu(node.address)
        else:
            self.alloc.push(node.address)
        node.slot, node.parent = [], None

    def replace(self, node, old, pushed=False):
        """A node takes another's place, all of whose other children and itself go
        (mas_topiary_replace(); before 6.4 mas_wmb_replace()).

        What lies within the indices that were stored goes in one piece. `pushed`: siblings shared
        it out; before 6.4 the right one of them goes first (mas_push_data()).
        """
        self.put(node, old)
        levels, subtrees = [[old]], []
        while not levels[-1][0].leaf:
            below = []
            for parent in levels[-1]:
                for child in parent.slot:
                    if child.parent is not parent:
                        continue
                    if self.index <= child.min and child.max <= self.last:
                        subtrees.append(child)
                    else:
                        below.append(child)
            if not below:
                break
            levels.append(below)
        if not self.has.maple_frees_from_top:
            levels.reverse()
            if pushed:
                levels = [level[::-1] for level in levels]
        for level in levels:
            for dead in level:
                self.free(dead)
        for dead in subtrees:
            self.destroy_walk(dead, self.in_rcu)
        if not node.leaf:
            self.update_gap(node)

    def destroy_walk(self, node, rcu):
        """A whole subtree goes (mte_destroy_walk())."""
        bulks = []
        self._collect(node, bulks)
        self.alloc.free_subtree(bulks, node.address, rcu)

    def _collect(self, node, bulks):
        # mt_destroy_walk(): the children of each node at once, from the leaves up
        if not node.leaf:
            for child in node.slot:
                self._collect(child, bulks)
            bulks.append([child.address for child in node.slot])
        node.slot, node.parent = [], None

    # ---- where to split

    def no_null_split(self, big, split, slots, end):
        """mab_no_null_split(): a node does not end in a gap. `end`: what b_end is there."""
        if big.slot[split] is not None:
            return split
        if split < slots - 1 and end - split > self.min_slots(big.leaf):
            return split + 1
        return split - 1

    def calc_split(self, big):
        """mab_calc_split(): the last slot of the first node, and of the second or 0."""
        end, slots = len(big.slot) - 1, self.slots(big.leaf)
        split = end // 2
        if self.bulk:
            split = end - self.min_slots(big.leaf)
            if big.leaf:
                self.rebalance = True
                split -= big.slot[split] is None
            return split, 0
        middle = 0
        if end >= 2 * slots or (big.slot[split] is None and end >= 2 * slots - 1):
            split = end // 3
            middle = self.no_null_split(big, 2 * split, slots, end)
        return self.no_null_split(big, split, slots, end), middle

    # ---- one node becomes two (mas_split())

    def split(self, node, big):
        """What is to be in a node's place does not fit: it is shared out, also to the siblings,
        and the parents are written anew as far up as needed.
        """
        self.request_for_store(1 + 2 * self.height)
        pushed = False
        while len(big.slot) > self.slots(big.leaf):
            left, right = self.alloc.pop(), self.alloc.pop()
            parts = self.push(node, big, True) or self.push(node, big, False)
            pushed = parts is not None
            if parts is None:
                split = self.calc_split(big)[0]
                parts = big, split, node, node
            big, split, first, last = parts
            new = [
                self.part(big, 0, split, first.min, left),
                self.part(big, split + 1, len(big.slot) - 1, big.pivot[split] + 1, right),
            ]
            big, node = self.above(first, last, new)
            if pushed:
                break
        self.replace(self.new_node(big, 0, len(big.slot) - 1, node.min), node, pushed)

    def part(self, big, start, end, minimum, address):
        """As new_node(), with a node that was taken before."""
        node = maple_node(big.leaf, minimum, address)
        stop = end + 1
        node.fill(big.pivot[start:stop], big.slot[start:stop], big.gap[start:stop])
        return node

    def above(self, first, last, new):
        """What is to be in the parent of two siblings, or of one, when new nodes come in their
        place: it, and the parent; above the root the root itself (mast_fill_bnode()).
        """
        big = maple_big_node(False)
        parent = first.parent
        if parent is not None:
            big.take(parent, 0, first.parent_slot - 1)
        for child in new:
            big.add(child)
        if parent is not None:
            big.take(parent, last.parent_slot + 1)
        return big, first if parent is None else parent

    def push(self, node, big, left):
        """mas_push_data(): the sibling on one side has room for some of it.

        What both are to hold, the first one's last slot, the first and the last node; or None.
        """
        place = node.parent_slot + (-1 if left else 1)
        if node.parent is None or not 0 <= place <= node.parent.end:
            return None
        sibling = node.parent.slot[place]
        slots = self.slots(big.leaf)
        total = len(big.slot) - 1 + sibling.end
        if total >= 2 * slots - 2 - big.leaf - (node.max == ULONG_MAX):
            return None
        if left:
            big.take_before(sibling)
            split = self.no_null_split(big, slots - 2, slots, total + 1)
            return big, split, sibling, node
        big.take(sibling)
        split = self.no_null_split(big, total - slots + 2, slots, total + 2)
        return big, split, node, sibling

    # ---- nodes that have too little, and stores over several (mas_spanning_rebalance())

    def rebalance_node(self, node, big):
        """A node would have too few entries: shares with the next, else with the one before
        (mas_rebalance()).
        """
        self.request_for_store(1 + 3 * self.height)
        left = right = node
        if node.parent_slot < node.parent.end:
            right = node.parent.slot[node.parent_slot + 1]
            big.take(right)
        else:
            left = node.parent.slot[node.parent_slot - 1]
            big.take_before(left)
        self.spanning_rebalance(left, right, big)

    def spanning_rebalance(self, left, right, big):
        """New nodes for all between two of one level, and upwards.

        Up to the root, or (maple_converges) up to where one node is enough.
        """
        if (left.min or right.max != ULONG_MAX) and len(big.slot) <= self.min_slots(big.leaf):
            left, right = self.borrow(left, right, big)
        while True:
            new = self.share(big, left.min)
            if left.min == 0 and right.max == ULONG_MAX and len(new) == 1:
                self.replace(new[0], self.root)
                return
            big = maple_big_node(False)
            at_top = left.parent is None
            if not at_top:
                big.take(left.parent, 0, left.parent_slot - 1)
            for child in new:
                big.add(child)
            if not at_top:
                big.take(right.parent, right.parent_slot + 1)
                left, right = left.parent, right.parent
            count = len(big.slot)
            if count > self.min_slots(False) and not at_top:
                if not self.has.maple_converges:
                    continue
                if left is right and count <= self.slots(False):
                    break
            elif at_top or left.parent is None:
                break
            else:
                left, right = self.borrow(left, right, big)
        self.replace(self.new_node(big, 0, len(big.slot) - 1, left.min), left)

    def share(self, big, minimum):
        """One to three new nodes (mas_mab_to_node(), mast_cp_to_nodes())."""
        end = len(big.slot) - 1
        first = self.alloc.pop()
        if end < self.slots(big.leaf):
            return [self.part(big, 0, end, minimum, first)]
        split, middle = self.calc_split(big)
        last = self.alloc.pop()
        nodes = [self.part(big, 0, split, minimum, first)]
        if middle:
            between = self.alloc.pop()
            nodes.append(self.part(big, split + 1, middle, big.pivot[split] + 1, between))
            split = middle
        nodes.append(self.part(big, split + 1, end, big.pivot[split] + 1, last))
        return nodes

    def borrow(self, left, right, big):
        """Too few: takes the next node of the level, else the one before, wherever its parent is
        (mast_spanning_rebalance()). Returns the first and the last node.
        """
        up_left, up_right, depth = left, right, 0
        while up_right.parent is not None:
            place, up_right = up_right.parent_slot, up_right.parent
            before, up_left = up_left.parent_slot, up_left.parent
            depth += 1
            if place < up_right.end:
                right = up_right.slot[place + 1]
                for _ in range(depth - 1):
                    right = right.slot[0]
                big.take(right)
                return left, right
            if before:
                left = up_left.slot[before - 1]
                for _ in range(depth - 1):
                    left = left.slot[left.end]
                big.take_before(left)
                return left, right
        return left, right

    def request_for_store(self, count):
        """mas_node_count(): what was not asked for before the store; a bulk uses what it has."""
        if not self.has.maple_store_type and not (self.bulk and self.alloc.total):
            self.alloc.request(count, GFP_NOWAIT)

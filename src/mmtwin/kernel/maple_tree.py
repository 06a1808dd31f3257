"""The maple tree of 6.1 and later: nodes, walks and searches (lib/maple_tree.c).

A B-tree of ranges: entries that touch each other or are gaps (None) cover all indices from 0 to
ULONG_MAX, two gaps never side by side. A leaf (maple_leaf_64) has up to 16 entries, an inner node
of a tree that keeps gaps (maple_arange_64) up to 10 children, else (maple_range_64) 16. Stores:
maple_store.py. Here every pivot is written out, where the kernel leaves the last to the parent.
"""

import cython

if not cython.compiled:
    from mmtwin.kernel.mman import EBUSY

    MAPLE_RANGE64_SLOTS = 16

MAPLE_ARANGE64 = 10
ULONG_MAX = 0xFFFFFFFFFFFFFFFF


class maple_node:
    """A node (struct maple_range_64, struct maple_arange_64).

    `leaf`: its slots hold entries; `min`: its first index; `address`: of its object, 0 for none.
    """

    def __init__(self, leaf, minimum, address=0):
        if not cython.compiled:
            self._pivot = [0] * MAPLE_RANGE64_SLOTS
            self._gap = [0] * MAPLE_RANGE64_SLOTS
        self.leaf = leaf
        self.min = minimum
        self.address = address
        self.slot = []
        self.end = -1
        self.parent = None
        self.parent_slot = 0

    def fill(self, pivots, slots, gaps):
        """Writes the whole node: lists of last indices, entries or children, largest gaps."""
        self.slot = slots
        self.end = len(slots) - 1
        for i, pivot in enumerate(pivots):
            self._pivot[i] = pivot
        if self.leaf:
            return
        for i, gap in enumerate(gaps):
            self._gap[i] = gap
        for i, child in enumerate(slots):  # mas_adopt_children()
            child.parent = self
            child.parent_slot = i

    @property
    def max(self):
        """The node's last index."""
        return self._pivot[self.end]

    @property
    def pivots(self):
        """The last index of each slot."""
        return [self._pivot[i] for i in range(self.end + 1)]

    @property
    def gaps(self):
        """The largest gap below each slot; nothing in a leaf."""
        return [] if self.leaf else [self._gap[i] for i in range(self.end + 1)]

    def set_pivot(self, place, pivot):
        """One slot's last index."""
        self._pivot[place] = pivot

    def set_gap(self, place, gap):
        """The largest gap below one slot; whether it was another."""
        was = self._gap[place]
        self._gap[place] = gap
        return was != gap

    def set_child(self, place, child):
        """Another child in one slot, of the same indices."""
        self.slot[place] = child
        child.parent = self
        child.parent_slot = place

    def start(self, place):
        """The first index of one slot (mas_safe_min())."""
        return self._pivot[place - 1] + 1 if place else self.min

    def find(self, index):
        """The slot that has an index (mas_wr_node_walk())."""
        i = 0
        while self._pivot[i] < index:
            i += 1
        return i

    def max_gap(self):
        """The largest gap in the node (mas_max_gap(), mas_leaf_max_gap())."""
        largest = 0
        start = self.min
        for i in range(self.end + 1):
            if not self.leaf:
                gap = self._gap[i]
            elif self.slot[i] is None:
                gap = self._pivot[i] - start + 1
            else:
                gap = 0
            if gap > largest:
                largest = gap
            start = self._pivot[i] + 1
        return largest


class MapleTree:
    """struct maple_tree, to be read. `alloc_range`: it keeps gaps; `in_rcu`: readers walk it."""

    def __init__(self, alloc_range=True, in_rcu=True):
        self.root = None
        self.height = 0
        self.alloc_range = alloc_range
        self.in_rcu = in_rcu
        self.visits = 0

    def _leaf_of(self, index):
        node = self.root
        if node is None:
            return None
        self.visits += 1
        while not node.leaf:
            self.visits += 1
            i = 0
            while node._pivot[i] < index:
                i += 1
            node = node.slot[i]
        return node

    def leaf_of(self, index):
        """The leaf with an index, None in an empty tree (mtree_range_walk())."""
        return self._leaf_of(index)

    def entries(self):
        """(first index, last index, entry) of everything, gaps too (None)."""
        index = 0
        while self.root is not None and index <= ULONG_MAX:
            node = self._leaf_of(index)
            for place, entry in enumerate(node.slot):
                yield node.start(place), node._pivot[place], entry
            index = node.max + 1

    def _find(self, index):
        node = self._leaf_of(index)
        if node is None:
            return None
        i = node.find(index)
        # Behind a gap comes an entry, in the same leaf: only the tree's last leaf ends in a gap.
        if node.slot[i] is None and i < node.end:
            return node.slot[i + 1]
        return node.slot[i]

    def find(self, index):
        """The entry at an index, or else the first behind it, or None (mas_find())."""
        return self._find(index)

    def load(self, index):
        """The entry at an index, or None (mtree_load())."""
        node = self._leaf_of(index)
        return None if node is None else node.slot[node.find(index)]

    def find_before(self, index):
        """The entry at an index, or else the last before it, or None (mas_prev())."""
        node = self._leaf_of(index)
        if node is None:
            return None
        i = node.find(index)
        if node.slot[i] is not None or (i == 0 and node.min == 0):
            return node.slot[i]
        if i == 0:
            node = self._leaf_of(node.min - 1)
            return node.slot[node.end]
        return node.slot[i - 1]

    def mas_empty_area(self, low, high, size):
        """The lowest index of a gap of `size` within `low` .. `high` (inclusive), or -EBUSY.

        mas_empty_area(), mas_anode_descend(): left to right, below slots with a gap that large.
        """
        node = self.root
        if high < low or high - low < size - 1:
            return -EBUSY
        if node is None:
            return low  # mas_sparse_area()
        offset = 0
        while True:
            self.visits += 1
            down = False
            for i in range(offset, node.end + 1):
                last = node._pivot[i]
                if low <= last:
                    start = node._pivot[i - 1] + 1 if i else node.min
                    if not node.leaf:
                        gap = node._gap[i]
                    elif node.slot[i] is None:
                        gap = (last if last < high else high) - (low if low > start else start) + 1
                    else:
                        gap = 0
                    if gap >= size:
                        if node.leaf:
                            return low if low > start else start
                        node = node.slot[i]
                        down = True
                        break
                if high <= last:
                    return -EBUSY
            if down:
                offset = 0
                continue
            while node.parent is not None and node.parent_slot >= node.parent.end:
                node = node.parent
            if node.parent is None:
                return -EBUSY
            offset = node.parent_slot + 1  # mas_skip_node()
            node = node.parent

    def mas_empty_area_rev(self, low, high, size):
        """The highest index of a gap of `size` within `low` .. `high` (inclusive), or -EBUSY.

        mas_empty_area_rev(), mas_rev_awalk(): right to left.
        """
        node = self.root
        if high < low or high - low < size - 1:
            return -EBUSY
        if node is None:
            return high - size + 1
        i = node.end
        while True:
            self.visits += 1
            while i and high <= node._pivot[i - 1]:
                i -= 1
            down = False
            while i >= 0:
                last = node._pivot[i]
                if low > last or size - 1 > last - low:
                    return -EBUSY
                start = node._pivot[i - 1] + 1 if i else node.min
                gap = 0
                if not node.leaf:
                    gap = node._gap[i]
                elif node.slot[i] is None:
                    gap = last - start + 1
                if size <= gap and size <= high - start + 1:
                    if node.leaf:
                        return (last if last < high else high) - size + 1
                    node = node.slot[i]
                    i = node.end
                    down = True
                    break
                i -= 1
            if down:
                continue
            while node.parent is not None and node.parent_slot == 0:
                node = node.parent
            if node.parent is None:
                return -EBUSY
            i = node.parent_slot - 1  # mas_rewind_node()
            node = node.parent

"""Stores into a maple tree: which kind one is, how many nodes it asks for, and those that change
one node (mas_wr_store_type(), mas_prealloc_calc(), mas_wr_store_entry() of lib/maple_tree.c).
"""

from mmtwin.kernel.maple_alloc import GFP_NOWAIT
from mmtwin.kernel.maple_copy import REBALANCE, SPANNING, SPLIT, MapleCopy
from mmtwin.kernel.maple_split import LEAF_SLOTS, maple_big_node
from mmtwin.kernel.maple_tree import ULONG_MAX, maple_node
from mmtwin.kernel.thread_stack import GFP_KERNEL

# enum store_type
WR_NEW_ROOT, WR_STORE_ROOT, WR_EXACT_FIT, WR_APPEND, WR_SLOT_STORE = range(5)
WR_NODE_STORE, WR_SPLIT_STORE, WR_REBALANCE, WR_SPANNING_STORE = range(5, 9)
IN_PLACE = (WR_EXACT_FIT, WR_APPEND, WR_SLOT_STORE)
ENOMEM = 12


class MapleStore(MapleCopy):
    """A maple tree to be written."""

    def store(self, index, last, entry):
        """Stores an entry (None: a gap) for all indices from one to another: mas_store_prealloc().

        What mas_preallocate() did not ask for is asked for here; what is left goes back.
        """
        self.mas_store(index, last, entry)
        self.mas_destroy()

    def store_gfp(self, index, last, entry):
        """As store(), asking for the nodes first: mas_store_gfp(). Returns 0 or -ENOMEM.

        Without waiting (mas_wr_preallocate(), mas_node_count()); only where that fails does it
        wait (mas_nomem()).
        """
        if self.has.maple_store_type:
            count = self.nodes_for(self.store_type(index, last, entry))
            if not self.alloc.request(count, GFP_NOWAIT) and self.preallocate(index, last, entry):
                return -ENOMEM
        self.store(index, last, entry)
        return 0

    def mas_store(self, index, last, entry):
        """mas_store() of many entries in a row: what is left in hand stays."""
        kind = self.store_type(index, last, entry)
        if self.has.maple_store_type:
            self.alloc.request(self.nodes_for(kind), GFP_NOWAIT)
        if kind in IN_PLACE:
            self.write_in_place(kind)
        elif kind == WR_NODE_STORE:
            self.node_store()
        elif kind == WR_SPANNING_STORE:
            self.spanning_store()
        elif kind in (WR_SPLIT_STORE, WR_REBALANCE):
            self.many_nodes(kind)
        else:
            self.new_root()

    def preallocate(self, index, last, entry):
        """mas_preallocate(): asks for the nodes of a store. Returns 0 or -ENOMEM.

        Before 6.6 (17983dc61783) for the worst case, until 6.12 by the new size of a node, then
        by the kind of store; since 6.16 full nodes are counted.
        """
        count = 1 + 3 * self.height
        if not self.has.maple_bulk:
            kind = self.store_type(index, last, entry, self.has.maple_store_type)
            count = self.nodes_for(kind)
            if not self.has.maple_store_type and kind == WR_NODE_STORE:
                count = self.nodes_by_size()
        if not self.alloc.request(count, GFP_KERNEL):
            self.mas_destroy()
            return -ENOMEM
        return 0

    def expect(self, entries):
        """mas_expected_entries(): so many entries will be stored in order; no reader walks."""
        self.bulk = True
        count = -(-(2 * entries + 1) // (LEAF_SLOTS - 2))
        count += -(-count // (self.slots(False) - 2))
        return self.alloc.request(count + 3, GFP_KERNEL)

    def duplicate(self, old):
        """__mt_dup(): nodes as another tree's, the same entries; children asked for at once."""
        if old.root is not None:
            self.put(self._copy_node(old.root, self.alloc.alloc_one(GFP_KERNEL)), None)

    def _copy_node(self, old, address):
        # mas_dup_build(), mas_dup_alloc()
        node = maple_node(old.leaf, old.min, address)
        slots = list(old.slot)
        if not old.leaf:
            addresses = self.alloc.alloc_bulk(GFP_KERNEL, len(slots)) or [0] * len(slots)
            slots = [self._copy_node(*child) for child in zip(slots, addresses, strict=True)]
        node.fill(old.pivots, slots, old.gaps)
        return node

    def mas_destroy(self):
        """What is left in hand goes back; the last leaf of a bulk is filled up."""
        if self.rebalance:
            leaf = self.leaf_of(self.index)
            if leaf.end + 1 < self.min_slots(True) - 1:
                self.destroy_rebalance(leaf)
        self.rebalance = self.bulk = False
        self.alloc.destroy()

    def destroy(self):
        """__mt_destroy(): no reader walks, all nodes go now."""
        if self.root is not None:
            self.destroy_walk(self.root, False)
        self.root = None
        self.height = 0

    # ---- which kind of store

    def store_type(self, index, last, entry, extend=True):
        """mas_wr_store_type(), mas_wr_walk(): finds the place, and what kind of store it is.

        `extend`: a gap takes those beside it in, which mas_preallocate() from 6.6 to 6.11 forgets.
        """
        self.index, self.last, self.entry = index, last, entry
        self.vacant = self.sufficient = depth = 0
        node = self.root
        if node is None:
            return WR_STORE_ROOT
        while True:
            self.visits += 1
            offset = node.find(index)
            last_of_slot = node.pivots[offset]
            if self.spans(node, last_of_slot):
                return WR_SPANNING_STORE
            if node.leaf:
                break
            depth += 1
            if node.end < self.slots(False) - 1:
                self.vacant = depth
            if node.parent is None:
                if node.end > 2:
                    self.sufficient = 1
            elif node.end > self.min_slots(False) + 1:
                self.sufficient = depth
            node = node.slot[offset]
        self.node, self.offset, self.r_min, self.r_max = (
            node, offset, node.start(offset), last_of_slot,
        )
        pivots = node.pivots
        while self.last > pivots[offset]:
            offset += 1
        self.offset_end, self.end_piv = offset, pivots[offset]
        if entry is None and extend:
            self.extend_null(pivots)
        return self.leaf_store_type()

    def spans(self, node, last_of_slot):
        """mas_is_span_wr(): the store goes beyond the slot of an inner node, or beyond a leaf; or
        a leaf would end in a gap.
        """
        end = node.max if node.leaf else last_of_slot
        if self.last != end:
            return self.last > end
        return self.entry is None and self.last != ULONG_MAX

    def extend_null(self, pivots):
        """mas_wr_extend_null(): a gap takes the gaps on both sides in."""
        node = self.node
        if node.slot[self.offset_end] is None:
            self.last = self.end_piv
        elif self.last == self.end_piv and self.offset_end < node.end:
            if node.slot[self.offset_end + 1] is None:
                self.offset_end += 1
                self.last = self.end_piv = pivots[self.offset_end]
        if node.slot[self.offset] is None:
            self.index = self.r_min
        elif self.index == self.r_min and self.offset and node.slot[self.offset - 1] is None:
            self.offset -= 1
            self.r_min = self.index = node.start(self.offset)
            self.r_max = pivots[self.offset]

    def new_end(self):
        """mas_wr_new_end(): the number of the leaf's last slot after the store."""
        return (self.node.end + 2 - (self.offset_end - self.offset)
                - (self.r_min == self.index) - (self.end_piv == self.last))

    def leaf_store_type(self):
        """The kinds within one leaf."""
        node, rcu = self.node, self.in_rcu
        if self.r_min == self.index and self.r_max == self.last:
            return WR_EXACT_FIT
        if not self.index and self.last == ULONG_MAX:
            return WR_NEW_ROOT
        new_end, one = self.new_end(), self.offset_end - self.offset == 1
        if new_end < self.min_slots(True):
            if node.parent is not None and not self.bulk:
                return WR_REBALANCE
            if self.has.maple_store_type and (rcu or not self.has.maple_copy):
                return WR_NODE_STORE  # a small root
        if new_end >= LEAF_SLOTS:
            return WR_SPLIT_STORE
        if not rcu and self.offset == node.end:
            return WR_APPEND
        if new_end == node.end and (one or not rcu):
            # before 6.6 a leaf that is nearly full is written anew (mas_wr_modify())
            size = node.end - self.offset_end + self.offset + 2 + (node.max == ULONG_MAX)
            if size < LEAF_SLOTS or self.has.maple_slot_store_full:
                return WR_SLOT_STORE
        return WR_NODE_STORE

    def nodes_for(self, kind):
        """mas_prealloc_calc(): how many nodes a store may need."""
        height = self.height
        if kind in (WR_NEW_ROOT, WR_STORE_ROOT):
            return 1
        if kind in IN_PLACE:
            return 0
        if kind == WR_NODE_STORE:
            return 1 if self.in_rcu else 0
        if not self.has.maple_counts_vacant:
            return {WR_SPLIT_STORE: 2 * height + 1, WR_REBALANCE: 2 * height - 1,
                    WR_SPANNING_STORE: 3 * height + 1}[kind]
        up = self.vacant
        if kind != WR_SPLIT_STORE and self.sufficient < self.vacant:
            up = self.sufficient
        return (3 if kind == WR_SPANNING_STORE else 2) * (height - up) + 1

    def nodes_by_size(self):
        """From 6.6 to 6.11: a leaf that loses an entry may be rebalanced."""
        few = self.new_end() - 1 <= self.min_slots(True) and self.node.parent is not None
        return 2 * self.height - 1 if few else 1

    # ---- the stores

    def new_entries(self):
        """What is in the leaf after the store."""
        node, big = self.node, maple_big_node(True)
        big.take(node, 0, self.offset - 1)
        if self.r_min < self.index:
            big.pivot.append(self.index - 1)
            big.slot.append(node.slot[self.offset])
        big.pivot.append(self.last)
        big.slot.append(self.entry)
        big.take(node, self.offset_end + (self.end_piv == self.last))
        return big

    def write_in_place(self, kind):
        """No new node: mas_wr_append(), mas_wr_slot_store(), or one entry for another."""
        node = self.node
        if kind == WR_EXACT_FIT:
            node.slot[self.offset] = self.entry
        else:
            big = self.new_entries()
            node.fill(big.pivot, big.slot, [])
        self.update_gap(node)

    def node_store(self):
        """The leaf is written anew (mas_wr_node_store())."""
        big, node = self.new_entries(), self.node
        if not self.in_rcu:
            node.fill(big.pivot, big.slot, [])
            self.update_gap(node)
            return
        self.request_for_store(1)
        new = self.new_node(big, 0, len(big.slot) - 1, node.min)
        self.put(new, node)
        self.free(node)
        self.update_gap(new)

    def many_nodes(self, kind):
        """The leaf overflows or has too little left."""
        big = self.new_entries()
        if self.has.maple_copy:
            how = SPLIT if kind == WR_SPLIT_STORE else REBALANCE
            self.copy(self.node, self.node, big, how)
        elif kind == WR_SPLIT_STORE:
            self.split(self.node, big)
        else:
            self.rebalance_node(self.node, big)

    def new_root(self):
        """The first entry of a tree (mas_root_expand()), or one for all of it (mas_new_root())."""
        old = self.root
        if old is None and self.entry is None:
            return
        if old is not None and self.entry is None:
            self.root, self.height = None, 0
        else:
            self.request_for_store(1)
            bounds = [(self.index - 1, None)] if self.index else []
            bounds.append((self.last, self.entry))
            if self.last != ULONG_MAX:
                bounds.append((ULONG_MAX, None))
            node = maple_node(True, 0, self.alloc.pop())
            node.fill([bound for bound, _ in bounds], [entry for _, entry in bounds], [])
            self.put(node, None)
        if old is not None:
            self.destroy_walk(old, self.in_rcu)

    def spanning_store(self):
        """mas_wr_spanning_store(): from within one leaf into another."""
        self.request_for_store(1 + 3 * self.height)
        right = self.leaf_of(min(self.last + 1, ULONG_MAX))
        left = self.leaf_of(self.index)
        place, offset = right.find(min(self.last + 1, ULONG_MAX)), left.find(self.index)
        big = maple_big_node(True)
        if self.entry is None:  # mas_extend_spanning_null()
            if left.slot[offset] is None:
                self.index = left.start(offset)
            elif self.index == left.start(offset) and offset and left.slot[offset - 1] is None:
                offset -= 1
                self.index = left.start(offset)
            if right.slot[place] is None:
                self.last = max(self.last, right.pivots[place])
                place += 1
        if not self.index and self.last == ULONG_MAX:
            self.new_root()
            return
        big.take(left, 0, offset - 1)
        if left.start(offset) < self.index:
            big.pivot.append(self.index - 1)
            big.slot.append(left.slot[offset])
        big.pivot.append(self.last)
        big.slot.append(self.entry)
        if self.last < right.max:
            big.take(right, place)
        if self.has.maple_copy:
            self.copy(left, right, big, SPANNING)
        else:
            self.spanning_rebalance(left, right, big)

    def destroy_rebalance(self, leaf):
        """The last leaf of a bulk gets half of the one before it (mas_destroy_rebalance())."""
        parent, place = leaf.parent, leaf.parent_slot
        left = parent.slot[place - 1]
        split = LEAF_SLOTS // 2
        split += left.slot[split] is None
        stop, pivots, slots = split + 1, left.pivots, left.slot
        leaf.fill(pivots[stop:] + leaf.pivots, slots[stop:] + leaf.slot, [])
        leaf.min = pivots[split] + 1
        left.fill(pivots[:stop], slots[:stop], [])
        parent.set_pivot(place - 1, pivots[split])
        for node in (leaf, left):
            self.update_gap(node)

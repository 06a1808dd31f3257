"""Stores that change more than one node of a maple tree, as the newest kernels do them: entries go
from the old nodes to new ones level by level (struct maple_copy, lib/maple_tree.c).
"""

from mmtwin.kernel.maple_split import MapleSplit, maple_big_node
from mmtwin.kernel.maple_tree import ULONG_MAX

SPLIT, REBALANCE, SPANNING = range(3)


class MapleCopy(MapleSplit):
    """The same stores as MapleSplit's; the shapes differ."""

    def copy(self, left, right, big, how):
        """mas_wr_split(), mas_wr_rebalance(), mas_wr_spanning_store(): new nodes for those from
        `left` to `right`, then in the level above, until one node takes one's place.
        """
        while True:
            first, last = left, right
            sibling = self.sibling(left, right, big, how)
            if sibling is not None:
                if sibling.max < left.min:
                    first = sibling
                    big.take_before(sibling)
                else:
                    last = sibling
                    big.take(sibling)
            new = self.distribute(big, first.min)
            if first.min == 0 and last.max == ULONG_MAX:  # cp_is_new_root()
                if len(new) > 1:
                    big = maple_big_node(False)
                    for child in new:
                        big.add(child)
                    new = [self.new_node(big, 0, len(new) - 1, 0)]
                self.replace(new[0], self.root)
                return
            if len(new) == 1 and first is last and sibling is None:
                self.replace(new[0], first)
                return
            big = maple_big_node(False)
            big.take(first.parent, 0, first.parent_slot - 1)
            for child in new:
                big.add(child)
            big.take(last.parent, last.parent_slot + 1)
            left, right = first.parent, last.parent

    def sibling(self, left, right, big, how):
        """A node that gives or takes entries, or None (rebalance_data(), split_data(),
        spanning_data()).
        """
        count, slots = len(big.slot), self.slots(big.leaf)
        whole = left.min == 0 and right.max == ULONG_MAX
        if count > slots and how != SPANNING:
            return self.push_sibling(left, count, 2 * slots)
        if count > self.min_slots(big.leaf) or whole or how == SPLIT:
            return None
        if how == SPANNING:
            return self.spanning_sibling(left, right)
        parent, place = left.parent, left.parent_slot
        return parent.slot[place + 1 if place < parent.end else place - 1]

    def push_sibling(self, node, count, space):
        """push_data_sib(): the sibling before, else behind, with room for some of it."""
        if node.parent is None:
            return None
        for place in (node.parent_slot - 1, node.parent_slot + 1):
            if 0 <= place <= node.parent.end:
                sibling = node.parent.slot[place]
                if sibling.end + 1 + count < space:
                    return sibling
        return None

    def spanning_sibling(self, left, right):
        """spanning_sib(): the next node of the level, else the one before."""
        big = maple_big_node(left.leaf)
        first, last = self.borrow(left, right, big)
        return last if last is not right else first if first is not left else None

    def distribute(self, big, minimum):
        """One to three new nodes, none but the tree's last ends in a gap (dst_setup(),
        cp_data_write()).
        """
        count, slots = len(big.slot), self.slots(big.leaf)
        split, nodes = count - 1, 1
        if count > slots:
            split, nodes = (count - 1) // 2, 2
            if count > 2 * slots or (count == 2 * slots and big.leaf):
                split, nodes = self.split_full(big, split)
        addresses = [self.alloc.pop() for _ in range(nodes)]
        new, start, size = [], 0, split
        for i, address in enumerate(addresses):
            if i == nodes - 1:
                end = count - 1
            else:
                end, size = start + size, split
                if big.pivot[end] != ULONG_MAX and big.slot[end] is None:
                    end, size = end - 1, split + 1
            new.append(self.part(big, start, end, minimum, address))
            if i < nodes - 1:
                start, minimum = end + 1, big.pivot[end] + 1
        return new

    def split_full(self, big, split):
        """dst_setup(): two nodes would be full, where one must not end in a gap; or three."""
        count, slots = len(big.slot), self.slots(big.leaf)
        if count == 2 * slots:
            if big.slot[split] is not None:
                return split, 2
            split += 1
            if split < slots:
                return split, 2
            split -= 2
            if count - 2 - split < slots:
                return split, 2
        return (count + 2) // 3, 3

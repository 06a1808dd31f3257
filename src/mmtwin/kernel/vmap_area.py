"""Ranges of vmalloc space: sorted trees of them, and the search for a free one (mm/vmalloc.c).

`FreeAreas` is the kernel's free_vmap_area_root with its list: a red-black tree in which every node
knows the largest free range below it. A request gets the first range that the walk through the
tree meets, which with alignments above a page need not be the lowest that fits.
"""

from mmtwin.kernel.align import align_up
from mmtwin.kernel.rbtree import RbTree

MASK64 = (1 << 64) - 1


class VmapArea:
    """struct vmap_area: a range of addresses, `end` behind its last byte.

    `vm`: the VmStruct of a busy area, None for others; `node`: the number of the vmap node that
    asked for it, -1 for none; `ram`: made by vm_map_ram() (VMAP_RAM); `object`: the address of the
    kernel's structure, 0 where it is not modelled.
    """

    __slots__ = (
        "end", "largest", "left", "next", "node", "object", "parent",
        "prev", "ram", "red", "right", "start", "vm",
    )  # fmt: skip

    def __init__(self, start, end, object=0):
        self.start = start
        self.end = end
        self.vm = None
        self.node = -1
        self.ram = False
        self.object = object
        self.left = self.right = self.parent = None
        self.red = False
        self.largest = end - start
        self.prev = self.next = None

    @property
    def size(self):
        """va_size(): bytes."""
        return self.end - self.start

    def __repr__(self):
        return f"<VmapArea {self.start:#x}-{self.end:#x}>"


def largest_below(area):
    """compute_subtree_max_size()."""
    largest = area.end - area.start
    if area.left is not None and area.left.largest > largest:
        largest = area.left.largest
    if area.right is not None and area.right.largest > largest:
        largest = area.right.largest
    area.largest = largest


class Areas:
    """Areas by address, in a tree and in a list (struct rb_list)."""

    augment = None

    def __init__(self):
        self.tree = RbTree(self.augment)
        self.head = None
        self.last = None
        self.count = 0

    def __iter__(self):
        area = self.head
        while area is not None:
            following = area.next
            yield area
            area = following

    def __len__(self):
        return self.count

    def links(self, area):
        """find_va_links(): the area below which another one goes, and whether on its left.

        Raises ValueError where the two overlap ("vmalloc bug").
        """
        parent, left, node = None, False, self.tree.root
        while node is not None:
            parent = node
            if area.end <= node.start:
                left, node = True, node.left
            elif area.start >= node.end:
                left, node = False, node.right
            else:
                raise ValueError(f"vmalloc bug: {area} overlaps with {node}")
        return parent, left

    def insert(self, area):
        """Adds an area (insert_vmap_area())."""
        self.link(area, *self.links(area))

    def link(self, area, parent, left):
        """link_va(): tree and list."""
        if parent is None:
            before, after = None, None
        elif left:
            before, after = parent.prev, parent
        else:
            before, after = parent, parent.next
        area.prev, area.next = before, after
        if before is None:
            self.head = area
        else:
            before.next = area
        if after is None:
            self.last = area
        else:
            after.prev = area
        self.tree.link(area, parent, left)
        self.count += 1

    def remove(self, area):
        """Takes an area out (unlink_va())."""
        if area.prev is None:
            self.head = area.next
        else:
            area.prev.next = area.next
        if area.next is None:
            self.last = area.prev
        else:
            area.next.prev = area.prev
        area.prev = area.next = None
        self.tree.erase(area)
        self.count -= 1

    def find(self, address):
        """The area that an address lies in (__find_vmap_area()), None if there is none."""
        node = self.tree.root
        while node is not None:
            if address < node.start:
                node = node.left
            elif address >= node.end:
                node = node.right
            else:
                return node
        return None

    def merge_or_add(self, area, free):
        """Adds an area, joined with its neighbours where they touch; `free(area)` is told which
        structures are not needed any more. The area that the range is in now.

        merge_or_add_vmap_area(): with both neighbours the lower one remains.
        """
        parent, left = self.links(area)
        if parent is None:
            before, after = None, None
        elif left:
            before, after = parent.prev, parent
        else:
            before, after = parent, parent.next
        merged = False
        if after is not None and after.start == area.end:
            after.start = area.start
            free(area)
            area, merged = after, True
        if before is not None and before.end == area.start:
            if merged:
                self.remove(area)
            before.end = area.end
            free(area)
            area, merged = before, True
        if merged:
            self.changed(area)
        else:
            self.link(area, parent, left)
        return area

    def changed(self, area):
        """An area's size changed: augment_tree_propagate_from()."""
        self.tree.propagate(area)


class FreeAreas(Areas):
    """Free ranges: every node knows the largest one in its subtree."""

    augment = staticmethod(largest_below)

    def find_lowest_match(self, size, align, start, length):
        """The range that a request is served from, None if there is none: the first from `start`
        on that the walk meets.

        `size`, `align` in bytes; subtrees without a range of `length` bytes are not entered.
        find_vmap_lowest_match().
        """
        node = self.tree.root
        while node is not None:
            if node.left is not None and node.left.largest >= length and start < node.start:
                node = node.left
                continue
            if is_within(node, size, align, start):
                return node
            if node.right is not None and node.right.largest >= length:
                node = node.right
                continue
            # back up to the first right subtree that may have one
            while True:
                node = node.parent
                if node is None or is_within(node, size, align, start):
                    return node
                right = node.right
                if right is not None and right.largest >= length and start <= node.start:
                    start = node.start + 1
                    node = right
                    break
        return None

    def clip(self, area, start, size, new_area, free):
        """Takes `size` bytes from `start` on out of a free range.

        What is left below and above stays free: `new_area(start, end)` makes the structure of the
        lower part where both are, `free(area)` gives one back where nothing is left. False if
        there is no structure. va_clip(), adjust_va_to_fit_type().
        """
        if area.start == start:
            if area.end == start + size:
                self.remove(area)
                free(area)
                return True
            area.start += size
            self.changed(area)
        elif area.end == start + size:
            area.end = start
            self.changed(area)
        else:
            lower = new_area(area.start, start)
            if lower is None:
                return False
            area.start = start + size
            self.changed(area)
            self.insert(lower)
        return True


def is_within(area, size, align, start):
    """is_within_this_va(): a request from `start` on fits into a free range."""
    first = align_up(max(area.start, start), align)
    return first + size <= min(area.end, MASK64)

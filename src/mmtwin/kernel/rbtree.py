"""Red-black trees that grow and shrink as the kernel's (lib/rbtree.c).

What a search meets first may depend on the tree's shape (find_vmap_lowest_match()), so the shape
is the kernel's after every insertion and removal: the colour of a link, which node takes a removed
one's place, which way it rotates.

A node is any object with `left`, `right`, `parent` (None for none) and `red`.
"""


class RbTree:
    """A tree of nodes; `augment(node)` works out what a node keeps about its subtree, None where
    it keeps nothing (struct rb_augment_callbacks).
    """

    def __init__(self, augment=None):
        self.root = None
        self.augment = augment

    def first(self):
        """The leftmost node (rb_first()), None in an empty tree."""
        node = self.root
        while node is not None and node.left is not None:
            node = node.left
        return node

    def link(self, node, parent, left):
        """Hangs a new node below `parent`, on its left or right (None: it is the root), and
        balances: rb_link_node(), rb_insert_augmented().
        """
        node.left = node.right = None
        node.parent = parent
        node.red = True
        if parent is None:
            self.root = node
        elif left:
            parent.left = node
        else:
            parent.right = node
        self.propagate(node)
        self._insert_color(node)

    def erase(self, node):
        """Takes a node out and balances (rb_erase_augmented())."""
        if node.left is None or node.right is None:
            self._erase_with_one_child(node)
            return
        after = node.right  # its successor takes its place
        while after.left is not None:
            after = after.left
        child, black = after.right, not after.red
        hole = after.parent
        if hole is node:
            hole = after
        else:
            hole.left = child
            if child is not None:
                child.parent = hole
            after.right = node.right
            after.right.parent = after
        after.left = node.left
        after.left.parent = after
        after.red = node.red
        self._replace(node, after)
        self.propagate(hole)
        if black:
            self._erase_color(child, hole)

    def _erase_with_one_child(self, node):
        child = node.left if node.right is None else node.right
        parent, black = node.parent, not node.red
        self._replace(node, child)
        self.propagate(parent)
        if black:
            self._erase_color(child, parent)

    def propagate(self, node):
        """Works out what the nodes above keep: all the way up, where the kernel stops early."""
        while node is not None and self.augment is not None:
            self.augment(node)
            node = node.parent



    def _replace(self, old, new):
        parent = old.parent
        if parent is None:
            self.root = new
        elif parent.left is old:
            parent.left = new
        else:
            parent.right = new
        if new is not None:
            new.parent = parent

    def _rotate(self, node, left):
        """The child on the other side comes up in the node's place, the node goes down."""
        up = node.right if left else node.left
        inner = up.left if left else up.right
        self._replace(node, up)
        if left:
            node.right, up.left = inner, node
        else:
            node.left, up.right = inner, node
        if inner is not None:
            inner.parent = node
        node.parent = up
        if self.augment is not None:
            self.augment(node)
            self.augment(up)

    def _insert_color(self, node):
        # __rb_insert()
        while True:
            parent = node.parent
            if parent is None:
                node.red = False
                return
            if not parent.red:
                return
            grandparent = parent.parent
            left = parent is grandparent.left
            uncle = grandparent.right if left else grandparent.left
            if uncle is not None and uncle.red:
                parent.red = uncle.red = False
                grandparent.red = True
                node = grandparent
                continue
            if node is (parent.right if left else parent.left):
                self._rotate(parent, left)
                parent = node
            parent.red = False
            grandparent.red = True
            self._rotate(grandparent, not left)
            return

    def _erase_color(self, node, parent):
        # ____rb_erase_color(): the paths through `node` (None for a leaf) lack one black node
        while node is not self.root and (node is None or not node.red):
            left = node is parent.left
            sibling = parent.right if left else parent.left
            if sibling.red:
                sibling.red = False
                parent.red = True
                self._rotate(parent, left)
                sibling = parent.right if left else parent.left
            outer, inner = sibling.right, sibling.left
            if not left:
                outer, inner = inner, outer
            if (outer is None or not outer.red) and (inner is None or not inner.red):
                sibling.red = True
                node, parent = parent, parent.parent
                continue
            if outer is None or not outer.red:
                inner.red = False
                sibling.red = True
                self._rotate(sibling, not left)
                sibling = parent.right if left else parent.left
                outer = sibling.right if left else sibling.left
            sibling.red = parent.red
            parent.red = False
            outer.red = False
            self._rotate(parent, left)
            return
        if node is not None:
            node.red = False

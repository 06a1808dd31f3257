"""Which nodes are in which maple tree, as far as the requests for nodes tell (6.18 and later).

Since 6.18 every node that a tree gets has an event (kmem_cache_alloc_from_sheaf()) and a store
asks for as many as it needs (lib/maple_tree.c, mas_prealloc_calc()): one replaces a leaf, three
are two halves of a leaf and the node above them, five those of a leaf and of the node above it
and what is above these. What they replace is freed after a grace period, the upper nodes first
(mas_topiary_replace()).

Which leaf of several is replaced no event tells.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs

TEXT = files(__package__).joinpath("maple_shapes.pxd").read_text()
STRUCTS = parse_structs(TEXT)
CONSTANTS = parse_constants(TEXT)

if not cython.compiled:
    from mmtwin.kernel.casts import as_u64

    globals().update(CONSTANTS)

    def as_trees(address, count):
        """The records at an address."""
        return (STRUCTS["tree_t"] * count).from_address(address)

    def tree_at(trees, place):
        """One record of an array."""
        return trees[place]


class Shapes:
    """The trees that are known."""

    def __init__(self):
        trees = np.zeros(CONSTANTS["TREES"], dtype=np.dtype(STRUCTS["tree_t"]))
        gone = np.zeros(CONSTANTS["GONE"], dtype=np.uint64)
        self.buffers = {"trees": trees, "gone": gone}
        self.trees = as_trees(trees.ctypes.data, len(trees))
        self.gone = as_u64(gone.ctypes.data, len(gone))
        self.newest = 0
        self.nr_gone = 0

    def new_tree(self, kind, pid, root):
        """A tree that has a root only. Its place."""
        best = 0
        for place in range(TREES):
            tree = tree_at(self.trees, place)
            if tree.kind == KIND_NONE:
                best = place
                break
            if tree.order < tree_at(self.trees, best).order:
                best = place
        tree = tree_at(self.trees, best)
        self.newest += 1
        tree.order = self.newest
        tree.kind = kind
        tree.pid = pid
        tree.root = root
        tree.nr_leaves = 0
        tree.nr_inner = 0
        tree.place = -1
        tree.pushes = 0
        tree.erased = 0
        return best

    def tree_of(self, pid, kind):
        """A task's newest tree of a kind, -1 if none is known."""
        best = -1
        for place in range(TREES):
            tree = tree_at(self.trees, place)
            if tree.kind == kind and tree.pid == pid:
                if best < 0 or tree.order > tree_at(self.trees, best).order:
                    best = place
        return best

    def adopt_tree(self, pid):
        """The oldest tree of a child that is not known yet is this task's; -1 if there is none."""
        best = -1
        for place in range(TREES):
            tree = tree_at(self.trees, place)
            if tree.kind == KIND_AREAS and tree.pid < 0:
                if best < 0 or tree.order < tree_at(self.trees, best).order:
                    best = place
        if best >= 0:
            tree_at(self.trees, best).pid = pid
        return best

    def tree_with_root(self, root):
        """The tree of this root, -1 if none is known."""
        for place in range(TREES):
            tree = tree_at(self.trees, place)
            if tree.kind != KIND_NONE and tree.root == root:
                return place
        return -1

    def height(self, t):
        """How many levels a tree has."""
        tree = tree_at(self.trees, t)
        return 1 + (tree.nr_leaves > 0) + (tree.nr_inner > 0)

    def _goes(self, node):
        if node and self.nr_gone < GONE:
            self.gone[self.nr_gone] = node
            self.nr_gone += 1

    def which_leaf_of(self, tree):
        """Which leaf a store changes: entries come in at the end, areas rather where the last
        came in.
        """
        if tree.kind != KIND_AREAS or not 0 <= tree.place < tree.nr_leaves:
            return tree.nr_leaves - 1
        return tree.place

    def replace_leaf(self, t, node):
        """A store needed one node (mas_wr_node_store()): it takes a leaf's place."""
        tree = tree_at(self.trees, t)
        self.nr_gone = 0
        if tree.nr_leaves == 0:
            self._goes(tree.root)
            tree.root = node
            return
        q = self.which_leaf_of(tree)
        self._goes(tree.leaf[q])
        tree.leaf[q] = node
        tree.place = q

    def add_children(self, t, nodes, count):
        """The copies of a node's children in a tree that is being copied (mas_dup_alloc()): the
        root's first; if there are more, those were inner nodes.
        """
        tree = tree_at(self.trees, t)
        if tree.nr_leaves and tree.nr_inner == 0 and tree.nr_leaves <= INNERS:
            for i in range(tree.nr_leaves):
                tree.inner[i] = tree.leaf[i]
            tree.nr_inner = tree.nr_leaves
            tree.nr_leaves = 0
            tree.place = 0
        for i in range(count):
            if tree.nr_leaves < LEAVES:
                tree.leaf[tree.nr_leaves] = nodes[i]
                tree.under[tree.nr_leaves] = tree.place if tree.nr_inner else 0
                tree.nr_leaves += 1
        if tree.nr_inner:
            tree.place += 1

    def change(self, t, nodes, count, how):
        """A store needed several nodes; `how` (HOW_*): as far as it is known."""
        tree = tree_at(self.trees, t)
        self.nr_gone = 0
        self.newest += 1
        tree.order = self.newest
        if count == 1:
            self.replace_leaf(t, nodes[0])
        elif tree.nr_leaves == 0:
            self._split_root(t, nodes, count)
        elif how == HOW_ERASE:
            self._erase(t, nodes, count)
        elif self._shares(tree, count, how):
            tree.pushes += 1
            self._share(t, nodes, count, self._first_of_pair(tree))
        else:
            tree.pushes = 0
            self._grow(t, nodes, count, how)

    def _shares(self, tree, count, how):
        """Whether a leaf that is full shares its entries with the one beside it, instead of being
        split: it does while there is room, which entries that come in at the end find twice after
        a split (7.3).
        """
        if (how == HOW_SHARE and count == 3) or count == 2:
            return True
        if how == HOW_SPLIT or count != 3:
            return False
        if how == HOW_TOP:
            return tree.nr_leaves == 2
        return tree.kind == KIND_ENTRIES and tree.nr_leaves > 2 and tree.pushes < PUSHES

    def directory_of(self, count, how):
        """The directory that such a request is for: the one that grew last of those that it fits.
        """
        best = -1
        for place in range(TREES):
            tree = tree_at(self.trees, place)
            if tree.kind != KIND_ENTRIES or not self._fits(tree, count, how):
                continue
            if best < 0 or tree.order > tree_at(self.trees, best).order:
                best = place
        return best

    def _fits(self, tree, count, how):
        if how == HOW_ERASE:
            return tree.nr_leaves > 1 and (count < 4 or tree.nr_inner > 1)
        if how == HOW_SPLIT:
            return count == 3 or tree.nr_leaves > 0
        if how == HOW_TOP and count == 3:
            return tree.nr_leaves == 0 or (tree.nr_leaves == 2 and tree.pushes < PUSHES)
        return tree.nr_leaves > 2 or (tree.nr_leaves == 2 and tree.pushes >= PUSHES)

    def _grow(self, t, nodes, count, how):
        """A leaf is split, and what is above it where that is full."""
        tree = tree_at(self.trees, t)
        q = self.which_leaf_of(tree)
        leaf = tree.leaf[q]
        above = tree.under[q] if tree.nr_inner else -1
        if above < 0 or count >= 5:
            self._goes(tree.root)
            tree.root = nodes[count - 1]
        if above >= 0 and count < 5:
            self._goes(tree.inner[above])
            tree.inner[above] = nodes[count - 1]
        elif above > 0 and (how == HOW_SHARE or (how == HOW_TOP and tree.nr_inner == 2)):
            self._share_inner(t, above - 1, nodes[2], nodes[3])
        elif count >= 5:
            if above >= 0:
                self._goes(tree.inner[above])
            self._split_inner(t, above, nodes[2], nodes[3])
        self._goes(leaf)
        self._split_leaf(t, q, nodes[0], nodes[1])

    def _share_inner(self, t, left, first, second):
        """Two inner nodes share out the leaves below them, as leaves do their entries."""
        tree = tree_at(self.trees, t)
        self._goes(tree.inner[left])
        self._goes(tree.inner[left + 1])
        tree.inner[left] = first
        tree.inner[left + 1] = second
        half = 0
        for i in range(tree.nr_leaves):
            half += left <= tree.under[i] <= left + 1
        half = half // 2
        for i in range(tree.nr_leaves):
            if left <= tree.under[i] <= left + 1:
                tree.under[i] = left + (half <= 0)
                half -= 1

    def _split_root(self, t, nodes, count):
        """The only leaf becomes two or more, under a root."""
        tree = tree_at(self.trees, t)
        self._goes(tree.root)
        tree.root = nodes[count - 1]
        for i in range(count - 1):
            tree.leaf[i] = nodes[i]
            tree.under[i] = 0
        tree.nr_leaves = count - 1
        tree.place = count - 2

    def _split_leaf(self, t, q, left, right):
        tree = tree_at(self.trees, t)
        if tree.nr_leaves == LEAVES:
            self._drop_leaf(t, 0)
            q -= q > 0
        i = tree.nr_leaves
        while i > q + 1:
            tree.leaf[i] = tree.leaf[i - 1]
            tree.under[i] = tree.under[i - 1]
            i -= 1
        tree.nr_leaves += 1
        tree.leaf[q] = left
        tree.leaf[q + 1] = right
        tree.under[q + 1] = tree.under[q]
        tree.place = q + 1

    def _split_inner(self, t, q, left, right):
        """An inner node, or the root for -1, becomes two: its leaves are shared out evenly."""
        tree = tree_at(self.trees, t)
        if q < 0:
            tree.nr_inner = 1
            q = 0
        if tree.nr_inner == INNERS:
            return
        i = tree.nr_inner
        while i > q + 1:
            tree.inner[i] = tree.inner[i - 1]
            i -= 1
        tree.nr_inner += 1
        tree.inner[q] = left
        tree.inner[q + 1] = right
        half = 0
        for i in range(tree.nr_leaves):
            half += tree.under[i] == q
        half = half // 2
        for i in range(tree.nr_leaves):
            above = tree.under[i]
            if above == q:
                half -= 1
            if above > q or (above == q and half < 0):
                tree.under[i] = above + 1

    def _drop_leaf(self, t, q):
        tree = tree_at(self.trees, t)
        tree.nr_leaves -= 1
        for i in range(q, tree.nr_leaves):
            tree.leaf[i] = tree.leaf[i + 1]
            tree.under[i] = tree.under[i + 1]

    def _first_of_pair(self, tree):
        """The left one of two leaves that share out their entries: that beside the one that
        changes.
        """
        q = self.which_leaf_of(tree)
        if q == tree.nr_leaves - 1 or (q > 0 and tree.under[q] == tree.under[q - 1]):
            q -= 1
        return q

    def _erase(self, t, nodes, count):
        """An entry goes that is the last of its leaf: no gap may end one, so the next leaf is
        written with it (mas_is_span_wr()). Directories are taken to be emptied from their front
        on.
        """
        tree = tree_at(self.trees, t)
        q = tree.erased
        if count > 3:  # nor the node above
            while q < tree.nr_leaves - 1 and tree.under[q] == tree.under[q + 1]:
                q += 1
        if q > tree.nr_leaves - 2:
            q = tree.nr_leaves - 2
        tree.erased = q + 1
        if count > 3 and tree.nr_inner > 1 and tree.under[q] < tree.under[q + 1]:
            self._goes(tree.root)
            self._goes(tree.inner[tree.under[q]])
            self._goes(tree.inner[tree.under[q] + 1])
            tree.root = nodes[count - 1]
            tree.inner[tree.under[q]] = nodes[2]
            tree.inner[tree.under[q] + 1] = nodes[3]
            self._goes(tree.leaf[q])
            self._goes(tree.leaf[q + 1])
            tree.leaf[q] = nodes[0]
            tree.leaf[q + 1] = nodes[1]
        else:
            self._share(t, nodes, count, q)

    def _share(self, t, nodes, count, q):
        """Leaf `q` and the next share out their entries anew (mas_push_data(),
        mas_wr_rebalance()): as two or as one, under a new node.
        """
        tree = tree_at(self.trees, t)
        if tree.nr_inner:
            above = tree.under[q] if q >= 0 else 0
            self._goes(tree.inner[above])
            tree.inner[above] = nodes[count - 1]
        else:
            self._goes(tree.root)
            tree.root = nodes[count - 1]
        if q < 0:
            return
        self._goes(tree.leaf[q])
        self._goes(tree.leaf[q + 1])
        tree.leaf[q] = nodes[0]
        if count > 2:
            tree.leaf[q + 1] = nodes[1]
            tree.place = q + 1
        else:
            self._drop_leaf(t, q + 1)
            tree.place = q

    def end_tree(self, t):
        """A tree ends: its nodes but the root, in the order in which mt_destroy_walk() frees
        them, are `gone`: the leaves under each inner node, then these.
        """
        tree = tree_at(self.trees, t)
        self.nr_gone = 0
        for i in range(tree.nr_leaves):
            self._goes(tree.leaf[i])
        for i in range(tree.nr_inner):
            self._goes(tree.inner[i])
        tree.kind = KIND_NONE

    def exchange(self, node, other):
        """A node that was taken to be in a tree is not: another one is in its place. Whether it
        was.
        """
        for place in range(TREES):
            tree = tree_at(self.trees, place)
            if tree.kind == KIND_NONE:
                continue
            if tree.root == node:
                tree.root = other
                return True
            for i in range(tree.nr_leaves):
                if tree.leaf[i] == node:
                    tree.leaf[i] = other
                    return True
            for i in range(tree.nr_inner):
                if tree.inner[i] == node:
                    tree.inner[i] = other
                    return True
        return False

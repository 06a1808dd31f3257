"""What must hold of a maple tree (mt_validate() and what it calls, lib/maple_tree.c)."""

from mmtwin.kernel.maple_tree import ULONG_MAX


def validate_maple_tree(tree):
    """Checks pivots, parents, gaps, how full nodes are, and that no two gaps touch.

    `tree`: a MapleSplit or what is made of it. Raises ValueError for the first that is wrong.
    """
    root = tree.root
    if root is None:
        if tree.height:
            raise ValueError(f"an empty tree of height {tree.height}")
        return
    if root.parent is not None or root.min or root.max != ULONG_MAX:
        raise ValueError(f"the root covers {root.min:#x} to {root.max:#x}")
    depth = validate_node(tree, root)
    if depth != tree.height:
        raise ValueError(f"height {tree.height}, found {depth}")
    validate_nulls(tree)
    nodes = 1 + sum(1 for _ in inner_slots(root))
    in_use = tree.alloc.allocated - tree.alloc.freed - tree.alloc.total
    if nodes != in_use:
        raise ValueError(f"{nodes} nodes in the tree, {in_use} taken for it")


def inner_slots(node):
    """Every node below one."""
    if not node.leaf:
        for child in node.slot:
            yield child
            yield from inner_slots(child)


def validate_node(tree, node):
    """Checks a node and all below it; returns how high it stands (mas_validate_limits(),
    mas_validate_gaps(), mas_validate_parent_slot(), mas_validate_child_slot()).
    """
    pivots = node.pivots
    name = f"node {node.min:#x} to {node.max:#x}"
    if len(node.slot) != node.end + 1 or node.end >= tree.slots(node.leaf):
        raise ValueError(f"{name} has {len(node.slot)} slots, ends at {node.end}")
    few = node.end < tree.min_slots(node.leaf)
    if few and node.parent is not None and node.max != ULONG_MAX:
        raise ValueError(f"{name} has only {len(node.slot)} slots")
    if pivots != sorted(set(pivots)) or pivots[0] < node.min:
        raise ValueError(f"{name}: pivots {pivots}")
    if node.leaf:
        if node.slot[-1] is None and node.max != ULONG_MAX:
            raise ValueError(f"{name} ends in a gap")
        return 1
    depths = set()
    for i, child in enumerate(node.slot):
        if child.parent is not node or child.parent_slot != i:
            raise ValueError(f"{name}, slot {i}: wrong parent")
        if (child.min, child.max) != (node.start(i), pivots[i]):
            raise ValueError(f"{name}, slot {i}: child {child.min:#x} to {child.max:#x}")
        if tree.alloc_range and node.gaps[i] != child.max_gap():
            raise ValueError(f"{name}, slot {i}: gap {node.gaps[i]:#x}, not {child.max_gap():#x}")
        depths.add(validate_node(tree, child))
    if len(depths) != 1:
        raise ValueError(f"{name}: leaves at different depths")
    return depths.pop() + 1


def validate_nulls(tree):
    """No gap stands beside another (mt_validate_nulls())."""
    before = True
    for start, _, entry in tree.entries():
        if entry is None and before is None:
            raise ValueError(f"two gaps meet at {start:#x}")
        before = entry

"""Red-black trees: their rules hold after every step, and their shape is the kernel's."""

from hypothesis import given
from hypothesis import strategies as st

from mmtwin.kernel.rbtree import RbTree


class Node:
    """A node with a number."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.largest = key

    left: "Node | None" = None
    right: "Node | None" = None


def augment(node: Node) -> None:
    below = [child.largest for child in (node.left, node.right) if child is not None]
    node.largest = max([*below, node.key])


def insert(tree: RbTree, key: int) -> Node:
    node, parent, left, place = Node(key), None, False, tree.root
    while place is not None:
        parent, left = place, key < place.key
        place = place.left if left else place.right
    tree.link(node, parent, left)
    return node


def shape(node: Node | None) -> str:
    """`key`, `r` for red, and the two sides: "2(1r,3r)"."""
    if node is None:
        return "-"
    text = f"{node.key}{'r' if node.red else ''}"
    if node.left is None and node.right is None:
        return text
    return f"{text}({shape(node.left)},{shape(node.right)})"


def check(tree: RbTree) -> None:
    def blacks(node: Node | None, parent: Node | None) -> int:
        if node is None:
            return 1
        assert node.parent is parent
        assert not (node.red and (parent is None or parent.red))
        before, largest = blacks(node.left, node), node.largest
        assert before == blacks(node.right, node)
        augment(node)
        assert node.largest == largest
        return before + (not node.red)

    blacks(tree.root, None)


def test_shapes_are_the_kernels() -> None:
    tree = RbTree()
    nodes = {key: insert(tree, key) for key in range(1, 9)}
    assert shape(tree.root) == "4(2r(1,3),6r(5,7(-,8r)))"
    tree.erase(nodes[4])  # its successor takes its place
    assert shape(tree.root) == "5(2r(1,3),7r(6,8))"
    tree.erase(nodes[1])
    assert shape(tree.root) == "5(2(-,3r),7r(6,8))"
    tree.erase(nodes[6])
    assert shape(tree.root) == "5(2(-,3r),7(-,8r))"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=120))
def test_rules_hold(steps: list[tuple[bool, int]]) -> None:
    tree, nodes = RbTree(augment), []
    for adds, number in steps:
        if adds or not nodes:
            nodes.append(insert(tree, number))
        else:
            tree.erase(nodes.pop(number % len(nodes)))
        check(tree)
    keys, node = [], tree.first()
    assert (node is None) == (not nodes)
    while node is not None:  # in order
        keys.append(node.key)
        if node.right is not None:
            node = node.right
            while node.left is not None:
                node = node.left
        else:
            while node.parent is not None and node is node.parent.right:
                node = node.parent
            node = node.parent
    assert keys == sorted(node.key for node in nodes)

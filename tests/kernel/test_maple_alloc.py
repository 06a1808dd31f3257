"""Nodes of maple trees as objects of the slab cache maple_node."""

import random
from collections.abc import Iterator

import pytest

from mmtwin.kernel.exit import rcu_do_batch
from mmtwin.kernel.maple_alloc import MapleAlloc
from mmtwin.kernel.maple_store import MapleStore
from mmtwin.kernel.maple_tree import maple_node
from mmtwin.kernel.maple_validate import validate_maple_tree
from mmtwin.kernel.slub_resync import object_state
from mmtwin.machine import Machine
from tests.kernel.page_machine import machine

PROFILES = ("x86_64-6.1", "arm64-6.12", "x86_64-6.18", "x86_64-7.3")
GFP_KERNEL = 0xCC0


def nodes(node: maple_node) -> Iterator[maple_node]:
    """A node and all below it."""
    yield node
    if not node.leaf:
        for child in node.slot:
            yield from nodes(child)


@pytest.mark.parametrize("profile", PROFILES)
def test_nodes_are_objects_of_their_cache(profile: str) -> None:
    k = Machine.boot(profile, memory="64M")
    tree = MapleStore(k.mm)
    draw = random.Random(1)
    known = set()
    for step in range(600):
        index = draw.randrange(4000)
        tree.preallocate(index, index + 5, (step,))
        tree.store(index, index + 5, (step,) if draw.random() < 0.7 else None)
        known.update(node.address for node in nodes(tree.root))
        if step % 100 == 0:
            rcu_do_batch(k.mm)
            k.validate()
    validate_maple_tree(tree)
    rcu_do_batch(k.mm)
    used = [node.address for node in nodes(tree.root)]
    assert len(set(used)) == len(used)
    assert all(object_state(k.mm, tree.alloc.cache, address) == 1 for address in used)
    tree.destroy()
    rcu_do_batch(k.mm)
    k.validate()
    k.kmem_cache_shrink("maple_node")
    if not k.mm.view("has")[0].maple_sheaves:
        alive = [object_state(k.mm, tree.alloc.cache, address) == 1 for address in known]
        assert not any(alive)


def test_nodes_in_hand_hold_each_other() -> None:
    # mas_alloc_nodes(): one, 30 in its slots, and the rest in the slots of the first of them
    alloc = MapleAlloc(machine("6.1"))
    assert alloc.request(70, GFP_KERNEL)
    assert (alloc.allocated, alloc.bulks, alloc.total) == (70, 3, 70)
    assert [len(slots) for slots in alloc.held.values()] == [30, 30, 9]
    assert alloc.pop() == 31  # the last of the head's slots
    assert alloc.request(69, GFP_KERNEL) and alloc.allocated == 70
    for _ in range(31):
        alloc.pop()
    alloc.push(1000)
    alloc.destroy()
    assert alloc.freed == alloc.allocated - 32 + 1 and alloc.total == 0


def test_a_copy_takes_all_children_of_a_node_at_once() -> None:
    # mas_dup_alloc() asks for none of them by name
    old = MapleStore(machine("6.12"))
    for place in range(40):
        old.store_gfp(4 * place, 4 * place, (place,))
    assert old.height == 2 and old.root is not None
    leaves = old.root.end + 1
    new = MapleStore(machine("6.12"))
    new.duplicate(old)
    assert (new.alloc.allocated, new.alloc.bulks) == (1 + leaves, 1)
    assert new.root is not None
    numbers = [leaf.address for leaf in new.root.slot]
    assert numbers == sorted(numbers)  # as they came

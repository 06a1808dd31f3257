"""One guess at maple nodes: its lists, and what makes another one alike."""

import numpy as np
import pytest

from mmtwin.kernel import lists
from mmtwin.replay import maple_alike, maple_drop, maple_guess
from mmtwin.replay.maple_guess import CONSTANTS as GUESS
from mmtwin.replay.maple_guess import STRUCTS

pytestmark = pytest.mark.skipif(not lists.__file__.endswith(".py"), reason="C functions")


def slabs_of(guess):
    """The slabs of a guess's node list, in order."""
    slabs, slab = [], guess["node_first"]
    while slab != GUESS["NO_NODE"]:
        slabs.append(int(slab))
        slab = guess["link"][slab]
    return slabs


@pytest.mark.parametrize("behind, wanted", [(False, [2, 0, 1, 3]), (True, [2, 3, 0, 1])])
def test_the_slab_that_comes_first(behind, wanted):
    buffer = np.zeros(1, dtype=np.dtype(STRUCTS["guess_t"]))
    guess = maple_guess.as_guesses(buffer.ctypes.data, 1)[0]
    guess.node_first = GUESS["NO_NODE"]
    for slab in range(4):
        maple_guess.join_node(guess, slab, True)
    maple_guess.bring_first(guess, 2, behind)
    assert slabs_of(buffer[0]) == wanted
    assert guess.nr_node == 4


def test_a_node_without_slabs():
    """Those of its list are another CPU's then, behind its own."""
    buffer = np.zeros(1, dtype=np.dtype(STRUCTS["guess_t"]))
    guess = maple_guess.as_guesses(buffer.ctypes.data, 1)[0]
    guess.node_first = guess.cpu_partial[1] = GUESS["NO_NODE"]
    for slab in range(3):
        maple_guess.join_node(guess, slab, True)
    maple_guess.empty_node(guess, 1)
    maple_guess.join_node(guess, 3, True)
    maple_guess.empty_node(guess, 1)
    assert guess.nr_node == 0 and guess.node_first == GUESS["NO_NODE"]
    assert list(guess.place[:4]) == [GUESS["CPU_PARTIAL"] + 1] * 4
    guess.node_first = guess.cpu_partial[1]
    assert slabs_of(buffer[0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("node, left, slabs", [(2, [2, 3], [1, 2]), (36, [], [2])])
def test_nodes_that_were_taken_unseen(node, left, slabs):
    """Those before the node that a request takes: on the CPU's list, and of its partial slabs
    before the node's.
    """
    none, per_cpu = GUESS["NO_NODE"], GUESS["CPU_PARTIAL"]
    buffer = np.zeros(1, dtype=np.dtype(STRUCTS["guess_t"]))
    shape = np.zeros(1, dtype=np.dtype(STRUCTS["shape_t"]))
    shape["objects"] = 16
    buffer["next"][0, :4], buffer["next"][0, 16:18] = [1, 2, 3, none], [17, none]
    buffer["next"][0, 35:37], buffer["head"][0, :3] = [36, none], [none, 16, 35]
    buffer["bits"][0, :3], buffer["place"][0, :3] = [15, 3, 24], [per_cpu, per_cpu, per_cpu]
    buffer["place"][0, 0], buffer["cpu_partial"][0, 0] = GUESS["CPU_SLAB"], 1
    buffer["link"][0, 1:3] = [2, none]
    guess = maple_guess.as_guesses(buffer.ctypes.data, 1)[0]
    maple_drop.drop_before(maple_guess.as_shape(shape.ctypes.data), guess, 0, node)
    free, entry = [], guess.cpu_free[0]
    while entry != none:
        free.append(entry)
        entry = guess.next[entry]
    assert free == left
    assert guess.bits[0] == sum(1 << each for each in left)
    guess.node_first = guess.cpu_partial[0]
    assert slabs_of(buffer[0]) == slabs
    assert (guess.place[1] == GUESS["SLAB_FULL"]) == (1 not in slabs)
    assert guess.bits[1] == (3 if 1 in slabs else 0)


@pytest.mark.parametrize("what", ["list", "cpu", "tree", "request"])
def test_guesses_that_are_not_alike(what):
    """The same nodes are free, but in another order; on another CPU; other trees or requests."""
    buffer = np.zeros(2, dtype=np.dtype(STRUCTS["guess_t"]))
    shape = np.zeros(1, dtype=np.dtype(STRUCTS["shape_t"]))
    shape["objects"], shape["nr_slabs"], shape["factor"] = 16, 1, maple_alike.factors()
    none = GUESS["NO_NODE"]
    for name in ("link", "cpu_slab", "cpu_free", "cpu_partial", "round_first"):
        buffer[name] = none
    buffer["head"][:, 0], buffer["bits"][:, 0], buffer["next"][:, :4] = 0, 0xF, [1, 2, 3, none]
    buffer["place"][:, 0] = GUESS["SLAB_FULL"]
    buffer["tree_end"] = buffer["tree_order"][:, 0] = buffer["round_end"] = 1
    guesses = maple_guess.as_guesses(buffer.ctypes.data, 2)
    same = maple_guess.as_shape(shape.ctypes.data)
    hashes = [maple_alike.hash_of(same, guess, 0, 2) for guess in guesses]
    assert hashes[0] == hashes[1]
    other = guesses[1]
    if what == "list":
        other.next[0], other.next[1], other.next[2], other.next[3] = 2, 3, 1, none
    elif what == "cpu":
        other.cpu_free[1] = 0
    elif what == "tree":
        other.tree_root[0] = 5
    else:
        other.round_first[0] = 0
    assert maple_alike.hash_of(same, other, 0, 2) != hashes[0]

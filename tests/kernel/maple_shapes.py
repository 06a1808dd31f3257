"""Random stores into a maple tree and searches in it, and the tree's shape as text.

data/maple_shapes.json has digests of what the kernel's own code makes of them: lib/maple_tree.c of
Debian's 6.1 and 6.12, of 6.18.2 and 7.3, compiled into a program that reads these operations and
writes these lines.
"""

import hashlib
import random
from collections.abc import Iterator

from mmtwin.kernel.maple_store import MapleStore
from mmtwin.kernel.maple_tree import ULONG_MAX, maple_node

Operation = tuple[str, int, int, int]
ALLOC_RANGE, IN_RCU = 1, 2  # MT_FLAGS_*
FLAGS = (ALLOC_RANGE | IN_RCU, ALLOC_RANGE | IN_RCU, ALLOC_RANGE, IN_RCU, 0)


def operations(seed: int, count: int = 700) -> Iterator[Operation]:
    """(what, first, last, value): p stores after mas_preallocate(), s by mas_store_gfp() (value 0:
    a gap); f and r search `first` to `last` for a gap of `value`.
    """
    draw = random.Random(seed)
    bits, longest = (6, 9, 12, 16)[seed % 4], (20, 200, 2000)[seed % 3]
    known: list[tuple[int, int]] = []
    yield "p", 0x100, 0x1FF, 1
    for step in range(count):
        first = draw.randrange(1 << bits) << 4
        length = draw.randrange(1, 9 if draw.random() < 0.9 else longest) << 4
        last = ULONG_MAX if draw.random() < 0.003 else first + length - 1
        if known and draw.random() < 0.35:
            first, last = draw.choice(known)
        known = [*known[-60:], (first, last)]
        gap = draw.random() < (0.25 if (step // 300) % 2 == 0 else 0.75)
        yield "ps"[draw.random() < 0.3], first, last, 0 if gap else step + 2
        if step % 5 == 0:
            low = draw.randrange(1 << bits) << 4
            high = low + (draw.randrange(1, 1 << bits) << 4) - 1
            size = draw.randrange(1, high - low + 2)
            yield "fr"[draw.random() < 0.5], low, high, size


def shape(tree: MapleStore, node: maple_node) -> str:
    """A node and what is below it: L or N, the number of its last slot, gaps and slots."""
    if node.leaf:
        pairs = zip(node.pivots, node.slot, strict=True)
        slots = [f"{pivot:x}:{entry[0] << 3 if entry else 0:x} " for pivot, entry in pairs]
        return f"L{node.end}[{''.join(slots)}]"
    gaps = [f"g{gap:x} " if tree.alloc_range else "" for gap in node.gaps]
    below = [gap + shape(tree, child) for gap, child in zip(gaps, node.slot, strict=True)]
    return f"N{node.end}[{''.join(below)}]"


def lines(tree: MapleStore, seed: int) -> Iterator[str]:
    """What the twin's tree makes of the operations: after each its height, nodes asked for so far
    (one by one and in bulk), nodes in use, and its shape; of a search what it found.
    """
    for what, first, last, value in operations(seed):
        if what in "fr":
            if not tree.alloc_range:
                continue
            search = tree.mas_empty_area if what == "f" else tree.mas_empty_area_rev
            found = search(first, last, value)
            yield "none" if found < 0 else f"{found:x}"
            continue
        entry = (value,) if value else None
        if what == "p":
            tree.preallocate(first, last, entry)
            tree.store(first, last, entry)
        else:
            tree.store_gfp(first, last, entry)
        alloc = tree.alloc
        used = alloc.allocated - alloc.freed
        text = shape(tree, tree.root) if tree.root else "empty"
        yield f"h{tree.height} alloc{alloc.allocated} bulk{alloc.bulks} used{used} {text}"


def digests(texts: Iterator[str]) -> list[str]:
    """A digest of every 200 lines."""
    found, digest = [], hashlib.sha256()
    for number, text in enumerate(texts, 1):
        digest.update(text.encode() + b"\n")
        if number % 200 == 0:
            found.append(digest.hexdigest()[:12])
    return found

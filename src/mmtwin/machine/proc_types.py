"""Pageblock types that agree with pagetypeinfo's counts of free blocks.

The first guess ranks pageblocks by what their pages are used for. Here types of two pageblocks are
swapped, and swapped again, as long as that brings the free blocks by order and type nearer to the
counts. Every type keeps its number of pageblocks.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ROUNDS = 200
MOST_BLOCKS = 600  # more are left as guessed: the pairs grow with the square
Counts = npt.NDArray[np.int64]


def free_vectors(
    free: Sequence[tuple[int, int]], blocks: Sequence[int], block_order: int
) -> Counts:
    """Free blocks by order of each pageblock in `blocks`; `free`: (pfn, order).

    Those of a whole pageblock or more count too, each at its first pageblock.
    """
    place = {block: number for number, block in enumerate(blocks)}
    orders = 1 + max([order for _, order in free], default=0)
    vectors = np.zeros((len(blocks), orders), dtype=np.int64)
    for pfn, order in free:
        number = place.get(pfn >> block_order)
        if number is not None:
            vectors[number, order] += 1
    return vectors


def refine_types(types: list[int], vectors: Counts, wanted: dict[int, Counts]) -> list[int]:
    """Swaps types between pageblocks until no swap brings the counts nearer.

    `types`: of each row of `vectors`; `wanted`: counted free blocks by order, by type.
    """
    if len(types) > MOST_BLOCKS:
        return types
    kinds = sorted(set(types))
    orders = vectors.shape[1]
    current = np.array(types)
    none = np.zeros(orders, np.int64)
    goal = {kind: np.resize(wanted.get(kind, none), orders) for kind in kinds}
    excess = {kind: vectors[current == kind].sum(axis=0) - goal[kind] for kind in kinds}
    for _ in range(ROUNDS):
        best = best_swap(current, vectors, excess, kinds)
        if best is None:
            break
        one, other = best
        step = vectors[other] - vectors[one]
        excess[current[one]] = excess[current[one]] + step
        excess[current[other]] = excess[current[other]] - step
        current[one], current[other] = current[other], current[one]
    return [int(kind) for kind in current]


def best_swap(
    current: Counts, vectors: Counts, excess: dict[int, Counts], kinds: Sequence[int]
) -> tuple[int, int] | None:
    """The two pageblocks whose swap brings the counts nearest, None if none brings them nearer."""
    best, gain = None, 0
    for index, a in enumerate(kinds):
        for b in kinds[index + 1:]:
            ones, others = np.flatnonzero(current == a), np.flatnonzero(current == b)
            if not len(ones) or not len(others):
                continue
            steps = vectors[others][None, :, :] - vectors[ones][:, None, :]
            before = np.abs(excess[a]).sum() + np.abs(excess[b]).sum()
            after = np.abs(excess[a] + steps).sum(axis=2) + np.abs(excess[b] - steps).sum(axis=2)
            place = int(after.argmin())
            if before - after.flat[place] > gain:
                gain = int(before - after.flat[place])
                best = int(ones[place // len(others)]), int(others[place % len(others)])
    return best

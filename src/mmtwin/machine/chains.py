"""Lists of entries written and read whole, through the numpy views."""

from collections.abc import Sequence

import numpy as np

from mmtwin.kernel.mm import MM


def link_list(mm: MM, head: int, entries: Sequence[int]) -> None:
    """Makes `entries` (pfns) the list of an empty `head`, first one first.

    Raises ValueError if an entry is twice on the list, which would have no end, or is no page.
    """
    if any(not 0 <= entry < mm.max_pfn for entry in entries):
        raise ValueError(f"a list has an entry that is no page: {list(entries)[:8]}")
    ring = np.array([head, *entries, head], dtype=np.int64)
    if len({head, *entries}) != len(ring) - 1:  # np.unique() imports numpy.ma
        raise ValueError(f"an entry is twice on the list of head {head}")
    page = mm.view("page")
    page["next"][ring[:-1]] = ring[1:]
    page["prev"][ring[1:]] = ring[:-1]


def list_pfns(mm: MM, head: int) -> list[int]:
    """The entries of a list, first one first. Raises ValueError if the list does not come back."""
    following = mm.view("page")["next"]
    entries: list[int] = []
    entry = int(following[head])
    while entry != head:
        if entry < 0 or len(entries) > mm.max_entries:
            raise ValueError(f"the list of head {head} is broken after {len(entries)} entries")
        entries.append(entry)
        entry = int(following[entry])
    return entries

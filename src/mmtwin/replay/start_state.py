"""The recorded machine where a recording's events can begin, and what lives there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.constants import (
    USE_PAGE_CACHE,
    USE_PAGE_TABLE,
    USE_USER,
    PG_buddy,
    PG_head,
    PG_hole,
    PG_large_kmalloc,
    PG_pcp,
    PG_reserved,
    PG_slab,
    PG_table,
    PG_tail,
)
from mmtwin.kernel.mm import MM
from mmtwin.machine.recorded import profile_of
from mmtwin.recordings.annotate import Annotated
from mmtwin.recordings.recording import Recording
from mmtwin.replay.demand_book import CONSTANTS as DEMANDS
from mmtwin.replay.errors import ReplayError
from mmtwin.replay.starts import choose_start, first_event, machine_at_start
from mmtwin.replay.truth import free_chains

GFP_KERNEL = 0xCC0
GFP_USER_MOVABLE = 0x100CCA  # GFP_HIGHUSER_MOVABLE
GFP_TABLE = 0x400DC0  # GFP_PGTABLE_USER


@dataclass(frozen=True)
class LivePages:
    """A block of pages in use: `use` is FOR_*, `gfp` in the twin's bits, `large` one of kmalloc().
    """

    pfn: int
    order: int
    gfp: int
    use: int
    large: bool


class StartState:
    """The recorded machine, and the event (`first`) that it is just before.

    `start` "truth", "snapshots" or "empty", `known` None where the recording has no state at all.
    """

    def __init__(self, recording: Recording, start: str = "auto") -> None:
        self.recording = recording
        self.profile = profile_of(recording)
        self.annotated = Annotated(recording)
        self.start, self.snapshot = choose_start(recording, start)
        self.known: MM | None = None
        if self.start != "empty":
            self.known = machine_at_start(
                self.annotated, self.profile, self.start, self.snapshot
            )
        self.first = first_event(self.annotated, self.start, self.snapshot)


def state_of(recording: Recording) -> StartState:
    """The best state that a recording has. Raises ReplayError if it contradicts itself."""
    try:
        return StartState(recording)
    except ReplayError:
        raise
    except ValueError as error:
        raise ReplayError(f"{recording.path}: {error}") from None


def slab_objects(mm: MM) -> Iterator[tuple[int, int, bool]]:
    """(address, number of its cache, whether it is in use) of objects of slabs, by address: those
    in use and those that lie free. Of a slab that a CPU takes from the free ones may never have
    been given out: they are left out, but for one where no other is there.
    """
    page = mm.view("page")[: mm.max_pfn]
    heads = np.flatnonzero((page["flags"] & PG_slab) != 0)
    heads = heads[(page["flags"][heads] & PG_tail) == 0]
    free = set(_free_outside(mm))
    cpu_slabs = mm.view("cache_cpu")["slab"][: mm.nr_caches * mm.nr_cpus].tolist()
    of_cpus = set(cpu_slabs) if mm.view("has")[0].slub_cpu_slabs else set()
    mask = (1 << 64) - 1
    chains: dict[int, Callable[[int], list[int]]] = {}
    for pfn in heads.tolist():
        number = int(page["cache"][pfn])
        cache = mm.view("cache")[number]
        first = int(mm.page_offset) + (pfn << int(mm.page_shift)) + int(cache["red_left_pad"])
        if number not in chains:
            chains[number] = free_chains(mm, number)
        chain = free.union(chains[number](int(page["freelist"][pfn])))
        size = int(cache["size"])
        rows = [first + place * size & mask for place in range(int(page["objects"][pfn]))]
        alive = [address not in chain for address in rows]
        if pfn in of_cpus:
            shown = [place for place, used in enumerate(alive) if used] or [0]
        else:
            shown = list(range(len(rows)))
        for place in shown:
            yield rows[place], number, alive[place]


def _free_outside(mm: MM) -> Iterator[int]:
    """Objects that lie free on CPUs' lists and in sheaves."""
    cpus = mm.view("cache_cpu")
    for place in np.flatnonzero(cpus["freelist"][: mm.nr_caches * mm.nr_cpus]).tolist():
        yield from free_chains(mm, place // mm.nr_cpus)(int(cpus["freelist"][place]))
    sheaves = mm.view("sheaf")[: mm.next_sheaf]
    for sheaf in sheaves[(sheaves["size"] > 0) & (sheaves["cache"] >= 0)]:
        yield from sheaf["objects"][: sheaf["size"]].tolist()


def used_pages(mm: MM) -> npt.NDArray[np.bool_]:
    """By pfn: whether the page is given out (no hole, not reserved, on no free list)."""
    page = mm.view("page")[: mm.max_pfn]
    flags = page["flags"]
    used = (flags & (PG_hole | PG_reserved | PG_buddy | PG_pcp)) == 0
    for pfn in np.flatnonzero((flags & (PG_buddy | PG_pcp)) != 0).tolist():
        used[pfn : pfn + (1 << int(page["order"][pfn]))] = False
    return np.asarray(used)


def live_pages(mm: MM) -> Iterator[LivePages]:
    """Every block of pages in use that is no slab, by pfn."""
    page = mm.view("page")[: mm.max_pfn]
    flags, users = page["flags"], page["users"]
    used = used_pages(mm) & ((flags & (PG_slab | PG_tail)) == 0)
    for pfn in np.flatnonzero(used).tolist():
        order = int(page["order"][pfn]) if flags[pfn] & PG_head else 0
        if flags[pfn] & PG_table or users[pfn] == USE_PAGE_TABLE:
            gfp, use = GFP_TABLE, DEMANDS["FOR_TABLE"]
        elif users[pfn] in (USE_USER, USE_PAGE_CACHE):
            gfp, use = GFP_USER_MOVABLE, DEMANDS["FOR_USER"]
        else:
            gfp, use = GFP_KERNEL, DEMANDS["FOR_OLD"]
        yield LivePages(pfn, order, gfp, use, bool(flags[pfn] & PG_large_kmalloc))


def names_of(mm: MM) -> dict[str, int]:
    """{name: number} of all caches, those that share one too."""
    numbers: dict[str, Any] = {}
    alive = mm.view("cache")["alive"]
    for number, aliases in mm.cache_aliases.items():
        numbers.update(dict.fromkeys(aliases, number))
    numbers.update({n: at for at, n in enumerate(mm.cache_names) if alive[at]})
    return numbers

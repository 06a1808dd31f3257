"""/proc/kpagecount: how often each page is mapped (fs/proc/page.c).

A little-endian u64 for each pfn, from 0 on.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from mmtwin.procfs import kpageflags
from mmtwin.procfs.errors import ProcError
from mmtwin.procfs.state import mm_of

FILE = "kpagecount"
ENTRY = np.dtype("<u8")


def parse(data: bytes) -> npt.NDArray[np.uint64]:
    """The counts by pfn (u64); shares the memory of `data`.

    Raises ProcError if the length is not a multiple of 8 bytes.
    """
    if len(data) % ENTRY.itemsize:
        raise ProcError(FILE, 0, f"{len(data)} bytes are no whole number of 8-byte entries")
    return np.frombuffer(data, dtype=ENTRY)


def format_kpagecount(counts: npt.NDArray[np.uint64]) -> bytes:
    """The bytes of the file."""
    return counts.astype(ENTRY, copy=False).tobytes()


def show(machine: Any, entries: int | None = None) -> npt.NDArray[np.uint64]:
    """How often each page of the twin is mapped, as far as it knows: a `Machine` or its MM.

    `entries`: how many pfns, by default as many as kpageflags has. Free pages and slabs count 0.
    """
    mm = mm_of(machine)
    flags = kpageflags.show(mm, entries)
    counts = np.zeros(len(flags), dtype=np.uint64)
    mapped = mm.view("page")["mapcount"][: min(mm.max_pfn, len(flags))]
    counts[: len(mapped)] = np.maximum(mapped, 0)
    counts[flags & kpageflags.mask("slab", "buddy", "nopage", "pgtable") != 0] = 0
    return counts

"""/proc/kpagecount: how often each page is mapped (fs/proc/page.c).

A little-endian u64 for each pfn, from 0 on.
"""

import numpy as np
import numpy.typing as npt

from mmtwin.procfs.errors import ProcError

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

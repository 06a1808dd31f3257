"""/proc/kpageflags: what each page is (fs/proc/page.c, stable_page_flags).

A little-endian u64 for each pfn, from 0 on. The bits are the same in every version
(include/uapi/linux/kernel-page-flags.h).
"""

import numpy as np
import numpy.typing as npt

from mmtwin.procfs.errors import ProcError

FILE = "kpageflags"
ENTRY = np.dtype("<u8")

KPF = {
    "locked": 0, "error": 1, "referenced": 2, "uptodate": 3, "dirty": 4, "lru": 5, "active": 6,
    "slab": 7, "writeback": 8, "reclaim": 9, "buddy": 10, "mmap": 11, "anon": 12, "swapcache": 13,
    "swapbacked": 14, "compound_head": 15, "compound_tail": 16, "huge": 17, "unevictable": 18,
    "hwpoison": 19, "nopage": 20, "ksm": 21, "thp": 22, "offline": 23, "zero_page": 24,
    "idle": 25, "pgtable": 26, "reserved": 32, "mlocked": 33, "mappedtodisk": 34, "private": 35,
    "private_2": 36, "owner_private": 37, "arch": 38, "uncached": 39, "softdirty": 40,
    "arch_2": 41, "arch_3": 42,
}  # fmt: skip


def mask(*names: str) -> int:
    """The bits of some flags by name, as one number. Raises KeyError for an unknown name."""
    return sum(1 << KPF[name] for name in names)


def parse(data: bytes) -> npt.NDArray[np.uint64]:
    """The flags by pfn (u64, bits of KPF); shares the memory of `data`.

    Raises ProcError if the length is not a multiple of 8 bytes.
    """
    if len(data) % ENTRY.itemsize:
        raise ProcError(FILE, 0, f"{len(data)} bytes are no whole number of 8-byte entries")
    return np.frombuffer(data, dtype=ENTRY)


def format_kpageflags(flags: npt.NDArray[np.uint64]) -> bytes:
    """The bytes of the file."""
    return flags.astype(ENTRY, copy=False).tobytes()


def flag_names(flags: int) -> list[str]:
    """The names of the bits set in one entry."""
    return [name for name, bit in KPF.items() if flags >> bit & 1]

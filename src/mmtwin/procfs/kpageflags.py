"""/proc/kpageflags: what each page is (fs/proc/page.c, stable_page_flags).

A little-endian u64 for each pfn, from 0 on. The bits are the same in every version
(include/uapi/linux/kernel-page-flags.h).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mmtwin.kernel.constants import (
    PG_buddy,
    PG_head,
    PG_hole,
    PG_reserved,
    PG_slab,
    PG_table,
    PG_tail,
)
from mmtwin.procfs.errors import ProcError
from mmtwin.procfs.state import mm_of, profile_of
from mmtwin.versions import page_flag_tables
from mmtwin.versions.proc_items import shows_nopage

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM

FILE = "kpageflags"
ENTRY = np.dtype("<u8")

KPF = {name.lower(): bit for name, bit in page_flag_tables.KPF.items()}


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


FREE = mask("buddy")
SUBSECTION_SHIFT = 21  # include/linux/mmzone.h


def show(machine: Any, entries: int | None = None) -> npt.NDArray[np.uint64]:
    """The twin's pages: a `Machine` or its MM.

    It knows of buddy and slab, of compound pages, page tables and reserved pages as far as it was
    told, and of pages that are not there. The other flags are 0.

    `entries`: how many pfns, by default whole memory sections as the kernel shows them.
    """
    mm = mm_of(machine)
    profile = profile_of(mm)
    if entries is None:
        section = 1 << (profile.limits.section_size_bits - mm.page_shift)
        entries = -(-last_pfn(mm) // section) * section
    flags = np.zeros(max(entries, mm.max_pfn), dtype=np.uint64)
    page = mm.view("page")[: mm.max_pfn]
    of_head = page["flags"][heads_of(mm)]
    for bits, name in ((PG_head, "compound_head"), (PG_tail, "compound_tail"),
                       (PG_table, "pgtable"), (PG_reserved, "reserved")):  # fmt: skip
        flags[: mm.max_pfn][page["flags"] & bits != 0] |= mask(name)
    flags[: mm.max_pfn][of_head & PG_slab != 0] |= mask("slab")
    for pfn in np.flatnonzero(page["flags"] & PG_buddy):
        flags[pfn : pfn + (1 << int(page["order"][pfn]))] |= FREE
    mark_holes(mm, flags, shows_nopage(profile))
    return flags[:entries]


def last_pfn(mm: MM) -> int:
    """The pfn behind the last page of RAM."""
    zones = mm.view("zone")
    return int((zones["start_pfn"] + zones["spanned_pages"]).max())


def heads_of(mm: MM) -> npt.NDArray[Any]:
    """compound_head() of each page, as a pfn."""
    page = mm.view("page")[: mm.max_pfn]
    pfns = np.arange(mm.max_pfn)
    return np.where(page["flags"] & PG_tail != 0, page["compound_head"], pfns)


def mark_holes(mm: MM, flags: npt.NDArray[np.uint64], nopage: bool) -> None:
    """Pages that are no memory: reserved, but without a struct page where none is in a subsection.

    `nopage`: whether the kernel says so (or 0). Kernel: pfn_section_valid, subsection_map_init.
    """
    section = 1 << (SUBSECTION_SHIFT - mm.page_shift)
    hole = np.ones(-(-len(flags) // section) * section, dtype=bool)
    hole[: mm.max_pfn] = mm.view("page")["flags"][: mm.max_pfn] & PG_hole != 0
    absent = np.repeat(hole.reshape(-1, section).all(axis=1), section)
    flags[(hole & ~absent)[: len(flags)]] = mask("reserved")
    flags[absent[: len(flags)]] = mask("nopage") if nopage else 0

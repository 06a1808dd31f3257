"""/proc/meminfo: totals of the machine (fs/proc/meminfo.c, meminfo_proc_show)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mmtwin.kernel.commit import commit_of
from mmtwin.kernel.mmzone_init import totalreserve_pages
from mmtwin.procfs.counters import node_stats
from mmtwin.procfs.state import mm_of, populated, profile_of, zone_places
from mmtwin.procfs.text import Lines, shortened
from mmtwin.procfs.zoneinfo import zone_sizes
from mmtwin.versions.proc_items import MEMINFO, names

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM

FILE = "meminfo"
# These are printed with %5lu behind a name of 19 columns, all others with 8 digits behind 16
# (meminfo_proc_show, hugetlb_report_meminfo, memtest_report_meminfo).
NARROW = (
    "HardwareCorrupted", "EarlyMemtestBad",
    "HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp",
)  # fmt: skip


@dataclass(frozen=True)
class MemInfoLine:
    """A line: `value` in kB (1024 bytes) if `unit` is `"kB"`, a plain number if it is empty."""

    name: str
    value: int
    unit: str = "kB"

    def __str__(self) -> str:
        """The line as the kernel prints it, with its newline."""
        unit = f" {self.unit}" if self.unit else ""
        if self.name in NARROW:
            return f"{self.name + ':':<18} {self.value:>5}{unit}\n"
        return f"{self.name + ':':<16}{self.value:>8}{unit}\n"


def parse(text: str | bytes) -> dict[str, MemInfoLine]:
    """The lines by name, in the kernel's order. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    found: dict[str, MemInfoLine] = {}
    while lines.peek() is not None:
        line = lines.take("a line")
        name, colon, rest = line.partition(":")
        words = rest.split()
        if not colon or not name or len(words) not in (1, 2):
            lines.fail(f"no 'name: value kB': {shortened(line)}")
        if name in found:
            lines.fail(f"{name} stands there twice")
        unit = words[1] if len(words) == 2 else ""
        if unit not in ("", "kB"):
            lines.fail(f"unknown unit {shortened(unit)}")
        found[name] = MemInfoLine(name, lines.unsigned(words[0], "value"), unit)
    return found


def format_meminfo(lines: dict[str, MemInfoLine]) -> str:
    """The text of the file."""
    return "".join(str(line) for line in lines.values())


def show(machine: Any, base: dict[str, MemInfoLine] | None = None) -> dict[str, MemInfoLine]:
    """The twin's totals: a `Machine` or its MM.

    `base`: the kernel's own text at the moment where the twin began: what the twin does not
    hold is printed as it was there, else as 0.
    """
    mm = mm_of(machine)
    known = totals(mm, base)
    lines = {}
    for name in base or names(MEMINFO, profile_of(mm)):
        before = base[name] if base else MemInfoLine(name, 0, unit_of(name))
        lines[name] = replace(before, value=known.get(name, before.value))
    return lines


def unit_of(name: str) -> str:
    """What a line counts: kB, or nothing in particular."""
    return "" if name.startswith("HugePages_") else "kB"


def totals(mm: MM, base: dict[str, MemInfoLine] | None) -> dict[str, int]:
    """The lines that the twin holds, in kB."""
    kilobytes = mm.page_shift - 10
    pages = [zone_sizes(mm, place.number) for place in populated(mm)]
    node: Counter[str] = Counter()
    for number in range(mm.nr_nodes):
        node.update(node_stats(mm, number, {} if base else None))
    reclaimable = node["nr_slab_reclaimable"]
    slab = reclaimable + node["nr_slab_unreclaimable"]
    managed = sum(zone["managed"] for zone in pages)
    known = {
        "MemTotal": managed,
        "MemFree": sum(zone["free"] for zone in pages),
        "Slab": slab,
        "SReclaimable": reclaimable,
        "SUnreclaim": slab - reclaimable,
        "CmaTotal": sum(zone["cma"] for zone in pages),
        "CmaFree": sum(int(mm.view("zone")["nr_free_cma"][p.number]) for p in populated(mm)),
    }
    before = {name: line.value >> kilobytes for name, line in (base or {}).items()}
    other = before.get("KReclaimable", 0) - before.get("SReclaimable", 0)
    known["KReclaimable"] = reclaimable + other
    cached = before.get("Active(file)", 0) + before.get("Inactive(file)", 0)
    known["MemAvailable"] = available(mm, known["MemFree"], cached, known["KReclaimable"])
    if base is None:
        known["PageTables"] = node["nr_page_table_pages"]
        known["VmallocUsed"] = mm.vmalloc.nr_pages if mm.vmalloc else node["nr_vmalloc"]
        known["Hugepagesize"] = 1 << profile_of(mm).limits.pmd_order
    found = {name: value << kilobytes for name, value in known.items()}
    if base is None:
        found["VmallocTotal"] = (mm.vmalloc_end - mm.vmalloc_start) >> 10
        found["KernelStack"] = node["nr_kernel_stack"]
        commit = commit_of(mm)
        found["CommitLimit"] = commit.vm_commit_limit() << kilobytes
        found["Committed_AS"] = max(commit.committed_as, 0) << kilobytes
    return found


def available(mm: MM, free: int, cached: int, reclaimable: int) -> int:
    """MemAvailable in pages (si_mem_available).

    Of page cache (`cached`) and what else could be reclaimed a half counts, or all above the low
    watermarks, if that is more.
    """
    low = sum(zone_sizes(mm, place.number)["low"] for place in zone_places(mm))
    most = cached - min(cached // 2, low) + reclaimable - min(reclaimable // 2, low)
    return max(0, free - int(totalreserve_pages(mm)) + most)

"""The page tables of a process as lines: each table with its entries, the leaves of an area joined
where they follow each other.
"""

from collections.abc import Iterator
from typing import Any

from mmtwin.procfs.maps import areas_of

MOST_RUNS = 10_000  # lines of leaves before the rest is only counted


def table_lines(mm: Any) -> Iterator[str]:
    """The lines: for every area its tables, top down, then runs of mapped pages.

    `mm`: an mm_struct.
    """
    from mmtwin.kernel.walk import walk

    size = 1 << mm.machine.page_shift
    yield f"top table: pfn {mm.pgd}; {mm.pgtables_bytes >> 10} kB of tables below it"
    for vma in areas_of(mm):
        yield f"{vma.vm_start:x}-{vma.vm_end:x}"
        tables: dict[int, int] = {}
        runs: list[list[Any]] = []
        address = vma.vm_start
        while address < vma.vm_end:
            steps = walk(mm, address)
            for step in steps[:-1] if steps[-1].level == 0 else steps:
                if step.pfn >= 0 and step.slot not in tables:
                    tables[step.slot] = step.pfn
                    yield (
                        f"  {step.name:<3} [{step.index:>3}] {step.entry:#018x} -> table at pfn "
                        f"{step.pfn}"
                    )
            last = steps[-1]
            if last.pfn >= 0 and last.level == 0:
                add_run(runs, address, last, size)
            address += size if last.level == 0 else span_left(mm, address, last.level, size)
        for start, end, pfn, flags in runs[:MOST_RUNS]:
            yield f"  {start:x}-{end:x} pfn {pfn} {' '.join(flags)}"
        if len(runs) > MOST_RUNS:
            yield f"  and {len(runs) - MOST_RUNS} more runs of pages"


def add_run(runs: list[list[Any]], address: int, step: Any, size: int) -> None:
    """A mapped page, joined to the run before it where page frames and bits go on."""
    if runs and runs[-1][1] == address and runs[-1][3] == step.flags:
        start, end, pfn, _flags = runs[-1]
        if pfn + (end - start) // size == step.pfn:
            runs[-1][1] = address + size
            return
    runs.append([address, address + size, step.pfn, step.flags])


def span_left(mm: Any, address: int, level: int, size: int) -> int:
    """Bytes from an address to the end of what one entry of a level covers."""
    span = size << level * mm.paging.bits
    return span - address % span

"""Page faults that show each way through handle_mm_fault(): a process made for one, and what its
fault did.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mmtwin.explain.walk import Walk
from mmtwin.explain.walk_tree import config_of, tree_of
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import MADV_HUGEPAGE, MAP_PRIVATE, MAP_SHARED, VM_SHARED
from mmtwin.machine import Machine
from mmtwin.machine.elf_image import elf_image
from mmtwin.machine.process import Killed
from mmtwin.units import counted

COUNTED = ("rss", "page tables", "minor", "major")  # what a fault may change
PAGES = 4  # of the mappings that are touched


@dataclass(frozen=True)
class Case:
    """`make(process)` prepares and says (process, address, write); `meaning` in words."""

    meaning: str
    make: Callable[[Any], tuple[Any, int, bool]]


def fresh(process: Any) -> int:
    """The address of new anonymous memory."""
    size = PAGES << int(process.machine.page_shift)
    address: int = process.mmap(size, "rw")
    return address


def after_fork(process: Any, alone: bool) -> tuple[Any, int, bool]:
    """A page that a fork shares; `alone`: the parent has exited."""
    address = fresh(process)
    process.touch(address)
    child = process.fork()
    if alone:
        process.exit()
    return child, address, True


def zero_then_write(process: Any) -> tuple[Any, int, bool]:
    """Memory that was only read so far."""
    address = fresh(process)
    process.touch(address, write=False)
    return process, address, True


def of_file(process: Any, flags: int) -> int:
    """The address of a file that is mapped and of which no page is in the page cache."""
    size = PAGES << int(process.machine.page_shift)
    address: int = process.mmap(size, "rw", flags, File("/srv/data", ino=1, size=size))
    return address


def for_huge(process: Any) -> int:
    """An address of an area with room for a huge page, which was asked for (MADV_HUGEPAGE)."""
    shift = int(process.machine.page_shift)
    huge = 1 << shift + shift - 3  # what a page of entries maps
    address: int = process.mmap(2 * huge, "rw")
    process.madvise(address, 2 * huge, MADV_HUGEPAGE)
    return -(-address // huge) * huge


def machine_for(name: str, profile: str) -> Machine:
    """A machine that a case can be shown on: one with less than 512 MiB makes no huge pages
    (hugepage_init()), nor one whose configuration has none.
    """
    if name != "huge":
        return Machine.boot(profile, memory="128M")
    huge: dict[str, Any] = {"TRANSPARENT_HUGEPAGE": True, "TRANSPARENT_HUGEPAGE_MADVISE": True}
    return Machine.boot(profile, memory="1G", **huge)


def area_of(process: Any, field: str) -> int:
    """An address of the program's own areas."""
    return int(getattr(process.mm, field))


CASES = {
    "write": Case("a write to new anonymous memory", lambda p: (p, fresh(p), True)),
    "read": Case("a read of new anonymous memory", lambda p: (p, fresh(p), False)),
    "zero-write": Case("a write to memory that was only read", zero_then_write),
    "cow": Case("a write to a page that a fork shares", lambda p: after_fork(p, False)),
    "reuse": Case("the same, the other process gone", lambda p: after_fork(p, True)),
    "text": Case("a read of the program's code", lambda p: (p, area_of(p, "start_code"), False)),
    "data": Case("a write to the program's data", lambda p: (p, area_of(p, "start_data"), True)),
    "missed": Case("a read of a file's page that is not in memory",
                   lambda p: (p, of_file(p, MAP_PRIVATE), False)),
    "shared": Case("a write to a file that is mapped MAP_SHARED",
                   lambda p: (p, of_file(p, MAP_SHARED), True)),
    "huge": Case("a write to new memory that has room for a huge page",
                 lambda p: (p, for_huge(p), True)),
    "stack": Case("a write below the stack", lambda p: (p, p.sp - (200 << 10), True)),
    "nothing": Case("an address where nothing is mapped", lambda p: (p, 8, False)),
    "forbidden": Case("a write to the program's code",
                      lambda p: (p, area_of(p, "start_code"), True)),
}  # fmt: skip


def walk_fault(machine: Machine, name: str) -> Walk:
    """Makes the fault of a case on a machine and follows it."""
    profile = machine.profile
    assert profile is not None
    page = 1 << int(machine.mm.page_shift)
    program = elf_image(profile.arch, text=page, data=page, bss=page)
    process, address, write = CASES[name].make(machine.exec(program, ["program"]))
    mm = process.mm
    vma = mm.tree.find_vma(address)
    in_area = vma is not None and vma.vm_start <= address
    grows = vma is not None and not in_area
    found_area = area_text(vma, address)
    shared = in_area and bool(vma.vm_flags & VM_SHARED)
    before = state_of(process, address)
    present = before["page"] >= 0
    killed = ""
    with machine.trace:
        try:
            process.touch(address, write)
        except Killed as error:
            killed = str(error)
    after = before if killed else state_of(process, address)
    facts = fault_facts(machine, process, address, before, after, write) | {
        "access": "a write to" if write else "a read of", "address": f"{address:#x}",
        "vma_text": found_area, "has_vma": in_area, "in_area": vma is not None,
        "grows": grows and not killed, "killed": bool(killed), "signal_text": killed,
        "handled": not killed, "access_text": "allowed there" if not killed else "forbidden there",
        "anonymous": not present and vma is not None and vma.vm_file is None,
        "file": not present and vma is not None and vma.vm_file is not None,
        "file_text": vma.vm_file.path if vma is not None and vma.vm_file else "",
        "file_read": not write, "file_cow": write and not shared, "file_shared": write and shared,
        "wp": present,
        "zero_page": not present and not write, "call_text": CASES[name].meaning,
        "result_text": killed or "to the program, which does it again",
    }  # fmt: skip
    changes = [
        (what, str(before[what]), str(after[what])) for what in COUNTED
        if before[what] != after[what]
    ]  # fmt: skip
    tree = tree_of("page_fault", profile.version, config_of(profile))
    return Walk(profile.name, "page_fault", tree, facts, changes, machine.trace.lines(), 0)


def state_of(process: Any, address: int) -> dict[str, Any]:
    """What a fault at an address changes of a process."""
    return {
        "rss": process.rss, "page tables": int(process.mm.pgtables_bytes),
        "minor": process.minor_faults, "major": process.major_faults,
        "page": process.page(address),
    }  # fmt: skip


def area_text(vma: Any, address: int) -> str:
    """The area that was found."""
    if vma is None:
        return "no area is there or above it"
    where = f"{vma.vm_start:x}-{vma.vm_end:x}"
    return where if vma.vm_start <= address else f"{where}, which lies above it"


def fault_facts(
    machine: Machine, process: Any, address: int, before: Mapping[str, Any],
    after: Mapping[str, Any], write: bool,
) -> dict[str, Any]:  # fmt: skip
    """What the fault did, out of the state before it and after it."""
    tables = (after["page tables"] - before["page tables"]) >> int(machine.mm.page_shift)
    pfn = after["page"]
    grown = after["rss"] - before["rss"]
    last = process.walk(address)[-1] if process.alive else None
    huge = last is not None and last.level == 1
    missed = after["major"] > before["major"]
    if last is not None and huge:
        pfn = int(last.pfn)
    return {
        "tables_text": f"{counted(tables, 'new page table')} in all"
        if tables else "the tables are there",
        "pte_text": "", "page_text": f"pfn {pfn:#x}", "rss_text": f"rss {after['rss']} pages",
        "entry_text": f"the entry points to pfn {pfn:#x}" if pfn >= 0 else "",
        "anonymous_text": "zeroes" if write else "a read, for which the shared zeroes do",
        "around_text": counted(grown - missed, "page") + " of the cache around it at once",
        "page_missed": missed,
        "copy_text": f"a copy, pfn {pfn:#x}", "reused": before["page"] == pfn,
        "huge": huge, "huge_text": f"pfn {pfn:#x}, {counted(grown, 'page')} at once",
    }  # fmt: skip

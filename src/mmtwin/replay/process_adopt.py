"""Processes whose beginning no event tells: taken over from a snapshot that shows them.

Their areas are those of smaps (or maps), their pages those of pagemap, brought in by faults; the
addresses of code, data, heap and stack those of stat. Of what pages they share with whom nothing
is known.
"""

from typing import Any

from mmtwin.kernel import fork_mm
from mmtwin.kernel.mm_types import vm_area_struct
from mmtwin.kernel.mman import (
    VM_EXEC,
    VM_MAYEXEC,
    VM_MAYREAD,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
)
from mmtwin.kernel.vma import vma_link
from mmtwin.kernel.vma_flags import vm_stat_account
from mmtwin.procfs import maps, smaps, status
from mmtwin.procfs.maps import MapsArea
from mmtwin.recordings.snapshot import Snapshot
from mmtwin.replay.process_names import Names
from mmtwin.replay.processes import Process, Processes
from mmtwin.versions.process_items import mnemonics

PRESENT = 1 << 63  # of an entry of pagemap
MAY = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC
NAMES = ("", "[heap]", "[stack]")


def adopt(processes: Processes, names: Names, snapshot: Snapshot, pid: int) -> Process:
    """A process of a snapshot becomes one of the twin's. Raises TextError for a damaged text."""
    process = processes.process(pid)
    machine = processes.machine
    mm: Any = fork_mm.mm_alloc(machine, process)
    folder = f"proc/{pid}"
    smaps_file = f"{folder}/smaps"
    shown = snapshot.parsed_bytes(smaps_file, smaps.parse) if smaps_file in snapshot else []
    flags = [flags_of(area.flags, processes) for area in shown]
    areas = [area.area for area in shown]
    if not areas:
        areas = snapshot.parsed_bytes(f"{folder}/maps", maps.parse)
        flags = [flags_of_perms(area) for area in areas]
    for area, vm_flags in zip(areas, flags, strict=True):
        add_area(mm, names, area, vm_flags)
    if f"{folder}/stat" in snapshot:
        read_stat(mm, process, snapshot.parsed_bytes(f"{folder}/stat", status.parse_stat))
    heap = [area for area in areas if area.name == "[heap]"]
    mm.brk = heap[-1].end if heap else mm.start_brk
    files = [vma.vm_file for vma in mm.tree if vma.vm_file is not None]
    mm.exe_file = files[0] if files else None
    process.mm = mm
    if f"{folder}/pagemap.u64x3" in snapshot:
        for address, entry in snapshot.array(f"{folder}/pagemap.u64x3").tolist():
            vma = mm.tree.vma_lookup(address)
            if entry & PRESENT and vma is not None:
                processes.touch(pid, address, bool(vma.vm_flags & VM_WRITE))
    return process


def flags_of(letters: tuple[str, ...], processes: Processes) -> int:
    """vm_flags of VmFlags."""
    profile: Any = processes.machine.profile
    bits = {text: bit for bit, text in mnemonics(profile).items()}
    return sum(bits.get(text, 0) for text in letters)


def flags_of_perms(area: MapsArea) -> int:
    """vm_flags as far as maps tells them."""
    flags = MAY
    for letter, bit in (("r", VM_READ), ("w", VM_WRITE), ("x", VM_EXEC)):
        flags |= bit if letter in area.perms else 0
    return flags | (VM_SHARED | VM_MAYSHARE if area.perms.endswith("s") else 0)


def add_area(mm: Any, names: Names, area: MapsArea, vm_flags: int) -> None:
    """An area of a snapshot."""
    shift = mm.machine.page_shift
    file = names.of_line(area) if area.name.startswith("/") else None
    name = None if file is not None or area.name in NAMES else area.name
    pgoff = area.offset >> shift if file is not None else area.start >> shift
    vma = vm_area_struct(mm, area.start, area.end, vm_flags, pgoff, file, name)
    if name is not None and not name.startswith("[anon"):
        vma.special = 1
    elif name is not None:
        vma.vm_name = name.removeprefix("[anon:").removesuffix("]")
    vma_link(vma)
    vm_stat_account(mm, vm_flags, (area.end - area.start) >> shift)


def read_stat(mm: Any, process: Process, stat: dict[str, str]) -> None:
    """The addresses that stat shows."""
    process.comm = stat["comm"]
    for field, name in (
        ("start_code", "startcode"), ("end_code", "endcode"), ("start_stack", "startstack"),
        ("start_data", "start_data"), ("end_data", "end_data"), ("start_brk", "start_brk"),
        ("arg_start", "arg_start"), ("arg_end", "arg_end"), ("env_start", "env_start"),
        ("env_end", "env_end"),
    ):  # fmt: skip
        setattr(mm, field, int(stat[name]))

"""/proc/PID/maps: the areas of a process.

Kernel: fs/proc/task_mmu.c, show_map_vma; get_vma_name from 6.7 on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mmtwin.kernel.mman import VM_EXEC, VM_MAYSHARE, VM_READ, VM_WRITE
from mmtwin.procfs.state import profile_of
from mmtwin.procfs.text import Lines, shortened
from mmtwin.versions.process_items import EXACT_HEAP, NAMED_SHMEM

FILE = "maps"
WIDTH = 72  # where names begin, less the space before them (seq_setwidth)
LINE = re.compile(
    r"([0-9a-f]{8,16})-([0-9a-f]{8,16}) ([r-][w-][x-][sp]) ([0-9a-f]{8,16}) "
    r"([0-9a-f]{2,3}:[0-9a-f]{2,5}) ([0-9]{1,20}) (.*)",
    re.ASCII | re.DOTALL,
)
VSYSCALL = 0xFFFFFFFFFF600000
PAGE = 4096


@dataclass(frozen=True)
class MapsArea:
    """An area: `start` <= address < `end`; `perms` "rw-p"; `offset` in its file, in bytes; `dev`
    "major:minor" in hexadecimal; `name` as printed: a path, "[heap]", "[anon:...]", or "".
    """

    start: int
    end: int
    perms: str
    offset: int = 0
    dev: str = "00:00"
    inode: int = 0
    name: str = ""

    def __str__(self) -> str:
        """The line as the kernel prints it, with its newline."""
        head = (
            f"{self.start:08x}-{self.end:08x} {self.perms} {self.offset:08x} {self.dev} "
            f"{self.inode} "
        )
        return f"{head:{WIDTH}} {self.name}\n" if self.name else f"{head}\n"


def parse(text: str | bytes) -> list[MapsArea]:
    """The areas of a /proc/PID/maps text. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    areas: list[MapsArea] = []
    while lines.peek() is not None:
        areas.append(parse_area(lines))
        if len(areas) > 1 and areas[-2].end > areas[-1].start:
            lines.fail("begins before the end of the area above it")
    return areas


def parse_area(lines: Lines) -> MapsArea:
    """One area's line."""
    line = lines.take("an area")
    found = LINE.fullmatch(line)
    if not found:
        lines.fail(f"no 'start-end perms offset dev inode name': {shortened(line)}")
    start, end, perms, offset, dev, inode, rest = found.groups()
    area = MapsArea(
        int(start, 16), int(end, 16), perms, int(offset, 16), dev,
        lines.unsigned(inode, "inode"), name=rest[max(WIDTH - found.start(7), 0) + 1 :],
    )  # fmt: skip
    if area.end <= area.start:
        lines.fail("ends before it begins")
    if str(area) != line + "\n":
        lines.fail(f"not as the kernel prints it: {shortened(line)}")
    return area


def format_maps(areas: list[MapsArea]) -> str:
    """The text of the file."""
    return "".join(map(str, areas))


def areas_of(mm: Any) -> Iterator[Any]:
    """The vm_area_structs of an mm_struct, by address."""
    vma = mm.tree.first() if mm.tree is not None else None
    while vma is not None:
        yield vma
        vma = mm.tree.next(vma)


def show(mm: Any) -> list[MapsArea]:
    """The areas of a process of the twin, and the gate area where it has one.

    `mm`: its mm_struct.
    """
    profile = profile_of(mm.machine)
    exact_heap, named_shmem = EXACT_HEAP.there(profile), NAMED_SHMEM.there(profile)
    shift = profile.page_size.bit_length() - 1
    areas = [shown(mm, vma, shift, exact_heap, named_shmem) for vma in areas_of(mm)]
    gate = gate_area(profile)
    return [*areas, gate] if gate else areas


def shown(mm: Any, vma: Any, shift: int, exact_heap: bool, named_shmem: bool) -> MapsArea:
    """One area of the twin."""
    flags, file = vma.vm_flags, vma.vm_file
    perms = "".join(
        letter if flags & bit else "-"
        for letter, bit in (("r", VM_READ), ("w", VM_WRITE), ("x", VM_EXEC))
    ) + ("s" if flags & VM_MAYSHARE else "p")  # fmt: skip
    name = name_of(mm, vma, exact_heap, named_shmem)
    if file is None:
        return MapsArea(vma.vm_start, vma.vm_end, perms, name=name)
    offset = vma.vm_pgoff << shift & (1 << 64) - 1
    return MapsArea(vma.vm_start, vma.vm_end, perms, offset, file.dev, file.ino, name)


def name_of(mm: Any, vma: Any, exact_heap: bool, named_shmem: bool) -> str:
    """What stands behind an area: get_vma_name."""
    given = vma.vm_name
    if vma.vm_file is not None:
        if given and named_shmem:
            return f"[anon_shmem:{given}]"
        return str(vma.vm_file.path).replace("\n", "\\012")
    if given and given.startswith("["):  # of a special mapping: vm_ops->name
        return str(given)
    if is_heap(mm, vma, exact_heap):
        return "[heap]"
    if vma.vm_start <= mm.start_stack <= vma.vm_end:
        return "[stack]"
    return f"[anon:{given}]" if given else ""


def is_heap(mm: Any, vma: Any, exact: bool) -> bool:
    """vma_is_initial_heap; until 6.6 areas that only touch the heap are it, too."""
    if exact:
        return bool(vma.vm_start < mm.brk and vma.vm_end > mm.start_brk)
    return bool(vma.vm_start <= mm.brk and vma.vm_end >= mm.start_brk)


def gate_area(profile: Any) -> MapsArea | None:
    """The vsyscall page of x86-64: shown where it can be executed (vsyscall=xonly and emulate);
    arch/x86/entry/vsyscall/vsyscall_64.c, get_gate_vma.
    """
    mode = profile.cmdline.get("vsyscall", default_mode(profile))
    if profile.arch != "x86_64" or mode == "none":
        return None
    perms = "r-xp" if mode == "emulate" else "--xp"
    return MapsArea(VSYSCALL, VSYSCALL + PAGE, perms, name="[vsyscall]")


def default_mode(profile: Any) -> str:
    """What vsyscall= is without the option."""
    if profile.on("LEGACY_VSYSCALL_XONLY"):
        return "xonly"
    return "emulate" if profile.on("LEGACY_VSYSCALL_EMULATE") else "none"

"""/proc/vmallocinfo: the areas of vmalloc space.

Kernel: mm/vmalloc.c, s_show; vmalloc_info_show from 6.9 on.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mmtwin.kernel.vmalloc_defs import (
    VM_ALLOC,
    VM_DMA_COHERENT,
    VM_IOREMAP,
    VM_MAP,
    VM_SPARSE,
    VM_UNINITIALIZED,
    VM_USERMAP,
)
from mmtwin.procfs.state import mm_of
from mmtwin.procfs.text import Lines, shortened

FILE = "vmallocinfo"
# In the order of printing; `sparse` from 6.9 on.
FLAGS = ("ioremap", "sparse", "vmalloc", "vmap", "user", "dma-coherent", "vpages")
BITS = (VM_IOREMAP, VM_SPARSE, VM_ALLOC, VM_MAP, VM_USERMAP, VM_DMA_COHERENT)
# Areas without a struct vm_struct: mapped by vm_map_ram(), or freed and not yet flushed.
BARE = ("vm_map_ram", "unpurged vm_area")


@dataclass(frozen=True)
class VmallocArea:
    """An area.

    `start` and `end` are words as printed: `0xffffc90000000000`, or `0x(____ptrval____)` where the
    kernel hides addresses; `addresses` has them as numbers. `size` in bytes, the guard page
    included. `caller`: symbol+offset/size, None if unknown. `pages`: None if it has none
    of its own. `phys`: physical address of an ioremap. `nodes`: pages by NUMA node. `bare`:
    one of BARE, then nothing follows.
    """

    start: str
    end: str
    size: int
    caller: str | None = None
    pages: int | None = None
    phys: int | None = None
    flags: tuple[str, ...] = ()
    nodes: dict[int, int] = field(default_factory=dict)
    bare: str = ""

    @property
    def addresses(self) -> tuple[int, int] | None:
        """First address and the one behind the last; None where they are hidden."""
        try:
            return int(self.start, 16), int(self.end, 16)
        except ValueError:
            return None

    def __str__(self) -> str:
        """The line as the kernel prints it, with its newline."""
        words = [f"{self.start}-{self.end} {self.size:>7}"]
        if self.bare:
            words.append(self.bare)
        if self.caller is not None:
            words.append(self.caller)
        if self.pages is not None:
            words.append(f"pages={self.pages}")
        if self.phys is not None:
            words.append(f"phys={self.phys:#018x}")
        words += self.flags
        words += [f"N{node}={pages}" for node, pages in self.nodes.items()]
        return " ".join(words) + "\n"


def parse(text: str | bytes) -> list[VmallocArea]:
    """The areas of a /proc/vmallocinfo text. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    areas = []
    while lines.peek() is not None:
        areas.append(parse_area(lines))
    return areas


def parse_area(lines: Lines) -> VmallocArea:
    """One area's line."""
    line = lines.take("an area")
    words = line.split()
    if len(words) < 2 or "-" not in words[0]:
        lines.fail(f"no 'start-end size': {shortened(line)}")
    start, _, end = words[0].partition("-")
    size = lines.unsigned(words[1], "size")
    rest = words[2:]
    if " ".join(rest) in BARE:
        return VmallocArea(start, end, size, bare=" ".join(rest))
    nodes: list[tuple[int, int]] = []
    while rest and rest[-1].startswith("N") and "=" in rest[-1]:
        node, _, pages = rest.pop()[1:].partition("=")
        nodes.insert(0, (lines.unsigned(node, "node"), lines.unsigned(pages, "number of pages")))
    flags: list[str] = []
    while rest and rest[-1] in FLAGS:
        flags.insert(0, rest.pop())
    phys = parse_phys(lines, rest.pop()) if rest and rest[-1].startswith("phys=") else None
    count = None
    if rest and rest[-1].startswith("pages="):
        count = lines.unsigned(rest.pop()[len("pages=") :], "number of pages")
    # What is left names the caller: `symbol+offset/size`, and a module's name in brackets.
    if len(rest) > 2 or (len(rest) == 2 and not rest[1].startswith("[")):
        lines.fail(f"unknown words: {shortened(' '.join(rest))}")
    caller = " ".join(rest) or None
    return VmallocArea(start, end, size, caller, count, phys, tuple(flags), dict(nodes))


def parse_phys(lines: Lines, word: str) -> int:
    """A physical address printed with %pa."""
    digits = word.removeprefix("phys=0x")
    if len(digits) > 16 or not digits or set(digits) - set("0123456789abcdef"):
        lines.fail(f"{shortened(word)} is no physical address")
    return int(digits, 16)


def format_vmallocinfo(areas: list[VmallocArea]) -> str:
    """The text of the file."""
    return "".join(str(area) for area in areas)


def show(machine: Any, recorded: Iterable[VmallocArea] = ()) -> list[VmallocArea]:
    """The areas of the twin's: a `Machine` or its MM. Those that are in use, then those that were
    freed and not purged yet (s_show, show_purge_info).

    `recorded`: rows of the kernel whose state the machine began with. Of its areas the twin knows
    no more than where they lie.
    """
    mm = mm_of(machine)
    state = mm.vmalloc
    if state is None:
        return list(recorded)
    known = {row.addresses: row for row in recorded if row.bare != BARE[1]}
    lines = (
        shown(mm, area) if area.vm or area.ram or (area.start, area.end) not in known
        else known[area.start, area.end]
        for area in state.busy()
    )
    areas = [line for line in lines if line is not None]
    if areas or state.by_nodes:
        areas += [bare(area, BARE[1]) for area in state.lazy()]
    return areas


def shown(mm: Any, area: Any) -> VmallocArea | None:
    """A busy area, None if the kernel does not show it: from 6.9 on only those of vm_map_ram()
    may have no vm_struct, and those that are not ready are left out.
    """
    vm, by_nodes = area.vm, mm.vmalloc.by_nodes
    if vm is None:
        return bare(area, BARE[0]) if area.ram or not by_nodes else None
    if by_nodes and vm.flags & VM_UNINITIALIZED:
        return None
    flags = [name for name, bit in zip(FLAGS, BITS, strict=False) if vm.flags & bit]
    if mm.vmalloc_start <= vm.pages < mm.vmalloc_end:
        flags.append("vpages")
    nodes: Counter[int] = Counter()
    if mm.view("has")[0].numa and not vm.flags & VM_UNINITIALIZED and vm.pfns:
        numbers = mm.view("page")["zone"][vm.pfns] // mm.nr_zone_types
        nodes.update(numbers.tolist())
    return VmallocArea(
        *words(area),
        caller=vm.caller or None,
        pages=len(vm.pfns) or None,
        phys=vm.phys or None,
        flags=tuple(flags),
        nodes=dict(sorted(nodes.items())),
    )


def words(area: Any) -> tuple[str, str, int]:
    """Start, end and size as they are printed."""
    return f"{area.start:#018x}", f"{area.end:#018x}", area.end - area.start


def bare(area: Any, what: str) -> VmallocArea:
    """An area of which only its addresses are shown."""
    return VmallocArea(*words(area), bare=what)

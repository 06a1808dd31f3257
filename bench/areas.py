"""What a process's areas cost as they become many: `make bench-areas`.

For 10 to 10,000 areas in the trees of three kernels: the nodes that find_vma() and mmap() come to,
and the time that they take here. Prints a table and draws docs/areas.svg.
"""

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from mmtwin.draw.svg import course, document, line, text
from mmtwin.kernel.fork_mm import make_tree
from mmtwin.kernel.mm_types import mm_struct
from mmtwin.kernel.mman import VM_WRITE
from mmtwin.kernel.mmap import sys_mmap
from mmtwin.kernel.munmap import do_munmap
from mmtwin.kernel.unmapped_area import setup_mmap_base
from mmtwin.kernel.vma_tree import mm_find_vma
from mmtwin.machine import Machine
from mmtwin.report.table import FigureTable

TREES = (
    ("x86_64-5.10", "red-black tree (5.10)", "c0"),
    ("x86_64-6.1", "maple tree (6.1)", "c1"),
    ("x86_64-7.3", "maple tree (7.3)", "c4"),
)
COUNTS = (10, 30, 100, 300, 1000, 3000, 10000)
PAGE = 4096
LOOKUPS, CALLS = 20000, 200
READ, RW, PRIVATE_ANONYMOUS = 1, 3, 0x22
PICTURE = Path(__file__).parents[1] / "docs" / "areas.svg"
WIDTH, HEIGHT = 790, 470
PANELS = (
    ("find_vma(): nodes visited", "find_nodes"),
    ("find_vma(): nanoseconds", "find_ns"),
    ("mmap(): nodes visited", "mmap_nodes"),
    ("mmap(): microseconds", "mmap_us"),
)


@dataclass
class Cost:
    """What one lookup and one mmap() of a page cost with so many areas."""

    areas: int
    find_nodes: float
    find_ns: float
    mmap_nodes: float
    mmap_us: float


def space(profile: str) -> Any:
    """An address space without areas."""
    mm: Any = mm_struct(Machine.boot(profile, memory="64M").mm)
    mm.task_size = (1 << 47) - PAGE
    make_tree(mm)
    setup_mmap_base(mm, mm.rlimits[3])
    return mm


def grow(mm: Any, areas: int) -> None:
    """Maps pages until there are so many areas; every other may not be written, so none merge."""
    for number in range(mm.map_count, areas):
        sys_mmap(mm, None, 0, PAGE, RW if number % 2 else READ, PRIVATE_ANONYMOUS, 0)
    assert mm.map_count == areas


def best(call: Callable[[], None], times: int) -> float:
    """The shortest of three times that many calls took, in seconds for one."""
    found = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found) / times


def cost(mm: Any, draw: random.Random) -> Cost:
    """Measures one address space as it is."""
    areas = [vma.vm_start for vma in mm.tree]
    addresses = [draw.choice(areas) for _ in range(LOOKUPS)]

    def lookups() -> None:
        for address in addresses:
            mm_find_vma(mm, address)

    holes = [draw.choice(areas) for _ in range(CALLS)]

    def maps() -> None:
        # an area goes and comes back, where nothing else fits
        for hole in holes:
            prot = RW if mm.tree.find_vma(hole).vm_flags & VM_WRITE else READ
            do_munmap(mm, hole, PAGE)
            sys_mmap(mm, None, 0, PAGE, prot, PRIVATE_ANONYMOUS, 0)

    before = mm.tree.visits
    lookups()
    find_nodes = (mm.tree.visits - before) / LOOKUPS
    before = mm.tree.visits
    maps()
    mmap_nodes = (mm.tree.visits - before) / CALLS
    find_ns = best(lookups, LOOKUPS) * 1e9
    mmap_us = best(maps, CALLS) * 1e6
    return Cost(mm.map_count, find_nodes, find_ns, mmap_nodes, mmap_us)


def measure(profile: str) -> list[Cost]:
    """The costs in one kernel's tree."""
    mm, found = space(profile), []
    for areas in COUNTS:
        grow(mm, areas)
        found.append(cost(mm, random.Random(areas)))
    return found


def panel(x: int, y: int, title: str, curves: list[tuple[list[float], str]]) -> list[str]:
    """One plot: areas across (each step three times as many), costs up from nothing."""
    width, height = 300, 130
    top = max(value for values, _ in curves for value in values) * 1.1
    parts = [text(x, y - 8, title, "ink"), line(x, y + height, x + width, y + height)]
    for share in (0.5, 1):
        level = y + height * (1 - share / 1.1)
        parts += [line(x, level, x + width, level),
                  text(x - 6, level + 4, f"{top / 1.1 * share:.3g}", "dim end")]
    step = width / (len(COUNTS) - 1)
    for place, count in enumerate(COUNTS):
        if place % 2 == 0:
            parts.append(text(x + place * step - 8, y + height + 16, f"{count:,}", "dim"))
    for values, colour in curves:
        points = [(x + place * step, y + height * (1 - value / top))
                  for place, value in enumerate(values)]
        parts.append(course(points, colour))
    return parts


def picture(found: dict[str, list[Cost]]) -> str:
    """The four plots as the text of an SVG file."""
    title = "Areas by address: what a lookup and an mmap() cost with 10 to 10,000 areas"
    parts = [text(20, 30, title, "ink big")]
    for place, (_, name, colour) in enumerate(TREES):
        parts.append(line(20 + place * 220, 54, 44 + place * 220, 54, colour))
        parts.append(text(52 + place * 220, 58, name, "ink"))
    for place, (words, field) in enumerate(PANELS):
        x, y = 60 + place % 2 * 370, 100 + place // 2 * 190
        curves = [([getattr(one, field) for one in found[profile]], colour)
                  for profile, _, colour in TREES]
        parts += panel(x, y, words, curves)
    note = "an mmap() of one page, with the munmap() before it"
    parts.append(text(20, HEIGHT - 12, note, "dim"))
    return document(WIDTH, HEIGHT, title, parts)


def main() -> int:
    """Measures, prints and draws; the exit status: 1 where visits do not stay logarithmic."""
    found = {profile: measure(profile) for profile, _, _ in TREES}
    columns = (">areas", ">find: nodes", ">ns", ">mmap: nodes", ">us")
    table = FigureTable("areas by address", "tree", *columns)
    failed = False
    for profile, name, _ in TREES:
        for one in found[profile]:
            table.add_row(name, f"{one.areas:,}", f"{one.find_nodes:.1f}", f"{one.find_ns:.0f}",
                          f"{one.mmap_nodes:.1f}", f"{one.mmap_us:.0f}")
        first, last = found[profile][2], found[profile][-1]
        failed |= last.find_nodes > 2 * first.find_nodes + 4
        failed |= last.mmap_nodes > 2 * first.mmap_nodes + 8
    Console(highlight=False).print(table)
    PICTURE.write_text(picture(found))
    if failed:
        print("failed: more nodes visited than the logarithm of the areas", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

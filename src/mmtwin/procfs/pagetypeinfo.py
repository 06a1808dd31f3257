"""/proc/pagetypeinfo: free blocks by migratetype, and pageblocks.

Kernel: mm/vmstat.c, pagetypeinfo_show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmtwin.procfs.state import (
    ZonePlace,
    free_list_head,
    list_length,
    mm_of,
    pageblocks,
    populated,
    profile_of,
)
from mmtwin.procfs.text import Lines, shortened

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM

FILE = "pagetypeinfo"
FREE_TITLE = "Free pages count per migrate type at order"
BLOCKS_TITLE = "Number of blocks type"
MIXED_TITLE = "Number of mixed blocks"
# A list is counted up to here and then shown with a `>` (93b3a674485f, 5.4).
MOST_COUNTED = 100_000


@dataclass(frozen=True)
class FreeRow:
    """A zone's free lists of one migratetype: `free[order]` blocks.

    `capped`: the orders shown with a `>`, whose lists hold at least that many.
    """

    node: int
    zone: str
    type: str
    free: tuple[int, ...]
    capped: frozenset[int] = frozenset()

    def __str__(self) -> str:
        """The line as the kernel prints it, with its newline."""
        counts = "".join(
            f"{'>' if order in self.capped else ''}{count:>6} "
            for order, count in enumerate(self.free)
        )
        return f"Node {self.node:>4}, zone {self.zone:>8}, type {self.type:>12} {counts}\n"


@dataclass(frozen=True)
class BlockRow:
    """A zone's pageblocks by migratetype, in the order of `PageTypeInfo.types`."""

    node: int
    zone: str
    blocks: tuple[int, ...]

    def __str__(self) -> str:
        """The line as the kernel prints it, with its newline."""
        counts = "".join(f"{count:>12} " for count in self.blocks)
        return f"Node {self.node}, zone {self.zone:>8} {counts}\n"


@dataclass(frozen=True)
class PageTypeInfo:
    """What the file says of one node.

    `types`: the migratetypes by name. `mixed` only where CONFIG_PAGE_OWNER is on and used: blocks
    that hold pages of another type.
    """

    pageblock_order: int
    pageblock_pages: int
    nr_orders: int
    types: tuple[str, ...]
    free: tuple[FreeRow, ...]
    blocks: tuple[BlockRow, ...]
    mixed: tuple[BlockRow, ...] | None = None

    def __str__(self) -> str:
        """The text as the kernel prints it."""
        orders = "".join(f"{order:>6} " for order in range(self.nr_orders))
        text = (
            f"Page block order: {self.pageblock_order}\n"
            f"Pages per block:  {self.pageblock_pages}\n\n"
            f"{FREE_TITLE:<43} {orders}\n" + "".join(str(row) for row in self.free)
        )
        names = "".join(f"{name:>12} " for name in self.types)
        text += f"\n{BLOCKS_TITLE + ' ':<23}{names}\n" + "".join(str(row) for row in self.blocks)
        if self.mixed is not None:
            text += f"\n{MIXED_TITLE + ' ':<23}{names}\n" + "".join(str(row) for row in self.mixed)
        return text


def parse(text: str | bytes) -> list[PageTypeInfo]:
    """The nodes of a /proc/pagetypeinfo text. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    nodes = []
    while lines.peek() is not None:
        nodes.append(parse_node(lines))
    return nodes


def parse_node(lines: Lines) -> PageTypeInfo:
    """One node, from 'Page block order' to the next one or to the end."""
    order = labelled(lines, "Page block order:")
    pages = labelled(lines, "Pages per block:")
    blank(lines)
    orders = title(lines, FREE_TITLE)
    if orders != [str(number) for number in range(len(orders))]:
        lines.fail("the orders should count from 0")
    free = []
    while (lines.peek() or "").startswith("Node"):
        free.append(parse_free(lines, len(orders)))
    blank(lines)
    types = tuple(title(lines, BLOCKS_TITLE))
    blocks = parse_blocks(lines, len(types))
    mixed = None
    if lines.peek() == "":
        blank(lines)
        if tuple(title(lines, MIXED_TITLE)) != types:
            lines.fail("the mixed blocks have other types")
        mixed = parse_blocks(lines, len(types))
    return PageTypeInfo(order, pages, len(orders), types, tuple(free), blocks, mixed)


def labelled(lines: Lines, label: str) -> int:
    """The number behind a label."""
    line = lines.take(f"'{label}'")
    if not line.startswith(label):
        lines.fail(f"'{label}' expected: {shortened(line)}")
    return lines.unsigned(line[len(label) :].strip(), "number")


def blank(lines: Lines) -> None:
    """The empty line between sections."""
    line = lines.take("an empty line")
    if line.strip():
        lines.fail(f"an empty line expected: {shortened(line)}")


def title(lines: Lines, text: str) -> list[str]:
    """The names of the columns behind a section's title."""
    line = lines.take(f"'{text}'")
    if not line.startswith(text + " "):
        lines.fail(f"'{text}' expected: {shortened(line)}")
    return line[len(text) :].split()


def parse_free(lines: Lines, nr_orders: int) -> FreeRow:
    """One `Node N, zone NAME, type NAME counts` line."""
    line = lines.take("a free list")
    words = line.replace(",", " ").split()
    if len(words) != 6 + nr_orders or words[0:5:2] != ["Node", "zone", "type"]:
        lines.fail(f"no 'Node N, zone NAME, type NAME' and {nr_orders} counts: {shortened(line)}")
    node = lines.unsigned(words[1], "node number")
    counts = words[6:]
    capped = frozenset(order for order, word in enumerate(counts) if word.startswith(">"))
    free = tuple(lines.unsigned(word.removeprefix(">"), "number of blocks") for word in counts)
    return FreeRow(node, words[3], words[5], free, capped)


def parse_blocks(lines: Lines, nr_types: int) -> tuple[BlockRow, ...]:
    """The `Node N, zone NAME counts` lines of a section."""
    rows = []
    while (lines.peek() or "").startswith("Node"):
        line = lines.take("a zone")
        words = line.replace(",", " ").split()
        if len(words) != 4 + nr_types or words[2] != "zone":
            lines.fail(f"no 'Node N, zone NAME' and {nr_types} counts: {shortened(line)}")
        node = lines.unsigned(words[1], "node number")
        counts = tuple(lines.unsigned(word, "number of pageblocks") for word in words[4:])
        rows.append(BlockRow(node, words[3], counts))
    return tuple(rows)


def format_pagetypeinfo(nodes: list[PageTypeInfo]) -> str:
    """The text of the file."""
    return "".join(str(node) for node in nodes)


def show(machine: Any) -> list[PageTypeInfo]:
    """The twin's nodes: a `Machine` or its MM. Lists are counted up to MOST_COUNTED, as shown."""
    mm = mm_of(machine)
    types = tuple(profile_of(mm).migratetypes)
    nodes = []
    for node in range(mm.nr_nodes):
        zones = [place for place in populated(mm) if place.node == node]
        if not zones:
            continue
        free = [
            free_row(mm, place, migratetype, name)
            for place in zones
            for migratetype, name in enumerate(types)
        ]
        blocks = [
            BlockRow(node, place.name, tuple(int(n) for n in pageblocks(mm, place.number)))
            for place in zones
        ]
        order = mm.pageblock_order
        nodes.append(
            PageTypeInfo(order, 1 << order, mm.nr_orders, types, tuple(free), tuple(blocks))
        )
    return nodes


def free_row(mm: MM, place: ZonePlace, migratetype: int, name: str) -> FreeRow:
    """A zone's free lists of one migratetype."""
    following = mm.view("page")["next"]
    counts = tuple(
        list_length(following, free_list_head(mm, place.number, order, migratetype), MOST_COUNTED)
        for order in range(mm.nr_orders)
    )
    capped = frozenset(order for order, count in enumerate(counts) if count == MOST_COUNTED)
    return FreeRow(place.node, place.name, name, counts, capped)

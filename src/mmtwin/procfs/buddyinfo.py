"""/proc/buddyinfo: free blocks of each zone by order (mm/vmstat.c, frag_show_print)."""

from dataclasses import dataclass
from typing import Any

from mmtwin.procfs.state import free_blocks, mm_of, populated
from mmtwin.procfs.text import Lines, shortened

FILE = "buddyinfo"


@dataclass(frozen=True)
class BuddyRow:
    """A zone's line: `free[order]` is the number of free blocks of `1 << order` pages."""

    node: int
    zone: str
    free: tuple[int, ...]

    def __str__(self) -> str:
        """The line as the kernel prints it, with its newline."""
        counts = "".join(f"{count:>6} " for count in self.free)
        return f"Node {self.node}, zone {self.zone:>8} {counts}\n"


def parse(text: str | bytes) -> list[BuddyRow]:
    """The zones of a /proc/buddyinfo text. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    rows: list[BuddyRow] = []
    while lines.peek() is not None:
        rows.append(parse_row(lines))
        if len(rows[-1].free) != len(rows[0].free):
            lines.fail("the zones have different numbers of orders")
    return rows


def parse_row(lines: Lines) -> BuddyRow:
    """One `Node N, zone NAME count count ...` line."""
    words = lines.take("a zone").split()
    if len(words) < 5 or words[0] != "Node" or words[1][-1] != "," or words[2] != "zone":
        lines.fail(f"no 'Node N, zone NAME counts': {shortened(' '.join(words))}")
    node = lines.unsigned(words[1][:-1], "node number")
    free = tuple(lines.unsigned(word, "number of free blocks") for word in words[4:])
    return BuddyRow(node, words[3], free)


def format_buddyinfo(rows: list[BuddyRow]) -> str:
    """The text of the file."""
    return "".join(str(row) for row in rows)


def show(machine: Any) -> list[BuddyRow]:
    """The twin's zones: a `Machine` or its MM."""
    mm = mm_of(machine)
    return [
        BuddyRow(place.node, place.name, free_blocks(mm, place.number)) for place in populated(mm)
    ]

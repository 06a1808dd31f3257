"""A call's code flow as a picture: the kernel's call tree, the path that was taken marked, the
branches not taken beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmtwin.draw.svg import box, document, legend, line, text

WIDTH, TOP, ROW, STEP, LEFT = 1060, 96, 26, 20, 24
LETTER = 6.9  # about a letter's width
BOX = 20
LEGEND = (("c0", "called"), ("c3", "what is found or decided there"), ("rule", "not called"))


@dataclass(frozen=True)
class Row:
    """One line of the picture; `parent`: the row it hangs below, -1 for none."""

    name: str
    words: str
    depth: int
    parent: int
    taken: bool
    note: bool


def rows_of(tree: Sequence[Mapping[str, Any]], depth: int = 0, parent: int = -1) -> list[Row]:
    """The rows of a tree: {name, text, note, taken, children} each. What lies below a branch that
    was not taken is left out, and such a branch itself beside one of the same name.
    """
    rows: list[Row] = []

    def add(nodes: Sequence[Mapping[str, Any]], depth: int, parent: int) -> None:
        went = {node["name"] for node in nodes if node["taken"]}
        for node in nodes:
            if not node["taken"]:
                if node["name"] in went:
                    continue
                went.add(node["name"])
            name = node["name"] if node["note"] else f"{node['name']}()"
            words = node["text"] if node["taken"] else ""
            rows.append(Row(name, words, depth, parent, node["taken"], node["note"]))
            if node["taken"]:
                add(node["children"], depth + 1, len(rows) - 1)

    add(tree, depth, parent)
    return rows


def flow_svg(title: str, subtitle: str, tree: Sequence[Mapping[str, Any]]) -> str:
    """The picture, as the text of an SVG file."""
    rows = rows_of(tree)
    longest = max(
        LEFT + row.depth * STEP + LETTER * (len(row.name) + len(row.words)) + 60 for row in rows
    )
    width = int(min(max(WIDTH, longest), 1500))
    height = TOP + ROW * len(rows) + 30
    parts = [
        text(20, 30, title, "ink big"),
        text(20, 52, subtitle, "dim"),
        *legend(LEGEND, 20, 64),
        *links(rows),
    ]
    for number, row in enumerate(rows):
        parts += drawn(row, TOP + number * ROW, width)
    return document(width, height, title, parts)


def links(rows: Sequence[Row]) -> Iterator[str]:
    """The lines from each function to what it calls; those of the path drawn last."""
    for taken in (False, True):
        for number, row in enumerate(rows):
            if row.parent < 0 or row.taken != taken:
                continue
            above = rows[row.parent]
            x = LEFT + above.depth * STEP + 8
            y = TOP + number * ROW + BOX / 2
            colour = "c0" if taken else "rule"
            yield line(x, TOP + row.parent * ROW + BOX, x, y, colour)
            yield line(x, y, LEFT + row.depth * STEP, y, colour)


def drawn(row: Row, y: float, width: int) -> Iterator[str]:
    """One row: a box with the name, then the words."""
    x = float(LEFT + row.depth * STEP)
    size = LETTER * len(row.name) + 14
    colour = "rule" if not row.taken else "c3" if row.note else "c0"
    hint = row.words or ("not taken" if not row.taken else "")
    if row.taken and not row.note:
        yield box(x, y, 4, BOX, "c0")
        yield box(x + 4, y, size - 4, BOX, "c3", hint)
        yield text(x + 9, y + 14, row.name, "ink")
    else:
        yield box(x, y, 4, BOX, colour, hint)
        yield text(x + 9, y + 14, row.name, "ink" if row.taken else "dim")
    if row.words:
        start = x + size + 10
        room = int((width - start - 10) / 6.2)
        words = row.words if len(row.words) <= room else row.words[: max(room - 1, 0)] + "…"
        yield text(start, y + 14, words, "dim")

"""A table that never loses a number: where the width is short, only the first column gives way."""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions
from rich.text import Text

GAP = 2
ELLIPSIS = "…"
NARROWEST = 12  # what the first column keeps, whatever the width


class FigureTable:
    """Rows of figures under a title; a rich renderable.

    `columns`: titles, with ">" before those of numbers, which stand to the right.
    """

    def __init__(self, title: str, *columns: str) -> None:
        self.title = title
        self.columns = columns
        self.rows: list[list[Text]] = []

    def add_row(self, *cells: str | Text, style: str = "") -> None:
        """Adds a row, one cell for each column."""
        self.rows.append([Text(c, style) if isinstance(c, str) else c for c in cells])

    def widths(self, width: int) -> list[int]:
        """Columns' widths for a line of `width`."""
        cells = [[Text(column.removeprefix(">")) for column in self.columns], *self.rows]
        widest = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
        room = width - sum(widest[1:]) - GAP * (len(widest) - 1)
        return [min(widest[0], max(NARROWEST, room)), *widest[1:]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        widths = self.widths(options.max_width)
        yield Text()
        yield Text(self.title, "bold", overflow="fold")
        if any(self.columns):
            header = [Text(column.removeprefix(">"), "dim") for column in self.columns]
            yield self._line(header, widths)
        for row in self.rows:
            yield self._line(row, widths)

    def _line(self, cells: Sequence[Text], widths: Sequence[int]) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        for place, (cell, width, column) in enumerate(
            zip(cells, widths, self.columns, strict=True)
        ):
            cell = cell.copy()
            cell.truncate(width, overflow="ellipsis")
            padding = width - cell.cell_len
            if column.startswith(">"):
                cell.pad_left(padding)
            else:
                cell.pad_right(padding)
            if place:
                line.append(" " * GAP)
            line.append_text(cell)
        line.rstrip()
        return line

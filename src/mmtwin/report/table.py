"""A table that never loses a number: where the width is short, titles are stacked word by word
and the first column gives way.
"""

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

    def widths(self, width: int, stacked: bool = False) -> list[int]:
        """Columns' widths for a line of `width`; `stacked`: titles a word a line."""
        titles = [max(map(len, words)) for words in self.titles(stacked)]
        widest = [max(title, *(row[place].cell_len for row in self.rows), 0)
                  for place, title in enumerate(titles)]  # fmt: skip
        room = width - sum(widest[1:]) - GAP * (len(widest) - 1)
        if room < min(widest[0], NARROWEST) and not stacked:
            return self.widths(width, True)
        return [min(widest[0], max(NARROWEST, room)), *widest[1:]]

    def titles(self, stacked: bool) -> list[list[str]]:
        """The columns' titles by lines."""
        plain = [column.removeprefix(">") for column in self.columns]
        return [title.split() or [""] if stacked else [title] for title in plain]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        widths = self.widths(options.max_width)
        yield Text()
        yield Text(self.title, "bold", overflow="fold")
        if any(self.columns):
            whole = [words[0] for words in self.titles(False)][1:]
            titles = self.titles(any(map(lambda w, t: len(t) > w, widths[1:], whole)))
            deepest = max(map(len, titles))
            for level in range(deepest):
                words = ([""] * (deepest - len(each)) + each for each in titles)
                yield self._line([Text(each[level], "dim") for each in words], widths)
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

"""Objects of a machine as notebooks show them: tables of HTML."""

from collections.abc import Iterable


def html_table(title: str, rows: Iterable[Iterable[object]]) -> str:
    """A table under a title; the first cell of each row is its name."""
    from html import escape

    lines = [f"<table><caption>{escape(title)}</caption>"]
    for name, *values in rows:
        cells = "".join(f"<td><code>{escape(str(value))}</code></td>" for value in values)
        lines.append(f"<tr><th>{escape(str(name))}</th>{cells}</tr>")
    return "".join([*lines, "</table>"])

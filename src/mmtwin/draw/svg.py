"""Hand-made SVG: text, boxes and lines as strings, readable on a light and on a dark page."""

from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

FONT = "ui-sans-serif, system-ui, 'DejaVu Sans', sans-serif"
# class: (on light, on dark); eight hues that keep apart for colour-blind eyes
COLOURS = {
    "page": ("#ffffff", "#15191e"),
    "ink": ("#1b1f24", "#e6e9ee"),
    "dim": ("#5b6570", "#9aa4af"),
    "rule": ("#d4d9df", "#3a424b"),
    "c0": ("#3a6ea5", "#6fa8dc"),
    "c1": ("#d98c3f", "#e9ab67"),
    "c2": ("#8a8f98", "#7b828c"),
    "c3": ("#c9d6e4", "#34506b"),
    "c4": ("#4f9a6b", "#78c294"),
    "c5": ("#a8567a", "#d489a9"),
    "c6": ("#7566b0", "#a598dc"),
    "c7": ("#b7a53a", "#d8c866"),
}

# What letters take of a line in the widest of those fonts, in pixels at 12px; others MIDDLE.
WIDTHS = {"iljI.,:;'|!": 3.6, "ftr()[]/- ": 4.6, "mwMW%@": 11.0}
LETTERS = {letter: width for letters, width in WIDTHS.items() for letter in letters}
MIDDLE = 7.5


def _rules(column: int) -> str:
    return "".join(
        f".{name}{{fill:{colours[column]}}}.{name}-line{{stroke:{colours[column]}}}"
        for name, colours in COLOURS.items()
    )


def document(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    """A whole SVG file; `title` is what a screen reader says."""
    style = (
        f"text{{font:12px {FONT}}}.big{{font-size:15px;font-weight:600}}"
        f".end{{text-anchor:end}}polyline{{fill:none;stroke-width:1.8}}line{{stroke-width:1}}"
        f"{_rules(0)}@media(prefers-color-scheme:dark){{{_rules(1)}}}"
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label={quoteattr(title)}>'
    )
    # Viewers that know no dark mode, or show it on white, would hide half of the words.
    page = f'<rect width="{width}" height="{height}" class="page"/>'
    body = "\n".join((page, *parts))
    return f"{head}\n<title>{escape(title)}</title>\n<style>{style}</style>\n{body}\n</svg>\n"


def text(x: float, y: float, words: str, classes: str = "ink") -> str:
    """Words at a point; classes `end` and `big` set them to its left, and larger."""
    return f'<text x="{x:g}" y="{y:g}" class="{classes}">{escape(words)}</text>'


def width_of(words: str) -> float:
    """About how many pixels words take, rather too many than too few."""
    return sum(LETTERS.get(letter, MIDDLE) for letter in words)


def legend(
    entries: Iterable[tuple[str, str]], x: float, y: float, right: float = float("inf")
) -> Iterator[str]:
    """(colour, words) side by side, in rows from `y` on that end before `right`."""
    left = x
    for colour, words in entries:
        wide = width_of(words)
        if x > left and x + 18 + wide > right:
            x, y = left, y + 18
        yield box(x, y, 12, 12, colour)
        yield text(x + 18, y + 10, words, "dim")
        x += 18 + wide + 16


def box(x: float, y: float, width: float, height: float, colour: str, hint: str = "") -> str:
    """A filled box; `hint` shows when the pointer rests on it."""
    inner = f"<title>{escape(hint)}</title>" if hint else ""
    size = f'width="{width:.2f}" height="{height:.2f}"'
    return f'<rect x="{x:.2f}" y="{y:.2f}" {size} class="{colour}">{inner}</rect>'


def line(x1: float, y1: float, x2: float, y2: float, colour: str = "rule") -> str:
    """A straight line."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{colour}-line"/>'


def course(points: Sequence[tuple[float, float]], colour: str) -> str:
    """A line through points."""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" class="{colour}-line"/>'

"""Layouts of page->flags as a picture: bars of 32 or 64 bits to scale, and the flags by bit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmtwin.draw.svg import box, document, line, text
from mmtwin.versions.page_flag_layout import PageFlagLayout

LEFT, BAR, HEIGHT = 20, 832, 24
WIDTH = BAR + 2 * LEFT
COLOURS = {
    "section": "c6", "node": "c0", "zone": "c4", "lastcpupid": "c1", "kasantag": "c5",
    "lru_gen": "c7", "lru_refs": "c2", "unused": "rule", "flags": "c3",
}  # fmt: skip
LABEL = 7.2  # px that a letter takes
ROW = 112
COLUMNS = 4


@dataclass(frozen=True)
class Bar:
    """One layout: what it is called, the configuration, and a word that lies in it."""

    title: str
    about: str
    layout: PageFlagLayout
    value: int | None = None


def page_flags_svg(title: str, bars: Sequence[Bar]) -> str:
    """The picture, as the text of an SVG file; the first bar's flags are listed below."""
    parts = [text(LEFT, 28, title, "ink big")]
    y = 46.0
    for bar in bars:
        parts += draw_bar(bar, y)
        y += ROW
    parts += flag_list(bars[0], y + 18)
    rows = -(-len(bars[0].layout.flags) // COLUMNS)
    return document(WIDTH, int(y + 54 + 20 * rows), title, parts)


def segments(layout: PageFlagLayout) -> list[tuple[str, int, int]]:
    """(name, first bit, bits) of a whole word from the top down."""
    found = list(layout.fields)
    unused = layout.lowest - len(layout.flags)
    if unused:
        found.append(("unused", len(layout.flags), unused))
    return [*found, ("flags", 0, len(layout.flags))]


def draw_bar(bar: Bar, top: float) -> Iterator[str]:
    """A bar with its bit numbers above and its fields' names and widths below."""
    scale = BAR / bar.layout.bits
    yield text(LEFT, top + 10, bar.title, "ink")
    yield text(LEFT + BAR, top + 10, bar.about, "dim end")
    y = top + 32
    for name, first, bits in segments(bar.layout):
        x = LEFT + (bar.layout.bits - first - bits) * scale
        last = first + bits - 1
        hint = f"{name}: {bits} bit{'s' if bits > 1 else ''}, {first} to {last}"
        yield box(x + 0.5, y, bits * scale - 1, HEIGHT, COLOURS[name], hint)
        yield text(x + 2, y - 4, str(last), "dim")
    yield from draw_labels(bar, y + HEIGHT, scale)


def draw_labels(bar: Bar, top: float, scale: float) -> Iterator[str]:
    """The fields' names below their boxes. From the right on, what has no room in the first line
    goes one lower each time, to the right of a leader that so crosses no other label.
    """
    level, taken = 0, LEFT + BAR + 0.0  # where the label to the right begins
    for name, first, bits in reversed(segments(bar.layout)):
        told = label_of(name, bits, first, bar)
        wide = LABEL * len(told)
        centre = LEFT + (bar.layout.bits - first - bits / 2) * scale
        start = min(max(centre - wide / 2, LEFT), LEFT + BAR - wide)
        if wide <= bits * scale + 8 and start + wide <= taken:
            level = 0
            yield text(start, top + 15, told, "ink")
            taken = start - 6
            continue
        level += 1
        under = top + 16 * level
        yield line(centre, top, centre, under + 10, "dim")
        yield text(centre + 4, under + 15, told, "ink")
        taken = min(taken, centre - 4)


def label_of(name: str, bits: int, first: int, bar: Bar) -> str:
    """`NODE 10`; with a word, `node=0`."""
    if bar.value is None or name in ("unused", "flags"):
        return f"{name.upper()} {bits}"
    number = bar.value >> first & (1 << bits) - 1
    return f"{name}={number:#x}" if name in ("lastcpupid", "kasantag") else f"{name}={number}"


def flag_list(bar: Bar, top: float) -> Iterator[str]:
    """The flags by bit, column by column; those set in the word stand out."""
    flags = list(bar.layout.flags.items())
    rows = -(-len(flags) // COLUMNS)
    heading = "The flags" if bar.value is None else "The flags; those set are marked"
    yield text(LEFT, top, heading, "ink")
    for place, (name, bit) in enumerate(flags):
        x = LEFT + place // rows * (BAR // COLUMNS)
        y = top + 22 + place % rows * 20
        on = bar.value is not None and bar.value >> bit & 1
        yield box(x, y - 10, 12, 12, "c0" if on else "c3")
        yield text(x + 18, y, f"{bit}", "dim")
        yield text(x + 40, y, name, "ink")

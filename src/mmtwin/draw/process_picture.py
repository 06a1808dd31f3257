"""The virtual memory map of a process: text, data, bss, heap, mappings and stack, low addresses at
the bottom; schematic, or to scale between the wide gaps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mmtwin.draw import svg
from mmtwin.draw.process_areas import KINDS, PictureArea
from mmtwin.units import bytes_text

WIDTH = 860
TOP, BOTTOM = 116, 34
BOX_WIDTH = 150
ADDRESS_WIDTH = 96
# Addresses stand left of their boxes; to scale, where labels are spread, beside the labels.
BOX_LEFT = {False: 130, True: 30}
COLUMNS = (324, 402, 448, 574)  # size, permissions, residency, name
ROW = 17  # pixels between labels
BREAK = 40  # of a gap that is not drawn to scale
SPLIT = 16 << 20  # bytes between areas from which on the picture breaks
TALLEST = 58
SCALED = 640  # pixels that all areas together take up at least, to scale
CHARACTERS = 38  # of a name beside its box
STYLE = (
    "<style>.mono{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:11px}"
    ".c8{fill:#2f9aa0}.c9{fill:#8a5a2b}.none{fill:none;stroke:#8a8f98;stroke-dasharray:3 2}"
    ".mid{text-anchor:middle}.edge{fill:none;stroke:#8a8f98;stroke-width:.6}"
    "@media(prefers-color-scheme:dark){.c8{fill:#62c4c9}.c9{fill:#a86f3a}}</style>"
)


@dataclass(frozen=True)
class Place:
    """Where an area stands in the picture: its box, and the middle of its label."""

    shown: PictureArea
    top: float
    height: float
    label: float


def process_svg(
    areas: Sequence[PictureArea], title: str, subtitle: str = "", to_scale: bool = False
) -> str:
    """The picture. `areas`: by address, lowest first; `title`: what the reader reads first.

    Raises ValueError for a process without areas.
    """
    if not areas:
        raise ValueError("the process has no areas")
    places, breaks, end = _laid_out(list(reversed(areas)), to_scale)
    height = int(max(end + BOTTOM, places[-1].label + ROW))
    left = BOX_LEFT[to_scale]
    parts = [STYLE, *_head(areas, title, subtitle)]
    for place in places:
        parts.extend(_area(place, left, to_scale))
    for y, gap in breaks:
        parts.extend(_break(left, y, gap))
    parts.extend(_arrows(left, places))
    parts.extend(_ends(left, areas, end))
    return svg.document(WIDTH, height, title, parts)


def _laid_out(
    areas: Sequence[PictureArea], to_scale: bool
) -> tuple[list[Place], list[tuple[float, int]], float]:
    # highest address first: boxes and breaks from the top down, then where they end
    scale = max(SCALED, 0.85 * ROW * len(areas)) / sum(area.size for area in areas)
    y, tops, heights = float(TOP), [], []
    breaks: list[tuple[float, int]] = []
    previous: PictureArea | None = None
    for area in areas:
        gap = previous.area.start - area.area.end if previous else 0
        if gap >= SPLIT:
            breaks.append((y, gap))
            y += BREAK
        elif gap:
            y += min(max(gap * scale, 2), 12) if to_scale else 5
        tall = max(area.size * scale, 1) if to_scale else _schematic(area, len(areas))
        tops.append(y)
        heights.append(tall)
        y += tall
        previous = area
    middles = _spread([top + tall / 2 for top, tall in zip(tops, heights, strict=True)])
    places = [Place(*each) for each in zip(areas, tops, heights, middles, strict=True)]
    return places, breaks, y


def _schematic(area: PictureArea, count: int) -> float:
    # a page one row high, doubling from there on adds a little, while there is room
    doublings = max(area.size.bit_length() - 13, 0)
    return min(ROW + doublings * (3 if count <= 60 else 0.8), TALLEST)


def _spread(wanted: Sequence[float]) -> list[float]:
    # labels as near to their boxes as they can be without touching one another
    found: list[float] = []
    groups: list[list[float]] = []  # [sum of wanted starts, members]
    for number, middle in enumerate(wanted):
        groups.append([middle - number * ROW, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, members = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += members
    for total, members in groups:
        found.extend([total / members] * int(members))
    first = TOP + ROW / 2
    return [max(start, first) + number * ROW for number, start in enumerate(found)]


def _head(areas: Sequence[PictureArea], title: str, subtitle: str) -> Iterator[str]:
    yield svg.text(20, 26, title, "ink big")
    if subtitle:
        yield svg.text(20, 46, subtitle, "dim")
    kinds = {area.kind for area in areas}
    entries = [(colour, words) for kind, (words, colour) in KINDS.items() if kind in kinds]
    yield from svg.legend(entries, 20, 58, WIDTH - 10)
    known = any(area.resident_kb is not None for area in areas)
    heads = ("size", "perms", "resident" if known else "", "")
    for place, words in zip(COLUMNS, heads, strict=True):
        if words:
            yield svg.text(place, TOP - 10, words, "dim")


def _hint(shown: PictureArea) -> str:
    area = shown.area
    hint = f"{area.start:#x}-{area.end:#x} {area.perms} {bytes_text(shown.size)} {area.name}"
    return hint + ("" if shown.resident_kb is None else f", {shown.resident_kb} kB resident")


def _area(place: Place, left: float, to_scale: bool) -> Iterator[str]:
    shown, area, y = place.shown, place.shown.area, place.label + 4
    right = left + BOX_WIDTH
    yield svg.box(left, place.top, BOX_WIDTH, max(place.height - 0.8, 0.6),
                  KINDS[shown.kind][1], _hint(shown))  # fmt: skip
    middle = place.top + place.height / 2
    addresses = left - 8.0
    if to_scale:
        addresses = COLUMNS[0] - 14
        label = addresses - ADDRESS_WIDTH + 4
        ends = [(right + 2, middle), (right + 10, middle), (label - 6, place.label)]
        yield svg.course([*ends, (label, place.label)], "rule")
    yield svg.text(addresses, y, f"{area.start:012x}", "dim mono end")
    yield svg.text(COLUMNS[0], y, bytes_text(shown.size), "ink")
    yield svg.text(COLUMNS[1], y, area.perms, "dim mono")
    if shown.resident_kb is not None:
        yield from _resident(shown.resident_kb, shown.size, y)
    name = shown.label
    if len(name) > CHARACTERS:
        name = f"{name[: CHARACTERS - 12]}…{name[-11:]}"
    if name:
        yield svg.text(COLUMNS[3], y, name, "ink")


def _resident(kb: int, size: int, y: float) -> Iterator[str]:
    # a bar of the share that is in memory, and how much
    share = min(kb * 1024 / size, 1)
    yield svg.box(COLUMNS[2], y - 8, 44, 8, "c3")
    if kb:
        yield svg.box(COLUMNS[2], y - 8, max(44 * share, 1), 8, "c0")
    yield svg.text(COLUMNS[2] + 50, y, bytes_text(kb * 1024) if kb else "-", "dim")


def _break(left: float, y: float, gap: int) -> Iterator[str]:
    # the gap is not drawn: two waves and how wide it is
    for edge in (y + 5, y + BREAK - 5):
        points = [(left + x, edge + (3 if x // 10 % 2 else -3)) for x in range(0, 151, 10)]
        yield svg.course(points, "rule")
    words = f"{bytes_text(gap)} unmapped"
    yield svg.text(left + BOX_WIDTH / 2 + 10, y + BREAK / 2 + 4, words, "dim mid")


def _arrows(left: float, places: Sequence[Place]) -> Iterator[str]:
    # which way heap and stack grow, and where mmap goes on
    for above, below in pairwise(places):
        gap = above.shown.area.start - below.shown.area.end
        if gap < SPLIT:
            continue
        edge = above.top + above.height
        if above.shown.kind != "heap":
            yield _arrow(left + 10, edge + 4, 1)
        if below.shown.kind == "heap":
            yield _arrow(left + 10, below.top - 4, -1)


def _arrow(x: float, y: float, way: int) -> str:
    tip = y + 13 * way
    points = [(x, y), (x, tip), (x - 4, tip - 5 * way), (x, tip), (x + 4, tip - 5 * way)]
    return svg.course(points, "dim")


def _ends(left: float, areas: Sequence[PictureArea], end: float) -> Iterator[str]:
    highest, lowest = areas[-1].area.end, areas[0].area.start
    yield svg.text(left + BOX_WIDTH / 2, TOP - 10, f"{highest:x}: end", "dim mono mid")
    words = f"{bytes_text(lowest)} down to address 0" if lowest else "address 0"
    yield svg.text(left + BOX_WIDTH / 2, end + 18, words, "dim mid")

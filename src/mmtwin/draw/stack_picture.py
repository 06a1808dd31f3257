"""The kernel stacks' experiment as a picture: threads made on memory that is fragmented more and
more, with stacks in one piece and with stacks of single pages.

Out of the figures of examples/stack_fragmentation.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmtwin.draw.svg import box, course, document, line, text

Figures = Mapping[str, Any]
Points = list[tuple[float, float]]
WIDTH, HEIGHT = 760, 430
LEFT, TOP, PLOT_WIDTH, PLOT_HEIGHT = 80, 84, 470, 270
MARK = 5
KINDS = ((True, "c0", "mapped virtually (VMAP_STACK)"), (False, "c1", "in one piece (order 2)"))
STEPS = (4, 8, 12, 16, 20, 24, 32, 40)  # all are four ticks


def stacks_svg(figures: Figures) -> str:
    """The picture of one experiment, as the text of an SVG file."""
    title = f"Threads until the first that fails: {figures['memory']} of {figures['profile']}"
    points = figures["points"]
    drawn = [point for point in points if point["share"] is not None]
    most = scale_end(max(point["threads"] for point in points))
    widest = max([point["share"] for point in drawn] or [1.0])
    parts = [
        text(20, 30, title, "ink big"),
        text(20, 50, "all memory taken page by page, then each page freed with the same chance",
             "dim"),
        *axes(most, widest),
    ]
    for vmap_stack, colour, name in KINDS:
        mine = [point for point in drawn if point["vmap_stack"] == vmap_stack]
        parts += curve(mine, colour, name, most, widest)
    parts += every_second(points)
    return document(WIDTH, HEIGHT, title, parts)


def scale_end(most: int) -> int:
    """A round number at or above the largest value, a multiple of four."""
    power = 1
    while True:
        for step in STEPS:
            if step * power >= most:
                return step * power
        power *= 10


def place(share: float, threads: float, most: int, widest: float) -> tuple[float, float]:
    """Where a value stands."""
    x = LEFT + PLOT_WIDTH * share / widest
    return x, TOP + PLOT_HEIGHT * (1 - threads / most)


def axes(most: int, widest: float) -> Iterator[str]:
    """The scales: threads upwards, the share of pages that are free to the right."""
    for part in range(5):
        value = most * part // 4
        _, y = place(0, value, most, widest)
        yield line(LEFT, y, LEFT + PLOT_WIDTH, y)
        yield text(LEFT - 8, y + 4, f"{value:,}", "dim end")
    for part in range(7):
        share = widest * part / 6
        x, y = place(share, 0, most, widest)
        yield line(x, y, x, y + 4)
        yield text(x - 10, y + 20, f"{share:.0%}", "dim")
    yield text(LEFT, TOP - 10, "threads", "dim")
    words = "share of the pages that is free, scattered by chance"
    yield text(LEFT, TOP + PLOT_HEIGHT + 42, words, "dim")


def curve(
    points: Sequence[Figures], colour: str, name: str, most: int, widest: float
) -> Iterator[str]:
    """One kind of stack."""
    places: Points = [place(p["share"], p["threads"], most, widest) for p in points]
    if not places:
        return
    yield course(places, colour)
    for (x, y), point in zip(places, points, strict=True):
        hint = f"{point['share']:.0%} free: {point['threads']:,} threads"
        yield box(x - MARK / 2, y - MARK / 2, MARK, MARK, colour, hint)
    x, y = places[-1]
    yield text(x + 10, y + 4, name, colour)
    yield text(x + 10, y + 20, f"{points[-1]['threads']:,}", "dim")


def every_second(points: Sequence[Figures]) -> Iterator[str]:
    """What the machine with every second page free does, in words: half its memory is free."""
    made = {p["vmap_stack"]: p["threads"] for p in points if p["share"] is None}
    if len(made) == 2:
        yield text(20, HEIGHT - 14,
                   f"Every second page free: {made[True]:,} threads with VMAP_STACK, "
                   f"{made[False]:,} without.")

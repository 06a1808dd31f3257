"""A what-if as one picture: memory over time on both machines, and the caches that differ most.

Out of the figures that `mmtwin what-if --json` prints.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmtwin.draw.svg import box, course, document, legend, line, text
from mmtwin.units import bytes_text

Figures = Mapping[str, Any]
WIDTH, HEIGHT = 930, 500
PLOT_LEFT, PLOT_WIDTH, PLOT_HEIGHT = 86, 400, 140
PLOTS = (("used", "memory in use", 112), ("slab", "memory of slabs", 306))
MACHINES = (("recorded", "c0"), ("changed", "c1"))
BARS_LEFT, BARS_WIDTH, BARS_TOP, BARS = 692, 150, 112, 11
BAR, STEP = 11, 33
LEAST_SPAN = 0.02  # of the values: a plot does not zoom in on less


def what_if_svg(figures: Figures) -> str:
    """The picture of one what-if, as the text of an SVG file."""
    recording = figures["recording"]
    title = f"What if: {', '.join(figures['changes']) or 'nothing changed'}"
    said = (
        f"the demands of {recording['name']} (Linux {recording['kernel']}, {recording['arch']}) "
        "on the recorded kernel's twin and on the changed one"
    )
    parts = [
        text(20, 30, title, "ink big"),
        text(20, 50, said, "dim"),
        *legend([(colour, name) for name, colour in MACHINES], 20, 64),
    ]
    for key, name, top in PLOTS:
        parts += _plot(figures["course"], key, name, top)
    parts += _bars(*figures["machines"])
    return document(WIDTH, HEIGHT, title, parts)


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """The least and the most that a plot of these values shows."""
    least, most = min(values), max(values)
    room = max(most - least, LEAST_SPAN * most, 1.0) * 0.1
    return max(least - room, 0.0), most + room


def _plot(figures: Figures, key: str, name: str, top: int) -> Iterator[str]:
    yield text(20, top - 14, name)
    bottom = top + PLOT_HEIGHT
    courses = [(figures.get(machine, {}).get(key, []), c) for machine, c in MACHINES]
    values = [value for points, _ in courses for value in points]
    seconds = figures["seconds"]
    if len(seconds) < 2 or not values:
        return
    low, high = bounds(values)
    for part in (0.0, 0.5, 1.0):
        y = bottom - part * PLOT_HEIGHT
        yield line(PLOT_LEFT, y, PLOT_LEFT + PLOT_WIDTH, y)
        yield text(PLOT_LEFT - 8, y + 4, bytes_text(low + part * (high - low)), "dim end")
    yield text(PLOT_LEFT, bottom + 18, "0 s", "dim")
    yield text(PLOT_LEFT + PLOT_WIDTH, bottom + 18, f"{seconds[-1]:.3g} s", "dim end")
    scale = PLOT_WIDTH / max(seconds[-1], 1e-9)
    for points, colour in courses:
        yield course(
            [
                (PLOT_LEFT + at * scale, bottom - (value - low) / (high - low) * PLOT_HEIGHT)
                for at, value in zip(seconds, points, strict=True)
            ],
            colour,
        )
    ends = sorted(((points[-1], colour) for points, colour in courses), reverse=True)
    places = [bottom - (value - low) / (high - low) * PLOT_HEIGHT for value, _ in ends]
    places[1] = max(places[1], places[0] + 14)
    for (value, colour), y in zip(ends, places, strict=True):
        yield text(PLOT_LEFT + PLOT_WIDTH + 6, y + 4, bytes_text(value), colour)


def _bars(recorded: Figures, changed: Figures) -> Iterator[str]:
    sizes = [{row["name"]: row["bytes"] for row in m["caches"]} for m in (recorded, changed)]
    names = {name for each in sizes for name in each}

    def change(name: str) -> int:
        return abs(sizes[1].get(name, 0) - sizes[0].get(name, 0))

    order = sorted((n for n in names if change(n)), key=lambda n: (-change(n), n))[:BARS]
    title = "caches whose memory differs most" if order else "no cache's memory differs"
    yield text(BARS_LEFT - 124, BARS_TOP - 14, title)
    scale = BARS_WIDTH / max([each.get(name, 0) for each in sizes for name in order] or [1])
    for place, name in enumerate(order):
        y = BARS_TOP + 4 + place * STEP
        yield text(BARS_LEFT - 8, y + 15, name[:18], "ink end")
        for row, (each, (machine, colour)) in enumerate(zip(sizes, MACHINES, strict=True)):
            size = each.get(name, 0)
            hint = f"{name}, {machine}: {bytes_text(size)}"
            yield box(BARS_LEFT, y + row * BAR, size * scale, BAR - 1, colour, hint)
            at = BARS_LEFT + size * scale + 6
            yield text(at, y + row * BAR + 10, bytes_text(size), "dim")

"""A replay as one picture: where the memory went, and how free memory fell apart.

Out of the figures of `ReplayResult.to_dict()`, as the terminal's report is.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmtwin.draw.svg import box, course, document, legend, line, text
from mmtwin.units import bytes_text, counted, share_text

Figures = Mapping[str, Any]
WIDTH, HEIGHT = 930, 470
BARS, BAR_HEIGHT, BAR_GAP = 14, 17, 6
SCALES = (0.1, 0.2, 0.5)  # the plot goes up to the first that is enough, else to 1
BARS_LEFT, BARS_WIDTH = 150, 260
PLOT_LEFT, PLOT_WIDTH, PLOT_TOP, PLOT_HEIGHT = 560, 300, 92, 190
PARTS = (
    ("in use", "c0"),
    ("rounding up", "c1"),
    ("slab tail", "c2"),
    ("free objects", "c3"),
)
CURVES = ("c4", "c6", "c5", "c1", "c0", "c7")
LABEL_HEIGHT = 14
LAST_ORDERS = 5  # curves drawn, of the highest orders


def replay_svg(result: Figures) -> str:
    """The picture of one replay with statistics, as the text of an SVG file."""
    recording = result["recording"]
    title = f"Linux {recording['kernel']} on {recording['arch']}: where the memory went"
    parts = [
        text(20, 30, title, "ink big"),
        text(20, 50, _summary(result), "dim"),
        *_bars(result["statistics"]["caches"]),
        *_plot(result["statistics"]["fragmentation"], recording["page_size"]),
        *_fidelity(result["fidelity"]),
    ]
    return document(WIDTH, HEIGHT, title, parts)


def _summary(result: Figures) -> str:
    recording = result["recording"]
    own = "every answer is the twin's own"
    told = own if result["replay"]["mode"] == "predict" else "with the recorded answers"
    return (
        f"{recording['events']:,} events of {counted(recording['cpus'], 'CPU')} with "
        f"{bytes_text(recording['memory'])}, replayed: {told}"
    )


def _bars(caches: Sequence[Figures]) -> Iterator[str]:
    order = sorted(caches, key=lambda cache: (-cache["bytes"], cache["name"]))[:BARS]
    scale = BARS_WIDTH / max([cache["bytes"] for cache in order] or [1])
    yield text(20, 80, "slab caches by memory", "ink")
    for place, cache in enumerate(order):
        y = 92 + place * (BAR_HEIGHT + BAR_GAP)
        yield text(BARS_LEFT - 8, y + 13, cache["name"][:20], "ink end")
        x = float(BARS_LEFT)
        for (name, colour), size in zip(PARTS, _split(cache), strict=True):
            hint = f"{cache['name']}: {bytes_text(size)} {name}"
            yield box(x, y, size * scale, BAR_HEIGHT, colour, hint)
            x += size * scale
        yield text(x + 6, y + 13, bytes_text(cache["bytes"]), "dim")
    y = 92 + len(order) * (BAR_HEIGHT + BAR_GAP) + 18
    yield from legend([(colour, name) for name, colour in PARTS], 20, y - 10)


def _split(cache: Figures) -> list[int]:
    waste = cache["waste"]
    wasted = [waste["rounding"], waste["slab_tail"], waste["free_objects"]]
    return [max(cache["bytes"] - sum(wasted), 0), *wasted]


def _plot(fragmentation: Figures, page_size: int) -> Iterator[str]:
    yield text(
        PLOT_LEFT - 40, 80, "share of free memory too scattered for a block of so many bytes"
    )
    bottom = PLOT_TOP + PLOT_HEIGHT
    samples = fragmentation["unusable"]
    most = max((max(sample, default=0.0) for sample in samples), default=0.0)
    highest = next((share for share in SCALES if most <= share), 1.0)
    for share in (0.0, highest / 2, highest):
        y = bottom - share / highest * PLOT_HEIGHT
        yield line(PLOT_LEFT, y, PLOT_LEFT + PLOT_WIDTH, y)
        yield text(PLOT_LEFT - 8, y + 4, f"{share:.0%}", "dim end")
    yield text(PLOT_LEFT, bottom + 18, "first event", "dim")
    yield text(PLOT_LEFT + PLOT_WIDTH, bottom + 18, "last event", "dim end")
    if len(samples) < 2:
        return
    orders = fragmentation["orders"]
    shown = [place for place in range(len(orders)) if orders[place]][-LAST_ORDERS:]
    ends: list[tuple[float, str, str]] = []
    for colour, place in zip(CURVES, shown, strict=False):
        points = [
            (
                PLOT_LEFT + PLOT_WIDTH * number / (len(samples) - 1),
                bottom - PLOT_HEIGHT * min(max(sample[place] / highest, 0.0), 1.0),
            )
            for number, sample in enumerate(samples)
        ]
        yield course(points, colour)
        ends.append((points[-1][1], colour, bytes_text(page_size << orders[place])))
    free = 0.0
    for y, colour, label in sorted(ends):
        free = max(free, y)
        yield text(PLOT_LEFT + PLOT_WIDTH + 6, free + 4, label, colour)
        free += LABEL_HEIGHT


def _fidelity(fidelity: Figures) -> Iterator[str]:
    rows = (
        ("pages of the free lists", fidelity["pfn"]["zone"], "exact"),
        ("pages of per-CPU lists", fidelity["pfn"]["pcp"], "exact"),
        ("objects of slab caches", fidelity["objects"], "exact"),
        ("bytes given by kmalloc", fidelity["bytes_alloc"], "exact"),
    )
    top = PLOT_TOP + PLOT_HEIGHT + 58
    yield text(PLOT_LEFT - 40, top - 8, "answers that are the kernel's own")
    for place, (name, pair, key) in enumerate(rows):
        y = top + 16 + place * 20
        if pair["predicted"]:
            yield text(PLOT_LEFT - 40, y, name, "dim")
            yield text(PLOT_LEFT + 225, y, f"{pair[key]:,} of {pair['predicted']:,}", "dim end")
            share = share_text(pair[key], pair["predicted"])
            yield text(PLOT_LEFT + PLOT_WIDTH, y, share, "ink end")

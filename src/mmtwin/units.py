"""Figures as a reader wants them: sizes, counts, shares, courses."""

from collections.abc import Sequence
from math import ceil

BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
COUNT_UNITS = ("", "k", "M", "G")
LEAST_SHOWN = 0.001
BARS = " ▁▂▃▄▅▆▇█"


def bytes_text(size: float) -> str:
    """A size in bytes, three digits: `4 KiB`, `1.50 MiB`; `0` for nothing."""
    return _scaled(size, 1024, BYTE_UNITS) if size else "0"


def count_text(count: float) -> str:
    """A count, three digits: `4.10 M`."""
    return _scaled(count, 1000, COUNT_UNITS).rstrip()


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    place = 0
    while abs(value) >= 999.5 and place < len(units) - 1:
        value /= step
        place += 1
    if value == int(value):
        return f"{int(value)} {units[place]}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {units[place]}"


def share_text(part: int, total: int) -> str:
    """A share in percent that says 100 only where all of it is meant, and 0 only for nothing."""
    if not total:
        return "-"
    percent = 100 * part / total
    if part == total:
        return "100 %"
    if part and percent < 0.01:
        return "< 0.01 %"
    return f"{min(percent, 99.99):.2f} %"


def spark(values: Sequence[float], width: int) -> str:
    """Shares, 0 to 1, as bars: at most `width` long; a bar shows the largest of its span."""
    spans = min(width, len(values))
    line = []
    for place in range(spans):
        span = values[place * len(values) // spans : (place + 1) * len(values) // spans]
        share = min(max(*span, 0.0) if len(span) > 1 else span[0], 1.0)
        line.append(BARS[ceil(share * (len(BARS) - 1))] if share >= LEAST_SHOWN else BARS[0])
    return "".join(line)


def counted(count: int, noun: str) -> str:
    """`1 slab`, `2 slabs`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")

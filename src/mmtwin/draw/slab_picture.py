"""A slab's bytes as a picture: its objects, the order in which they will be given out, what is
left over at its end; and one object enlarged: red zones, free pointer, tracks, padding.
"""

from collections.abc import Iterator

from mmtwin.draw.svg import box, document, line, text
from mmtwin.draw.svg import legend as svg_legend
from mmtwin.machine.slab_view import Slab
from mmtwin.units import bytes_text

WIDTH, LEFT, ROW = 820, 74, 26
INNER = WIDTH - LEFT - 20
ROWS = 16  # the slab takes about so many
GAP = 2


def slab_svg(slab: Slab) -> str:
    """The picture, as the text of an SVG file."""
    per_row = bytes_per_row(slab)
    rows = -(-slab.bytes // per_row)
    parts = [text(20, 30, slab.title, "ink big"), *summary(slab)]
    top = 92
    parts += strip(slab, per_row, top)
    below = top + rows * ROW + 18
    parts += legend(slab, below)
    below += 44
    parts += enlarged(slab, below)
    height = below + 66 + 20 * len(slab.parts)
    return document(WIDTH, int(height), slab.title, parts)


def bytes_per_row(slab: Slab) -> int:
    """A power of two, so that pages begin at a row's start."""
    per_row = 64
    while slab.bytes // per_row > ROWS:
        per_row *= 2
    return per_row


def summary(slab: Slab) -> Iterator[str]:
    """The figures, in two lines."""
    left = slab.bytes - slab.objects * slab.size
    pages = 1 << slab.order
    yield text(20, 50, f"{slab.objects} objects of {slab.size} bytes in {pages} page"
               + ("s" if pages > 1 else "") + f" ({bytes_text(slab.bytes)}); "
               f"{left} bytes left over at the end", "dim")  # fmt: skip
    used = slab.objects * slab.object_size / slab.bytes
    yield text(20, 68, f"{used:.1%} of the slab are bytes that somebody asked for; "
               f"numbers: which free object is given out first, second …", "dim")  # fmt: skip


def strip(slab: Slab, per_row: int, top: float) -> Iterator[str]:
    """The slab's bytes, row below row."""
    scale = INNER / per_row
    for row in range(-(-slab.bytes // per_row)):
        yield text(LEFT - 8, top + row * ROW + 16, f"{row * per_row:#x}", "dim end")
    used = slab.objects * slab.size
    for x, y, width in pieces(used, slab.bytes - used, per_row, scale, top):
        yield box(x, y, width, ROW - 5, "rule", "left over at the slab's end")
    places = {offset: number for number, offset in enumerate(slab.free, 1)}
    for number in range(slab.objects):
        start = number * slab.size
        object_at = start + slab.red_left_pad
        place = places.get(object_at)
        hint = f"object {number} at {object_at:#x}: " + (
            f"free, given out as number {place}" if place else "in use"
        )
        colour = "c3" if place else "c0"
        widest = (0.0, 0.0, 0.0)
        gap = GAP  # only where the object begins, not where a row does
        for x, y, width in pieces(start, slab.size, per_row, scale, top):
            yield box(x + gap, y, max(width - gap, 0.4), ROW - 5, colour, hint)
            widest = max(widest, (width, x, y))
            gap = 0
        width, x, y = widest
        label = str(place or "")
        if label and width >= 8 + 7 * len(label):
            yield text(x + width / 2 - 3.4 * len(label), y + 15, label, "ink")
    for page in range(1, 1 << slab.order):
        row = page * slab.page_size // per_row
        if page * slab.page_size % per_row == 0:
            y = top + row * ROW - 2.5
            yield line(LEFT - 60, y, LEFT + INNER, y, "dim")


def pieces(
    start: int, size: int, per_row: int, scale: float, top: float
) -> Iterator[tuple[float, float, float]]:
    """x, y and width of the parts of a range of bytes, one for each row that it touches."""
    end = start + size
    while start < end:
        row, column = divmod(start, per_row)
        taken = min(end - start, per_row - column)
        yield LEFT + column * scale, top + row * ROW, taken * scale
        start += taken


def legend(slab: Slab, y: float) -> Iterator[str]:
    """What the colours of the strip mean."""
    free, left = len(slab.free), slab.bytes - slab.objects * slab.size
    entries = [("c0", f"in use ({slab.objects - free})"), ("c3", f"free ({free})")]
    yield from svg_legend([*entries, *([("rule", f"left over ({left} bytes)")] * bool(left))],
                          LEFT, y)  # fmt: skip


def enlarged(slab: Slab, y: float) -> Iterator[str]:
    """One object, its parts to scale, then their list."""
    yield text(20, y, f"One object's {slab.size} bytes", "ink")
    scale = INNER / slab.size
    for start, size, what, colour in slab.parts:
        hint = f"{what}: bytes {start} to {start + size - 1}"
        yield box(LEFT + start * scale, y + 12, max(size * scale - GAP, GAP), 24, colour, hint)
    row = y + 58
    for start, size, what, colour in slab.parts:
        yield box(LEFT, row - 10, 12, 12, colour)
        yield text(LEFT + 18, row, f"{start} … {start + size - 1}", "dim")
        yield text(LEFT + 130, row, f"{size} byte" + ("s" if size > 1 else ""), "dim")
        yield text(LEFT + 220, row, what, "ink")
        row += 20

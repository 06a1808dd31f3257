"""A map of a machine's memory: a dot for each page by its use, pageblocks with their migratetypes,
a legend, and how free memory is cut up by order.
"""

from base64 import b64encode
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmtwin.draw.png import png
from mmtwin.draw.svg import document, line, text
from mmtwin.machine.page_map import FIRST_ORDER, HOLE, NAMES, PCP, PageMap
from mmtwin.units import bytes_text

WIDTH, LEFT, TOP = 900, 20, 84
INNER = WIDTH - 2 * LEFT
TILE_WIDTH, TILE_BAR = 32, 2  # dots; a pageblock is a tile, its migratetype a bar above
ASPECT = 2.2
BACKGROUND = 60
FIRST_TYPE = 50

# Colours that stand out on light and dark alike: by kind.
COLOURS = {
    0: "#9a8f80",  # unknown: in use, nothing said of it
    2: "#3f7fbf", 3: "#2f5f9f", 4: "#d9763f", 5: "#4f9f63", 6: "#b3486f", 7: "#7a62b8",
    8: "#b39a2f", 9: "#707984", 10: "#5d8f97", PCP: "#8fd0c9", BACKGROUND: "#8d949c",
}  # fmt: skip
TYPE_COLOURS = ("#b3486f", "#d9763f", "#4f9f63", "#7a62b8", "#b39a2f", "#3f7fbf", "#707984")
# Free memory: the smaller the block, the redder.
SMALL_FREE, LARGE_FREE = (0xE8, 0x8F, 0x8F), (0xDF, 0xE7, 0xD8)
WORDS = NAMES | {
    0: "other use", 2: "slabs", 3: "large kmalloc", 4: "user memory", 5: "page cache",
    6: "page tables", 7: "kernel stacks", 8: "vmalloc", 9: "reserved", 10: "kernel",
}  # fmt: skip


def free_colour(order: int, nr_orders: int) -> str:
    """The colour of a free block's pages."""
    share = order / max(nr_orders - 1, 1)
    parts = (
        round(low + (high - low) * share)
        for low, high in zip(SMALL_FREE, LARGE_FREE, strict=True)
    )
    return "#" + "".join(f"{part:02x}" for part in parts)


def palette(pages: PageMap) -> list[str | None]:
    """Colours by number; numbers that nothing has are black."""
    colours: list[str | None] = ["#000000"] * (BACKGROUND + 1)
    for kind, colour in COLOURS.items():
        colours[kind] = colour
    colours[HOLE] = None
    for order in range(pages.nr_orders):
        colours[FIRST_ORDER + order] = free_colour(order, pages.nr_orders)
    for number, colour in enumerate(TYPE_COLOURS):
        colours[FIRST_TYPE + number] = colour
    return colours


def pixels(pages: PageMap) -> npt.NDArray[np.uint8]:
    """The map as rows of palette numbers: pageblocks as tiles, left to right, then down."""
    size = pages.block_pages
    count = max(-(-len(pages.kinds) // size), 1)
    kinds = np.full(count * size, HOLE, np.uint8)
    kinds[: len(pages.kinds)] = pages.kinds
    width = min(TILE_WIDTH, size)
    height = size // width
    tiles = np.full((count, height + TILE_BAR, width), HOLE, np.uint8)
    tiles[:, TILE_BAR:, :] = kinds.reshape(count, height, width)
    types = np.minimum(pages.blocks[:count], len(TYPE_COLOURS) - 1)
    there = (kinds.reshape(count, size) != HOLE).any(axis=1)[: len(types)]
    tiles[: len(types)][there, :TILE_BAR, 1:] = (FIRST_TYPE + types[there])[:, None, None]
    columns = max(round((count * ASPECT * (height + TILE_BAR) / width) ** 0.5), 1)
    rows = -(-count // columns)
    grid = np.full((rows * columns, *tiles.shape[1:]), HOLE, np.uint8)
    grid[:count] = tiles
    grid = grid.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * (height + TILE_BAR), columns * width)


def memory_png(pages: PageMap) -> bytes:
    """The map alone, a dot a page."""
    return png(pixels(pages), palette(pages))


def memory_svg(pages: PageMap, title: str) -> str:
    """The map with its legend, as the text of an SVG file."""
    dots = pixels(pages)
    height, width = dots.shape
    shown = INNER * height / width
    # dots smaller than a pixel are mixed: dropped, a row of pageblocks could lose its bar
    crisp = ' style="image-rendering:pixelated"' if width <= INNER else ""
    data = b64encode(png(dots, palette(pages))).decode()
    total = sum(count for kind, count in pages.counts().items() if kind != HOLE)
    size = bytes_text(total * pages.page_size)
    block = bytes_text(pages.block_pages * pages.page_size)
    parts = [
        text(LEFT, 30, title, "ink big"),
        text(LEFT, 50, f"{total:,} pages of {bytes_text(pages.page_size)}, {size}; a dot is a "
             f"page, a tile a pageblock of {block}, the bar above it its migratetype", "dim"),
        text(LEFT, 68, f"from pfn {pages.start:#x}, left to right, then down", "dim"),
        f'<image x="{LEFT}" y="{TOP}" width="{INNER}" height="{shown:.1f}" '
        f'preserveAspectRatio="none"{crisp} '
        f'href="data:image/png;base64,{data}"/>',
    ]  # fmt: skip
    below = TOP + shown + 26
    parts += legend(pages, below)
    parts += orders(pages, below)
    return document(WIDTH, int(below + 250), title, parts)


def swatch(x: float, y: float, colour: str, hint: str = "") -> str:
    """A small box in a colour of the map's own."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="12" height="12" fill="{colour}" '
        f'stroke="#8d949c" stroke-width="0.4"><title>{hint}</title></rect>'
    )


def legend(pages: PageMap, y: float) -> Iterator[str]:
    """Uses with their pages, then migratetypes."""
    yield text(LEFT, y, "in use", "ink")
    counts = pages.counts()
    used = sorted(
        (kind for kind in counts if kind < FIRST_ORDER and kind != HOLE), key=lambda k: -counts[k]
    )
    row = y + 22
    for kind in used:
        yield swatch(LEFT, row - 10, COLOURS.get(kind, "#000000"), WORDS.get(kind, "?"))
        yield text(LEFT + 20, row, WORDS.get(kind, "?"), "ink")
        size = bytes_text(counts[kind] * pages.page_size)
        plural = "" if counts[kind] == 1 else "s"
        yield text(LEFT + 250, row, f"{counts[kind]:,} page{plural}, {size}", "dim end")
        row += 19
    row = y
    yield text(LEFT + 290, row, "pageblocks", "ink")
    row += 22
    blocks = np.bincount(pages.blocks, minlength=len(pages.types))
    for number, name in enumerate(pages.types):
        if number < len(blocks) and blocks[number]:
            colour = TYPE_COLOURS[min(number, len(TYPE_COLOURS) - 1)]
            yield swatch(LEFT + 290, row - 10, colour, name)
            yield text(LEFT + 310, row, name, "ink")
            yield text(LEFT + 450, row, f"{int(blocks[number]):,}", "dim end")
            row += 19


def orders(pages: PageMap, y: float) -> Iterator[str]:
    """Free memory by order of the block it lies in, and how much of it each order can use."""
    left, width = LEFT + 490, INNER - 490
    free = pages.free_by_order()
    total = sum(free)
    told = bytes_text(total * pages.page_size)
    yield text(left, y, f"free: {told}, in pages by order of block", "ink")
    yield text(left + width, y, "unusable for it", "dim end")
    most = max(free) or 1
    row, below = y + 22, 0
    for order, count in enumerate(free):
        unusable = below / total if total else 0.0
        yield text(left + 14, row, str(order), "dim end")
        length = (width - 190) * count / most
        colour = free_colour(order, pages.nr_orders)
        yield (
            f'<rect x="{left + 20:g}" y="{row - 10:g}" width="{max(length, 0.5):.1f}" height="12" '
            f'fill="{colour}" stroke="#8d949c" stroke-width="0.4"/>'
        )
        yield text(left + 26 + length, row, f"{count:,}", "dim")
        yield text(left + width, row, f"{unusable:.1%}", "dim end")
        below += count
        row += 17
    yield line(left, y + 6, left + width, y + 6)

"""Every picture as pixels, at two widths, light and dark: as it was looked at, and readable.

    python tests/draw/test_rendered.py       writes the snapshots anew: look at the pictures first

Needs resvg-py and Pillow (extra `dev`). Words are left out of the snapshots: each machine has
fonts of its own. resvg knows no dark mode: its rules are taken out of their condition.
"""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mmtwin.draw.svg import COLOURS

PICTURES = Path(__file__).parent / "pictures"
SNAPSHOTS = PICTURES / "rendered.json"
NAMES = sorted(path.stem for path in PICTURES.glob("*.svg"))
WIDTHS = (480, 1200)
SCHEMES = ("light", "dark")
CELLS = 12  # a snapshot's, across and down
CLOSE = 12  # of 255: how far a cell's mean colour may be from the snapshot's
FAR = 0.02  # share of the cells that may be farther
CONTRAST = 3.0  # of words to what is behind them, as WCAG 2 asks of large ones at least
DARK = re.compile(r"@media\(prefers-color-scheme:dark\)\{((?:[^{}]*\{[^{}]*\})*)\}")
TEXT = re.compile(r"<text\b.*?</text>", re.S)
SVG = "{http://www.w3.org/2000/svg}"


def shown(name: str, scheme: str) -> str:
    """A picture as a page of that scheme shows it."""
    svg = (PICTURES / f"{name}.svg").read_text()
    assert DARK.search(svg)
    return DARK.sub(r"\1" if scheme == "dark" else "", svg)


def rendered(svg: str, width: int) -> Any:
    """The pixels of a picture without its words."""
    resvg = pytest.importorskip("resvg_py")
    image = pytest.importorskip("PIL.Image")
    data = resvg.svg_to_bytes(svg_string=TEXT.sub("", svg), width=width, skip_system_fonts=True)
    return image.open(io.BytesIO(bytes(data))).convert("RGB")


def cells(pixels: Any) -> list[list[int]]:
    """The mean colour of each cell, row by row."""
    image = pytest.importorskip("PIL.Image")
    small = pixels.resize((CELLS, CELLS), image.Resampling.BOX)
    return [list(small.getpixel((x, y))) for y in range(CELLS) for x in range(CELLS)]


def key(name: str, scheme: str, width: int) -> str:
    """Under what a snapshot is kept."""
    return f"{name} {scheme} {width}"


def hexed(means: list[list[int]]) -> str:
    """Cells as a text of 6 digits each."""
    return "".join(bytes(each).hex() for each in means)


def differing(means: list[list[int]], kept: str) -> float:
    """The share of cells that are farther than CLOSE from a snapshot's."""
    data = bytes.fromhex(kept)
    far = sum(
        max(abs(mine - other) for mine, other in zip(cell, data[3 * at : 3 * at + 3], strict=True))
        > CLOSE for at, cell in enumerate(means)
    )  # fmt: skip
    return far / len(means)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NAMES)
def test_it_looks_as_it_did(name: str, scheme: str, width: int) -> None:
    pixels = rendered(shown(name, scheme), width)
    kept = json.loads(SNAPSHOTS.read_text())
    assert pixels.size[0] == width
    assert differing(cells(pixels), kept[key(name, scheme, width)]) <= FAR


def test_another_picture_or_scheme_is_noticed() -> None:
    kept = json.loads(SNAPSHOTS.read_text())
    means = cells(rendered(shown("slab", "light"), WIDTHS[0]))
    assert differing(means, kept[key("slab", "dark", WIDTHS[0])]) > FAR
    assert differing(means, kept[key("slab-small", "light", WIDTHS[0])]) > FAR
    assert sorted(kept) == sorted(
        key(name, scheme, width) for name in NAMES for scheme in SCHEMES for width in WIDTHS
    )


def luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance of an sRGB colour (WCAG 2)."""
    linear = [
        (part / 255 + 0.055) ** 2.4 / 1.055**2.4 if part > 10 else part / 255 / 12.92
        for part in colour
    ]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """The contrast of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NAMES)
def test_words_stand_out_from_what_is_behind_them(name: str, scheme: str) -> None:
    svg = shown(name, scheme)
    root = ElementTree.fromstring(svg)
    pixels = rendered(svg, round(float(root.get("viewBox", "").split()[2])))
    words = 0
    for element in root.iter(f"{SVG}text"):
        kinds = [kind for kind in element.get("class", "ink").split() if kind in COLOURS]
        x, y = float(element.get("x", "0")), float(element.get("y", "0"))
        if not kinds or not element.text or element.get("transform"):
            continue
        value = COLOURS[kinds[0]][SCHEMES.index(scheme)]
        colour = bytes.fromhex(value[1:])
        end = "end" in element.get("class", "").split()
        place = (int(x) - 3 if end else int(x) + 3), int(y) - 4
        if not (0 <= place[0] < pixels.size[0] and 0 <= place[1] < pixels.size[1]):
            continue
        words += 1
        behind = pixels.getpixel(place)
        ratio = contrast((colour[0], colour[1], colour[2]), behind)
        assert ratio >= CONTRAST, (element.text, value, behind)
    assert words > 5


if __name__ == "__main__":
    found = {
        key(name, scheme, width): hexed(cells(rendered(shown(name, scheme), width)))
        for name in NAMES for scheme in SCHEMES for width in WIDTHS
    }  # fmt: skip
    SNAPSHOTS.write_text(json.dumps(found, indent=0, sort_keys=True) + "\n")
    print(f"{len(found)} snapshots", file=sys.stderr)

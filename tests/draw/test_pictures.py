"""Every picture of `draw` against a golden one, and what every picture must be.

    python tests/draw/test_pictures.py       writes the goldens anew: look at them, light and dark
"""

import re
import sys
import zlib
from base64 import b64decode
from contextlib import redirect_stdout
from io import StringIO
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mmtwin.cli.main import main
from mmtwin.draw.svg import width_of

GOLDENS = Path(__file__).parent / "pictures"
COMMANDS = {
    "memory-recording": ["memory", "x86_64-6.1@SNAP start"],
    "memory-booted": ["memory", "--profile", "arm64-5.13", "--memory", "64M"],
    "memory-4g": ["memory", "--profile", "x86_64-6.12", "--memory", "4G"],
    "slab": ["slab", "kmalloc-192", "--profile", "x86_64-6.1"],
    "slab-debug": ["slab", "dentry", "--append", "slub_debug=FZPU"],
    "slab-small": ["slab", "kmalloc-32", "--profile", "x86_64-6.1"],
    "kmalloc": ["kmalloc", "100"],
    "kmalloc-sheaf": ["kmalloc", "100", "--profile", "x86_64-7.3"],
    "kmalloc-large": ["kmalloc", "20000", "--runtime", "--profile", "x86_64-6.12"],
    "page-flags": ["page-flags"],
    "page-flags-word": ["page-flags", "0x1ffc28000000000", "--kernel", "6.8", "--arch", "arm64"],
    "process": ["process", "--profile", "arm64-5.13"],
    "process-scale": ["process", "--profile", "x86_64-6.12", "--scale"],
}
LARGEST = 300_000
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
CLOSE = 0.02  # pixels


def picture(name: str) -> str:
    """What the program draws."""
    text = StringIO()
    with redirect_stdout(text):
        assert main(["draw", *COMMANDS[name]]) == 0
    return text.getvalue()


def elements(svg: str) -> list[tuple[str, dict[str, str], str]]:
    """(tag, attributes, text) of everything in a picture."""
    return [(element.tag.rpartition("}")[2], element.attrib, element.text or "")
            for element in ElementTree.fromstring(svg).iter()]  # fmt: skip


def dots(href: str) -> bytes:
    """The rows of an embedded PNG, however it was compressed."""
    data = b64decode(href.partition(",")[2])
    place = data.index(b"IDAT") + 4
    return zlib.decompress(data[place:-16])


def like(one: str, other: str) -> bool:
    """Whether two attributes are the same but for the last digits of their numbers."""
    if one.startswith("data:"):
        return dots(one) == dots(other)
    numbers = [[float(each) for each in NUMBER.findall(text)] for text in (one, other)]
    return NUMBER.sub("#", one) == NUMBER.sub("#", other) and all(
        abs(a - b) <= CLOSE for a, b in zip(*numbers, strict=True)
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_goldens(name: str) -> None:
    mine = elements(picture(name))
    golden = elements((GOLDENS / f"{name}.svg").read_text())
    assert len(mine) == len(golden)
    for (tag, attributes, text), (tag_0, attributes_0, text_0) in zip(mine, golden, strict=True):
        assert (tag, text, attributes.keys()) == (tag_0, text_0, attributes_0.keys())
        for key, value in attributes.items():
            assert like(value, attributes_0[key])


def boxes(svg: str) -> list[tuple[float, float, float, str]]:
    """(left, right, baseline, words) of every text."""
    found = []
    for tag, attributes, words in elements(svg):
        if tag != "text":
            continue
        classes = attributes["class"].split()
        wide = 6.7 * len(words) if "mono" in classes else width_of(words)
        wide *= 1.25 if "big" in classes else 0.9  # most fonts are narrower
        left = float(attributes["x"]) - wide * ("end" in classes) - wide / 2 * ("mid" in classes)
        found.append((left, left + wide, float(attributes["y"]), words))
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_words_lie_inside_and_beside_each_other(name: str) -> None:
    svg = (GOLDENS / f"{name}.svg").read_text()
    _, _, width, height = (float(each) for each in elements(svg)[0][1]["viewBox"].split())
    texts = boxes(svg)
    for left, right, y, words in texts:
        assert left >= 0 and right <= width and 8 <= y <= height, words
    for one, other in combinations(texts, 2):
        apart = one[1] <= other[0] or other[1] <= one[0] or abs(one[2] - other[2]) >= 10
        assert apart, (one, other)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_picture_stands_alone_on_light_and_dark(name: str) -> None:
    svg = (GOLDENS / f"{name}.svg").read_text()
    assert len(svg) < LARGEST
    assert "<script" not in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")
    light, _, dark = "".join(text for tag, _, text in elements(svg) if tag == "style").partition(
        "@media(prefers-color-scheme:dark)"
    )
    _, _, width, height = elements(svg)[0][1]["viewBox"].split()
    assert ("rect", {"width": width, "height": height, "class": "page"}, "") in elements(svg)
    classes = [attributes.get("class", "").split() for _, attributes, _ in elements(svg)]
    used = {each for some in classes for each in some}
    for colour in used:
        if f".{colour}{{fill:#" in light or f".{colour}{{stroke" in light:
            assert f".{colour}{{" in dark, colour


def write() -> None:
    """Writes every golden."""
    for name in COMMANDS:
        (GOLDENS / f"{name}.svg").write_text(picture(name))


if __name__ == "__main__":
    sys.exit(write())

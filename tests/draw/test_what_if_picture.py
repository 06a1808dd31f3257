"""The picture of a what-if: well-formed, self-contained, true to its figures."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from mmtwin.draw.what_if_picture import bounds, what_if_svg

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from test_what_if_report import FIGURES

SVG = "{http://www.w3.org/2000/svg}"


def test_picture_stands_alone() -> None:
    picture = what_if_svg(FIGURES)
    ElementTree.fromstring(picture)
    assert not re.search(r"(href|src|url)\s*[=(]|<script", picture)
    assert "prefers-color-scheme:dark" in picture


def test_it_shows_both_courses_and_the_cache_that_differs() -> None:
    root = ElementTree.fromstring(what_if_svg(FIGURES))
    assert len(list(root.iter(f"{SVG}polyline"))) == 4
    hints = [rect.findtext(f"{SVG}title") for rect in root.iter(f"{SVG}rect")]
    assert [hint for hint in hints if hint] == [
        "dentry, recorded: 160 KiB", "dentry, changed: 200 KiB",
    ]  # fmt: skip


def test_a_plot_does_not_zoom_in_on_next_to_nothing() -> None:
    low, high = bounds([1000.0, 1001.0])
    assert high - low > 4
    assert bounds([0.0, 0.0])[0] == 0

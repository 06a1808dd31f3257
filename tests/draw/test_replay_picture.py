"""The picture of a replay: well-formed, self-contained, small, and true to its figures."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

from mmtwin.draw.replay_picture import replay_svg

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from test_replay_report import FIGURES

SVG = "{http://www.w3.org/2000/svg}"


def test_picture_stands_alone() -> None:
    picture = replay_svg(FIGURES)
    ElementTree.fromstring(picture)
    assert len(picture) < 300_000
    assert not re.search(r"(href|src|url)\s*[=(]|<script", picture)
    assert "prefers-color-scheme:dark" in picture


def test_bars_are_as_long_as_caches_are_large() -> None:
    root = ElementTree.fromstring(replay_svg(FIGURES))
    widths: dict[str, float] = {}
    for rect in root.iter(f"{SVG}rect"):
        hint = rect.findtext(f"{SVG}title")
        if hint:
            name = hint.split(":")[0]
            widths[name] = widths.get(name, 0.0) + float(rect.get("width", 0))
    assert len(widths) == 14
    assert all(abs(width - 260) < 0.1 for width in widths.values())  # all caches are alike


def test_picture_without_fragmentation() -> None:
    statistics = {**FIGURES["statistics"], "fragmentation": {"orders": [], "unusable": []}}
    ElementTree.fromstring(replay_svg({**FIGURES, "statistics": statistics}))


def test_whose_answers_they_are() -> None:
    assert "every answer is the twin" in replay_svg(FIGURES)
    replay = {**FIGURES["replay"], "mode": "follow"}
    assert "with the recorded answers" in replay_svg({**FIGURES, "replay": replay})

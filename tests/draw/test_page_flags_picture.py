"""Layouts of page->flags as pictures."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mmtwin.cli.main import main
from mmtwin.draw.page_flags_picture import BAR, LEFT, Bar, page_flags_svg, segments
from mmtwin.versions.page_flag_layout import page_flag_layout

SVG = "{http://www.w3.org/2000/svg}"
CONFIG = {
    "CONFIG_ZONE_DMA": "y", "CONFIG_ZONE_DMA32": "y", "CONFIG_SPARSEMEM": "y",
    "CONFIG_NODES_SHIFT": "6", "CONFIG_LRU_GEN": "y",
}  # fmt: skip
DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "page-flags.svg"


@pytest.mark.parametrize(("release", "arch"), [("5.13", "x86_64"), ("6.12", "arm64"),
                                               ("5.13", "i386")])  # fmt: skip
def test_a_bar_has_every_bit_once(release: str, arch: str) -> None:
    layout = page_flag_layout(release, arch, CONFIG)
    bits = [bit for _, first, width in segments(layout) for bit in range(first, first + width)]
    assert sorted(bits) == list(range(layout.bits))


def test_what_is_drawn() -> None:
    layout = page_flag_layout("6.12", "x86_64", CONFIG)
    picture = ET.fromstring(page_flags_svg("words", [Bar("a word", "", layout, 0x41)]))
    texts = [element.text or "" for element in picture.iter(f"{SVG}text")]
    assert {"section=0", "zone=0", "PG_locked", "PG_head", "FLAGS 21"} <= set(texts)
    marked = [element for element in picture.iter(f"{SVG}rect")
              if element.get("class") == "c0" and element.get("width") == "12.00"]  # fmt: skip
    assert len(marked) == 2
    background, *bars = picture.iter(f"{SVG}rect")
    assert background.get("class") == "page"
    for element in bars:
        x, width = float(element.get("x") or 0), float(element.get("width") or 0)
        assert x >= LEFT and x + width <= LEFT + BAR


def test_labels_do_not_lie_on_each_other() -> None:
    narrow = {**CONFIG, "CONFIG_SPARSEMEM_VMEMMAP": "y", "CONFIG_NODES_SHIFT": "2",
              "CONFIG_KASAN_SW_TAGS": "y"}  # fmt: skip
    layout = page_flag_layout("6.12", "arm64", narrow)
    picture = ET.fromstring(page_flags_svg("narrow", [Bar("narrow", "", layout)]))
    ends: dict[str, float] = {}
    labels = [element for element in picture.iter(f"{SVG}text")
              if re.fullmatch(r"[A-Z_]+ \d+", element.text or "")]  # fmt: skip
    assert len(labels) == len(segments(layout))
    for element in sorted(labels, key=lambda each: float(each.get("x") or 0)):
        x, y = float(element.get("x") or 0), element.get("y") or ""
        assert x >= ends.get(y, 0.0)
        ends[y] = x + 6.5 * len(element.text or "")


def test_the_documented_picture_is_the_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "page-flags"]) == 0
    picture = capsys.readouterr().out
    assert picture == DOCUMENTED.read_text()
    assert len(picture) < 300_000


def test_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "page-flags", "head"]) == 2
    assert main(["draw", "page-flags", "--kernel", "4.0"]) == 2
    assert main(["draw", "page-flags", "0x1ffffffffffffffff"]) == 2
    assert main(["draw", "page-flags", "0x17ffffc0010200", "--kernel", "5.12"]) == 0
    assert "slab|head" in capsys.readouterr().out

"""The map of memory: a dot a page, coloured by its use; the legend's figures."""

import re
import struct
import zlib
from base64 import b64decode
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mmtwin.cli.main import main
from mmtwin.draw.memory_picture import memory_png, memory_svg, palette, pixels
from mmtwin.draw.png import png
from mmtwin.machine import Machine
from mmtwin.machine.page_map import FIRST_ORDER, HOLE, page_map


def decoded(data: bytes) -> np.ndarray:
    """The palette numbers of a PNG."""
    width, height = struct.unpack(">II", data[16:24])
    place = data.index(b"IDAT")
    size = struct.unpack(">I", data[place - 4 : place])[0]
    rows = np.frombuffer(zlib.decompress(data[place + 4 : place + 4 + size]), np.uint8)
    return rows.reshape(height, width + 1)[:, 1:]


def machine() -> Machine:
    made = Machine.boot("x86_64-6.1", memory="64M")
    for _ in range(40):
        made.kmalloc(4096)
    made.kmalloc(1 << 20)
    return made


def test_kinds_are_those_of_the_pages() -> None:
    made = machine()
    pages = page_map(made.mm)
    counts = pages.counts()
    view = made.mm.view("page")
    assert sum(counts.values()) == len(pages.kinds)
    assert counts[2] == int(
        (view["users"][pages.start : made.mm.max_pfn] == 2).sum()
    )
    free = int(made.mm.view("zone")["nr_free_pages"].sum())
    assert sum(pages.free_by_order()) == free
    assert pages.kinds[made.virt_to_pfn(made.kmalloc(1 << 20)) - pages.start] in (
        range(FIRST_ORDER, FIRST_ORDER + 11)
    )  # of the map before that call


def test_dots() -> None:
    pages = page_map(machine().mm)
    dots = pixels(pages)
    assert (decoded(memory_png(pages)) == dots).all()
    for kind, count in pages.counts().items():
        if kind != HOLE:
            assert int((dots == kind).sum()) == count


def test_svg_is_small_and_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "memory.svg"
    assert main(["draw", "memory", "--memory", "4G", "-o", str(path)]) == 0
    picture = path.read_text()
    ElementTree.fromstring(picture)
    assert len(picture) < 300_000
    assert re.findall(r'href="([^,]{0,30})', picture) == ["data:image/png;base64"]
    data = b64decode(picture.partition("base64,")[2].partition('"')[0])
    assert data.startswith(b"\x89PNG")
    assert "1,048,576 pages of 4 KiB, 4 GiB" in picture


def test_a_recording_alone_is_drawn_at_its_end(tmp_path: Path) -> None:
    pictures = []
    for number, where in enumerate(("x86_64-6.1", "x86_64-6.1@end")):
        path = tmp_path / f"{number}.svg"
        assert main(["draw", "memory", where, "-o", str(path)]) == 0
        pictures.append(path.read_text())
    assert pictures[0] == pictures[1]
    assert "Memory of x86_64-6.1 at its end" in pictures[0]


def test_figures_of_the_legend() -> None:
    pages = page_map(machine().mm)
    picture = memory_svg(pages, "title")
    assert f"{pages.counts()[2]:,} pages" in picture
    assert len(palette(pages)) == 61


def test_png_of_two_dots() -> None:
    data = png(np.array([[0, 1]], np.uint8), ["#ff0000", None])
    assert (decoded(data) == [[0, 1]]).all()
    assert b"tRNS\xff\x00" in data


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "x.gif"], "-o x.gif"),
        (["nothing"], "no recording 'nothing'"),
        (["nothing@1"], "nothing"),
        (["--profile", "vax-1"], "no profile"),
        (["x@1", "--memory", "1G"], "with a recording"),
    ],
)
def test_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "memory", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err

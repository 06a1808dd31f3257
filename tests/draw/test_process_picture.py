"""Pictures of address spaces: what each area is, where it stands, that no label covers another."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from mmtwin.draw.process_areas import picture_areas
from mmtwin.draw.process_picture import ROW, process_svg
from mmtwin.procfs import maps
from mmtwin.procfs.maps import MapsArea

MAPS = """\
555555554000-555555555000 r--p 00000000 00:02 11                         /tmp/p/vm
555555555000-555555556000 r-xp 00001000 00:02 11                         /tmp/p/vm
555555558000-555555559000 rw-p 00004000 00:02 11                         /tmp/p/vm
555555559000-555555571000 rw-p 00000000 00:00 0 
555555600000-555555700000 rw-p 00000000 00:00 0                          [heap]
7ffff0000000-7ffff4000000 ---p 00000000 00:00 0 
7ffff7c00000-7ffff7c26000 r--p 00000000 00:02 22                         /lib/libc.so.6
7ffff7c26000-7ffff7c28000 rw-p 00026000 00:02 22                         /lib/libc.so.6
7ffff7c28000-7ffff7c36000 rw-p 00000000 00:00 0 
7ffff7d00000-7ffff7d01000 rw-s 00000000 00:01 3                          /dev/zero (deleted)
7ffff7e00000-7ffff7e01000 rw-p 00000000 00:00 0                          [anon:a <b> & c]
7ffff7fc9000-7ffff7fcd000 r--p 00000000 00:00 0                          [vvar]
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""  # noqa: W291
KINDS = [
    ("rodata", "vm"),
    ("text", "vm"),
    ("data", "vm"),
    ("bss", "bss of vm"),
    ("heap", "[heap]"),
    ("none", "no access"),
    ("library", "libc.so.6"),
    ("library", "libc.so.6"),
    ("anonymous", "bss of libc.so.6"),
    ("shared", "zero (deleted)"),
    ("anonymous", "[anon:a <b> & c]"),
    ("vdso", "[vvar]"),
    ("stack", "[stack]"),
]
NAMESPACE = "{http://www.w3.org/2000/svg}"


def many(count: int) -> list[MapsArea]:
    """Areas of all sizes, wide gaps among them."""
    found, address = [], 0x400000
    for number in range(count):
        size = 4096 << (number * 7 % 19)
        found.append(MapsArea(address, address + size, "rw-p", name=f"/lib/{number}" + "x" * 90))
        address += size + (0, 4096, 1 << 30)[number % 3]
    return found


def test_kinds() -> None:
    shown = picture_areas(maps.parse(MAPS))
    assert [(each.kind, each.label) for each in shown] == KINDS
    other = picture_areas(maps.parse(MAPS), program="/lib/libc.so.6")
    assert [each.kind for each in other[6:9]] == ["rodata", "data", "bss"]


@pytest.mark.parametrize("to_scale", [False, True])
@pytest.mark.parametrize("count", [1, 13, 200])
def test_labels_keep_apart(count: int, to_scale: bool) -> None:
    areas = maps.parse(MAPS) if count == 13 else many(count)
    resident = {area.start: 4 for area in areas}
    svg = process_svg(picture_areas(areas, resident), "vm <1>", "", to_scale)
    tree = ElementTree.fromstring(svg)
    assert len(svg) < 300_000
    height, width = float(tree.get("height", 0)), float(tree.get("width", 0))
    columns: dict[float, list[float]] = {}
    for text in tree.iter(f"{NAMESPACE}text"):
        x, y = float(text.get("x", 0)), float(text.get("y", 0))
        assert 0 <= x < width
        assert 0 < y <= height
        if "mid" not in str(text.get("class")) and y > 110:
            columns.setdefault(x, []).append(y)
    assert len(columns) >= 4
    for places in columns.values():
        places.sort()
        assert all(b - a >= ROW - 0.1 for a, b in pairwise(places))
    longest = max(len(text.text or "") for text in tree.iter(f"{NAMESPACE}text"))
    assert longest <= 60


def test_boxes_stand_in_order_of_address_and_to_scale() -> None:
    areas = picture_areas(maps.parse(MAPS))
    for to_scale in (False, True):
        svg = process_svg(areas, "vm", "", to_scale)
        boxes = re.findall(r'<rect x="\S+ y="([\d.]+)" width="150.00" height="([\d.]+)"', svg)
        tops = [float(top) for top, _ in boxes]
        assert len(tops) == len(areas)
        assert tops == sorted(tops)  # the highest address first
        ends = [float(top) + float(height) for top, height in boxes]
        assert all(end <= top + 0.1 for end, top in zip(ends, tops[1:], strict=False))
    tall = [float(height) for _, height in boxes]
    reserved, heap = tall[7], tall[8]
    assert reserved / heap == pytest.approx(64, rel=0.1)


def test_residency_and_gaps_are_named() -> None:
    areas = maps.parse(MAPS)
    svg = process_svg(picture_areas(areas, {0x555555600000: 100}), "vm", "a twin")
    assert "100 kB resident" in svg
    assert "42.7 TiB unmapped" in svg
    assert "&lt;b&gt; &amp; c" in svg
    assert "resident" not in process_svg(picture_areas(areas), "vm")


def test_nothing_to_draw() -> None:
    with pytest.raises(ValueError, match="no areas"):
        process_svg([], "vm")

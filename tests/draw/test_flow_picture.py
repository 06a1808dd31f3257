"""The code flow of a kmalloc(): what is marked is what was taken."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from mmtwin.cli.main import main
from mmtwin.draw.flow_picture import rows_of

SVG = "{http://www.w3.org/2000/svg}"


def drawn(path: Path, *words: str) -> tuple[set[str], set[str]]:
    """Names of functions in a filled box, and of the others."""
    assert main(["draw", "kmalloc", *words, "--memory", "64M", "-o", str(path)]) == 0
    assert path.stat().st_size < 300_000
    root = ElementTree.parse(path).getroot()
    names = {"ink": set(), "dim": set()}
    for element in root.iter(f"{SVG}text"):
        if (element.text or "").endswith("()"):
            names[str(element.get("class"))].add(element.text)
    return names["ink"], names["dim"]


def test_slow_path_then_fast_path(tmp_path: Path) -> None:
    taken, left = drawn(tmp_path / "slow.svg", "100")
    assert {"kmem_cache_alloc_trace()", "___slab_alloc()", "rmqueue_bulk()"} <= taken
    assert {"get_freepointer_safe()", "__kmalloc()", "kmalloc_large()"} <= left
    taken, left = drawn(tmp_path / "fast.svg", "100", "--state", "warm")
    assert {"get_freepointer_safe()", "prefetch_freepointer()"} <= taken
    assert "__slab_alloc()" in left
    assert "___slab_alloc()" not in taken | left  # below a branch that was not taken


def test_a_branch_is_shown_once_beside_its_caller() -> None:
    def node(name: str, taken: bool) -> dict[str, Any]:
        return {"name": name, "text": "", "note": False, "taken": taken, "children": []}

    tree = [node("f", False), node("f", True), node("g", False), node("g", False)]
    assert [(row.name, row.taken) for row in rows_of(tree)] == [("f()", True), ("g()", False)]


def test_large(tmp_path: Path) -> None:
    taken, _ = drawn(tmp_path / "large.svg", "20000", "--runtime", "--profile", "x86_64-6.12")
    assert {"__kmalloc_large_node_noprof()", "kmemleak_alloc()"} <= taken


def test_nothing_is_left_behind_by_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["draw", "kmalloc", "-7", "-o", str(tmp_path / "x.svg")]) == 2
    assert not list(tmp_path.iterdir())
    assert "-7 bytes" in capsys.readouterr().err

"""mmtwin explain cache and mmtwin draw slab."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mmtwin.cli.main import main


def test_picture(tmp_path: Path) -> None:
    path = tmp_path / "slab.svg"
    words = ["draw", "slab", "700", "--align", "64", "--profile", "x86_64-6.12", "-o", str(path)]
    assert main(words) == 0
    picture = path.read_text()
    root = ElementTree.fromstring(picture)
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "A slab of objects of 700 bytes, x86_64-6.12" in texts
    assert "11 objects of 704 bytes in 2 pages (8 KiB); 448 bytes left over at the end" in texts
    hints = {element.text for element in root.iter("{http://www.w3.org/2000/svg}title")}
    places = {int(m[1]) for hint in hints if (m := re.search(r"as number (\d+)", hint or ""))}
    assert places == set(range(1, 9))  # three of eleven are in use
    assert not list(tmp_path.glob("*.part"))
    assert path.stat().st_size < 300_000


def test_debug_bytes_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["draw", "slab", "dentry", "--append", "slub_debug=FZPU", "--live", "1"]) == 0
    picture = capsys.readouterr().out
    for part in ("red zone before the object", "red zone behind the object", "tracks:"):
        assert part in picture


def test_cache_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "cache", "kmalloc-1k", "--cpus", "8", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["cache"]
    assert (figures["size"], figures["objects"], figures["order"]) == (1024, 32, 3)
    assert main(["explain", "cache", "320", "--allocator", "slab-bufctl", "--word", "4"]) == 0
    assert "12 objects in 1 page" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["explain", "cache", "kmaloc-64"], "no cache 'kmaloc-64'"),
        (["explain", "cache", "64", "--align", "3"], "--align 3"),
        (["explain", "cache", "0"], "objects of 0 bytes"),
        (["explain", "cache", "64", "--cpus", "0"], "--cpus 0"),
        (["explain", "cache", "64", "--profile", "vax-6.1"], "no profile 'vax-6.1'"),
        (["explain", "cache", "dentry", "--allocator", "slab"], "takes a size"),
        (["draw", "slab", "64", "--live", "999"], "holds 64 objects, not 999"),
        (["draw", "slab", "64", "-o", "/nowhere/x.svg"], "/nowhere/x.svg"),
    ],
)
def test_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.splitlines()[0]
    assert len(err.splitlines()) <= 2

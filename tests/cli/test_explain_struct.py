"""mmtwin explain struct."""

import json
import sys
from pathlib import Path

import pytest

from mmtwin.cli.main import main

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recordings"))

from btf_builder import example

TAIL = """\
Linux 5.13, arm64, view tail
struct page: 64 bytes, 1 cache line
 offset  size
      0     8  unsigned long flags;          flags, and node, zone, section at the top
      8     8  unsigned long compound_head;  the head page's address, bit 0 set
     16     1  unsigned char compound_dtor;  first tail page only, from here on
     17     1  unsigned char compound_order;
     18     2  /* empty */                   hole
     20     4  atomic_t compound_mapcount;
     24     4  unsigned int compound_nr;
     28    20  /* empty */                   hole
     48     4  union {
     48     4      atomic_t _mapcount;       page tables that map it, less one
     48     4      unsigned int page_type;
     48     4      unsigned int active;
     48     4      int units;
               };
     52     4  atomic_t _refcount;           users
     56     8  unsigned long memcg_data;     cgroup it is charged to
holes: 22 bytes
"""


def test_a_view(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "struct", "page", "--view", "tail", "--kernel", "5.13"]) == 0
    assert capsys.readouterr().out == TAIL


def test_a_view_that_became_a_structure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "struct", "page", "--view", "table", "--kernel", "6.12.9"]) == 0
    assert "since 6.6 struct ptdesc, which lies over the page" in capsys.readouterr().out


def test_btf_with_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(example().data())
    assert main(["explain", "struct", "thing", "--btf", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["structure"]
    assert found["size"] == 72
    assert found["members"][3]["declaration"] == "int (*go)(void *, ...)"
    assert main(["explain", "struct", "thing", "--btf", str(path), "--expand"]) == 0
    assert "struct pair {" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["page", "--view", "tial"], "no view 'tial'"),
        (["page", "--kernel", "4.4"], "no tables for kernel 4.4: the nearest of 5.10 to"),
        (["page", "--kernel", "9.1"], "no tables for kernel 9.1: the nearest of 5.10 to"),
        (["page", "--kernel", "six"], "is no kernel release"),
        (["page", "--arch", "vax"], "no architecture 'vax'"),
        (["ptdesc", "--kernel", "6.1"], "Linux 6.1 has no struct ptdesc"),
        (["page", "--set", "MEMCG"], "--set 'MEMCG'"),
        (["kmem_cache", "--kernel", "6.1"], "--kernel goes with struct"),
        (["kmem_cache", "--btf", "/nowhere"], "/nowhere: No such file"),
    ],
)
def test_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "struct", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err.splitlines()[0]
    assert len(err.splitlines()) <= 2


def test_an_unknown_structure_names_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(example().data())
    assert main(["explain", "struct", "pairs", "--btf", str(path)]) == 2
    assert "nearest: pair" in capsys.readouterr().err

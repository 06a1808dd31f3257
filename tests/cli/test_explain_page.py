"""mmtwin explain page: each use of a page, of a machine driven by hand and of the command line."""

import json

import pytest

from mmtwin.cli.main import main
from mmtwin.explain.page import explain_page, lines_of
from mmtwin.machine import Machine


def fields(machine: Machine, pfn: int) -> dict[str, str]:
    return {
        each["declaration"].rpartition(" ")[2].lstrip("*"): each["value"]
        for each in explain_page(machine, pfn)["fields"]
    }


@pytest.mark.parametrize("name", ["arm64-5.13", "x86_64-6.1", "x86_64-7.3"])
def test_slab_tail_and_free(name: str) -> None:
    machine = Machine.boot(name, memory="64M")
    first = machine.page(machine.virt_to_pfn(machine.kmalloc(1024))).head
    found = explain_page(machine, first)
    assert found["what"] == "the first page of a slab of kmalloc-1k"
    assert found["structure"] == ("struct page" if name == "arm64-5.13" else "struct slab")
    assert fields(machine, first)["slab_cache"].startswith("kmalloc-1k")
    large = machine.virt_to_pfn(machine.kmalloc(20000))
    tail = explain_page(machine, large + 1)
    assert tail["what"] == f"page 1 of a block for large kmalloc, whose first is pfn {large:#x}"
    assert tail["view"] == "tail"
    free = next(
        pfn for pfn in range(int(machine.mm.min_pfn), int(machine.mm.max_pfn))
        if "buddy" in machine.page(pfn).flags
    )  # fmt: skip
    assert "on a free list, block" in explain_page(machine, free)["what"]
    order = machine.page(free).order
    assert fields(machine, free)["private"] == f"{order}: the block's order"


def test_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "page", "0x41800", "--profile", "arm64-5.13", "--memory", "1G"]) == 0
    assert "struct page of arm64-5.13, read as: buddy" in capsys.readouterr().out
    assert main(["explain", "page", "x86_64-6.1@DUMP end", "0x3000", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["page"]
    assert found["profile"].startswith("x86_64-6.1")
    machine = Machine.boot("x86_64-6.1", memory="64M")
    assert any("_refcount" in line for line in lines_of(explain_page(machine, 0x3000)))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x"], "no page frame number: 'x'"),
        (["0x99999999"], "no such page"),
        (["nowhere", "1"], "no recording 'nowhere'"),
        (["a@b", "c", "1"], "more than RECORDING@MARK and PFN"),
        (["nowhere@1", "1"], "nowhere"),
    ],
)
def test_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "page", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err

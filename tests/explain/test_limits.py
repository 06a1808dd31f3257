"""Page sizes, what struct page costs, and the limits of kmalloc against what the twin gives."""

import json

import pytest

from mmtwin.cli.main import main
from mmtwin.explain.limits import (
    deck_line,
    grouped,
    limits_figures,
    page_size_of,
    page_sizes,
    span,
    tried_line,
)
from mmtwin.machine import Machine
from mmtwin.versions.profiles import profile, profile_names

GIB = 1 << 30


def test_the_decks_sum() -> None:
    size = page_size_of("arm64", "5.13", 4 * GIB, None)
    assert (size.pages, size.struct_page, size.cost) == (1 << 20, 64, 64 << 20)
    assert "60 bytes are 60 MiB; struct page has 64 bytes, which makes 64 MiB" in deck_line(size)


def test_larger_pages_cost_less() -> None:
    costs = {each.machine: each.cost for each in page_sizes(GIB, ("6.12",))}
    assert costs == {"x86_64": 16 << 20, "arm64": 16 << 20, "arm64-16k": 4 << 20,
                     "arm64-64k": 1 << 20}  # fmt: skip
    assert page_size_of("x86_64", "6.12", GIB, 80).cost == 20 << 20  # as BTF says


def test_how_a_page_size_is_chosen() -> None:
    assert page_size_of("arm64-16k", "6.1", GIB, None).choice == (
        "CONFIG_ARM64_16K_PAGES, CONFIG_ARM64_PAGE_SHIFT")  # fmt: skip
    assert page_size_of("arm64-64k", "6.12", GIB, None).choice == (
        "CONFIG_ARM64_64K_PAGES, CONFIG_PAGE_SHIFT")  # fmt: skip


@pytest.mark.parametrize(("name", "macro", "value", "low", "largest", "thread", "kasan"), [
    ("arm64-5.13", "MAX_ORDER", 11, 7, 4 << 20, 16384, 32768),
    ("x86_64-6.12", "MAX_PAGE_ORDER", 10, 3, 4 << 20, 16384, 32768),
    ("arm64-64k-6.1", "MAX_ORDER", 14, 7, 512 << 20, 65536, 65536),
    ("arm64-16k-7.3", "MAX_PAGE_ORDER", 11, 3, 32 << 20, 16384, 32768),
])  # fmt: skip
def test_limits(
    name: str, macro: str, value: int, low: int, largest: int, thread: int, kasan: int
) -> None:
    figures = limits_figures(profile(name))
    assert (figures["max_order_macro"], figures["max_order"]) == (macro, value)
    assert figures["kmalloc_shift_low"] == low
    assert figures["kmalloc_max_size"] == largest
    assert (figures["thread_size"], figures["thread_size_kasan"]) == (thread, kasan)


@pytest.mark.parametrize(
    "name", [name for name in profile_names() if name.endswith(("5.13", "6.12", "7.3"))]
)
def test_the_twin_gives_the_largest_and_nothing_more(name: str) -> None:
    figures = limits_figures(profile(name))
    largest = figures["kmalloc_max_size"]
    machine = Machine.boot(name, memory=max(64 << 20, 8 * largest))
    line = tried_line(figures, machine.kmalloc)
    assert f"kmalloc({largest}) gives 0x" in line
    assert f"kmalloc({largest + 1}) gives NULL" in line
    smallest = machine.kmalloc(1)
    assert machine.ksize(smallest) == figures["kmalloc_min_size"]
    assert machine.validate() == []


def test_rows_of_equal_releases_are_one() -> None:
    rows = [("m", "5.10", ("1",)), ("m", "5.13", ("1",)), ("m", "6.1", ("2",)),
            ("n", "6.1", ("2",))]  # fmt: skip
    assert grouped(rows) == [("m", "5.10 to 5.13", "1"), ("m", "6.1", "2"), ("n", "6.1", "2")]
    assert span(["6.1"]) == "6.1"


def test_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "page-size", "--memory", "1T", "--kernel", "6.12.3-amd64"]) == 0
    assert "16 GiB" in capsys.readouterr().out
    assert main(["explain", "page-size", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sizes"][0]["cost"] == 64 << 20
    assert main(["explain", "limits"]) == 0
    assert "arm64-64k  6.12 to 7.3" in capsys.readouterr().out
    assert main(["explain", "limits", "--profile", "arm64-5.13", "--try", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["limits"][0]["kmalloc_max_size"] == 4 << 20


@pytest.mark.parametrize("words", [
    ["page-size", "--memory", "lots"], ["page-size", "--kernel", "5.4"],
    ["page-size", "--btf", "/nowhere"], ["limits", "--profile", "arm64-5.14"],
])  # fmt: skip
def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert main(["explain", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mmtwin: error: ")

"""What docs/kernel-stacks.md concludes from the experiment holds on a smaller machine."""

import importlib.util
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mmtwin.draw.stack_picture import scale_end, stacks_svg

ROOT = Path(__file__).resolve().parent.parent
MEMORY = "128M"


def load_example():
    path = ROOT / "examples" / "stack_fragmentation.py"
    spec = importlib.util.spec_from_file_location("stack_fragmentation", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["stack_fragmentation"] = module
    spec.loader.exec_module(module)
    return module


example = load_example()


@pytest.fixture(scope="module")
def figures():
    return example.experiment("arm64-5.13", MEMORY, shares=(0.2, 0.4))


def point(figures, share, vmap_stack):
    return next(p for p in figures["points"]
                if (p["share"], p["vmap_stack"]) == (share, vmap_stack))


def test_with_every_second_page_free_only_mapped_stacks_can_be_had(figures):
    contiguous, mapped = (point(figures, None, kind) for kind in (False, True))
    assert contiguous["blocks_of_four"] == mapped["blocks_of_four"] == 0
    assert contiguous["threads"] == 0
    assert contiguous["free_at_the_end"] * 4096 > 0.3 * (int(MEMORY[:-1]) << 20)
    # a thread takes four pages of stack and about one and a half of other objects
    assert 4 < mapped["pages_freed"] / mapped["threads"] < 8
    assert {contiguous["error"], mapped["error"]} == {"ENOMEM"}


@pytest.mark.parametrize("share", [0.2, 0.4])
def test_contiguous_stacks_end_with_the_blocks_of_four(figures, share):
    contiguous, mapped = (point(figures, share, kind) for kind in (False, True))
    # a few more where a slab's pages come back and join
    assert contiguous["threads"] <= 1.02 * contiguous["blocks_of_four"] + 2
    assert mapped["threads"] > 8 * contiguous["threads"]
    # by chance four pages in a row are free share^4 of the time
    expected = contiguous["pages_freed"] / share / 4 * share**4
    assert contiguous["blocks_of_four"] == pytest.approx(expected, rel=0.5)


def test_mapped_stacks_use_what_is_free(figures):
    few, many = (point(figures, share, True) for share in (0.2, 0.4))
    assert many["threads"] / few["threads"] == pytest.approx(2, rel=0.15)


def test_the_plot_stands_alone_and_is_true_to_its_figures(figures):
    picture = stacks_svg(figures)
    root = ElementTree.fromstring(picture)
    assert not re.search(r"(href|src|url)\s*[=(]|<script", picture)
    hints = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")][1:]
    assert f"40% free: {point(figures, 0.4, True)['threads']:,} threads" in hints
    assert len(hints) == 4


def test_a_scale_ends_at_a_round_number():
    assert [scale_end(n) for n in (0, 3, 7, 4827, 114_138, 240_000)] == [
        4, 4, 8, 8000, 120_000, 240_000
    ]  # fmt: skip

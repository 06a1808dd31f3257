"""The sessions that the documentation prints are what the twin says now."""

import doctest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


SESSIONS = [
    ("kmalloc-100.md", 26), ("kasan.md", 32), ("kmemleak.md", 20), ("slub-debug.md", 14),
    ("kernel-stacks.md", 26), ("process.md", 24), ("gfp-and-page-flags.md", 18),
]  # fmt: skip


@pytest.mark.parametrize(("name", "least"), SESSIONS)
def test_a_page_prints_what_it_says(name: str, least: int) -> None:
    failures, examples = doctest.testfile(str(ROOT / "docs" / name), module_relative=False)
    assert examples >= least
    assert failures == 0

"""The sessions that the documentation prints are what the twin says now."""

import doctest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_walk_through_kmalloc_prints_what_it_says():
    page = str(ROOT / "docs" / "kmalloc-100.md")
    failures, examples = doctest.testfile(page, module_relative=False)
    assert examples > 25
    assert failures == 0

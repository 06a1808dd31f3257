"""The project keeps its own house rules; and each rule is able to fail."""

from collections.abc import Callable, Iterator
from pathlib import Path

import house
import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.xdist_group("house")  # one worker: files are parsed once
Rule = Callable[[Path], Iterator[str]]

ARCHITECTURE = """
| floor | room | what lives there |
|---|---|---|
| 2 | `machine/` `cellar/` | |
| 1 | `kernel/` | |
| 0 | `versions/` | |
"""
HOUSE = {
    "ARCHITECTURE.md": ARCHITECTURE,
    "pyproject.toml": "",
    "src/mmtwin/__init__.py": "",
    "src/mmtwin/machine/fast.py": '"""Fast."""\n',
    "src/mmtwin/machine/fast.pxd": "",
    "src/mmtwin/versions/__init__.py": "",
    "src/mmtwin/versions/features.py": '"""Rows."""\nROWS = [Feature("nobody_asks", "?")]\n',
    "src/mmtwin/machine/__init__.py": "",
    "src/mmtwin/kernel/__init__.py": "",
    "src/mmtwin/kernel/features.pxd": "cdef struct features_t:\n    s32 sheaves  # words\n",
    "src/mmtwin/kernel/features.py": '"""Reads the text."""\n',
    "src/mmtwin/kernel/slub.pxd": "cdef void gone(s64 a)\ncdef int turned(s64 a, s64 b)\n",
    "src/mmtwin/kernel/slub.py": (
        '"""Slabs."""\n'
        "from mmtwin.machine import boot\nHOOK = 'mmtwin.machine.boot'\n"
        "if not cython.compiled:\n    from mmtwin.kernel.lists import list_del\n"
        "def turned(b, a):\n    return list_del(b)\n"
        "class Slab:\n    x = __GFP_DMA\n"
        "def undocumented(mm):\n    return mm.version >= 6 or turned(1, 2)\n"
        "def _unused():\n" + "    x = 1\n" * 71 + f"WIDE = '{'x' * 100}'\n"
    ),
    "src/mmtwin/kernel/long.py": '"""Long."""\nfrom mmtwin.kernel import long\n' + "X = 1\n" * 500,
}
BROKEN = {
    "rooms_are_folders": ["cellar/ stands only in the table"],
    "imports_go_down": ["slub.py:2: kernel (floor 1) imports", "slub.py:3: kernel"],
    "no_import_circles": ["long.py:1: mmtwin.kernel.long is in a circle"],
    "sizes": ["_unused has 71 lines", "long.py:502: 502 lines", "109 columns"],
    "docstrings": ["undocumented without docstring"],
    "dead_code": ["nothing uses _unused", "nothing uses undocumented"],
    "forms_in_step": [
        "mmtwin.machine.fast is missing in pyproject.toml",
        "gone is not in slub.py",
        "turned has other arguments",
        "list_del is imported uncompiled only",
        "__GFP_DMA in a class is another name",
    ],
    "features_have_rows": ["sheaves has 0 rows", "nobody_asks is no field"],
    "no_version_numbers": ["slub.py:1: version"],
    "no_machine_paths": ["notes.md:1: "],
}


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_rule_is_kept(rule: Rule) -> None:
    complaints = list(rule(ROOT))
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_canary(rule: Rule, tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    for name, text in HOUSE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "notes.md").write_text(f"see {tmp_path}/scratch")
    complaints = "\n".join(rule(root))
    for expected in BROKEN[rule.__name__]:
        assert expected in complaints


def test_canary_breaks_every_rule() -> None:
    assert set(BROKEN) == {rule.__name__ for rule in house.RULES}

"""What the twin's page tables say of a fault."""

from types import SimpleNamespace
from typing import Any

import pytest

from mmtwin.replay import process_steps
from mmtwin.replay.process_steps import needless

YOUNG, WRITABLE, READONLY = 0x20, 0x2, 0x80
WRITE, USER = 0x1, 0x40


@pytest.mark.parametrize(
    ("entry", "flags", "why"),
    [
        (None, USER, ""),
        (None, USER | WRITE, ""),
        (YOUNG, USER, "the twin has the page"),
        (0, USER, ""),  # old: a fault where the processor marks nothing
        (YOUNG, USER | WRITE, ""),
        (YOUNG | WRITABLE, USER | WRITE, "the twin's page can be written"),
    ],
)
@pytest.mark.parametrize("arm64", [0, 1])
def test_faults_that_the_twin_has_no_need_of(
    monkeypatch: pytest.MonkeyPatch, entry: int | None, flags: int, why: str, arm64: int
) -> None:
    if arm64 and entry is not None:
        entry = entry & YOUNG | (0 if entry & WRITABLE else READONLY)
    monkeypatch.setattr(process_steps, "translate", lambda _mm, _address: entry)
    paging = SimpleNamespace(
        young=YOUNG, arm64=arm64, write=0 if arm64 else WRITABLE, readonly=READONLY if arm64 else 0
    )
    mm: Any = SimpleNamespace(paging=paging)
    assert needless(mm, 0x1000, flags) == why

"""What the twin's page tables say of a fault."""

from types import SimpleNamespace
from typing import Any

import pytest

from mmtwin.recordings.process_events import Step
from mmtwin.replay import process_steps
from mmtwin.replay.process_steps import RESCHEDULED, TwinSteps, needless
from mmtwin.replay.process_tally import Tally

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


FILE, ANON, SHMEM = 0, 1, 3


@pytest.mark.parametrize(
    ("twin", "kernel", "parts"),
    [
        ([(ANON, 8), (SHMEM, 0)], [(ANON, 8), (SHMEM, 0)], 0),
        # zap_pte_range() in two: of the first page table all of the file, and some of the rest
        ([(ANON, 48), (SHMEM, 0), (ANON, 36)],
         [(ANON, 52), (SHMEM, 0), (ANON, 48), (ANON, 36)], 1),
        ([(ANON, 48), (SHMEM, 0)], [(ANON, 52), (SHMEM, 4), (ANON, 48), (SHMEM, 0)], 2),
        ([(FILE, 4), (ANON, 8), (SHMEM, 0)],
         [(FILE, 8), (ANON, 8), (SHMEM, 0), (FILE, 4)], 1),
        ([(ANON, 48), (SHMEM, 0)], [(ANON, 48), (SHMEM, 4), (SHMEM, 0)], 1),
        # another order is none of that
        ([(SHMEM, 0), (ANON, 8)], [(ANON, 8), (SHMEM, 0)], None),
        ([(ANON, 48), (SHMEM, 0)], [(ANON, 52), (SHMEM, 4), (ANON, 48)], None),
    ],
)  # fmt: skip
def test_changes_in_two_steps(
    twin: list[tuple[int, int]], kernel: list[tuple[int, int]], parts: int | None
) -> None:
    tally = Tally()
    machine: Any = SimpleNamespace(step_mask=0, next_step=0)
    steps = TwinSteps(machine, tally)
    steps.twin[7].extend(twin)
    for number, change in enumerate(kernel):
        steps.recorded(Step(number, 0, 7, "rss_stat", (0, 0, *change)))
    steps.took(7)
    compared, same = tally.pairs["rss_stat"]
    if parts is None:
        assert same < compared
        return
    assert compared == same == len(twin), tally.examples
    assert tally.missed[RESCHEDULED] == parts

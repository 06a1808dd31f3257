"""Page tables of processes, from pages taken and given back."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.process_events import Step
from mmtwin.replay import process_tables
from mmtwin.replay.process_tables import GFP_PGTABLE_USER, Tables, table_events

SPACES = {1: 10, 2: 20, 3: 20}  # mm.id by pid; 3 is a thread of 2
PAGE = 4096


def space(mm_id: int) -> SimpleNamespace:
    return SimpleNamespace(id=mm_id, pgtables_bytes=7 * PAGE)


@pytest.fixture()
def twin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Processes as far as Tables knows them; its top tables are pages."""
    spaces = {mm_id: space(mm_id) for mm_id in SPACES.values()}
    by_pid = {pid: SimpleNamespace(mm=spaces[mm_id]) for pid, mm_id in SPACES.items()}
    paging = SimpleNamespace(cache=-1, page_size=PAGE)
    monkeypatch.setattr(process_tables, "paging_of", lambda _machine: paging)
    return SimpleNamespace(by_pid=by_pid, alive=[by_pid[1], by_pid[2]], machine=None)


def tables(patch: pytest.MonkeyPatch, twin: Any, *events: tuple[int, int, int, bool]) -> Tables:
    patch.setattr(process_tables, "table_events", lambda _recording: iter(events))
    return Tables(None, twin)  # type: ignore[arg-type]


def step(index: int, pid: int, what: str, *args: int, name: str = "") -> Step:
    return Step(index, 0, pid, what, args, name)


def test_a_table_is_its_tasks_until_freed(monkeypatch: pytest.MonkeyPatch, twin: Any) -> None:
    made = tables(
        monkeypatch, twin, (1, 1, 100, True), (2, 1, 101, True), (3, 3, 102, True),
        (5, 9, 101, False), (6, 1, 102, True),
    )  # fmt: skip
    made.run_to(5, {})
    assert made.count == {10: 2, 20: 1}
    made.run_to(9, {})
    assert made.count == {10: 2, 20: 0}  # 102 was given back unseen


def test_forks_and_execs_build_tables(monkeypatch: pytest.MonkeyPatch, twin: Any) -> None:
    made = tables(
        monkeypatch, twin, (2, 1, 100, True), (4, 1, 101, True), (6, 2, 102, True),
        (12, 1, 103, True),
    )  # fmt: skip
    made.run_to(3, {1: step(1, 1, "enter", name="clone")})
    made.after(step(3, 1, "task_newtask", 2, 0))
    assert made.count == {20: 1}
    made.run_to(5, {})
    assert made.count == {10: 1, 20: 1}
    made.run_to(7, {2: step(5, 2, "enter", name="execve")})
    twin.by_pid[2].mm = space(30)
    made.after(step(7, 2, "sched_process_exec", 2, 2))
    assert made.count == {10: 1, 20: 1, 30: 1}
    made.run_to(13, {1: step(11, 1, "enter", name="execve")})
    made.after(step(13, 1, "exit", -2, name="execve"))
    assert made.count == {10: 1, 20: 1, 30: 1}  # it failed


def test_the_twin_shows_them_and_goes_on_with_its_own(
    monkeypatch: pytest.MonkeyPatch, twin: Any
) -> None:
    made = tables(monkeypatch, twin, *((number, 1, 100 + number, True) for number in range(5)))
    made.run_to(9, {})
    made.settle()
    assert twin.by_pid[1].mm.pgtables_bytes == 4 * PAGE  # all but the top one
    assert twin.by_pid[2].mm.pgtables_bytes == 7 * PAGE  # nobody told
    made.settle()
    made.unsettle()
    assert twin.by_pid[1].mm.pgtables_bytes == 7 * PAGE


def test_which_events_are_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_tables, "twin_gfp_of", lambda _recording: [])
    monkeypatch.setattr(process_tables, "translate_gfp", lambda gfp, _bits: gfp)
    rows = (
        ("ALLOC", GFP_PGTABLE_USER, 5, 0), ("ALLOC", 0xCC0, 6, 0), ("FREE", 0, 6, 0),
        ("ALLOC", GFP_PGTABLE_USER, 7, 0x10), ("FREE", 0, 5, 0x10), ("FREE", 0, 5, 0),
    )  # fmt: skip
    events = np.zeros(len(rows), dtype=EVENT)
    for event, (kind, gfp, pfn, flags) in zip(events, rows, strict=True):
        event["kind"] = CONSTANTS[f"KIND_MM_PAGE_{kind}"]
        event["gfp"], event["address"], event["flags"], event["pid"] = gfp, pfn, flags, 4
    recording: Any = SimpleNamespace(blocks=lambda: iter([events[:3], events[3:]]))
    assert list(table_events(recording)) == [(0, 4, 5, True), (4, 4, 5, False)]

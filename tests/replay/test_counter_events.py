"""When CPUs add up their counters: from the events that tell it."""

from types import SimpleNamespace
from typing import Any

import polars as pl

from mmtwin.replay import counter_events
from mmtwin.replay.counter_events import folds

HZ, TICK = 250, 4_000_000
EXIT = (1 << 32) - 1
UPDATE, SHEPHERD = 0xFFFFFFFF81000100, 0xFFFFFFFF81000200


def recording(clock: str = "global", **tables: list[dict[str, Any]]) -> Any:
    names = {UPDATE: ("vmstat_update", 0), SHEPHERD: ("vmstat_shepherd", 0)}
    return SimpleNamespace(
        counts={name: len(rows) for name, rows in tables.items()},
        tables_named=lambda asked: {n: pl.DataFrame(tables[n]) for n in asked if n in tables},
        symbols=SimpleNamespace(find=names.get),
        machine=SimpleNamespace(clock=clock, config={"CONFIG_HZ": str(HZ)}),
    )


def work(index: int, cpu: int, function: int | str) -> dict[str, Any]:
    return {"index": index, "time": index, "common_cpu": cpu, "function": function}


def idle(index: int, cpu: int, time: int, state: int = 1) -> dict[str, Any]:
    return {"index": index, "time": time, "common_cpu": cpu, "state": state}


def test_a_recording_without_the_events_tells_nothing() -> None:
    assert folds(recording()) is None
    assert folds(recording(cpu_idle=[idle(1, 0, 0)])) is None


def test_the_timers_work_is_found_by_its_function() -> None:
    rows = [work(5, 0, SHEPHERD), work(6, 0, UPDATE), work(9, 1, UPDATE), work(11, 1, 0x1000)]
    assert folds(recording(workqueue_execute_start=rows)) == [(6, 0), (9, 1)]


def test_a_text_recording_names_the_function() -> None:
    rows = [work(5, 0, "vmstat_shepherd"), work(6, 0, "vmstat_update")]
    assert folds(recording(workqueue_execute_start=rows)) == [(6, 0)]


def test_an_idle_longer_than_a_tick_adds_up_where_it_begins() -> None:
    idles = [
        idle(1, 0, 100), idle(2, 0, 100 + TICK, EXIT),  # the tick went on
        idle(3, 0, 50 * TICK), idle(4, 1, 51 * TICK), idle(5, 0, 60 * TICK, EXIT),
        idle(7, 1, 70 * TICK, EXIT), idle(8, 0, 80 * TICK),  # and never woke
    ]  # fmt: skip
    events = {"workqueue_execute_start": [work(6, 1, UPDATE)], "cpu_idle": idles}
    assert folds(recording(**events)) == [(3, 0), (4, 1), (6, 1)]
    assert folds(recording("counter", **events)) == [(6, 1)]


def test_what_would_tell_it_is_named_as_the_kernel_names_events() -> None:
    assert counter_events.NEEDED == ("workqueue:workqueue_execute_start", "power:cpu_idle")

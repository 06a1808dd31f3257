"""When CPUs added up their counters of vmstat, where a recording tells it.

workqueue:workqueue_execute_start names vmstat_update(); power:cpu_idle tells when a CPU went idle,
where quiet_vmstat() adds up once the tick is stopped (tick_nohz_stop_tick()): an idle that lasted
longer than a tick. Without these events both are guessed (late_counters.py).
"""

from collections.abc import Iterator

from mmtwin.recordings.recording import Recording
from mmtwin.replay.timers import CLOCKS, hz_of

UPDATE_EVENT = "workqueue_execute_start"
IDLE_EVENT = "cpu_idle"
NEEDED = (f"workqueue:{UPDATE_EVENT}", f"power:{IDLE_EVENT}")
UPDATE_FUNCTION = "vmstat_update"
NOT_IDLE = (1 << 32) - 1  # PWR_EVENT_EXIT
NS_IN_SECOND = 1_000_000_000
Fold = tuple[int, int]  # before which event, which CPU


def folds(recording: Recording) -> list[Fold] | None:
    """Where CPUs added up, in order; None where the recording does not tell."""
    if not recording.counts.get(UPDATE_EVENT):
        return None
    tables = recording.tables_named((UPDATE_EVENT, IDLE_EVENT))
    found = [
        (row["index"], row["common_cpu"])
        for row in tables[UPDATE_EVENT].iter_rows(named=True)
        if _function(recording, row["function"]) == UPDATE_FUNCTION
    ]
    if IDLE_EVENT in tables:
        found += _stopped_ticks(recording, tables[IDLE_EVENT].iter_rows(named=True))
    return sorted(found)


def _function(recording: Recording, value: int | str) -> str:
    if isinstance(value, str):
        return value
    symbol = recording.symbols.find(value)
    return symbol[0] if symbol else ""


def _stopped_ticks(
    recording: Recording, rows: Iterator[dict[str, int]]
) -> Iterator[Fold]:
    """Where CPUs went idle for longer than a tick; nowhere if the clock does not tell time."""
    hz = hz_of(recording.machine.config)
    if recording.machine.clock not in CLOCKS or not hz:
        return
    entered: dict[int, tuple[int, int]] = {}
    for row in rows:
        cpu = row["common_cpu"]
        if row["state"] != NOT_IDLE:
            entered.setdefault(cpu, (row["index"], row["time"]))
        elif cpu in entered:
            index, began = entered.pop(cpu)
            if row["time"] - began > NS_IN_SECOND // hz:
                yield index, cpu

"""vmalloc in a replay: from the kernel's own events, and from slab objects alone."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from mmtwin.kernel import lists
from mmtwin.kernel.vmalloc_validate import space_problems
from mmtwin.recordings import default_recording_path, open_recording
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.symbols import Symbols
from mmtwin.replay import replay
from mmtwin.replay.vmalloc import VmallocReplay, per_cpu_range
from mmtwin.versions.profiles import profile

START, END = 0xFFFFC90000000000, 0xFFFFE8FFFFFFFFFF
PAGE = 4096
KMALLOC, KFREE = CONSTANTS["KIND_KMALLOC"], CONSTANTS["KIND_KFREE"]
CACHE_ALLOC = CONSTANTS["KIND_KMEM_CACHE_ALLOC"]
SYMBOLS = Symbols(
    [(100, "__get_vm_area_node"), (200, "__vmalloc_node_range"), (300, "pcpu_get_vm_areas"),
     (400, "other")],
    [200, 300, 400, 500],
)  # fmt: skip
needs_speed = pytest.mark.skipif(lists.__file__.endswith(".py"), reason="minutes, uncompiled")


class Snapshot(dict):
    """A snapshot of texts."""

    def text(self, name: str) -> str:
        return self[name]

    def parsed(self, name: str, parse: Callable[[str], Any]) -> Any:
        return parse(self[name])


def row(first: int, pages: int, what: str) -> str:
    start, end = START + first * PAGE, START + (first + pages) * PAGE
    return f"{start:#x}-{end:#x} {pages * PAGE:>7} {what}\n"


def make(
    name: str, tables=None, dmesg: str = "", free_running: bool = False, objects: bool = True,
    **snapshots: str,
):  # fmt: skip
    """A replay of a recording that has these tables of events and vmallocinfo texts."""
    tables = tables or {}
    counts = {"kmalloc": 1} if objects else {}
    recording = SimpleNamespace(
        counts={name: len(table) for name, table in tables.items()} | counts,
        tables_named=lambda names: {each: tables[each] for each in names if each in tables},
        symbols=SYMBOLS,
        snapshots={each: Snapshot(vmallocinfo=text) for each, text in snapshots.items()},
        marker=lambda text: SimpleNamespace(index=0 if "start" in text else 1),
        nr_events=100,
        machine=SimpleNamespace(cpus=1),
        static=lambda name: dmesg,
    )
    annotated = SimpleNamespace(
        recording=recording, names=["task_struct"], page_shift=12,
        page_offset=0xFFFF888000000000,
    )  # fmt: skip
    return VmallocReplay(annotated, profile(name), free_running)


def table(*rows: dict[str, int]) -> pl.DataFrame:
    base = {"time": 0, "common_cpu": 0, "common_pid": 7}
    return pl.DataFrame([base | each for each in rows])


def alloc(index: int, page: int, pages: int, align: int = 1) -> dict[str, int]:
    return {"index": index, "addr": START + page * PAGE, "size": pages * PAGE, "align": align,
            "vstart": START, "vend": END, "failed": 0}


def events(*records: tuple[int, int, int, int]):
    """(kind, call site, address, bytes or cache) of pid 7."""
    found = np.zeros(len(records), EVENT)
    for event, (kind, site, address, number) in zip(found, records, strict=True):
        event["kind"], event["call_site"], event["address"] = kind, site, address
        event["bytes_req"], event["pid"] = number, 7
        event["cache"] = 0 if kind == CACHE_ALLOC else -1
    return found


def feed(twin: VmallocReplay, block, first: int) -> None:
    twin.feed(block, first)


def traced() -> dict[str, pl.DataFrame]:
    """Four requests, of which the kernel serves the third elsewhere; a free, a purge."""
    return {
        "alloc_vmap_area": table(
            alloc(0, 0, 5, 4 * PAGE), alloc(2, 8, 5, 4 * PAGE), alloc(3, 20, 2),
            alloc(7, 8, 5, 4 * PAGE),
        ),
        "free_vmap_area_noflush": table(
            {"index": 5, "va_start": START + 8 * PAGE, "nr_lazy": 5, "nr_lazy_max": 8192}
        ),
        "purge_vmap_area_lazy": table({"index": 6, "start": 0, "end": 0, "npurged": 1}),
    }  # fmt: skip


def test_traced_addresses_are_compared_and_set_right() -> None:
    text = row(0, 5, "kernel_clone+0x1/0x2 pages=4 vmalloc N0=4") + row(8, 5, "x+0x1/0x2 vmap")
    text += row(20, 2, "y+0x1/0x2 ioremap")
    twin = make("x86_64-6.12", traced(), start=text)
    assert twin.usable
    # the array of the first area's pages comes after it
    feed(twin, events(*[(KMALLOC, 450, 1, 8), (KMALLOC, 250, 1, 32)] + [(KFREE, 0, 1, 0)] * 8), 0)
    assert twin.compare("start", 99) == (3, [])
    assert twin.figures() == {"predicted": 4, "exact": 3}
    assert space_problems(twin.map) == []


def test_free_running_is_not_set_right() -> None:
    twin = make("x86_64-6.12", traced(), free_running=True, start=row(20, 2, "y+0x1/0x2 vmap"))
    feed(twin, events(*[(KFREE, 0, 1, 0)] * 10), 0)
    rows, differing = twin.compare("start", 99)
    assert f"{START + 20 * PAGE:#x}" in differing
    assert twin.figures() == {"predicted": 4, "exact": 3}
    assert rows == 4


def test_a_recording_that_begins_later_waits_for_a_snapshot() -> None:
    late = {"alloc_vmap_area": table(alloc(0, 100, 5), alloc(3, 5, 3))}
    text = row(0, 5, "x+0x1/0x2 pages=4 vmalloc N0=4") + row(100, 5, "y+0x1/0x2 vmap")
    text += row(90, 3, "unpurged vm_area")
    twin = make("x86_64-6.12", late, start=text)
    feed(twin, events(*[(KFREE, 0, 1, 0)] * 2), 0)
    assert twin.compare("start", 2) is None
    feed(twin, events(*[(KFREE, 0, 1, 0)] * 3), 2)
    twin.settle(99)
    assert twin.figures() == {"predicted": 1, "exact": 1}
    assert [area.start for area in twin.map.lazy()] == [START + 90 * PAGE]
    assert space_problems(twin.map) == []


def test_requests_follow_from_slab_objects() -> None:
    first = row(0, 2, "acpi+0x1/0x2 phys=0x00000000fed00000 ioremap")
    first += row(4, 5, "kernel_clone+0x1/0x2 pages=4 vmalloc N0=4")
    second = first + row(9, 4, "n_tty_open+0x1/0x2 pages=3 vmalloc N0=3")
    second += row(2, 2, "unpurged vm_area")
    twin = make("x86_64-6.1", start=first, end=second)
    assert twin.usable
    feed(twin, events((KMALLOC, 150, 0x1000, 64), (KFREE, 0, 0x7000, 0)), 0)
    stack = (CACHE_ALLOC, 0, 0x9000, 0), (KMALLOC, 150, 0x2000, 64), (KMALLOC, 250, 0x3000, 32)
    feed(twin, events(*stack), 2)
    assert twin.compare("start", 99) == (2, [])
    assert twin.figures() == {"predicted": 0, "exact": 0}
    one = (KMALLOC, 150, 0x4000, 64), (KMALLOC, 250, 0x5000, 8), (KFREE, 0, 0x4000, 0)
    tty = (KMALLOC, 150, 0x6000, 64), (KMALLOC, 250, 0x5000, 24)
    feed(twin, events(*one, *tty), 5)
    assert twin.compare("end", 99) == (4, [])
    assert twin.figures() == {"predicted": 2, "exact": 2}
    assert space_problems(twin.map) == []


def test_an_area_that_no_event_told_of_is_found_in_the_first_snapshot() -> None:
    text = row(0, 3, "x+0x1/0x2 pages=2 vmalloc N0=2") + row(3, 4, "y+0x1/0x2 pages=3 vmalloc")
    twin = make("x86_64-6.1", start=text)
    feed(twin, events((KMALLOC, 150, 0x1000, 64), (KMALLOC, 250, 0x2000, 24)), 0)
    assert twin.compare("start", 99) == (2, [])


def test_a_large_array_is_an_area_itself() -> None:
    text = row(0, 1025, "x+0x1/0x2 pages=1024 vmalloc vpages N0=1024")
    text += row(1025, 3, "x+0x1/0x2 pages=2 vmalloc N0=2")
    twin = make("x86_64-6.1", start=text)
    feed(twin, events(
        (KMALLOC, 150, 0x1000, 64), (KMALLOC, 150, 0x2000, 64), (KMALLOC, 250, 0x3000, 16)
    ), 0)  # fmt: skip
    assert twin.compare("start", 99) == (2, [])


def test_hidden_addresses_or_none_are_not_compared() -> None:
    hidden = "0x00000000663ae8d9-0x00000000162aa27f    8192 x+0x1/0x2 pages=1 vmalloc N0=1\n"
    assert not make("x86_64-5.10", start=hidden).usable
    assert not make("x86_64-6.1").usable
    assert not make("x86_64-6.1", objects=False, start=row(0, 2, "x+0x1/0x2 vmap")).usable
    assert make("x86_64-6.12", traced()).compare("start", 99) is None


def test_per_cpu_memory_takes_the_top() -> None:
    dmesg = (
        "percpu: Embedded 66 pages/cpu s233472 r8192 d28672 u2097152\n"
        "pcpu-alloc: s233472 r8192 d28672 u2097152 alloc=1*2097152\n"
    )
    assert per_cpu_range(dmesg) == (2 << 20, 2 << 20)
    assert per_cpu_range("percpu: nothing") is None
    start = 0xFFFFE8FFFFC00000
    text = f"{start:#x}-{start + (2 << 20):#x} 2097152 pcpu_get_vm_areas+0x0/0xfd0 vmalloc\n"
    twin = make("x86_64-6.12", traced(), dmesg, start=text)
    feed(twin, events((KMALLOC, 350, 0x1000, 8), (KMALLOC, 350, 0x1000, 72)), 50)
    rows, differing = twin.compare("start", 99)
    assert f"{start:#x}" not in differing
    assert rows > len(differing)


@needs_speed
def test_every_area_of_the_shipped_recording() -> None:
    with open_recording(default_recording_path()) as recording:
        fidelity = replay(recording, statistics=False).fidelity()
    assert fidelity["vmalloc"]["exact"] == fidelity["vmalloc"]["predicted"] > 30
    for snapshot in fidelity["snapshots"]:
        if "vmallocinfo" in snapshot:
            assert snapshot["vmallocinfo"]["exact"] == snapshot["vmallocinfo"]["areas"] > 60

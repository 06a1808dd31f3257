"""The terminal report of a replay, from figures made up here."""

import io
from typing import Any

import pytest
from rich.console import Console

from mmtwin.report.replay_report import print_replay
from mmtwin.units import bytes_text, count_text, share_text, spark

SNAPSHOT = {
    "name": "end",
    "slabinfo": {"caches": 128, "exact": 128},
    "buddyinfo": {"rows": 2, "exact": 2},
    "free_lists": {"lists": 34, "identical": 33},
    "slab_lists": {"caches": 128, "identical": 128},
    "live_objects": {"caches": 128, "exact": 127},
}
FIGURES: dict[str, Any] = {
    "recording": {
        "name": "a-made-up-recording",
        "kernel": "6.1.0-50-amd64",
        "arch": "x86_64",
        "page_size": 4096,
        "cpus": 1,
        "memory": 256 << 20,
        "events": 244704,
        "lost": 0,
    },
    "replay": {
        "mode": "predict",
        "profile": "x86_64-6.1",
        "start": "truth",
        "free_running": False,
    },
    "events": {"consumed": 200000, "unexplained": {"page_without_demand": 3}},
    "fidelity": {
        "pfn": {
            "zone": {"predicted": 9000, "exact": 9000},
            "pcp": {"predicted": 12000, "exact": 11999},
        },
        "objects": {"predicted": 100000, "exact": 99900, "same_slab": 99950},
        "bytes_alloc": {"predicted": 18000, "exact": 18000},
        "geometry": {"caches": 128, "exact": 128},
        "misses": {"silent_page": 1},
        "snapshots": [SNAPSHOT],
    },
    "speed": {"seconds": 0.05, "events_per_second": 4000000.0},
    "statistics": {
        "caches": [
            {
                "name": f"cache-with-a-rather-long-name-{number}",
                "object_size": 192,
                "size": 192,
                "slabs": 100,
                "objects": 2000 - number,
                "capacity": 2100,
                "bytes": 100 * 4096,
                "utilisation": 0.95,
                "waste": {"rounding": 12345, "slab_tail": 6400, "free_objects": 19200},
            }
            for number in range(40)
        ],
        "call_sites": [
            {
                "site": f"some_rather_long_function_name_of_the_kernel_{number}+0x1f",
                "cache": "kmalloc-192",
                "allocations": 4000,
                "bytes_req": 400000,
                "bytes_alloc": 768000,
                "waste": 368000,
                "live_objects": 12,
                "live_bytes": 2304,
            }
            for number in range(20)
        ],
        "orders": [
            {"order": order, "migratetype": kind, "allocated": 1000 >> order, "freed": 9}
            for order in range(4)
            for kind in ("unmovable", "movable", "reclaimable")
        ],
        "fragmentation": {
            "orders": [1, 4, 9],
            "times": [0.0, 1.0, 2.0],
            "unusable": [[0.0, 0.1, 0.3], [0.1, 0.2, 0.4], [0.2, 0.5, 1.0]],
        },
        "steals": {"fallbacks": 6, "pageblocks": 2, "pairs": {"unmovable from movable": 6}},
        "slub": {
            "alloc": {"fast path": 90000, "cpu partial": 9000, "new slab": 1000},
            "free": {"fast path": 50000, "slow path": 2000},
        },
        "pcp": {"alloc": {"from the list": 19000, "refill": 1000}, "free": {"to the list": 18000}},
    },
}


def printed(figures: dict[str, Any], width: int) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_replay(figures, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 120])
def test_report_fits_its_width(width: int) -> None:
    text = printed(FIGURES, width)
    assert max(len(line) for line in text.splitlines()) <= width
    for what in ("6.1.0-50-amd64", "11,999", "99.99 %", "cache-with", "unmovable from movable"):
        assert what in text


def test_report_sums_what_it_leaves_out() -> None:
    assert "25 more" in printed(FIGURES, 120)
    assert f"{sum(2000 - number for number in range(40)):,}" in printed(FIGURES, 120)


def test_report_without_statistics() -> None:
    figures = {key: value for key, value in FIGURES.items() if key != "statistics"}
    assert "Caches" not in printed(figures, 80)


def test_report_says_when_no_order_was_known() -> None:
    followed = {**FIGURES, "replay": {**FIGURES["replay"], "snapshots": "followed"}}
    assert "order of no list" in printed(followed, 120)
    assert "order of no list" not in printed(FIGURES, 120)


def test_report_shows_within_what_bounds_a_line_of_meminfo_must_be() -> None:
    same = {"kernel": 800, "twin": 800, "least": 796, "most": 804}
    other = {"kernel": 936, "twin": 932, "least": 928, "most": 944}
    fidelity = {
        **FIGURES["fidelity"],
        "counters": {"told": False, "missing": ["power:cpu_idle"]},
        "snapshots": [{**SNAPSHOT, "meminfo": {"KernelStack": same, "PageTables": other}}],
    }
    text = " ".join(printed({**FIGURES, "fidelity": fidelity}, 120).split())
    assert "932 (928 to 944)" in text
    assert "796" not in text
    assert "power:cpu_idle would tell when" in text


def test_units_do_not_flatter() -> None:
    assert share_text(99999, 100000) == "99.99 %"
    assert share_text(100000, 100000) == "100 %"
    assert share_text(1, 10**9) == "< 0.01 %"
    assert share_text(0, 10) == "0.00 %"
    assert (bytes_text(0), bytes_text(4096), bytes_text(1536)) == ("0", "4 KiB", "1.50 KiB")
    assert (count_text(4100000), count_text(12)) == ("4.10 M", "12")
    assert spark([0.0, 0.5, 1.0], 32) == " ▄█"
    assert spark([0.0] * 63 + [1.0], 32) == " " * 31 + "█"

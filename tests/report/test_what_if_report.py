"""The terminal report of a what-if, from figures made up here."""

import io
from typing import Any

from rich.console import Console

from mmtwin.report.what_if_report import difference, print_what_if


def cache(name: str, size: int, slabs: int) -> dict[str, Any]:
    return {"name": name, "size": size, "slabs": slabs, "objects": 7, "bytes": slabs << 12}


def machine(name: str, caches: list[dict[str, Any]]) -> dict[str, Any]:
    paths = {"alloc": {"fast": 9, "new slab": 1}, "free": {"fast": 0}}
    size = sum(row["bytes"] for row in caches)
    return {
        "name": name, "profile": "x86_64-6.1", "page_size": 4096, "managed": 1 << 28,
        "used": 1 << 20, "peak": {"bytes": 2 << 20, "time": 5},
        "slab": {"bytes": size, "slabs": 4, "objects": 14,
                 "waste": {"rounding": 10, "slab_tail": 0, "free_objects": 5000}},
        "user": 4096, "page_tables": 0, "vmalloc": 0, "kernel_pages": 0, "old_pages": 0,
        "stacks": 0, "free": {"bytes": 1 << 27, "blocks_64k": 1 << 26, "blocks_2048k": 0},
        "failed": {"objects": 0, "pages": 2 if name == "changed" else 0},
        "mapped": {"shared_pages": 0, "split_pages": 0, "other_orders": 0, "tables": 0,
                   "not_asked": 0},
        "demands": 100, "paths": {"slub": paths, "pcp": paths}, "caches": caches,
    }  # fmt: skip


FIGURES: dict[str, Any] = {
    "recording": {"name": "made-up", "kernel": "6.1.0", "arch": "x86_64"},
    "changes": ["struct:dentry=+16"],
    "start": {"kind": "live", "event": 12, "redemanded": {"of_unknown_size": 3}},
    "demands": {"freed_unknown": 41, "unnamed": 0},
    "machines": [
        machine("recorded", [cache("dentry", 192, 40), cache("filp", 256, 3)]),
        machine("changed", [cache("dentry", 208, 50), cache("filp", 256, 3)]),
    ],
    "course": {
        "seconds": [0.0, 0.5, 1.0],
        "recorded": {"used": [1 << 20] * 3, "slab": [4096, 8192, 8192]},
        "changed": {"used": [1 << 20, 2 << 20, 3 << 20], "slab": [4096] * 3},
    },
}


def test_report_has_both_machines_side_by_side() -> None:
    out = io.StringIO()
    print_what_if(FIGURES, Console(file=out, width=100))
    text = out.getvalue()
    assert "what if: struct:dentry=+16" in text
    row = next(line.split() for line in text.splitlines() if line.startswith("dentry"))
    assert row == ["dentry", "192", "208", "40", "50", "160", "KiB", "+40", "KiB", "(+25.0", "%)"]
    assert "filp" not in text  # it is the same on both
    assert "failed demands for pages" in text and "+2" in text
    assert "3 objects of kmalloc from before the first event" in text
    assert "41 frees" in text and "cache nothing tells" not in text


def test_differences_read_well() -> None:
    assert difference(4096, 4096) == "="
    assert difference(4096, 6144) == "+2 KiB (+50.0 %)"
    assert difference(0, 1024) == "+1 KiB"
    assert difference(2048, 0) == "-2 KiB (-100.0 %)"


def test_a_prediction_stands_beside_what_was() -> None:
    four = {"recorded": 10, "recorded_twin": 9, "real": 20, "predicted": 22}
    row = {key: {"slabs": value, "bytes": value << 12} for key, value in four.items()}
    against = {
        "recording": "other", "kernel": "6.1.1", "snapshot": "end",
        "bytes": {"slab": four, "free": dict.fromkeys(four, 5)},
        "compared": {
            "caches": 7, "geometry_exact": 6, "merged_alike": 5, "slabs_exact": 4,
            "slabs_within_5_percent": 3, "only_real": ["alone"], "only_predicted": [],
        },
        "pagesets": [
            {"node": 0, "zone": "DMA32", "real": {"high": 42}, "predicted": {"high": 41}},
        ],
        "caches": [{"name": "mine", **row}],
    }  # fmt: skip
    out = io.StringIO()
    print_what_if({**FIGURES, "against": against}, Console(file=out, width=100))
    text = out.getvalue()
    assert "Held against other: Linux 6.1.1, snapshot end" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["mine", "10", "9", "20", "22", "+10.0", "%"] in rows
    assert ["node", "0", "DMA32", "high", "42", "41"] in rows
    assert "only that kernel has slabs of: alone" in text and "only the prediction" not in text

"""What a what-if predicted, beside what the other kernel showed."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from mmtwin.report.table import FigureTable
from mmtwin.units import bytes_text

Figures = Mapping[str, Any]
COLUMNS = (">recorded", ">its twin", ">other kernel", ">predicted", ">error")
KEYS = ("recorded", "recorded_twin", "real", "predicted")


def against_sections(against: Figures, rows: int) -> Iterator[RenderableType]:
    """The comparison; `rows`: caches shown."""
    yield Text(
        f"\nHeld against {against['recording']}: Linux {against['kernel']}, snapshot "
        f"{against['snapshot']}", "bold",
    )  # fmt: skip
    table = FigureTable("Memory at the snapshot", "", *COLUMNS)
    for key, name in (("slab", "slabs"), ("free", "free")):
        four = against["bytes"][key]
        table.add_row(name, *(bytes_text(four[each]) for each in KEYS), error(four))
    yield table
    yield from (Text(line) for line in counts(against["compared"]))
    yield from _pagesets(against["pagesets"])
    yield from _caches(against["caches"], rows)


def error(four: Figures) -> str:
    """The prediction less what was: `-0.1 %`, `=` for none."""
    real, predicted = four["real"], four["predicted"]
    if real == predicted:
        return "="
    return f"{100 * (predicted - real) / real:+.1f} %" if real else "+"


def counts(compared: Figures) -> Iterator[str]:
    """How many caches were predicted as they were."""
    yield f"{compared['caches']} caches have slabs on both; predicted as they were:"
    yield f"  size, objects and order of slabs: {compared['geometry_exact']}"
    yield f"  with which others a cache is merged: {compared['merged_alike']}"
    yield (
        f"  number of slabs: {compared['slabs_exact']}; within one slab or 5 %: "
        f"{compared['slabs_within_5_percent']}"
    )
    for key, where in (("only_real", "that kernel"), ("only_predicted", "the prediction")):
        if compared[key]:
            yield f"only {where} has slabs of: {', '.join(compared[key])}"


def _pagesets(rows: list[Figures]) -> Iterator[FigureTable]:
    if not rows:
        return
    table = FigureTable("Per-CPU page lists", "zone", "", ">other kernel", ">predicted")
    for row in rows:
        for name in sorted({*row["real"], *row["predicted"]}):
            values = (str(row[side].get(name, "-")) for side in ("real", "predicted"))
            table.add_row(f"node {row['node']} {row['zone']}", name, *values)
    yield table


def _caches(caches: list[Figures], rows: int) -> Iterator[FigureTable]:
    """Those whose slabs were predicted worst, by memory."""

    def off(row: Figures) -> int:
        return int(abs(row["real"]["bytes"] - row["predicted"]["bytes"]))

    wrong = sorted((row for row in caches if off(row)), key=lambda row: (-off(row), row["name"]))
    if not wrong:
        return
    table = FigureTable(
        f"Slabs of caches that were predicted worst ({len(wrong)} differ)", "cache", *COLUMNS
    )
    for row in wrong[:rows]:
        four = {key: row[key]["slabs"] for key in KEYS}
        table.add_row(row["name"], *(f"{four[key]:,}" for key in KEYS), error(four))
    yield table

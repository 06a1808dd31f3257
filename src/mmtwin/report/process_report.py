"""The report of a replay of processes: what `mmtwin maps --check` prints, out of the dict that
`--json` prints (docs/json.md).
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from mmtwin.report.table import FigureTable
from mmtwin.units import share_text

Figures = Mapping[str, Any]
TITLES = {
    "addresses": "addresses chosen (mmap, brk, mremap)",
    "errors": "errors returned",
    "results": "other calls",
    "searches": "searches for addresses, all fields",
    "faults": "page faults (taken, page present)",
    "signals": "signals",
    "rss_stat": "rss_stat, in order",
    "vma_store": "vma_store, in order",
    "maps": "maps, byte for byte",
    "smaps": "lines of smaps",
    "status": "sizes in status",
}


def print_processes(figures: Figures, console: Console) -> None:
    """Prints the report."""
    recording = figures["recording"]
    console.print(
        Text(f"{recording['name']}: Linux {recording['kernel']}, {recording['arch']}", "bold")
    )
    for snapshot in figures["snapshots"]:
        console.print(
            f"{snapshot['name']}: maps of {snapshot['maps_exact']} of "
            f"{snapshot['processes']} processes byte for byte"
        )
    table = FigureTable("Processes", "", ">compared", ">same", ">")
    for kind, title in TITLES.items():
        pair = figures["compared"].get(kind)
        if pair:
            same, compared = pair["same"], pair["compared"]
            table.add_row(title, f"{compared:,}", f"{same:,}", share_text(same, compared))
    console.print(table)
    if figures["missed"]:
        missed = FigureTable("What differed", "", ">")
        for name, count in figures["missed"].items():
            missed.add_row(name, f"{count:,}")
            for example in figures["examples"].get(name, [])[:1]:
                missed.add_row(f"  {example}", "")
        console.print(missed)
        console.print()
    for what in figures["missing_events"]:
        console.print(f"not recorded, so not compared: {what}")
    if figures["random_starts"]:
        starts = ", ".join(f"{count:,} {name}" for name, count in figures["random_starts"].items())
        console.print(f"random starts of execs, taken from the events: {starts}")
    if figures["files_named_by_snapshots"] or figures["files_unnamed"]:
        console.print(
            f"files that no event names: {figures['files_named_by_snapshots']} named by a later "
            f"snapshot, {figures['files_unnamed']} left without a name"
        )

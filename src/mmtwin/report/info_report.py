"""What a recording holds, on a terminal: out of the JSON of `mmtwin info`."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from mmtwin.report.table import FigureTable
from mmtwin.units import bytes_text, counted, share_text


def print_info(figures: Mapping[str, Any], console: Console) -> None:
    """Prints what a recording holds."""
    recording = figures["recording"]
    kernel = recording["kernel"] or "an unknown kernel"
    console.print(
        Text(f"{recording['path']}: {recording['kind']} recording", "bold"), soft_wrap=True
    )
    memory = f", {bytes_text(recording['memory'])}" if recording["memory"] else ""
    console.print(
        f"{kernel} {recording['arch']}, {counted(recording['cpus'], 'CPU')}, "
        f"{bytes_text(recording['page_size'])} pages{memory}"
    )
    if recording["cmdline"]:
        console.print(Text(recording["cmdline"], "dim"), soft_wrap=True)
    lost = ", ".join(f"CPU {cpu}: {n:,}" for cpu, n in recording["lost_by_cpu"].items())
    console.print(f"{recording['events']:,} events, {recording['lost']:,} lost {lost}".rstrip())
    table = FigureTable("Events", "event", ">number", ">share")
    for name, count in sorted(figures["events"].items(), key=lambda item: -item[1]):
        table.add_row(name, f"{count:,}", share_text(count, recording["events"]))
    console.print(table)
    if figures["markers"]:
        _print_markers(figures, console)
    if figures["snapshots"]:
        table = FigureTable("Snapshots", "name", ">files", "truth")
        for snapshot in figures["snapshots"]:
            truth = "yes" if snapshot["truth"] else "no"
            table.add_row(snapshot["name"], str(len(snapshot["files"])), truth)
        console.print(table)


def _print_markers(figures: Mapping[str, Any], console: Console) -> None:
    counted = figures["recording"]["clock"] == "counter"
    unit = "count" if counted else "ms"
    table = FigureTable("Markers", "text", ">event", f">{unit}")
    first = figures["markers"][0]["time"]
    for marker in figures["markers"]:
        if marker["text"].startswith(("SNAPB", "SNAPE")):
            continue  # two for each file of a snapshot
        time = marker["time"] - first
        shown = str(time) if counted else f"{time / 1e6:.3f}"
        table.add_row(marker["text"], f"{marker['index']:,}", shown)
    console.print(table)

"""Every recording of a folder through the replay: `make test-kernels RECORDINGS=folder`.

Prints one line for each and fails if one cannot be replayed, or if a rule that holds on every
kernel does not: the size class of every kmalloc and the geometry of every cache.
"""

import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from mmtwin.recordings import RecordingError
from mmtwin.replay import replay
from mmtwin.report.table import FigureTable
from mmtwin.units import count_text, share_text

SHARES = (
    ("zone", ("pfn", "zone"), "predicted", "exact"),
    ("pcp", ("pfn", "pcp"), "predicted", "exact"),
    ("objects", ("objects",), "predicted", "exact"),
    ("bytes", ("bytes_alloc",), "predicted", "exact"),
    ("geometry", ("geometry",), "caches", "exact"),
)
RULES = ("bytes", "geometry")


def shares(fidelity: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """{what: (exact, of how many)}."""
    found = {}
    for name, path, total, exact in SHARES:
        pair = fidelity
        for key in path:
            pair = pair[key]
        found[name] = (pair[exact], pair[total])
    return found


def main(folder: str) -> int:
    """Prints the table; the exit status."""
    columns = [f">{name}" for name, *_ in SHARES]
    table = FigureTable(folder, "recording", *columns, ">unexplained", ">events/s")
    failed = []
    recordings = sorted(path for path in Path(folder).iterdir() if path.is_dir())
    for path in recordings:
        try:
            figures = replay(path, statistics=False).to_dict()
        except (RecordingError, ValueError) as error:
            failed.append(f"{path.name}: {error}")
            continue
        found = shares(figures["fidelity"])
        failed += [f"{path.name}: {rule}" for rule in RULES if found[rule][0] != found[rule][1]]
        unexplained = sum(figures["events"]["unexplained"].values())
        cells = (share_text(*found[name]) for name, *_ in SHARES)
        speed = count_text(figures["speed"]["events_per_second"])
        table.add_row(path.name, *cells, f"{unexplained:,}", speed)
    Console(highlight=False).print(table)
    for text in failed or ([] if recordings else [f"{folder}: no recordings"]):
        print(f"failed: {text}", file=sys.stderr)
    return 1 if failed or not recordings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

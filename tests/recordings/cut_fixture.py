"""Cuts a fixture out of an unpacked recording: a few pages of each CPU with their format files.

    python cut_fixture.py RECORDING DESTINATION 0:120-121 1:3-4 [--print-fmt]

A range is CPU:FIRST-LAST, in pages. The `print fmt` lines, which no reader uses, are left out
unless asked for.
"""

import json
import sys
from pathlib import Path

KEPT = ("flavour", "arch", "smp", "mem", "cmdline", "workload")
STATICS = ("version", "cmdline", "thp_enabled")


def copy_formats(source: Path, target: Path, whole: bool) -> None:
    """The format files of the events that were enabled, and the page's layout."""
    enabled = {line.strip().replace(":", "/") for line in (source / "set_event").open()}
    for name in sorted(enabled | {"ftrace/print"}):
        if not (source / "events" / name / "format").exists():
            continue
        text = (source / "events" / name / "format").read_text()
        (target / "events" / name).mkdir(parents=True, exist_ok=True)
        kept = text if whole else text.partition("\nprint fmt:")[0] + "\n"
        (target / "events" / name / "format").write_text(kept)
    for name in ("events/header_page", "events/header_event", "trace_clock", "set_event"):
        (target / name).write_bytes((source / name).read_bytes())


def main(arguments: list[str]) -> None:
    """Cuts; see the module's text."""
    whole = "--print-fmt" in arguments
    recording, destination, *ranges = [a for a in arguments if a != "--print-fmt"]
    source, target = Path(recording), Path(destination)
    (target / "trace").mkdir(parents=True)
    (target / "static").mkdir()
    copy_formats(source / "trace", target / "trace", whole)
    header = (source / "trace/events/header_page").read_text()
    size = int(header.partition("char data;")[2].partition("size:")[2].partition(";")[0]) + 16
    for entry in ranges:
        cpu, _, pages = entry.partition(":")
        first, _, last = pages.partition("-")
        with (source / f"trace/cpu{cpu}.raw").open("rb") as raw:
            raw.seek(int(first) * size)
            data = raw.read((int(last) - int(first) + 1) * size)
        (target / f"trace/cpu{cpu}.raw").write_bytes(data)
    meta = json.loads((source / "meta.json").read_text())
    kept = {name: meta[name] for name in KEPT if name in meta}
    (target / "meta.json").write_text(json.dumps(kept, indent=1) + "\n")
    for name in STATICS:
        (target / "static" / name).write_bytes((source / "static" / name).read_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])

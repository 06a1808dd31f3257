"""What a recording holds: its machine, its events by kind, its markers and snapshots."""

import argparse
from typing import TYPE_CHECKING, Any

from mmtwin.cli.options import add_json, add_recording, console, opened, print_json

if TYPE_CHECKING:
    from mmtwin.recordings import Recording

EXAMPLES = """\
examples:
  mmtwin info                       the recording that comes with mmtwin
  mmtwin info trace.txt --json      figures for a program"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_recording(parser, default=True)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    with opened(arguments.recording) as recording:
        figures = info_of(recording)
    if arguments.json:
        print_json(figures)
    else:
        from mmtwin.report.info_report import print_info

        print_info(figures, console())
    return 0


def info_of(recording: "Recording") -> dict[str, Any]:
    """What `mmtwin info --json` prints."""
    machine = recording.machine
    return {
        "recording": {
            "path": str(recording.path),
            "kind": recording.kind,
            "kernel": machine.release,
            "arch": machine.arch,
            "page_size": machine.page_size,
            "cpus": machine.cpus,
            "memory": machine.mem_bytes,
            "cmdline": machine.cmdline,
            "clock": machine.clock,
            "events": recording.nr_events,
            "lost": sum(recording.lost.values()),
            "lost_by_cpu": {str(cpu): count for cpu, count in sorted(recording.lost.items())},
        },
        "events": recording.counts,
        "markers": [
            {"index": marker.index, "time": marker.time, "text": marker.text}
            for marker in recording.markers
        ],
        "snapshots": [
            {"name": name, "truth": snapshot.has_truth, "files": snapshot.files}
            for name, snapshot in recording.snapshots.items()
        ],
        "statics": recording.statics,
    }

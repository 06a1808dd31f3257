"""Turns trace data into an mmtwin recording: one folder, small and quick to read."""

import argparse
from typing import Any

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.options import INPUTS, add_json, opened, print_json
from mmtwin.cli.progress import progress_bar, warn_if_uncompiled

EXAMPLES = """\
examples:
  mmtwin import lab-data-set my-recording       raw ring-buffer pages, snapshots, symbols
  mmtwin import /sys/kernel/tracing/trace mine  ftrace's text
  mmtwin import trace.txt mine --kernel 6.12 --memory 1G   what a text does not say
  perf script > kmem.txt; mmtwin import kmem.txt mine

docs/recording-format.md describes the folder. It must not exist before."""

OTHER_RELEASE = "is it a trace of another release? --kernel names the one that it was made on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("source", help=INPUTS)
    parser.add_argument("target", help="the folder to write")
    parser.add_argument(
        "--called-symbols",
        action="store_true",
        help="keep only the kernel functions that events name: smaller",
    )
    parser.add_argument(
        "--kernel", metavar="RELEASE",
        help="the kernel it was recorded on, where it does not say: 6.12, 6.12.107",
    )  # fmt: skip
    parser.add_argument("--memory", metavar="SIZE", help="the same of its memory: 1G")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    try:
        return imported(arguments)
    except UserError as error:
        if arguments.kernel and "has no gfp flag" in str(error):
            error.remedy = OTHER_RELEASE
        raise


def imported(arguments: argparse.Namespace) -> int:
    """Writes the recording and says what it holds; the exit status."""
    from mmtwin.recordings.writer import import_recording

    warn_if_uncompiled()
    with opened(arguments.source) as recording, progress_bar("importing") as progress:
        with input_errors():
            tell_machine(recording, arguments.kernel, arguments.memory)
        move = (lambda events: progress(events, None)) if progress else None
        target = import_recording(
            recording, arguments.target, move, called_symbols=arguments.called_symbols
        )
        bytes = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
        figures = {
            "source": arguments.source,
            "target": str(target),
            "kind": recording.kind,
            "events": recording.nr_events,
            "lost": sum(recording.lost.values()),
            "bytes": bytes,
        }
    if arguments.json:
        print_json({"import": figures})
    else:
        from mmtwin.units import bytes_text

        print(
            f"{figures['target']}: {figures['events']:,} events, {figures['lost']:,} lost, "
            f"{bytes_text(bytes)}"
        )
    return 0


def tell_machine(recording: Any, kernel: str | None, memory: str | None) -> None:
    """Completes what a recording says of its machine. Raises ValueError for what it says itself,
    and for what is no release or size.
    """
    from dataclasses import replace

    from mmtwin.machine.memory_map import parse_memory
    from mmtwin.versions.releases import nearest_release, release_line

    machine = recording.machine
    if kernel:
        if machine.release:
            raise ValueError(
                f"--kernel: {recording.path} says itself that it is {machine.release}"
            )
        nearest_release(kernel)
        machine = replace(machine, release=kernel, version=release_line(kernel))
    if memory:
        if machine.mem_bytes:
            raise ValueError(f"--memory: {recording.path} says itself how much there is")
        machine = replace(machine, mem_bytes=parse_memory(memory))
    recording.machine = machine

"""Counts what SLUB's prefetch of the next free pointer buys: cache-line misses of a replay.

The reads of free pointers on SLUB's fast path are held against a model of a first-level cache,
with prefetch_freepointer() and without it.
"""

import argparse
from typing import Any

from mmtwin.cli.errors import input_errors
from mmtwin.cli.options import add_json, add_recording, opened, print_json, source_of
from mmtwin.cli.progress import progress_bar, warn_if_uncompiled

EXAMPLES = """\
examples:
  mmtwin explain prefetch                     the recording that comes with mmtwin
  mmtwin explain prefetch FOLDER --cache 64   a cache of 64 KiB"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_recording(parser, default=True)
    parser.add_argument("--cache", type=int, default=32, metavar="KIB", help="(default: 32 KiB)")
    parser.add_argument("--ways", type=int, default=8, metavar="N", help="(default: 8)")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.machine.kept import kept_answer

    asked = ("prefetch", str(arguments.cache), str(arguments.ways))
    found = kept_answer(source_of(arguments.recording), asked, lambda: measured(arguments))
    if arguments.json:
        print_json({"prefetch": found})
        return 0
    reads, without, with_ = found["reads"], found["misses_without"], found["misses_with"]
    print(f"free pointers read on SLUB's fast path    {reads:>9,}")
    for words, count in (("misses without the prefetch", without), ("misses with it", with_)):
        print(f"{words:<41} {count:>9,}  {count / max(reads, 1):7.2%}")
    print(f"lines that the prefetch brought in        {found['lines_prefetched']:>9,}")
    print(f"a cache of {arguments.cache} KiB, {arguments.ways} ways, lines of 64 bytes")
    return 0


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """The misses of a replay, counted."""
    from mmtwin.replay.prefetch import measure

    warn_if_uncompiled()
    with (
        opened(arguments.recording) as recording,
        progress_bar("replaying") as progress,
        input_errors("caches have 32 or 64 KiB and 4 to 16 ways"),
    ):
        return measure(recording, arguments.cache << 10, arguments.ways, progress)

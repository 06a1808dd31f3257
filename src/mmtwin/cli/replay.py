"""Replays what a real kernel's memory manager was asked, and holds the twin's answers against it.

Prints the machine, how exactly the twin answered, and where the memory went.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmtwin.cli.errors import DIFFERENCE, OK, UserError
from mmtwin.cli.options import (
    add_json,
    add_recording,
    console,
    opened,
    positive,
    print_json,
    write_picture,
)
from mmtwin.cli.progress import progress_bar, warn_if_uncompiled

EXAMPLES = """\
examples:
  mmtwin replay                            the recording that comes with mmtwin
  mmtwin replay FOLDER --json              figures for a program
  mmtwin replay FOLDER --free-running      no help from the recording on the way
  mmtwin replay FOLDER --expect zone=100 --expect objects=99.5
                                           exit status 1 if the twin is less exact"""
# What --expect knows: name: (path to the pair of figures, total, equal)
EXPECTATIONS = {
    "zone": (("pfn", "zone"), "predicted", "exact"),
    "pcp": (("pfn", "pcp"), "predicted", "exact"),
    "objects": (("objects",), "predicted", "exact"),
    "same-slab": (("objects",), "predicted", "same_slab"),
    "bytes": (("bytes_alloc",), "predicted", "exact"),
    "geometry": (("geometry",), "caches", "exact"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_recording(parser, default=True)
    parser.add_argument(
        "--mode",
        choices=("predict", "follow"),
        default="predict",
        help="predict (default): every answer is the twin's own; follow: take the recorded ones",
    )
    parser.add_argument(
        "--profile", metavar="NAME", help="on another kernel: the same as mmtwin what-if --profile"
    )
    parser.add_argument(
        "--policy", metavar="FILE.py", help="with another policy: as mmtwin what-if --policy"
    )
    parser.add_argument(
        "--from",
        dest="start",
        choices=("auto", "truth", "snapshots", "empty"),
        default="auto",
        help="initial state: the kernel's own lists, its /proc texts, or an empty boot "
        "(auto: the best there is)",
    )
    parser.add_argument(
        "--free-running",
        action="store_true",
        help="do not set the twin right after a miss",
    )
    parser.add_argument(
        "--no-statistics", action="store_true", help="only fidelity and speed: somewhat faster"
    )
    parser.add_argument("--top", type=positive, metavar="N", help="caches and call sites shown")
    parser.add_argument("--picture", metavar="FILE", help="also draw the replay as an SVG file")
    parser.add_argument(
        "--expect",
        action="append",
        default=[],
        metavar="WHAT=PERCENT",
        help=f"fail below this share; WHAT is one of {', '.join(EXPECTATIONS)}",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    if arguments.profile or arguments.policy:
        return what_if(arguments)
    expectations = [parse_expectation(text) for text in arguments.expect]
    if arguments.picture and arguments.no_statistics:
        raise UserError("--picture needs the statistics", "leave out --no-statistics")
    figures = replay_figures(arguments)
    if arguments.json:
        print_json(figures)
    else:
        from mmtwin.report.replay_report import print_replay

        print_replay(figures, console(), arguments.top)
    if arguments.picture:
        from mmtwin.draw.replay_picture import replay_svg

        write_picture(arguments.picture, replay_svg(figures))
    failed = list(failures(figures, expectations))
    for text in failed:
        print(f"mmtwin: {text}", file=sys.stderr)
    return DIFFERENCE if failed else OK


def what_if(arguments: argparse.Namespace) -> int:
    """On another kernel there is nothing to compare with: the what-if's report."""
    from mmtwin.cli import what_if as command

    own = (arguments.expect, arguments.free_running, arguments.no_statistics)
    if any(own) or arguments.mode != "predict" or arguments.start not in ("auto", "empty"):
        raise UserError("--profile and --policy make a what-if", "see `mmtwin what-if --help`")
    arguments.settings = []
    return command.run(arguments)


def replay_figures(arguments: argparse.Namespace) -> dict[str, Any]:
    """The replay's figures as `--json` prints them."""
    from mmtwin.replay import replay

    warn_if_uncompiled()
    with opened(arguments.recording) as recording, progress_bar("replaying") as progress:
        result = replay(
            recording,
            mode=arguments.mode,
            start=arguments.start,
            free_running=arguments.free_running,
            statistics=not arguments.no_statistics,
            progress=progress,
        )
        return result.to_dict()


def parse_expectation(text: str) -> tuple[str, float]:
    """(name, percent) of one --expect."""
    name, _, share = text.partition("=")
    try:
        percent = float(share)
    except ValueError:
        percent = -1.0
    if name not in EXPECTATIONS or not 0 <= percent <= 100:
        known = ", ".join(EXPECTATIONS)
        raise UserError(f"--expect {text!r}", f"it takes WHAT=PERCENT; WHAT is one of {known}")
    return name, percent


def failures(
    figures: Mapping[str, Any], expectations: Iterable[tuple[str, float]]
) -> Iterator[str]:
    """What is wrong with each expectation that is not met."""
    for name, percent in expectations:
        path, total, equal = EXPECTATIONS[name]
        pair = figures["fidelity"]
        for key in path:
            pair = pair[key]
        wanted = f"{name}: expected {percent:g} %"
        if not pair[total]:
            yield f"{wanted}, but the recording has nothing to compare"
        elif 100 * pair[equal] < percent * pair[total]:
            share = 100 * pair[equal] / pair[total]
            yield f"{wanted}, is {share:.4g} % ({pair[equal]} of {pair[total]})"

"""What a recording's demands would have cost on a changed machine.

The demands of the recording are carried out on two machines: the twin of the recorded kernel and
one with your change. The report shows both side by side: memory by use and by cache, waste, free
blocks, paths, peak and failures. No answer of the recorded kernel is used.
"""

import argparse
from collections.abc import Mapping
from typing import Any

from mmtwin.cli.errors import OK, UserError, input_errors
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
  mmtwin what-if --set slub_min_order=2             larger slabs
  mmtwin what-if --set struct:dentry=+16            what 16 bytes more in struct dentry cost
  mmtwin what-if --set vmap_stack=n --set thread_size=32K
  mmtwin what-if --set cpu_partial=0                no CPU partial lists, in any cache
  mmtwin what-if --set kernel=6.12                  the same demands on a later release
  mmtwin what-if --profile arm64-16k-6.12           ... on arm64 with pages of 16 KiB
  mmtwin what-if --policy FILE.py                   slab orders by a function of yours
  mmtwin what-if FOLDER --set page_size=16K --picture what-if.svg
  mmtwin what-if FOLDER --against OTHER             predict what another recording shows
settings (--set), each may be given several times:
  kernel=6.12            another release, as Debian configures it
  page_size=16K          arm64: pages of 4K, 16K or 64K
  memory=512M            another amount of RAM
  slub_min_order=0       also slub_max_order, slub_min_objects, slub_debug=FZPU
  slub_nomerge=y         every cache on its own
  min_free_kbytes=8000   also percpu_pagelist_high_fraction=64
  struct:dentry=+16      a larger (or smaller) structure; =208: of so many bytes
  order:dentry=1         the order of one cache's slabs
  cpu_partial=0          also cpu_partial:CACHE=N, min_partial=N, min_partial:CACHE=N
  thread_size=32K        larger kernel stacks
  vmap_stack=n           also freelist_random, freelist_hardened, kasan
  CONFIG=VALUE           a configuration switch in capitals: SLUB_CPU_PARTIAL=n"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_recording(parser, default=True)
    add_change(parser)
    parser.add_argument(
        "--from", dest="start", choices=("auto", "live", "empty", "recorded"), default="auto",
        help="live: boot, then ask again for what lived at the recording's first state; empty: "
        "boot, then its events from the first on; recorded: go on from that state (auto: live, "
        "if there is one)",
    )  # fmt: skip
    parser.add_argument(
        "--against", metavar="RECORDING",
        help="hold the prediction against a recording of another kernel with the same workload; "
        "without --set or --profile its machine is predicted",
    )  # fmt: skip
    parser.add_argument("--top", type=positive, metavar="N", help="caches shown")
    parser.add_argument("--picture", metavar="FILE", help="also draw both as an SVG file")
    add_json(parser)


def add_change(parser: argparse.ArgumentParser) -> None:
    """Adds what says how the machine is changed."""
    parser.add_argument("--profile", metavar="NAME", help="another kernel: arm64-16k-6.12")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="NAME=VALUE",
        help="change one thing; see below",
    )  # fmt: skip
    parser.add_argument(
        "--policy", metavar="FILE.py", help="slab orders and limits by functions of your own"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    figures = what_if_figures(arguments)
    if arguments.json:
        print_json(figures)
    else:
        from mmtwin.report.what_if_report import print_what_if

        print_what_if(figures, console(), arguments.top)
    if arguments.picture:
        from mmtwin.draw.what_if_picture import what_if_svg

        write_picture(arguments.picture, what_if_svg(figures))
    return OK


def what_if_figures(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """The figures as `--json` prints them."""
    from mmtwin.replay.policy_file import load_policy
    from mmtwin.replay.side_by_side import what_if

    with input_errors():
        policy = load_policy(arguments.policy) if arguments.policy else None
    settings: dict[str, Any] = dict(setting_of(text) for text in arguments.settings)
    warn_if_uncompiled()
    with opened(arguments.recording) as recording, progress_bar("asking") as progress:
        return what_if(
            recording, arguments.profile, arguments.start, policy, progress,
            getattr(arguments, "against", None), **settings,
        )  # fmt: skip


def setting_of(text: str) -> tuple[str, str]:
    """(name, value) of one --set."""
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise UserError(f"--set {text!r}", "it takes NAME=VALUE: slub_min_order=0")
    return name, value

"""Prints the twin's /proc and /sys as they stand at any instant of a recording."""

import argparse
import sys

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.options import add_json, add_recording, opened, print_json
from mmtwin.cli.progress import progress_bar, warn_if_uncompiled

EXAMPLES = """\
examples:
  mmtwin at FOLDER "SNAP end" slabinfo     /proc/slabinfo at a marker
  mmtwin at FOLDER 1.25 buddyinfo          1.25 s after the first event
  mmtwin at FOLDER '#120000' meminfo       before event number 120000
  mmtwin at FOLDER "SNAP end"              the names of the files, with their sizes
  mmtwin at FOLDER "SNAP end" -o proc      all files, into a folder (slabtop and psutil read it)

`mmtwin info FOLDER` lists the markers."""

AREAS = "vmallocinfo"
WHERE_KNOWN = "no event tells of vmalloc, or the recording begins in the middle"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_recording(parser)
    parser.add_argument(
        "moment",
        metavar="TIME_OR_MARK",
        help="a marker's text, #N for event N, a time since the first event (1.25, 250ms), or end",
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="which file (slabinfo, ...)")
    parser.add_argument(
        "--mode",
        choices=("follow", "predict"),
        default="follow",
        help="follow (default): the kernel's recorded answers; predict: the twin's own",
    )
    parser.add_argument(
        "--from",
        dest="start",
        choices=("auto", "truth", "snapshots", "empty"),
        default="auto",
        help="initial state, as for `mmtwin replay`",
    )
    parser.add_argument("-o", "--output", metavar="FOLDER", help="write every file there")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.procfs.write import FILES, proc_file, write_proc
    from mmtwin.replay.moments import find_moment, state_at

    name = arguments.file.rpartition("/")[2] if arguments.file else ""
    if name and name not in FILES:
        raise UserError(f"no file {arguments.file!r}", f"there are: {', '.join(FILES)}")
    warn_if_uncompiled()
    with opened(arguments.recording) as recording, progress_bar("replaying") as progress:
        moment = find_moment(recording, arguments.moment)
        mm, base = state_at(recording, moment, arguments.mode, arguments.start, progress)
        known = [each for each in FILES if each != AREAS or base.vmallocinfo is not None]
        if name == AREAS and name not in known:
            raise UserError("the areas of vmalloc are not known there", WHERE_KNOWN)
        names = [name] if name else known
        files = {each: proc_file(mm, each, base) for each in names}
    if arguments.output:
        with input_errors():
            write_proc(mm, arguments.output, base, known)
    if arguments.json:
        texts = {name: data.decode() for name, data in files.items() if is_text(name)}
        where = {"recording": arguments.recording, "marker": moment.marker}
        print_json({"at": {**where, "event": moment.index, "time": moment.time}, "files": texts})
    elif name:
        sys.stdout.buffer.write(files[name])
    elif not arguments.output:
        for each, data in files.items():
            print(f"{len(data):>10}  {each}")
    return 0


def is_text(name: str) -> bool:
    """Whether a file is a text, and no array of numbers."""
    return not name.startswith("kpage")

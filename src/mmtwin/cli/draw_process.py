"""Draws the virtual memory map of a process: text, data, bss, heap, mappings, stack.

Of a process of this machine (--pid), of a recording or strace log at any instant, of a saved
/proc/PID/smaps or maps, or of a program right after exec in a twin (--profile).
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from posixpath import basename
from typing import Any, NamedTuple

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.cli.live import live_process, parse_pid
from mmtwin.cli.machines import machine_errors
from mmtwin.cli.maps import files_of, process_of, run_recording
from mmtwin.cli.maps_log import DEFAULT_PROFILE, add_log_options, is_log, log_job, run_log
from mmtwin.cli.options import add_picture, check_picture_name, opened, write_picture
from mmtwin.procfs.maps import MapsArea

EXAMPLES = """\
examples:
  mmtwin draw process --pid 1234 -o map.svg          a process of this machine
  mmtwin draw process --pid 1234 --scale -o map.svg  heights as the sizes are
  mmtwin draw process FOLDER 363 --at "SNAP end" -o map.svg
  mmtwin draw process LOG 363 -o map.svg             an strace -f log, at the process's end
  mmtwin draw process smaps.txt -o map.svg           a saved /proc/PID/smaps or maps
  mmtwin draw process --profile x86_64-6.12 --exec /bin/cat -o map.svg
  mmtwin draw process --profile arm64-5.13 -o map.svg       a small program of the twin's own"""


MEMORY = 1 << 30
SMALL_MEMORY = 256 << 20


class Source(NamedTuple):
    """What is drawn: `resident_kb` by an area's first address, None where nobody knows it;
    `program`: the path of what runs, "" for the file mapped lowest.
    """

    title: str
    words: str
    areas: list[MapsArea]
    resident_kb: Mapping[int, int] | None
    program: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "input",
        metavar="INPUT",
        nargs="?",
        help="a recording, an strace log, or a saved smaps or maps",
    )
    parser.add_argument("process", metavar="PID", nargs="?", help="which process of INPUT")
    parser.add_argument("--pid", metavar="PID", help="a process of this machine")
    parser.add_argument(
        "--exec",
        dest="program",
        metavar="PROGRAM",
        help="this machine's PROGRAM, executed in a twin of --profile",
    )
    parser.add_argument(
        "--at", metavar="TIME_OR_MARK", help="when; default: the end (see `mmtwin maps --help`)"
    )
    parser.add_argument(
        "--scale", action="store_true", help="heights as the sizes are, but for wide gaps"
    )
    parser.add_argument("--files", metavar="FILE.json", help="ELF heads, as files.json has them")
    parser.add_argument("--root", metavar="DIR", help="a folder that holds the executed files")
    add_log_options(parser)
    add_picture(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    from mmtwin.draw.process_areas import picture_areas
    from mmtwin.draw.process_picture import process_svg

    check_picture_name(arguments.output)
    source = source_of(arguments)
    shown = picture_areas(source.areas, source.resident_kb, source.program)
    with input_errors():
        picture = process_svg(shown, source.title, source.words, to_scale=arguments.scale)
    return write_picture(arguments.output, picture)


def source_of(arguments: argparse.Namespace) -> Source:
    """Where the areas come from. Raises UserError unless the command line names one place."""
    given = [arguments.pid, arguments.input, arguments.program]
    if not any(given) and arguments.profile:
        return of_small_program(arguments.profile)
    if sum(map(bool, given)) != 1:
        raise UserError(
            "give INPUT, --pid PID, --exec PROGRAM or --profile",
            "see `mmtwin draw process --help`",
        )
    if arguments.pid:
        return of_pid(arguments.pid)
    if arguments.program:
        return of_program(arguments)
    if arguments.process is None and Path(arguments.input).is_file():
        return of_text(arguments.input)
    return of_input(arguments)


def of_pid(pid: str) -> Source:
    """A process of this machine."""
    process = live_process(pid)
    with input_errors():
        areas = process.areas
    title = f"{process.comm} ({process.pid})"
    return Source(title, "a process of this machine", areas, process.resident_kb or None)


def of_input(arguments: argparse.Namespace) -> Source:
    """A process of a recording, whose residency is the twin's; or of an strace log, which does
    not tell what is resident.
    """
    if arguments.process is None:
        raise UserError("which process? give its PID", "`mmtwin maps INPUT` lists them")
    pid = parse_pid(arguments.process)
    when = f" at {arguments.at}" if arguments.at else ""
    if is_log(arguments.input):
        job = log_job(arguments)
        process = run_log(job, arguments.at, pid)
        return of_twin(process, f"{job.profile.name}: an strace log{when}", False)
    from mmtwin.replay.process_replay import ProcessReplay

    with opened(arguments.input) as recording:
        replay = ProcessReplay(recording, files_of(arguments))
        run_recording(replay, recording, arguments.at)
        found = process_of(replay, pid)
        return of_twin(found, f"{replay.profile.name}: a recording{when}", True)


def of_twin(process: Any, words: str, resident: bool) -> Source:
    """A process of the twin."""
    from mmtwin.procfs import maps, smaps

    areas = maps.show(process.mm)
    known = None
    if resident:
        from mmtwin.kernel.smaps import vma_rss

        shown = smaps.show(process.mm, vma_rss)
        known = {each.area.start: each.sizes.get("Rss", 0) for each in shown}
    name = process.comm or basename(process.exe)
    program = process.mm.exe_file.path if process.mm.exe_file else ""
    return Source(f"{name} ({process.pid})", words, areas, known, program)


def of_program(arguments: argparse.Namespace) -> Source:
    """A program of this machine as it stands right after exec in a twin."""
    from mmtwin.machine.boot import boot_mm
    from mmtwin.replay.process_files import FileTable
    from mmtwin.replay.processes import Processes
    from mmtwin.versions.profiles import profile

    path = os.path.realpath(arguments.program)
    if not os.path.isfile(path):
        raise UserError(f"no program {path} on this machine")
    with input_errors():
        facts = profile(arguments.profile or DEFAULT_PROFILE)
        files = FileTable(facts.page_size, shmem=False)
        files.add_root("/", ours=True)
        processes = Processes(boot_mm(facts, MEMORY), files)
        if error := processes.exec_(1, path):
            raise UserError(f"{path}: exec fails with errno {-error}")
    return of_twin(processes.by_pid[1], f"{facts.name}: right after exec, ASLR off", True)


def of_small_program(name: str) -> Source:
    """A small program of the twin's own, which has allocated a little memory."""
    from mmtwin.machine import Machine

    with machine_errors():
        machine = Machine.boot(name, memory=SMALL_MEMORY)
    process = machine.exec()
    for size in (100, 200_000):
        process.touch(process.malloc(size))
    return of_twin(process, f"{name}: a small program, ASLR off", True)


def of_text(path: str) -> Source:
    """A saved maps or smaps."""
    from mmtwin.procfs import maps, smaps

    with input_errors("INPUT is a text that /proc/PID/smaps or maps printed"):
        with open(path, "rb") as file:
            text = file.read()
        if b"\nSize: " not in text:
            return Source(path, "/proc/PID/maps", maps.parse(text), None)
        areas = smaps.parse(text)
    resident = {each.area.start: each.sizes.get("Rss", 0) for each in areas}
    return Source(path, "/proc/PID/smaps", [each.area for each in areas], resident)

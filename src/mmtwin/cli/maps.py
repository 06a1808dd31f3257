"""Prints a process's memory map: what /proc/PID/maps would say at any instant of a recording or
strace log, or what it says of a process of this machine (--pid).

Of a recording or log the map is the twin's own: it does what the processes asked, from their exec
on. Without a PID: the processes that have memory then.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from mmtwin.cli.errors import DIFFERENCE, OK, UserError, input_errors
from mmtwin.cli.live import live_process, parse_pid
from mmtwin.cli.maps_log import add_log_options, check_log, is_log, log_job, run_log, show_log
from mmtwin.cli.options import add_json, console, opened, print_json
from mmtwin.cli.progress import warn_if_uncompiled

if TYPE_CHECKING:
    from mmtwin.recordings import Recording
    from mmtwin.replay.process_replay import ProcessReplay
    from mmtwin.replay.processes import Process

EXAMPLES = """\
examples:
  mmtwin maps FOLDER                        the processes at the recording's end
  mmtwin maps FOLDER 363                    /proc/363/maps at the end
  mmtwin maps FOLDER 363 --at "SNAP end"    ... at a marker; also 1.25, 1250ms, '#120000'
  mmtwin maps FOLDER 363 --smaps            /proc/363/smaps; --status: the sizes of status
  mmtwin maps FOLDER 363 --tables           its page tables, level by level
  mmtwin maps FOLDER --check                all of it against the recording: what differs
  mmtwin maps FOLDER 363 --root rootfs      ELF heads from a folder with the files
  mmtwin maps LOG 363                       of `setarch -R strace -f -o LOG PROGRAM`, at its end
  mmtwin maps LOG 363 --at '#120'           ... before line 120
  mmtwin maps --pid 1234 [--smaps]          a process of this machine

The recording needs events of processes (docs/recording-format.md)."""
VIEWS = ("maps", "smaps", "status", "statm", "tables")
NEAR = 8  # processes that an error names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("input", metavar="INPUT", nargs="?",
                        help="a recording with events of processes, or an strace -f log")
    parser.add_argument("process", metavar="PID", nargs="?", help="a process; default: list them")
    parser.add_argument(
        "--at", metavar="TIME_OR_MARK", help="when; default: the end (see `mmtwin at --help`)"
    )
    views = parser.add_mutually_exclusive_group()
    views.add_argument("--smaps", dest="view", action="store_const", const="smaps",
                       help="what of each area is resident")
    views.add_argument("--status", dest="view", action="store_const", const="status",
                       help="the sizes in /proc/PID/status")
    views.add_argument("--statm", dest="view", action="store_const", const="statm",
                       help="/proc/PID/statm")
    views.add_argument("--tables", dest="view", action="store_const", const="tables",
                       help="the page tables")
    parser.set_defaults(view="maps")
    parser.add_argument(
        "--check", action="store_true",
        help="replay all of it and compare with the recording; exit status 1 if anything differs",
    )  # fmt: skip
    parser.add_argument("--files", metavar="FILE.json", help="ELF heads, as files.json has them")
    parser.add_argument("--root", metavar="DIR", help="a folder that holds the executed files")
    parser.add_argument("--pid", metavar="PID", help="a process of this machine, from its /proc")
    add_log_options(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; its exit status."""
    if bool(arguments.pid) == bool(arguments.input):
        raise UserError("give either INPUT or --pid PID", "see `mmtwin maps --help`")
    if arguments.pid:
        return run_live(arguments)
    from mmtwin.replay.process_replay import ProcessReplay

    pid = parse_pid(arguments.process) if arguments.process is not None else None
    warn_if_uncompiled()
    if is_log(arguments.input):
        return run_strace(arguments, pid)
    with opened(arguments.input) as recording:
        job = ProcessReplay(recording, files_of(arguments))
        if arguments.check:
            return check(job, arguments)
        run_recording(job, recording, arguments.at)
        if pid is None:
            show_processes(job, arguments)
        else:
            show(process_of(job, pid), arguments)
    return OK


def run_recording(job: "ProcessReplay", recording: "Recording", at: str | None) -> None:
    """Replays a recording up to an instant, None for its end."""
    if at is None:
        job.run()
    else:
        from mmtwin.replay.instants import find_moment

        job.run_to(find_moment(recording, at).index)


def run_strace(arguments: argparse.Namespace, pid: int | None) -> int:
    """The command for an strace log."""
    job = log_job(arguments)
    if arguments.check:
        return check_log(job, arguments.json)
    if pid is None:
        return show_log(job, arguments.json)
    show(run_log(job, arguments.at, pid), arguments)
    return OK


def run_live(arguments: argparse.Namespace) -> int:
    """The command for a process of this machine."""
    process = live_process(arguments.pid)
    text = process.texts.get(arguments.view)
    if text is None:
        raise UserError(f"no {arguments.view} of a process of this machine can be read")
    if arguments.json:
        print_json({"pid": process.pid, "comm": process.comm, arguments.view: text})
    else:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    return OK


def files_of(arguments: argparse.Namespace) -> Any:
    """The files that the command line tells of."""
    from mmtwin.replay.process_files import FileTable

    files = FileTable()
    with input_errors():
        if arguments.files:
            files.add_json_file(arguments.files)
        if arguments.root:
            files.add_root(arguments.root)
    return files


def process_of(job: "ProcessReplay", pid: int) -> "Process":
    """The process of a number. Raises UserError, which names others, where it has no memory."""
    process = job.processes.by_pid.get(pid)
    if process is not None and process.mm is not None:
        return process
    alive = sorted(job.processes.alive, key=lambda each: abs(each.pid - pid))[:NEAR]
    names = ", ".join(f"{each.pid} ({each.comm})" for each in sorted(alive, key=lambda p: p.pid))
    remedy = f"processes then: {names}" if names else "no process has memory then"
    if process is not None:
        raise UserError(f"process {pid} is a kernel thread: it has no memory of its own", remedy)
    if pid in job.dead:
        raise UserError(f"process {pid} was dead then (since event {job.dead[pid]})", remedy)
    raise UserError(f"no process {pid} then", remedy)


def texts_of(process: "Process", view: str) -> tuple[str, Any]:
    """A view of a process: the text, and the same as JSON values."""
    from dataclasses import asdict

    from mmtwin.procfs import maps, smaps, status

    mm = process.mm
    if view == "smaps":
        from mmtwin.kernel.smaps import vma_rss

        areas = smaps.show(mm, vma_rss)
        return smaps.format_smaps(areas), [asdict(area) for area in areas]
    if view == "status":
        return status.show(mm), status.show_sizes(mm)
    if view == "statm":
        pages = status.show_statm(mm)
        return status.format_statm(pages), pages
    if view == "tables":
        from mmtwin.report.page_tables import table_lines

        lines = list(table_lines(mm))
        return "".join(f"{line}\n" for line in lines), lines
    shown = maps.show(mm)
    return maps.format_maps(shown), [asdict(area) for area in shown]


def show(process: "Process", arguments: argparse.Namespace) -> None:
    """Prints one process."""
    text, values = texts_of(process, arguments.view)
    if arguments.json:
        print_json({"pid": process.pid, "comm": process.comm, arguments.view: values})
    else:
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))


def show_processes(job: "ProcessReplay", arguments: argparse.Namespace) -> None:
    """Prints the processes that have memory."""
    from mmtwin.procfs.status import show_sizes

    rows = []
    for process in job.processes.alive:
        sizes = show_sizes(process.mm)
        rows.append({
            "pid": process.pid, "comm": process.comm, "exe": process.exe,
            "VmSize": sizes["VmSize"], "VmRSS": sizes["VmRSS"],
        })  # fmt: skip
    if arguments.json:
        print_json({"processes": rows})
        return
    print(f"{'PID':>7} {'VmSize kB':>10} {'VmRSS kB':>9}  {'COMM':<15} EXE")
    for row in rows:
        print(
            f"{row['pid']:>7} {row['VmSize']:>10} {row['VmRSS']:>9}  {row['comm']:<15} "
            f"{row['exe']}"
        )


def check(job: "ProcessReplay", arguments: argparse.Namespace) -> int:
    """Replays everything, compares, prints what was compared; the exit status."""
    from mmtwin.replay.process_compare import check_processes
    from mmtwin.report.process_report import print_processes

    figures = check_processes(job)
    if arguments.json:
        print_json(figures)
    else:
        print_processes(figures, console())
    return OK if job.tally.exact() else DIFFERENCE

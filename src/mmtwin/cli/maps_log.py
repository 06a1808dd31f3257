"""strace logs for the commands about processes: which text is one, and how far it is replayed."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtwin.cli.errors import DIFFERENCE, OK, UserError, input_errors
from mmtwin.cli.options import print_json, sysctls_of

if TYPE_CHECKING:
    from mmtwin.replay.strace_replay import StraceReplay

HEAD = 1 << 14  # bytes that a log is known by
DEFAULT_PROFILE = "x86_64-6.1"


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Adds what a log does not tell."""
    parser.add_argument(
        "--profile",
        metavar="NAME",
        help="of a log: the kernel it is of (default: this machine's, where its files are used; "
        f"else {DEFAULT_PROFILE})",
    )
    parser.add_argument("--set", action="append", default=[], metavar="vm.NAME=VALUE",
                        help="of a log: a file of /proc/sys as it was: vm.overcommit_memory=2")
    parser.add_argument("--cwd", metavar="DIR", help="of a log: where the program began")


def is_log(path: str) -> bool:
    """Whether a file is an strace log; not for one that cannot be read."""
    from mmtwin.recordings.strace import is_strace

    try:
        if not Path(path).is_file():
            return False
        with open(path, "rb") as file:
            return is_strace(file.read(HEAD).decode("latin-1"))
    except (OSError, ValueError):
        return False


def log_job(arguments: argparse.Namespace) -> "StraceReplay":
    """The replay of the log on the command line. Raises UserError for a damaged one.

    ELF heads, devices and inodes: from --files and --root, else from LOG.files.json if there is
    one, else from the files of this machine.
    """
    from mmtwin.machine.host_files import host_profile
    from mmtwin.recordings.strace import open_strace
    from mmtwin.replay.process_files import FileTable
    from mmtwin.replay.strace_replay import StraceReplay
    from mmtwin.versions.profiles import profile

    with input_errors():
        log = open_strace(arguments.input, arguments.cwd or "/")
        files = FileTable(shmem=False)
        beside = Path(f"{arguments.input}.files.json")
        if arguments.files:
            files.add_json_file(arguments.files)
        if arguments.root:
            files.add_root(arguments.root)
        ours = not arguments.files and not arguments.root and not beside.is_file()
        if ours:
            files.add_root("/", ours=True)
        elif beside.is_file() and not arguments.files and not arguments.root:
            files.add_json_file(beside)
        settings = {f"sysctl.{name}": str(value)
                    for name, value in sysctls_of(arguments.set).items()}
        if arguments.profile or not ours:
            kernel = profile(arguments.profile or DEFAULT_PROFILE).with_cmdline(**settings)
            return StraceReplay(log, files, kernel)
        try:
            kernel = host_profile().with_cmdline(**settings)
        except ValueError:
            raise UserError(
                "the twin knows no kernel like this machine's", "--profile NAME: the log's"
            ) from None
        return StraceReplay(log, files, kernel)


def run_log(job: "StraceReplay", at: str | None, pid: int | None) -> Any:
    """Replays up to --at, or to where a process ends; that process. Raises UserError."""
    with input_errors():
        if at is not None:
            number = at.removeprefix("#")
            if not (number.isascii() and number.isdigit() and len(number) < 10):
                raise UserError(f"{at!r:.40} is no line of the log", "--at '#N': before line N")
            job.run_to(job.before_line(int(number)))
        else:
            job.run_to(len(job.log.steps) if pid is None else job.end_of(pid))
    if pid is None:
        return None
    process = job.processes.by_pid.get(pid)
    if process is not None and process.mm is not None:
        return process
    there = ", ".join(str(each) for each in job.log.pids[:12])
    if pid in job.dead:
        raise UserError(f"process {pid} was dead then (since line {job.dead[pid]})")
    raise UserError(f"no process {pid} then", f"the log's processes: {there}")


def show_log(job: "StraceReplay", as_json: bool) -> int:
    """Prints the processes of a log, each as it stood when it ended."""
    from mmtwin.procfs.status import show_sizes

    ends = sorted((job.end_of(pid), pid) for pid in job.log.pids)
    rows: dict[int, dict[str, Any]] = {}
    for end, pid in ends:
        with input_errors():
            job.run_to(end)
        process = job.processes.by_pid.get(pid)
        if process is not None and process.mm is not None and process.tgid == pid:
            sizes = show_sizes(process.mm)
            rows[pid] = {"pid": pid, "exe": process.exe, "VmSize": sizes["VmSize"]}
    ordered = [rows[pid] for pid in job.log.pids if pid in rows]
    if as_json:
        print_json({"processes": ordered})
        return OK
    print(f"{'PID':>7} {'VmSize kB':>10}  EXE")
    for row in ordered:
        print(f"{row['pid']:>7} {row['VmSize']:>10}  {row['exe']}")
    return OK


def check_log(job: "StraceReplay", as_json: bool) -> int:
    """Replays the whole log and prints how many results were the twin's; the exit status."""
    with input_errors():
        job.run()
    figures = job.tally.to_dict()
    if as_json:
        print_json(figures)
    else:
        for kind, (compared, same) in job.tally.pairs.items():
            print(f"{kind:<10} {same} of {compared}")
        for name, examples in job.tally.examples.items():
            print(f"\n{name}: {job.tally.missed[name]}")
            for example in examples:
                print(f"  {example}")
    return OK if job.tally.exact() else DIFFERENCE

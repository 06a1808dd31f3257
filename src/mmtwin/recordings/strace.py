"""Reads `strace -f` logs of real programs into the steps that make and change address spaces.

    strace -f -o LOG program ...

A step says what a process asked the kernel for, and what the kernel answered. File descriptors
and working directories are followed, so that an mmap names its file; a fork stands before the
first line of its child, wherever the parent's call came back.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmtwin.recordings.descriptors import (
    CLOSE_RANGE_CLOEXEC,
    F_DUPFD,
    F_DUPFD_CLOEXEC,
    F_SETFD,
    Descriptors,
)
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.strace_lines import Call, looks_like_call, read_calls
from mmtwin.recordings.strace_steps import WANTED, Step, step_of

LONE_PID = 1  # a log of one process that never says its number
SNIFF = 64  # lines in which an strace log shows what it is


@dataclass(slots=True)
class StraceLog:
    """A log as steps in the order in which they happened; `pids` in the order of appearance."""

    steps: list[Step]
    pids: list[int]


def is_strace(head: str) -> bool:
    """Whether a text begins as an strace log does."""
    return any(looks_like_call(line) for line in head.split("\n")[:SNIFF])


def open_strace(path: str | Path, cwd: str = "/") -> StraceLog:
    """Reads the log in a file; `cwd` is where the traced program began.

    Raises RecordingError, which names the line, for what is no strace log.
    """
    place = Path(path)
    try:
        with place.open(encoding="latin-1", newline="\n") as file:
            return read_strace(file, place, cwd)
    except OSError as error:
        raise RecordingError(place, f"cannot be opened: {error.strerror}") from None


def read_strace(lines: Iterable[str], name: object = "strace log", cwd: str = "/") -> StraceLog:
    """Reads a log line by line (each with its newline, decoded as latin-1); `name` is for errors.

    Raises RecordingError, which names the line, for what is no strace log.
    """
    log = _Log()
    try:
        for call in read_calls(lines, WANTED):
            log.take(call)
    except ValueError as error:
        number, message = error.args if len(error.args) == 2 else (log.line, str(error))
        raise RecordingError(name, f"line {number}: {message}") from None
    if not log.calls:
        raise RecordingError(name, "no line of an strace log in it")
    return log.whole(cwd)


@dataclass(slots=True)
class _Lives:
    # of one pid: where it appears, each time that it does
    births: list[int] = field(default_factory=list)
    live: bool = False


class _Log:
    # Steps as they are read, and what is needed to set them in order.
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.lives: dict[int, _Lives] = {}
        self.live: set[int] = set()
        self.line = 0
        self.calls = 0
        self.main: int | None = None  # the process whose lines bear no number
        self.nameless = True  # whether that one is alive
        self.children: set[int] = set()

    def take(self, call: Call) -> None:
        self.line = call.line
        if call.name == "attached":
            self.children.add(call.pid or 0)
            self._appear(call.pid or 0, call.started)
            return
        pid = self._pid(call)
        self._appear(pid, call.started)
        if call.name == "+++":
            self._end(call, pid)
        elif call.name in WANTED:
            self.calls += 1
            try:
                step = step_of(call, pid)
            except ValueError:
                if call.torn:
                    return
                raise
            if step.name == "clone" and step.result is not None and step.result > 0:
                self.children.add(step.result)
            if call.name == "set_tid_address":
                if pid == 0 and step.result is not None and step.result > 0:
                    self._name(step.result)
            elif step.name:
                self.steps.append(step)
        elif call.name not in ("", "---"):
            self.calls += 1

    def _pid(self, call: Call) -> int:
        # 0 stands for the process without a number until that is known
        if call.pid:
            if self.main is None and call.pid not in self.children and 0 in self.live:
                self._name(call.pid)
            return call.pid
        if self.nameless or len(self.live) != 1:
            return self.main or 0
        return next(iter(self.live))

    def _name(self, pid: int) -> None:
        self.main = pid
        for step in self.steps:
            step.pid = step.pid or pid
        self.lives = {key or pid: lives for key, lives in self.lives.items()}
        if 0 in self.live:
            self.live.discard(0)
            self.live.add(pid)

    def _appear(self, pid: int, line: int) -> None:
        if pid not in self.live:
            self.live.add(pid)
            self.lives.setdefault(pid, _Lives()).births.append(line)

    def _end(self, call: Call, pid: int) -> None:
        if not call.arguments[0].startswith(("exited", "killed")):
            return  # superseded by execve: the process goes on under its group's number
        self.live.discard(pid)
        if pid == (self.main or 0):
            self.nameless = False
        self.steps.append(Step(call.line, pid, call.time, "exited", (), None, started=call.line))

    def whole(self, cwd: str) -> StraceLog:
        if self.main is None and 0 in self.lives:
            self._name(LONE_PID)
        self._place_forks()
        steps = list(_followed(self.steps, Descriptors(cwd)))
        return StraceLog(steps, list(self.lives))

    def _place_forks(self) -> None:
        # A fork happens before the child's first line, which may stand before the parent's.
        places: dict[int, float] = {}
        used: dict[int, int] = {}
        for step in self.steps:
            if step.name != "clone" or step.result is None or step.result <= 0:
                continue
            births = self.lives[step.result].births if step.result in self.lives else []
            at = used.get(step.result, 0)
            while at < len(births) and births[at] < step.started:
                at += 1
            used[step.result] = at
            if at < len(births) and births[at] <= step.line:
                places[id(step)] = births[at] - 0.5
        if places:
            self.steps.sort(key=lambda step: places.get(id(step), step.line))


def _followed(steps: Iterable[Step], files: Descriptors) -> Iterator[Step]:
    # gives steps the paths of their files, leaves out those that only move descriptors
    for step in steps:
        done = step.result is not None and step.result >= 0
        if step.name in ON_FILES:
            if done:
                ON_FILES[step.name](files, step)
            if not done or step.name != "open" or not (step.file or "").startswith("/memfd:"):
                continue
            step.name, step.args = "memfd_create", ()
        if step.name == "mmap":
            fd = step.args[4]
            step.file = None if fd < 0 else step.file or files.file(step.pid, fd)
        elif step.name == "execve":
            if step.file is not None:
                step.file = files.path(step.pid, step.file, step.directory)
            if done:
                files.execve(step.pid)
        elif step.name == "clone":
            if step.result is not None and step.result > 0:
                files.fork(step.pid, step.result, step.args[0])
        elif step.name in ("unlink", "rename"):
            if not done or step.file is None:
                continue
            step.file = files.path(step.pid, step.file, step.directory)
            step.text = step.text and files.path(step.pid, step.text, step.target)
        elif step.name == "exited":
            files.exit(step.pid)
        yield step


def _open(files: Descriptors, step: Step) -> None:
    path = step.file
    if path is not None and not path.startswith("/memfd:"):
        path = files.path(step.pid, path, step.directory)
    files.open(step.pid, step.result or 0, path, bool(step.args[0]))


def _fcntl(files: Descriptors, step: Step) -> None:
    fd, command, argument = (*step.args, 0)[:3]
    if command in (F_DUPFD, F_DUPFD_CLOEXEC):
        files.dup(step.pid, fd, step.result or 0, command == F_DUPFD_CLOEXEC)
    elif command == F_SETFD:
        files.set_cloexec(step.pid, fd, bool(argument & 1))


def _chdir(files: Descriptors, step: Step) -> None:
    if step.name == "fchdir":
        step.file = step.file or files.file(step.pid, step.args[0])
    if step.file is not None:
        files.place(step.pid)[0] = files.path(step.pid, step.file)


def _close(files: Descriptors, step: Step) -> None:
    files.close_range(step.pid, step.args[0], step.args[0])


def _close_range(files: Descriptors, step: Step) -> None:
    first, last, flags = step.args
    files.close_range(step.pid, first, last & 0xFFFF_FFFF, bool(flags & CLOSE_RANGE_CLOEXEC))


def _dup(files: Descriptors, step: Step) -> None:
    if step.name != "dup" and step.args[0] == step.args[1]:
        return
    files.dup(step.pid, step.args[0], step.result or 0, bool(step.args[2:] and step.args[2]))


ON_FILES = {
    "open": _open,
    "close": _close,
    "close_range": _close_range,
    "dup": _dup,
    "dup2": _dup,
    "dup3": _dup,
    "fcntl": _fcntl,
    "chdir": _chdir,
    "fchdir": _chdir,
}

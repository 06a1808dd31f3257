"""The lines of an `strace -f` log: who called what when, its arguments and its result as text.

Takes what strace 5.10 to 6.x prints: with `-o` (`PID` in front) or on a terminal (`[pid PID]`, or
nothing while one process runs), any of `-t -tt -ttt -r -i -n -T -y -yy -Y -X`, calls cut in two
(`<unfinished ...>`, `<... resumed>`), signals and the ends of processes. A program's own output
between the lines is passed over.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

PREFIX = re.compile(
    r" *(?:\[pid +(?P<bracketed>\d{1,10})(?:<[^>]*>)?\] +|(?P<bare>\d{1,10})(?:<[^>]*>)? +)?"
    r"(?:(?P<clock>\d\d:\d\d:\d\d(?:\.\d{1,9})?|\d{1,12}\.\d{1,9}|\d{8,12}) +)?"
    r"(?:\(\+ *\d{1,12}\.\d{1,9}\) +)?"
    r"(?:\[ *(?:0x)?(?:[0-9a-f]{1,16}|\?{1,16})\] +){0,2}"
    r"(?:(?P<call>\w{1,64})\(|<\.\.\. (?P<resumed>\w{1,64}) resumed>|(?P<note>\+\+\+|---) )"
)
RESULT = re.compile(r"\) {1,64}= ")
UNFINISHED = "<unfinished ...>"
# what strace says on a terminal in the middle of a call
ATTACHED = re.compile(r"strace: Process (\d{1,10}) attached$")
# What arguments are made of; a quote or comment that does not end is an error of its own.
PLAIN = r'"(?:[^"\\]|\\.)*"(?:\.\.\.)?|/\*.*?\*/|[^"/<()\[\]{},]+|.'
TOKEN = re.compile(r"(?<=[\dD])<(?!<)(?:->|[^>])*>|" + PLAIN, re.S)
PLAIN_TOKEN = re.compile(PLAIN, re.S)
FEW = 16  # calls that are looked through for the one that comes back
PID_MAX_LIMIT = 4 << 20  # include/linux/threads.h: a larger number in front is a time


@dataclass(slots=True)
class Call:
    """One system call of a log, or a note on a process: `name` is "+++" (its end), "---" (a
    signal), "attached" (strace follows it from here on) or "" (one of its calls begins).

    `started` and `line` are the lines on which it began and came back; `arguments` and `result`
    are strace's text, `result` None where the log does not have it. Of a `torn` one the log has
    only the beginning.
    """

    started: int
    line: int
    pid: int | None
    time: float | None
    name: str
    arguments: list[str]
    result: str | None
    torn: bool = False


def _tokens(text: str) -> Iterator[re.Match[str]]:
    # each looked for once: behind the last > no path can end
    last, at = text.rfind(">"), 0
    while match := (TOKEN if at < last else PLAIN_TOKEN).match(text, at):
        yield match
        at = match.end()


def split_arguments(text: str) -> tuple[list[str], str | None]:
    """The arguments before a call's closing parenthesis, and what follows (None: it is missing).

    Raises ValueError where a string or comment does not end.
    """
    found: list[str] = []
    start = depth = 0
    for token in _tokens(text):
        word = token[0]
        if word in "([{":
            depth += 1
        elif word in ")]}":
            depth -= 1
            if depth < 0:
                last = text[start : token.start()].strip()
                return ([*found, last] if last or found else found), text[token.end() :]
        elif word == "," and not depth:
            found.append(text[start : token.start()].strip())
            start = token.end()
        elif word == '"' or (word == "/" and text.startswith("/*", token.start())):
            raise ValueError("a string or comment does not end")
    last = text[start:].strip()
    return ([*found, last] if last or found else found), None


def looks_like_call(line: str) -> bool:
    """Whether a line shows a call with its result, as strace prints it."""
    match = PREFIX.match(line)
    if not match or not match["call"]:
        return False
    return line.rstrip().endswith(UNFINISHED) or RESULT.search(line) is not None


def _clock(text: str) -> float:
    # seconds: of the day for -t and -tt, of the epoch for -ttt, since the line before for -r
    if ":" not in text:
        return float(text)
    hours, minutes, seconds = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


class _Halves:
    # calls that have begun and not come back, by pid
    def __init__(self, wanted: frozenset[str]) -> None:
        self.wanted = wanted
        self.open: dict[int | None, tuple[int, float | None, str, str]] = {}
        # of the call in whose line strace said something else
        self.torn: tuple[int | None] | None = None

    def call(
        self, started: int, line: int, pid: int | None, time: float | None, name: str, text: str
    ) -> Call:
        if name not in self.wanted:
            return Call(started, line, pid, time, name, [], None)
        arguments, rest = split_arguments(text)
        result = None
        if rest is not None:
            before, equals, after = rest.partition("=")
            result = after.strip() if equals and not before.strip() else None
        return Call(started, line, pid, time, name, arguments, result)

    def resumed(self, pid: int | None, name: str) -> int | None:
        # whose call it is that comes back: a process alone on a terminal has lost its number
        if pid in self.open:
            return pid
        if pid is None:
            first = islice(self.open.items(), FEW)
            return next((key for key, half in first if half[2] == name), None)
        return None

    def back(self, pid: int | None, line: int, rest: str) -> Iterator[Call]:
        if pid in self.open:
            started, time, name, text = self.open.pop(pid)
            yield self.call(started, line, pid, time, name, f"{text} {rest}")

    def drop(self, pid: int | None, line: int) -> Iterator[Call]:
        # a process that came back to nothing: killed in its call, or gone with execve of a thread
        if pid in self.open:
            started, time, name, text = self.open.pop(pid)
            try:
                call = self.call(started, line, pid, time, name, text)
            except ValueError:
                return
            call.torn = True
            yield call


def read_calls(lines: Iterable[str], wanted: frozenset[str]) -> Iterator[Call]:
    """Every call of a log, in the order in which they came back; notes where they stand.

    Only calls of `wanted` have arguments and results. Raises ValueError, whose arguments are the
    line's number (from 1 on) and what is wrong with it.
    """
    halves = _Halves(wanted)
    number = 0
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n") and "+++ " not in line:
            break  # the log ends inside a line
        try:
            yield from _calls_of(halves, number, line)
        except ValueError as error:
            raise ValueError(number, str(error)) from None
    for pid in list(halves.open):
        yield from halves.drop(pid, number)


def _calls_of(halves: _Halves, number: int, line: str) -> Iterator[Call]:
    match = PREFIX.match(line)
    attached = ATTACHED.search(line[-64:].rstrip())
    if attached:
        yield Call(number, number, int(attached[1]), None, "attached", [], None)
    if not match:
        if halves.torn and line.startswith(","):
            yield from halves.back(halves.torn[0], number, line)
        return
    word = match["bracketed"] or match["bare"]
    pid = int(word) if word else None
    time = _clock(match["clock"]) if match["clock"] else None
    if pid is not None and pid > PID_MAX_LIMIT:
        pid, time = None, float(word)
    rest = line[match.end() :].rstrip("\r\n ")
    if match["note"]:
        if match["note"] == "+++":
            yield from halves.drop(pid, number)
        yield Call(number, number, pid, time, match["note"], [rest], None)
        return
    if match["resumed"]:
        yield from halves.back(halves.resumed(pid, match["resumed"]), number, rest)
        return
    rest, torn = ATTACHED.subn(UNFINISHED, rest)
    halves.torn = (pid,) if torn else None
    if rest.endswith(UNFINISHED):
        yield from halves.drop(pid, number)
        halves.open[pid] = (number, time, match["call"], rest[: -len(UNFINISHED)])
        yield Call(number, number, pid, time, "", [], None)
    else:
        yield from halves.drop(pid, number)
        yield halves.call(number, number, pid, time, match["call"], rest)

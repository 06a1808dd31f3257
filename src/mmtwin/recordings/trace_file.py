"""Recordings in text: ftrace's `trace` file, and `perf script` of kmem tracepoints."""

import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.event import CONSTANTS, EVENT, KIND_NAMES, KIND_OF_NAME
from mmtwin.recordings.formats import EXTRA_NODE_EVENT
from mmtwin.recordings.interner import Interner
from mmtwin.recordings.machine import RecordedMachine
from mmtwin.recordings.recording import Recording, Tables
from mmtwin.recordings.stream import Events, Lane, Loss, Numbering, Room, Summary
from mmtwin.recordings.symbols import Symbols
from mmtwin.recordings.tables import column_name
from mmtwin.recordings.trace_text import LineScanner

PIECE = 1 << 19
SHORTEST_LINE = 24  # bytes; a room that is full is emptied and filled again
LINE_LIMIT = 1 << 16
TEXT_LIMIT = 1 << 13  # of the further lines of one event
GUESS = 1 << 18  # bytes from the start that the kernel's version is guessed from
MARKER = CONSTANTS["KIND_MARKER"]
LOST = re.compile(rb"CPU:(\d{1,5}) \[LOST (?:(\d{1,18}) )?EVENTS\]")
PERF_LOST = re.compile(rb"\bPERF_RECORD_LOST lost (\d{1,18})")
PERF_CPU = re.compile(rb" \[(\d{3,5})\] ")
STARTED = re.compile(rb"##### CPU \d{1,5} buffer started ####")
WRITTEN = re.compile(rb"# entries-in-buffer/entries-written: (\d{1,18})/(\d{1,18})\s+#P:(\d{1,5})")
SITE = re.compile(rb"([^\s+]+)\+0x([0-9a-f]{1,8})(?:/0x([0-9a-f]{1,8}))?( \[[^\]\s]+\])?")
COLUMN_ROWS, COLUMN_LIMIT = 100, 64  # of a text's side table: rows looked at for keys, columns
RSS_MEMBERS = {b"MM_FILEPAGES": 0, b"MM_ANONPAGES": 1, b"MM_SWAPENTS": 2, b"MM_SHMEMPAGES": 3}
FIRST_SITE = 0xFFFFFFFF81000000
FTRACE_LINE = re.compile(
    rb"^ *\S.*-\d+ +(?:\([ \d-]*\) +)?\[\d{3,}\] +(?:\S{4,8} +)?[\d.]+: \S+", re.M
)
PERF_LINE = re.compile(rb"^ *\S.* +(?:\d+/)?\d+ +\[\d{3,}\] +[\d.]+: +(?:\d+ +)?[\w-]+:\w+:", re.M)


class OneLane(dict[int, Lane]):
    """The same lane for every CPU: the text has all CPUs in one order."""

    def __missing__(self, cpu: int) -> Lane:
        return self[0]


class NamedSites:
    """Addresses for call sites that a text only names.

    Each function gets a place of its own, in the order of appearance, as large as the text says it
    is. They are not the kernel's addresses; `symbols` gives the names back.
    """

    def __init__(self) -> None:
        self.starts: dict[bytes, int] = {}
        self.next = FIRST_SITE

    def address(self, text: bytes) -> int:
        """The address for `function+0x1c/0x90 [module]`, or the number that a bare address is; 0
        for other texts.
        """
        match = SITE.fullmatch(text)
        if not match:
            return int(text, 16) if re.fullmatch(rb"(?:0x)?[0-9a-f]{1,16}", text) else 0
        name, offset, size, module = match.groups()
        key = name + (module or b"") + b"/" + (size or b"")
        if key not in self.starts:
            self.starts[key] = self.next
            length = int(size, 16) if size else 1 << 16
            self.next += (length + 16) & ~15
        return (self.starts[key] + int(offset, 16)) & ((1 << 64) - 1)

    def symbols(self) -> Symbols:
        """The functions met."""
        return Symbols(
            (start, key.rpartition(b"/")[0].decode("utf-8", "replace"))
            for key, start in self.starts.items()
        )


def style_of(head: bytes) -> str:
    """ "ftrace" or "perf" for the first bytes of a text of that kind, else ""."""
    if head.startswith(b"# tracer:"):
        return "ftrace"
    perf, ftrace = PERF_LINE.search(head), FTRACE_LINE.search(head)
    if perf and not (ftrace and ftrace.start() < perf.start()):
        return "perf"
    return "ftrace" if ftrace else ""


def guess_machine(head: bytes, release: str = "") -> RecordedMachine:
    """What the first lines of a text tell of the machine: CPUs, and by the fields printed the
    kernel's line.

    `kmem_cache_alloc` prints the cache's name since 6.14, `percpu_refill` stands since 5.19,
    before it was 5.10's set of fields.
    """
    count = WRITTEN.search(head)
    if re.search(rb"kmem_cache_alloc: [^\n]{0,300}? name=", head):
        version = "6.18"
    elif b" percpu_refill=" in head or b" accounted=" in head:
        version = "6.1"
    else:
        version = "5.10"
    pointer = re.search(rb" ptr=(?:0x)?(ffff[0-9a-f])", head)
    arch = "" if not pointer else "arm64" if pointer[1] == b"ffff0" else "x86_64"
    cpus = (
        int(count[3])
        if count
        else 1 + max((int(cpu) for cpu in re.findall(rb" \[(\d{3,5})\] ", head)), default=0)
    )
    return RecordedMachine(
        release=release, version=version, arch=arch, cpus=max(cpus, 1), clock="global"
    )


class TextRecording(Recording):
    """A text of one of the two styles.

    Its `machine` is guessed from the text, unless it is given.
    """

    def __init__(self, path: Path, style: str, machine: RecordedMachine | None = None) -> None:
        try:
            with path.open("rb") as file:
                head = file.read(GUESS)
        except OSError as error:
            raise RecordingError(path, f"cannot be opened: {error.strerror}") from None
        super().__init__(path, machine or guess_machine(head))
        self.kind = style
        self._sites = NamedSites()
        self._interner = Interner(self._add_name)
        self._site_numbers = Interner(self._sites.address)
        self._gfp = Interner(self._encode_gfp)
        self._types = Interner(lambda text: RSS_MEMBERS.get(text, 255))

    def _add_name(self, name: bytes) -> int:
        self._names.append(name.decode("utf-8", "replace"))
        return len(self._names) - 1

    def _encode_gfp(self, text: bytes) -> int:
        from mmtwin.versions.gfp import encode_gfp

        names = text.decode("ascii", "replace")
        config = {"config": self.machine.config} if self.machine.config else {}
        return encode_gfp(names, self.machine.version, **config) & 0xFFFFFFFF

    def number_of(self, name: str) -> int:
        """A name's number in `names`, to which it is added if it is not there."""
        return self._interner.number(name.encode())

    def _event_code(self, name: bytes, wanted: frozenset[str] | None) -> int:
        """What the scanner is to make of an event (trace_text.pxd, `events`)."""
        if name in (b"tracing_mark_write", b"print"):
            return MARKER | 1 << 16
        text = event_name(name)
        kind = KIND_OF_NAME.get(text, 0)
        if kind > MARKER:
            return kind | (EXTRA_NODE_EVENT << 8 if text.endswith("_node") else 0)
        carried = wanted is None or text in wanted
        return carried << 16 | self._interner.number(text.encode()) << 32

    def _pass(
        self, wanted: frozenset[str] | None, summary: list[Summary], room: Room | None = None
    ) -> Iterator[tuple[Events, Tables]]:
        events = Interner(lambda name: self._event_code(name, wanted))
        scanner = LineScanner(
            self.kind, events, self._site_numbers, self._gfp, self._interner, self._types
        )
        lane = Lane()
        numbering = Numbering(OneLane({0: lane}))
        summary.append(numbering.summary)
        reader = TextReader(self.path, scanner, lane, numbering.summary)
        carried = (
            {self._interner.number(name.encode()) for name in wanted or ()}
            if wanted is not None
            else None
        )
        for block in reader.blocks():
            names = (
                carried
                if carried is not None
                else set(np.unique(block["cache"][block["kind"] == 0]).tolist())
            )
            sides = numbering.number(block, frozenset(names))
            first = numbering.summary.nr_events - len(block)
            self._count(block, numbering.summary)
            yield (
                block,
                {
                    self._names[name]: text_table(block, rows, first)
                    for name, rows in sides.items()
                },
            )
        reader.count_overwritten()
        numbering.finish()

    def _count(self, block: Events, summary: Summary) -> None:
        """Counts events by the kernel's name for them."""
        counts = np.bincount(block["kind"] * np.uint8(2) + (block["extra"] >> 1 & 1))
        for key in np.flatnonzero(counts[2:]).tolist():
            kind, node = divmod(key + 2, 2)
            name = "print" if kind == MARKER else KIND_NAMES[kind] + ("_node" if node else "")
            summary.counts[name] += int(counts[key + 2])
        if counts[:2].any():
            others, counts = np.unique(block["cache"][block["kind"] == 0], return_counts=True)
            for number, count in zip(others.tolist(), counts.tolist(), strict=True):
                summary.counts[self._names[number]] += count

    @cached_property
    def symbols(self) -> Symbols:
        """The functions that the text names; their addresses are the reader's own."""
        _ = self.summary
        return self._sites.symbols()


def event_name(name: bytes) -> str:
    """The event a line's word is about: `sys_brk(` and `sys_brk ->` are a system call's enter and
    exit.
    """
    text = name.decode("utf-8", "replace")
    if text.endswith("("):
        return "sys_enter_" + text[:-1].removeprefix("sys_")
    if text.endswith(" ->"):
        return "sys_exit_" + text[:-3].removeprefix("sys_")
    return text


class TextReader:
    """Feeds a file to the scanner, piece by piece, and reads what is no event."""

    def __init__(self, path: Path, scanner: LineScanner, lane: Lane, summary: Summary) -> None:
        self.path = path
        self.scanner = scanner
        self.lane = lane
        self.summary = summary
        self.rows = 0
        self.cpus = 1
        self.overwritten = 0
        self.last_kind = CONSTANTS["KIND_KFREE"]
        self.room_for_more = 0

    def blocks(self) -> Iterator[Events]:
        """The events in blocks of any size."""
        position = 0  # of data[0] in the file
        held = 0
        with self.path.open("rb", buffering=0) as file:
            piece = min(PIECE, max(os.fstat(file.fileno()).st_size, 1))
            room = np.empty(piece // SHORTEST_LINE + 1, EVENT)
            data = bytearray(piece + LINE_LIMIT)
            while True:
                got = file.readinto(memoryview(data)[held : held + piece]) or 0
                size = held + got
                if position == 0:
                    self._header(bytes(data[: min(size, 4096)]))
                used = 0
                more = True
                while more and used < size:
                    count, used, more = self._scan(data, used, size, not got, room, position)
                    if count:
                        yield room[:count]
                held = size - used
                position += used
                if held >= LINE_LIMIT:
                    raise RecordingError(
                        self.path, f"a line of more than {LINE_LIMIT} bytes", position
                    )
                data[:held] = data[used:size]
                if not got:
                    return

    def _scan(
        self, data: bytearray, start: int, size: int, final: bool, room: Events, position: int
    ) -> tuple[int, int, bool]:
        """Scans data[start:size]: (events, place reached, whether to go on from there)."""
        scanner = self.scanner
        view = np.frombuffer(data, np.uint8)
        try:
            count = scanner.scan(
                view.ctypes.data + start, size - start, final, room.ctypes.data, len(room)
            )
        except ValueError as error:
            raise RecordingError(
                self.path, f"{error!s:.200}", position + start + scanner.line_start
            ) from None
        for row, first, end in scanner.payloads().tolist():
            text = bytes(data[start + first : start + end])
            if room["kind"][row] == MARKER:
                self.lane.markers.append(text.decode("utf-8", "replace"))
            else:
                self.lane.others.append((0, text))
        self.rows += count
        if count:
            self.last_kind = int(room["kind"][count - 1])
            self.room_for_more = TEXT_LIMIT
        reached = start + scanner.consumed
        if scanner.stopped:
            line = start + scanner.line_start
            self._no_event(bytes(data[line:reached]).removesuffix(b"\n"), position + line)
        return count, reached, scanner.stopped or count == len(room)

    def _header(self, head: bytes) -> None:
        found = WRITTEN.search(head)
        if found:
            self.overwritten = max(int(found[2]) - int(found[1]), 0)
            self.cpus = int(found[3])

    def _no_event(self, line: bytes, place: int) -> None:
        """A line that is no event: a loss, a new buffer, or more text of the event before it."""
        lost = LOST.fullmatch(line.strip())
        if lost:
            count = int(lost[2]) if lost[2] else -1
            self.summary.losses.append(Loss(self.rows, int(lost[1]), count))
            return
        lost = PERF_LOST.search(line)
        if lost:
            cpu = PERF_CPU.search(line, 0, 200)
            self.summary.losses.append(Loss(self.rows, int(cpu[1]) if cpu else -1, int(lost[1])))
            return
        if STARTED.fullmatch(line.strip()):
            return
        self.room_for_more -= len(line) + 1
        if self.last_kind > MARKER or self.room_for_more < 0:
            raise RecordingError(self.path, f"no event: {line[:60]!r}", place)
        self._more_text(line)

    def _more_text(self, line: bytes) -> None:
        """Another line of the last marker's or other event's text."""
        lane, text = self.lane, "\n" + line.decode("utf-8", "replace")
        if self.last_kind == MARKER and lane.markers:
            lane.markers[-1] += text
        elif self.last_kind == MARKER:
            marker = self.summary.markers[-1]
            self.summary.markers[-1] = marker._replace(text=marker.text + text)
        elif lane.others:
            number, before = lane.others[-1]
            lane.others[-1] = (number, before + b"\n" + line)

    def count_overwritten(self) -> None:
        """Events that the header says were written but are no longer there, less those that LOST
        lines name.
        """
        named = sum(max(loss.count, 1) for loss in self.summary.losses)
        if self.overwritten > named:
            self.summary.losses.append(
                Loss(0, 0 if self.cpus == 1 else -1, self.overwritten - named)
            )


def pairs_of(text: str) -> dict[str, str]:
    """The `key=value` and `key: value` pairs of an event's text.

    A word of neither form belongs to the value before.
    """
    pairs: dict[str, list[str]] = {}
    words: list[str] = []
    for word in text.split(" "):
        key, equals, value = word.partition("=")
        if equals and key:
            words = pairs.setdefault(key, [])
            words.append(value)
        elif word.endswith(":") and len(word) > 1:
            words = pairs.setdefault(word[:-1], [])
        else:
            words.append(word)
    return {key: " ".join(words).strip(" ,)") for key, words in pairs.items()}


def text_table(block: Events, rows: list[tuple[int, int, bytes]], first: int) -> Any:
    """The side table of one event's rows of a block: `text` as printed, and its pairs as columns
    of texts.
    """
    import polars as pl

    places = np.array([row for row, _number, _data in rows])
    chosen = block[places]
    texts = [data.decode("utf-8", "replace") for _row, _number, data in rows]
    columns: dict[str, Any] = {
        "index": (places + first).astype(np.uint64),
        "time": np.ascontiguousarray(chosen["time"]),
        "common_cpu": np.ascontiguousarray(chosen["cpu"]),
        "common_pid": np.ascontiguousarray(chosen["pid"]),
        "text": texts,
    }
    pairs = [pairs_of(text) for text in texts]
    for key in dict.fromkeys(key for found in pairs[:COLUMN_ROWS] for key in found):
        if len(columns) < COLUMN_LIMIT:
            columns[column_name(key, list(columns))] = [found.get(key) for found in pairs]
    return pl.DataFrame(columns)

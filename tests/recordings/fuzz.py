"""Damaged and hostile input to every reader: events, or one RecordingError that names the file.

    python tests/recordings/fuzz.py --runs 100000 [--reader pages] [--seed 0]

Run number N of a reader is the same on every machine. CI runs a few hundred (test_fuzz.py).
"""

import argparse
import gzip
import io
import json
import os
import random
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from btf_builder import example
from recording_sets import KALLSYMS, TRUTH, lab_set, packed, tar_of
from strace_logs import LOGS

from mmtwin.recordings import Recording, RecordingError, import_recording, open_recording
from mmtwin.recordings.archive import PackedStore, Source, Store, members
from mmtwin.recordings.btf import Btf
from mmtwin.recordings.columns import events_of, parse_frame
from mmtwin.recordings.formats import Format, parse_format
from mmtwin.recordings.lab import LabRecording
from mmtwin.recordings.machine import parse_config
from mmtwin.recordings.recording import parse_sys_kernel_slab
from mmtwin.recordings.snapshot import Snapshot, parse_truth
from mmtwin.recordings.strace import read_strace
from mmtwin.recordings.symbols import parse_kallsyms

SLOWEST = 5.0  # seconds that one run may take
GROWTH = 256  # MiB that a thousand runs may add
NUMBERS = [b"0", b"-1", b"99999999999999999999", b"4294967296", b"1e999", b"0x", b"65536"]
Reader = Callable[[bytes], object]


class MemoryStore(Store):
    """A data set of which one file is at hand to be changed."""

    def __init__(self, store: Store, name: str, data: bytes) -> None:
        super().__init__(Path("fuzzed"))
        self.store = store
        self.name = name
        self.data = data
        self.sizes = {**store.sizes, name: len(data)}

    def open(self, name: str) -> Source:
        """A file as a stream."""
        return io.BytesIO(self.data) if name == self.name else self.store.open(name)


def use_events(recording: Recording) -> None:
    """Reads the events of a recording."""
    for chunk in recording.chunks(512):
        assert chunk.dtype.itemsize == 64
    assert all(0 <= marker.index < recording.nr_events for marker in recording.markers)
    _ = recording.lost, recording.counts, recording.names
    for name in recording.tables[:1]:
        # Two formats may bear one name: only events of the one without a record are in the table.
        assert 0 < recording.table(name).height <= recording.counts[name]


def use(recording: Recording) -> None:
    """Reads all that a recording has."""
    with recording:
        use_events(recording)
        _ = recording.machine.as_json()
        for snapshot in recording.snapshots.values():
            _ = snapshot.processes, snapshot.truth
            for file in snapshot.files:
                snapshot.text(file)
                if "kpage" in file or "pagemap" in file:
                    snapshot.array(file)
        _ = recording.symbols.name(0xFFFFFFFF81000004), recording.sys_kernel_slab, recording.files


def mutate(draw: random.Random, data: bytes) -> bytes:
    """One to four changes: bits, bytes, cuts, repeats, moves, numbers, the end."""
    room = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        size = len(room)
        at = draw.randrange(size + 1)
        width = min(draw.choice((1, 2, 4, 8, 64, 512)), size - at)
        what = draw.randrange(9)
        if what == 0 and at < size:
            room[at] ^= 1 << draw.randrange(8)
        elif what == 1:
            room[at : at + width] = draw.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * width
        elif what == 2:
            room[at : at + width] = draw.randbytes(width)
        elif what == 3:
            del room[at : at + width]
        elif what == 4:
            room[at:at] = room[at : at + width] * draw.choice((1, 2, 50))
        elif what == 5:
            room[at:at] = draw.randbytes(draw.choice((1, 4, 32)))
        elif what == 6:
            start = draw.randrange(size + 1)
            room[at : at + width] = room[start : start + width]
        elif what == 7:
            found = re.compile(rb"\d+").search(bytes(room), at)
            if found:
                room[found.start() : found.end()] = draw.choice(NUMBERS)
        else:
            del room[at:]
    return bytes(room)


def lab_reader(store: Store, name: str, formats: dict[int, Format]) -> Reader:
    """A data set with one of its files changed."""

    def read(data: bytes) -> None:
        recording = LabRecording(Path("fuzzed"), MemoryStore(store, name, data))
        # the formats that are not changed are not parsed again each time
        if name.endswith("/format"):
            layout = parse_format(data.decode("utf-8", "replace"), "kmem", "fuzzed")
            recording.formats = {**formats, layout.id: layout}
        else:
            recording.formats = formats
        (use if name == "meta.json" else use_events)(recording)

    return read


def file_reader(path: Path) -> Reader:
    """A file that is written and opened."""

    def read(data: bytes) -> None:
        path.write_bytes(data)
        use(open_recording(path))

    return read


def archive_reader(folder: Path, name: str) -> Reader:
    """A packed data set with one of its archives changed."""

    def read(data: bytes) -> None:
        (folder / name).write_bytes(data)
        store = PackedStore(folder)
        for file in sorted(store.sizes)[-2:]:
            store.read(file)
        use(LabRecording(folder, store))

    return read


class Stream:
    """Bytes that are read as an archive."""

    path = Path("fuzzed")

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)

    @property
    def position(self) -> int:
        """Bytes read."""
        return self.file.tell()

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        return self.file.read(size)


def read_log(data: bytes) -> None:
    """An strace log."""
    read_strace(io.StringIO(data.decode("latin-1"), newline="\n"))


def read_tar(data: bytes) -> None:
    """All members of a tar archive."""
    for member in members(Stream(data)):  # type: ignore[arg-type]
        member.read(1 << 20)


def read_parquet(rows: int) -> Reader:
    """A part of events, past its digest."""

    def read(data: bytes) -> None:
        path = Path("fuzzed")
        events_of(parse_frame(data, rows, path), path)

    return read


def snapshot_reader(data: bytes) -> None:
    """The texts and arrays of snapshots, each read whatever the others say."""
    files = ["kpageflags", "proc/1/pagemap.u64x3"]
    snapshot = Snapshot("start", files, lambda _file: data, str)
    text = data.decode("utf-8", "replace")
    parse_config(text)
    errors = []
    for read in (
        lambda: parse_sys_kernel_slab(text, "fuzzed"),
        lambda: snapshot.array("kpageflags"),
        lambda: snapshot.array("proc/1/pagemap.u64x3"),
    ):
        try:
            read()
        except RecordingError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def perf_text(text: str) -> bytes:
    """Lines of ftrace as `perf script` prints them."""
    pattern = re.compile(r"^ *(.+)-(\d+) +(\[\d+\]) \S+ +([\d.]+): (?!tracing)", re.M)
    lines = pattern.sub(r"\1 \2 \3 \4: kmem:", text).splitlines()
    return "\n".join(line for line in lines if "kmem:" in line).encode() + b"\n"


def first_lines(text: bytes) -> bytes:
    """Whole lines from the start of a text."""
    return text[:4000].rpartition(b"\n")[0] + b"\n"


def read_structures(data: bytes) -> None:
    """Every structure of BTF, and what lies in it."""
    btf = Btf(data)
    for name in btf.names():
        structure = btf.structure(name)
        for member in structure.members if structure else ():
            btf.expanded(member)


def readers(room: Path) -> Iterator[tuple[str, list[bytes], Reader]]:
    """(name, seeds, reader) of every reader."""
    folder = lab_set(room / "set")
    raw = (folder / "trace/cpu0.raw").read_bytes()
    (folder / "trace/cpu0.raw").write_bytes(raw[:4096])
    process = LabRecording(lab_set(room / "process", "x86-6.1-process"))
    store = LabRecording(folder).store
    formats = LabRecording(folder).formats
    raw = process.store.read("trace/cpu0.raw")
    yield (
        "pages",
        [raw[:4096], raw[4096:8192], raw[:4096], raw],
        lab_reader(process.store, "trace/cpu0.raw", process.formats),
    )
    name = "trace/events/kmem/kmem_cache_free/format"
    yield "format", [store.read(name)], lab_reader(store, name, formats)
    name = "trace/events/header_page"
    yield "header_page", [store.read(name)], lab_reader(store, name, formats)
    text = store.read("trace/trace.txt")
    lost = b"CPU:0 [LOST 123 EVENTS]\n" + text[-600:].partition(b"\n")[2]
    yield "ftrace", [first_lines(text) + lost], file_reader(room / "trace")
    perf = perf_text(text.decode())
    yield "perf", [first_lines(perf)], file_reader(room / "perf")
    name = "meta.json"
    yield name, [store.read(name)], lab_reader(store, name, formats)
    logs = [text.encode() for text in LOGS.values()]
    yield "strace", logs, read_log
    config = b"CONFIG_A=y 1\n# CONFIG_B is not set\nCONFIG_C=x 12345\n"
    yield "snapshots", [config[:32] * 2, b"kmalloc-8 a 016\n" * 4], snapshot_reader
    yield "kallsyms", [KALLSYMS.encode()], lambda data: parse_kallsyms(data.decode("latin1"), "?")
    truth = TRUTH.encode()
    yield "truth", [truth, gzip.compress(truth, mtime=0)], lambda data: parse_truth(data, "?")
    yield "btf", [example().data()], read_structures
    tight = packed(folder, room / "packed")
    for name in PackedStore.ARCHIVES:
        archive = (tight / name).read_bytes()
        parts = ["trace"] if name.startswith("trace") else ["start", "stopped", "static"]
        yield name, [archive], archive_reader(shutil_copy(tight, room / f"{name}.d"), name)
        yield f"tar in {name}", [tar_of(folder, parts)], read_tar
    native = import_recording(folder, room / "native")
    index = (native / "recording.json").read_bytes()
    yield "recording.json", [index, json.dumps(json.loads(index)).encode()], native_reader(native)
    part = (native / "events-00000.parquet").read_bytes()
    yield "parquet", [part], read_parquet(LabRecording(folder).nr_events)


def shutil_copy(source: Path, target: Path) -> Path:
    """A copy of a folder."""
    shutil.copytree(source, target)
    return target


def native_reader(folder: Path) -> Reader:
    """An mmtwin recording with its index changed."""

    def read(data: bytes) -> None:
        (folder / "recording.json").write_bytes(data)
        use(open_recording(folder))

    return read


def run(reader: Reader, seeds: list[bytes], name: str, seed: int, runs: int) -> Counter[str]:
    """Runs a reader on mutations; counts of "read" and "error". Any other outcome is raised."""
    outcomes: Counter[str] = Counter()
    for number in range(runs):
        draw = random.Random(f"{name} {seed} {number}")
        data = mutate(draw, draw.choice(seeds))
        began = time.monotonic()
        try:
            reader(data)
            outcomes["read"] += 1
        except RecordingError as error:
            assert error.file and "\n" not in str(error), error
            outcomes["error"] += 1
        except BaseException:
            print(f"reader {name}, seed {seed}, run {number}", file=sys.stderr)
            raise
        taken = time.monotonic() - began
        assert taken < SLOWEST, f"reader {name}, seed {seed}, run {number}: {taken:.1f} s"
    return outcomes


def memory() -> int:
    """MiB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    """Runs what the arguments say; prints a line for each reader."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", default="")
    arguments = parser.parse_args()
    failed = False
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as room:
        for name, seeds, reader in readers(Path(room)):
            if arguments.reader not in name:
                continue
            began, before = time.monotonic(), memory()
            try:
                counts = run(reader, seeds, name, arguments.seed, arguments.runs)
            except Exception as error:
                failed = True
                traceback.print_exception(error)
                continue
            taken, grown = time.monotonic() - began, memory() - before
            print(
                f"{name:20} {arguments.runs:7} runs: {counts['read']:7} read, "
                f"{counts['error']:7} errors; {taken:6.0f} s; +{grown} MiB",
                flush=True,
            )
    sys.exit(failed)


if __name__ == "__main__":
    main()

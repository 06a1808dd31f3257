"""What a recording shows of its kernel at marked moments: /proc and /sys texts, arrays, processes,
the truth.
"""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mmtwin.machine.blame import WRONG_SHAPES, in_words
from mmtwin.procfs.errors import ProcError
from mmtwin.recordings.errors import RecordingError, TextError
from mmtwin.recordings.shapes import NUMBERS, parse_json, shape_fault

FREE_LIST = re.compile("[0-9]{1,2},[0-9]{1,3}")  # order,migratetype
TRUTH_LIMIT = 1 << 24  # bytes of JSON, or so many times what its .gz has:
TRUTH_RATIO = 100
GZIP = 16 + zlib.MAX_WBITS  # a header and a checksum of gzip's, for zlib
ARRAYS = {"kpageflags": 1, "kpagecount": 1, "pagemap.u64x3": 2}  # u64 numbers in an entry
Parsed = TypeVar("Parsed")
Bytes = bytes  # inside the class the name is that of a method
Reader = Callable[[str], bytes]


class Snapshot:
    """One snapshot. `name` is that of its markers ("start"); `files` the names of all that it
    holds.

    A text is read when it is asked for. `time` of a snapshot is that of its markers: `DUMP name`
    for the truth, `SNAPB name/file` and `SNAPE name/file` for each file.
    """

    def __init__(
        self, name: str, files: Iterable[str], read: Reader, where: Callable[[str], str]
    ) -> None:
        self.name = name
        self.files = sorted(files)
        self._read = read
        self._where = where
        self._truth: dict[str, Any] | None = None
        self._has_truth = "truth.json" in self.files or "truth.json.gz" in self.files

    def __contains__(self, file: object) -> bool:
        return file in self.files

    def __repr__(self) -> str:
        return f"<Snapshot {self.name}: {len(self.files)} files>"

    def bytes(self, file: str) -> bytes:
        """A file as it is. Raises KeyError if the snapshot has none of that name."""
        if file not in self.files:
            raise KeyError(file)
        return self._read(file)

    def text(self, file: str) -> str:
        """A text ("slabinfo", "proc/1/maps"), bytes that are no UTF-8 replaced.

        Raises KeyError if it has none.
        """
        return self.bytes(file).decode("utf-8", "replace")

    def place(self, file: str) -> str:
        """The path of a file, or what says as much of one inside an archive."""
        return self._where(file)

    def parsed(self, file: str, parse: Callable[[str], Parsed]) -> Parsed:
        """What `parse` makes of a text. Raises KeyError if there is none, TextError, which names
        the file, if `parse` cannot read it.
        """
        return self._parsed(file, parse, self.text(file))

    def parsed_bytes(self, file: str, parse: Callable[[Bytes], Parsed]) -> Parsed:
        """As `parsed`, of what may be no UTF-8: the names of files and programs."""
        return self._parsed(file, parse, self.bytes(file))

    def _parsed(self, file: str, parse: Callable[[Any], Parsed], content: Any) -> Parsed:
        try:
            return parse(content)
        except (ValueError, *WRONG_SHAPES) as error:
            message = in_words(error)
            if isinstance(error, ProcError) and error.line:
                message = f"line {error.line}: {error.message}"
            elif isinstance(error, ProcError):
                message = error.message
            raise TextError(self._where(file), message) from error

    def array(self, file: str) -> npt.NDArray[np.uint64]:
        """`kpageflags` or `kpagecount`: u64 by pfn; a process's pagemap: rows of (virtual address,
        entry).

        Raises KeyError if the snapshot has no such file, RecordingError if its size is no whole
        number of entries.
        """
        numbers = ARRAYS.get(file.rpartition("/")[2], 1)
        data = self.bytes(file)
        if len(data) % (8 * numbers):
            raise RecordingError(
                self._where(file), "ends inside an entry", len(data) - len(data) % (8 * numbers)
            )
        array = np.frombuffer(data, "<u8")
        return array.reshape(-1, numbers) if numbers > 1 else array

    @property
    def processes(self) -> list[int]:
        """The pids whose files it holds, ascending."""
        pids = {file.split("/")[1] for file in self.files if file.startswith("proc/")}
        return sorted(
            int(pid) for pid in pids if pid.isascii() and pid.isdigit() and len(pid) < 10
        )

    @property
    def has_truth(self) -> bool:
        """Whether the kernel's own lists are there, all of them: see `truth`."""
        return self._has_truth and self.truth is not None

    @property
    def truth_place(self) -> str:
        """The path of the file that the truth is in."""
        return self._where("truth.json" if "truth.json" in self.files else "truth.json.gz")

    @property
    def truth(self) -> dict[str, Any] | None:
        """The kernel's own lists (`buddy`, `pageblocks`, `slab`: see docs/recording-format.md), or
        None, also where who read the RAM could not read all of them.

        Raises RecordingError if it is there but not as the format says.
        """
        if self._truth is None and self._has_truth:
            file = "truth.json" if "truth.json" in self.files else "truth.json.gz"
            self._truth = parse_truth(self._read(file), self._where(file))
            self._has_truth = self._truth is not None
        return self._truth


def unzip(data: bytes, where: str) -> bytes:
    """The content of a .gz file."""
    limit = max(TRUTH_LIMIT, TRUTH_RATIO * len(data))
    try:
        unpacker = zlib.decompressobj(GZIP)  # GzipFile, that reads in pieces, takes twice as long
        content = unpacker.decompress(data, limit)
        if unpacker.unused_data or not unpacker.eof:  # more members, or damage for it to name
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                content = file.read(limit)
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(where, f"damaged: {error!s:.200}", 0) from None
    if len(content) == limit:
        raise RecordingError(where, f"{len(data)} bytes become more than {limit}", limit)
    return content


def parse_truth(data: bytes, where: str) -> dict[str, Any] | None:
    """A truth file, gzipped or not; None if one of its parts is not there at all. Raises
    RecordingError if it is not as the format says.
    """
    if data[:2] == b"\x1f\x8b":
        data = unzip(data, where)
    truth = parse_json(data, where)
    if isinstance(truth, dict) and truth and truth.keys() < set(PARTS):
        return None
    fault = truth_fault(truth)
    if fault:
        raise RecordingError(where, fault, 0)
    return dict(truth)


PARTS = ("buddy", "pageblocks", "slab")
SLAB = {
    "pfn": int, "inuse": int, "objects": int, "frozen": int, "free": NUMBERS, "where": "text",
    "live": NUMBERS, "cpufree?": NUMBERS, "pobjects?": int,
}  # fmt: skip
TRUTH = {
    "buddy": [
        {
            "name": "text", "start": int, "managed": int, "spanned": int, "free": {"*": NUMBERS},
            "pcp": [{"count": int, "high": int, "batch": int, "lists": {"*": NUMBERS}}],
        }
    ],
    "pageblocks": None,
    "slab": [
        {
            "name": "text", "size": int, "object_size": int, "offset": int, "oo": int, "slabs":
            [SLAB], "node_partial?": NUMBERS, "random_seq?": NUMBERS, "random?": int,
            "min_partial?": int, "cpu_partial?": int, "red_left_pad?": int, "flags?": int, "ctor?":
            int, "refcount?": int, "addr?": int, "node0?": int, "live?": int, "sheaf_capacity?":
            int, "cpu?": [{"cpu": int, "slab?": int, "freelist?": NUMBERS, "partial?": NUMBERS}],
        }
    ],
}  # fmt: skip


def truth_fault(truth: object) -> str:
    """What is wrong with the shape of a truth, "" if nothing is."""
    fault = shape_fault(truth, TRUTH, "truth")
    if fault:
        return fault
    assert isinstance(truth, dict)
    blocks = truth.get("pageblocks")
    if not isinstance(blocks, list) or not all(
        block is None or type(block) is int for block in blocks
    ):
        return "truth.pageblocks: not a list of numbers and nulls"
    for zone in truth["buddy"]:
        for key in zone["free"]:
            if not FREE_LIST.fullmatch(key):
                return f"truth.buddy.free: {key!r:.40} is no order,migratetype"
        for cpu in zone["pcp"]:
            if not all(re.fullmatch("[0-9]{1,4}", key) for key in cpu["lists"]):
                return "truth.buddy.pcp.lists: an index that is no number"
    return ""

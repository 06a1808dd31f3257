"""The files of a lab data set: a folder as it was unpacked, or packed as NAME.tar.zst beside loose
files.

Both give the same names ("trace/cpu0.raw", "start/slabinfo", "meta.json"). Archives are streamed:
nothing is written to disk except what `seekable` is asked for, and members above MEMBER_LIMIT are
never held in memory.
"""

import io
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Protocol

from mmtwin.recordings.errors import RecordingError

BLOCK = 512
MEMBER_LIMIT = 1 << 26  # bytes of a member that is read as a whole
NAME_LIMIT = 1 << 16
WINDOW_LIMIT = 1 << 27  # zstd --long=27
PIECE = 1 << 19  # bytes unpacked at once


class Source(Protocol):
    """A file as a stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer only at the end."""

    def close(self) -> None:
        """No more is read."""


def pieces(source: Source, size: int, slack: int) -> Generator[memoryview, None, None]:
    """A source in pieces of `size` bytes, the last one may have fewer; `slack` bytes more can be
    read behind each. A piece is overwritten by the next.

    Pieces are copies: of a file that another program cuts short while it is mapped, reading a page
    ends the process.
    """
    room = memoryview(bytearray(size + slack))
    if isinstance(source, io.BufferedIOBase):
        while count := source.readinto(room[:size]):
            yield room[:count]
        return
    while data := source.read(size):
        room[: len(data)] = data
        yield room[: len(data)]


class ZstdStream:
    """The unpacked content of a .zst file, front to back."""

    def __init__(self, path: Path) -> None:
        import zstandard

        self.path = path
        self.position = 0
        try:
            self._file: IO[bytes] = path.open("rb")
        except OSError as error:
            raise RecordingError(path, f"cannot be opened: {error.strerror}") from None
        self._error = zstandard.ZstdError
        unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
        self._reader = unpacker.stream_reader(self._file, read_across_frames=True)

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer only at the end."""
        pieces = []
        while size > 0:
            try:
                piece = self._reader.read(min(size, PIECE))
            except (self._error, OSError, MemoryError) as error:
                raise RecordingError(self.path, f"damaged: {error}", self._file.tell()) from None
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
            self.position += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Closes the file."""
        self._reader.close()
        self._file.close()


class Member:
    """One file inside an archive; reads no further than its end."""

    def __init__(self, archive: ZstdStream, name: str, size: int) -> None:
        self.archive = archive
        self.name = name
        self.size = size
        self.left = size

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer only at the end of the member."""
        data = self.archive.read(min(size, self.left))
        if len(data) < min(size, self.left):
            message = f"ends {self.left - len(data)} bytes before the end of {self.name}"
            raise RecordingError(self.archive.path, message, self.archive.position)
        self.left -= len(data)
        return data

    def close(self) -> None:
        """No more is read of the archive."""
        self.archive.close()

    def skip(self) -> None:
        """Moves behind the member and its padding."""
        padding = -self.size % BLOCK
        while self.left:
            self.read(min(self.left, PIECE))
        self.archive.read(padding)


def tar_number(field: bytes, fail: Callable[[str], RecordingError]) -> int:
    """A number of a tar header: octal digits, or base 256 with the top bit set."""
    if field[0] & 0x80:
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    digits = field.split(b"\0")[0].strip()
    if not digits:
        return 0
    if digits.strip(b"01234567"):
        raise fail(f"{digits!r} is no octal number")
    return int(digits, 8)


def pax_values(data: bytes) -> dict[str, str]:
    """The `key=value` records of a pax header."""
    values = {}
    for line in data.split(b"\n"):
        head, equals, value = line.partition(b"=")
        words = head.split(b" ", 1)
        if equals and len(words) == 2:
            values[words[1].decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return values


def members(archive: ZstdStream) -> Iterator[Member]:
    """The regular files of a tar archive in their order.

    Raises RecordingError where it is none.
    """

    def fail(message: str) -> RecordingError:
        return RecordingError(archive.path, message, archive.position)

    long_name = ""
    long_size = -1
    while True:
        header = archive.read(BLOCK)
        if len(header) < BLOCK:
            raise fail("the archive ends without its end mark")
        if not any(header):
            return
        if sum(header) - sum(header[148:156]) + 8 * 32 != tar_number(header[148:156], fail):
            raise fail("a tar header whose checksum is wrong")
        size = long_size if long_size >= 0 else tar_number(header[124:136], fail)
        kind = header[156:157]
        name = header[:100].split(b"\0")[0]
        if header[257:262] == b"ustar" and header[345] and kind not in b"Lx":
            name = header[345:500].split(b"\0")[0] + b"/" + name
        member = Member(archive, long_name or name.decode("utf-8", "replace"), size)
        if kind in (b"L", b"x"):
            if size > NAME_LIMIT:
                raise fail(f"a name of {size} bytes")
            data = member.read(size)
            values = pax_values(data) if kind == b"x" else {}
            long_name = (
                values.get("path", "")
                if kind == b"x"
                else data.split(b"\0")[0].decode("utf-8", "replace")
            )
            digits = values.get("size", "")
            long_size = (
                int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else -1
            )
        else:
            long_name, long_size = "", -1
            if kind in (b"0", b"\0"):
                member.name = member.name.removeprefix("./")
                yield member
        member.skip()


class Store:
    """The files of one data set by name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sizes: dict[str, int] = {}

    def where(self, name: str) -> str:
        """How an error names a file."""
        return str(self.root / name)

    def open(self, name: str) -> Source:
        """A file as a stream; KeyError if there is none of that name."""
        raise NotImplementedError

    def read(self, name: str) -> bytes:
        """A whole file of at most MEMBER_LIMIT bytes; KeyError if there is none of that name."""
        if self.sizes[name] > MEMBER_LIMIT:
            raise RecordingError(
                self.where(name), f"{self.sizes[name]} bytes, more than {MEMBER_LIMIT}"
            )
        with closing(self.open(name)) as file:
            return file.read(MEMBER_LIMIT)

    def text(self, name: str) -> str:
        """A text file; bytes that are no UTF-8 are replaced."""
        return self.read(name).decode("utf-8", "replace")

    def seekable(self, names: list[str]) -> None:
        """Makes sure that several files can be read side by side."""

    def close(self) -> None:
        """Removes what was written for this store."""


class FolderStore(Store):
    """A data set as unpacked: a folder of files. Symbolic links are not followed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._look(str(root), "")

    def _look(self, folder: str, inside: str) -> None:
        """Takes in the files of a folder, `inside`: its name within the data set, with a slash."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return  # as os.walk() does
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                self._look(entry.path, f"{inside}{entry.name}/")
            elif entry.is_file(follow_symlinks=False):
                self.sizes[inside + entry.name] = entry.stat(follow_symlinks=False).st_size

    def open(self, name: str) -> Source:
        """A file as a stream; KeyError if there is none of that name."""
        if name not in self.sizes:
            raise KeyError(name)
        try:
            return (self.root / name).open("rb")
        except OSError as error:
            raise RecordingError(self.where(name), f"cannot be opened: {error.strerror}") from None


class PackedStore(Store):
    """A data set as packed: loose files, trace.tar.zst and snap.tar.zst.

    Members of up to KEEP_LIMIT bytes are kept in memory when their archive is first passed over,
    except those that only a tool for other jobs reads; the others are streamed again each time.
    """

    ARCHIVES = ("trace.tar.zst", "snap.tar.zst")
    KEEP_LIMIT = 1 << 24
    KEPT_LIMIT = 1 << 28  # of all together
    MEMBERS_LIMIT = 1 << 20
    NOT_KEPT = ("btf_vmlinux", "trace.txt")

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._archive: dict[str, Path] = {}
        self._kept: dict[str, bytes] = {}
        self._room = self.KEPT_LIMIT
        self._spilled: dict[str, Path] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        for path in sorted(root.iterdir()):
            if path.name not in self.ARCHIVES and path.is_file():
                self.sizes[path.name] = path.stat().st_size
        for name in self.ARCHIVES:
            if (root / name).is_file():
                self._pass_over(root / name)

    def _pass_over(self, path: Path) -> None:
        archive = ZstdStream(path)
        try:
            for member in members(archive):
                self.sizes[member.name] = member.size
                self._archive[member.name] = path
                if len(self.sizes) > self.MEMBERS_LIMIT:
                    raise RecordingError(path, "too many files", archive.position)
                wanted = not member.name.endswith(self.NOT_KEPT)
                if wanted and member.size <= min(self.KEEP_LIMIT, self._room):
                    self._kept[member.name] = member.read(member.size)
                    self._room -= member.size
        finally:
            archive.close()

    def where(self, name: str) -> str:
        """How an error names a file: the archive it is in comes before its name."""
        return str(self._archive.get(name, self.root) / name)

    def open(self, name: str) -> Source:
        """A file as a stream; KeyError if there is none of that name."""
        if name in self._kept:
            return io.BytesIO(self._kept[name])
        if name in self._spilled:
            return self._spilled[name].open("rb")
        if name not in self._archive:
            if name not in self.sizes:
                raise KeyError(name)
            return (self.root / name).open("rb")
        for member in members(ZstdStream(self._archive[name])):
            if member.name == name:
                return member
        raise KeyError(name)

    def seekable(self, names: list[str]) -> None:
        """Writes the named members to a temporary folder, removed by close()."""
        wanted = [name for name in names if name in self._archive and name not in self._spilled]
        if not wanted:
            return
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mmtwin-")
        for path in {self._archive[name] for name in wanted}:
            archive = ZstdStream(path)
            for member in members(archive):
                if member.name in wanted:
                    place = Path(self._folder.name, f"{len(self._spilled)}")
                    with place.open("wb") as out:
                        while member.left:
                            out.write(member.read(PIECE))
                    self._spilled[member.name] = place
            archive.close()

    def close(self) -> None:
        """Removes the temporary folder, if there is one."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
            self._spilled.clear()


def open_store(root: Path) -> Store:
    """The files of a data set folder, packed or unpacked."""
    packed = any((root / name).is_file() for name in PackedStore.ARCHIVES)
    return PackedStore(root) if packed else FolderStore(root)

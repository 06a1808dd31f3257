"""The files that processes execute and map, as a replay knows them: by path, with the head of an
ELF file, device, inode and size.

They come from a recording's files.json, from a file of that form, or from a folder that holds the
files (`--files`, `--root`); devices and inodes also from what the recording's snapshots show.
"""

import base64
import json
import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmtwin.kernel.elf import EHDR, ET_DYN, PHDR, PT_LOAD, elf_phdr, read_header
from mmtwin.kernel.mm_types import File
from mmtwin.machine.host_files import file_system, place_as
from mmtwin.procfs.maps import MapsArea
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.shapes import shape_fault

SHAPE = {
    "*": {"link?": "text", "dev?": "text", "inode?": int, "size?": int, "fs?": "text",
          "elf_head_base64?": "text"}
}
HEAD = 4096  # bytes of an ELF file that exec may look at
DELETED = " (deleted)"
SHARED_ANONYMOUS = "/dev/zero" + DELETED  # shmem_zero_setup()
MOST_LINKS = 40
UNKNOWN_SIZE = 1 << 40  # of a file of which nobody tells the size


class UnknownFile(ValueError):
    """A file was executed of which nothing is known."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is executed, and the recording does not tell its ELF head: give a folder "
            "that holds the files (--root DIR) or a files.json (--files FILE.json)"
        )
        self.path = path


class ElfHead:
    """What the head of an ELF file says: `entry`, and `length` of its first segment's page to the
    end of its last one, in bytes; None in `parse` for what is no ELF head.
    """

    def __init__(self, entry: int, first: int, last: int, relocatable: bool) -> None:
        self.entry = entry
        self.first = first
        self.length = last - first
        self.relocatable = relocatable

    @classmethod
    def parse(cls, head: bytes, page_size: int = 4096) -> "ElfHead | None":
        """From the first bytes of a file."""
        loads = segments(head)
        last = max((phdr.p_vaddr + phdr.p_memsz for phdr in loads), default=0)
        if not last:
            return None
        first = min(phdr.p_vaddr // page_size * page_size for phdr in loads)
        header = read_header(head)
        return cls(header.e_entry, first, last, header.e_type == ET_DYN)


def program_headers(head: bytes) -> list[Any]:
    """The elf_phdr records of an ELF file, those that its first bytes hold; none of another."""
    header = read_header(head) if len(head) >= EHDR.size else None
    if header is None:
        return []
    places = [header.e_phoff + number * header.e_phentsize for number in range(header.e_phnum)]
    return [elf_phdr(head, place) for place in places if place + PHDR.size <= len(head)]


def segments(head: bytes) -> list[Any]:
    """Those of what is loaded."""
    return [phdr for phdr in program_headers(head) if phdr.p_type == PT_LOAD]


class FileTable:
    """Files by path. `shmem`: whether files without a device of their own lie in a tmpfs that all
    of memory backs, as the first root file system does (init/do_mounts.c: init_rootfs()).
    """

    def __init__(self, page_size: int = 4096, shmem: bool = True) -> None:
        self.page_size = page_size
        self.shmem = shmem
        self.files: dict[str, File] = {}
        self.heads: dict[str, ElfHead] = {}
        self.aliases: dict[str, str] = {}
        self.root: Path | None = None
        self.ours = False
        self.learnt: dict[str, tuple[str, int]] = {}  # device and inode, from snapshots

    # ---- where they come from

    def add_json(self, value: object, where: object) -> None:
        """The content of a files.json. Raises RecordingError if it is not of that form."""
        fault = shape_fault(value, SHAPE, "files")
        if fault:
            raise RecordingError(where, fault)
        assert isinstance(value, dict)
        for path, facts in value.items():
            if facts.get("link"):
                self.aliases[path] = facts["link"]
                continue
            self.files[path] = self._made(path, facts, where)

    def _made(self, path: str, facts: Mapping[str, Any], where: object) -> File:
        try:
            head = base64.b64decode(facts.get("elf_head_base64") or "", validate=True)
        except ValueError as error:
            raise RecordingError(where, f"files.{path}.elf_head_base64: {error}") from None
        size = facts.get("size")
        return self._file(
            path, facts.get("dev") or "00:00", facts.get("inode") or 0,
            UNKNOWN_SIZE if size is None else size, head, facts.get("fs") or "",
        )  # fmt: skip

    def add_json_file(self, path: str | os.PathLike[str]) -> None:
        """A files.json by its name. Raises RecordingError."""
        try:
            value = json.loads(Path(path).read_bytes())
        except OSError as error:
            raise RecordingError(path, f"cannot be opened: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise RecordingError(path, f"not JSON: {error!s:.200}") from None
        self.add_json(value, path)

    def add_root(self, folder: str | os.PathLike[str], ours: bool = False) -> None:
        """A folder in which the files lie as on the recorded machine. Raises RecordingError.

        `ours`: it is the recorded machine's own, whose devices and inodes count too.
        """
        if not Path(folder).is_dir():
            raise RecordingError(folder, "no folder")
        self.root, self.ours = Path(folder), ours

    def add_maps(self, areas: list[MapsArea]) -> None:
        """What a snapshot's maps tell: device and inode of files."""
        for area in areas:
            path = area.name.removesuffix(DELETED)
            if path.startswith("/") and area.name != SHARED_ANONYMOUS:
                self.learnt.setdefault(path, (area.dev, area.inode))
                known = self.files.get(path)
                if known is not None and not known.ino:
                    known.dev, known.ino = area.dev, area.inode

    def _file(
        self, path: str, dev: str, ino: int, size: int, head: bytes, kind: str = ""
    ) -> File:  # fmt: skip
        # kind: the file system, "" if nobody tells
        if not ino and path in self.learnt:
            dev, ino = self.learnt[path]
        special = path.startswith(("/dev/", "/sys/", "/proc/"))
        file = File(path, dev, ino, size, device=special, shmem=self.shmem and not special)
        file.head = head
        file.cached = file.shmem
        place_as(file, kind)
        parsed = ElfHead.parse(head, self.page_size)
        if parsed is not None:
            self.heads[path] = parsed
        return file

    # ---- asking

    def find(self, path: str) -> File | None:
        """The file of a path, symbolic links and what the events told of them followed."""
        path = self.aliases.get(path, path)
        if path not in self.files and self.root is not None:
            self._read(path)
            path = self.aliases.get(path, path)
        return self.files.get(path)

    def named(self, path: str) -> File:
        """The file of a path; one of unknown content where none is known."""
        file = self.find(path)
        if file is None:
            file = self.files[path] = self.unnamed(path)
        return file

    def unnamed(self, path: str, dev: str = "00:00", ino: int = 0) -> File:
        """A file of which no more is known, and which is found under no path."""
        return self._file(path, dev, ino, UNKNOWN_SIZE, b"")

    def _read(self, path: str) -> None:
        """Takes a file's head from the folder, links within the folder followed."""
        assert self.root is not None
        place, links = os.path.realpath(path) if self.ours else path, 0
        while (inside := self.root / place.lstrip("/")).is_symlink() and links < MOST_LINKS:
            target = os.readlink(inside)
            place = posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
            links += 1
        try:
            if not inside.is_file() or ".." in inside.relative_to(self.root).parts:
                return
            with inside.open("rb") as file:
                head = file.read(HEAD)
            stat = inside.stat()
        except OSError:
            return
        if place != path:
            self.aliases[path] = place
        if place not in self.files:
            dev, inode, kind = "00:00", 0, ""
            if self.ours:
                inode, kind = stat.st_ino, file_system(stat.st_dev)
                dev = f"{os.major(stat.st_dev):02x}:{os.minor(stat.st_dev):02x}"
            self.files[place] = self._file(place, dev, inode, stat.st_size, head, kind)

    def by_entry(self, address: int) -> str | None:
        """The one executable whose first instruction lies at an address."""
        found = [
            path for path, head in self.heads.items()
            if head.entry == address and not head.relocatable
        ]  # fmt: skip
        return found[0] if len(found) == 1 else None

    def by_length(self, length: int) -> str | None:
        """The one library that takes up a number of bytes, as a loader maps it first."""
        found = [
            path for path, head in self.heads.items()
            if head.relocatable and abs(head.length - length) < self.page_size
        ]  # fmt: skip
        return found[0] if len(found) == 1 else None

    def by_brk(self, address: int) -> str | None:
        """The one executable whose memory ends where brk(0) began."""
        page = self.page_size
        found = [
            path for path, head in self.heads.items()
            if not head.relocatable and -(-(head.first + head.length) // page) * page == address
        ]  # fmt: skip
        return found[0] if len(found) == 1 else None

    def executable(self, path: str, entry: int | None = None, brk: int | None = None) -> File:
        """The file that an execve of a path runs. Raises UnknownFile.

        `entry`: the address of its first instruction, `brk`: what brk(0) said, where events tell
        them: by them a link's target is found.
        """
        file = self.find(path)
        if file is None or not file.head:
            target = (entry and self.by_entry(entry)) or (brk and self.by_brk(brk)) or None
            if target is not None:
                self.aliases[path] = target
                file = self.files[target]
        if file is None or not file.head:
            raise UnknownFile(path)
        return file

    def rename(self, old: str, new: str) -> None:
        """A file gets another name; maps shows it from then on."""
        file = self.find(old)
        if file is not None:
            self.files.pop(file.path, None)
            self.aliases.pop(new, None)
            file.path = new
            self.files[new] = file

    def unlink(self, path: str) -> None:
        """A file loses its name; those who have it mapped still do."""
        file = self.find(path)
        if file is not None and not file.path.endswith(DELETED):
            file.path += DELETED
            del self.files[file.path.removesuffix(DELETED)]

"""Which files the processes of a recording have open and map, where the events do not say.

Names of files are pointers in most events. What a descriptor is follows from the calls that open,
copy and close it; its file from, in this order: the name that the event itself tells (6.19 and
later); the length of a library's first mapping; the line of a later snapshot at the address that
the kernel gave. `learnt` counts those named by a snapshot.
"""

from collections.abc import Callable

from mmtwin.kernel.commit import commit_of
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mm_types import FMODE_READ, FMODE_WRITE, File
from mmtwin.kernel.truncate import truncate_file, truncate_pages, vfs_fallocate
from mmtwin.procfs import maps
from mmtwin.procfs.maps import MapsArea
from mmtwin.recordings.descriptors import Descriptors
from mmtwin.recordings.process_events import Step
from mmtwin.recordings.recording import Recording
from mmtwin.replay.process_files import DELETED, SHARED_ANONYMOUS, FileTable

MAP_ANONYMOUS, O_CLOEXEC = 0x20, 0o2000000
O_ACCMODE = 3
ACCESS_MODES = (FMODE_READ, FMODE_WRITE, FMODE_READ | FMODE_WRITE, 0)
S32 = 1 << 31
DEV_ZERO = "/dev/zero"
OPENS = ("open", "openat", "openat2", "creat", "memfd_create")


def signed(number: int) -> int:
    """An int argument, of which events have 64 bits."""
    return (number & 0xFFFFFFFF ^ S32) - S32


class Names:
    """Files by descriptor; `files`: the replay's FileTable."""

    def __init__(self, recording: Recording, files: FileTable) -> None:
        self.files = files
        self.descriptors = Descriptors()
        self.of_token: dict[str, File] = {}
        self.shown: dict[int, list[tuple[int, MapsArea]]] = {}
        self.learnt = self.unnamed = 0
        self.gone: dict[str, int] = {}  # paths without a name in a snapshot, and its event
        self.modes: dict[str, int] = {}  # FMODE_* by token
        self.memfds: set[str] = set()
        self.sizes: dict[str, int] = {}  # by token, of ftruncate()
        self.opens_told = recording.counts.get("sys_enter_openat", 0) > 0
        # a line of maps for an open that another of the same string names (process_strings.py)
        self.by_string: Callable[[str], MapsArea | None] = lambda _token: None
        self.by_inode: dict[tuple[str, str, int], File] = {}
        for name, index in snapshot_indexes(recording):
            snapshot = recording.snapshots[name]
            for pid in snapshot.processes:
                if f"proc/{pid}/maps" in snapshot:
                    areas = snapshot.parsed_bytes(f"proc/{pid}/maps", maps.parse)
                    files.add_maps(areas)
                    self.shown.setdefault(pid, []).extend((index, area) for area in areas)
                    for area in areas:
                        path = area.name.removesuffix(DELETED)
                        if path != area.name and not path.startswith("/dev/zero"):
                            self.gone.setdefault(path, index)

    # ---- descriptors

    def call(self, step: Step, args: tuple[int, ...], text: str, result: int) -> None:
        """A call that may change descriptors came back; `text`: the name it was given."""
        files, pid, name = self.descriptors, step.pid, step.name
        if result < 0:
            return
        if name in OPENS:
            flags = args[{"openat": 2, "open": 1, "memfd_create": 1}.get(name, 0)] if args else 0
            path = files.path(pid, text) if text else f"open:{step.index}"
            files.open(pid, result, path, bool(flags & O_CLOEXEC))
            if name == "memfd_create":
                self.memfds.add(path)
            elif name in ("open", "openat") and args:
                self.modes[path] = ACCESS_MODES[flags & O_ACCMODE]
        elif name == "close":
            files.close_range(pid, signed(args[0]), signed(args[0]))
        elif name in ("dup", "dup2", "dup3"):
            files.dup(pid, signed(args[0]), result)
        elif name == "fcntl" and args[1] in (0, 1030):
            files.dup(pid, signed(args[0]), result, args[1] == 1030)

    def mode_of(self, pid: int, args: tuple[int, ...]) -> int | None:
        """FMODE_* of the file that an mmap maps, None where no event tells how it was opened."""
        return self.modes.get(self.descriptors.file(pid, signed(args[4])) or "")

    # ---- files

    def of_mapping(
        self, step: Step, args: tuple[int, ...], result: int, length_known: bool = True
    ) -> File | None:
        """The file that an mmap maps; None for a bad descriptor. `result`: what it gave."""
        length, flags, fd, offset = args[1], args[3], signed(args[4]), args[5]
        if flags & MAP_ANONYMOUS or fd < 0:
            return None
        token = self.descriptors.file(step.pid, fd)
        if token is None:
            if result < 0:
                return None
            token = f"fd:{step.pid}:{fd}"
        if token.startswith("/"):
            if self.files.find(token) is None and token not in self.of_token:
                area = self.shown_at(step, result, offset)  # the name may be a link's
                self.of_token[token] = self.of_line(area) if area else self.files.named(token)
            return self.of_token.get(token) or self.files.named(token)
        if token not in self.of_token or token.startswith("fd:"):
            self.of_token[token] = self._found(step, token, length, offset, result)
            self._as_told(token, self.of_token[token])
        return self.of_token[token]

    def _as_told(self, token: str, file: File) -> None:
        """What the calls that made a file tell of its pages: those of a memfd, or of a file whose
        size ftruncate() set, are made when they are touched.
        """
        unopened = self.opens_told and token.startswith("fd:")
        made = unopened or token in self.memfds or file.path.startswith("/memfd:")
        if (made or token in self.sizes) and file.shmem:
            file.cached = False
        file.size = self.sizes.get(token, file.size)

    def truncated(self, machine: MM, pid: int, fd: int, length: int) -> None:
        """ftruncate(): a file's size is known from now on, pages behind its end go."""
        token = self.descriptors.file(pid, fd)
        if token is None:
            return
        self.sizes[token] = length
        file = self.of_token.get(token)
        if file is not None:
            file.cached = False
            truncate_file(machine, file, length)

    def cut(self, machine: MM, step: Step, fd: int) -> None:
        """An open with O_TRUNC came back: the file that it names by a constant string of the
        program loses its pages (handle_truncate()). What is written then is as large as before.
        """
        token = self.descriptors.file(step.pid, fd) or ""
        file = self.files.find(token) if token.startswith("/") else self.of_token.get(token)
        if file is None and not token.startswith("/"):
            area = self.by_string(token)
            if area is not None and area.name != SHARED_ANONYMOUS:
                file = self.of_line(area)
        if file is not None and file.shmem:
            truncate_pages(machine, file, 0)

    def allocated(
        self, machine: MM, pid: int, fd: int, mode: int, offset: int, length: int
    ) -> None:
        """fallocate() came back without an error."""
        token = self.descriptors.file(pid, fd)
        file = self.of_token.get(token or "")
        if file is not None:
            vfs_fallocate(machine, file, mode, offset, length)
        if token is not None and not mode:
            self.sizes[token] = max(self.sizes.get(token, 0), offset + length)

    def _found(self, step: Step, token: str, length: int, offset: int, result: int) -> File:
        path = self.files.by_length(length) if offset == 0 else None
        if path is not None:
            return self.files.named(path)
        area = self.shown_at(step, result, offset)
        if area is not None:
            self.learnt += 1
            return self.of_line(area)
        if token in self.of_token:
            return self.of_token[token]
        area = self.by_string(token)
        if area is not None:
            self.learnt += 1
            if area.name == SHARED_ANONYMOUS:
                return self.files.named(DEV_ZERO)
            return self.of_line(area)
        self.unnamed += 1
        return self.files.unnamed(f"({token})")

    def shown_at(self, step: Step, address: int, offset: int) -> MapsArea | None:
        """The line of a file that the next snapshot shows at an address of the process."""
        for index, area in self.shown.get(step.pid, ()):
            if index <= step.index or not area.start <= address < area.end or not area.inode:
                continue
            if area.offset + address - area.start == offset or area.name.startswith("/sys/"):
                return area
        return None

    def of_line(self, area: MapsArea) -> File:
        """The file of a line of maps: by name, device and inode."""
        path = area.name.removesuffix(DELETED)
        known = self.files.find(path)
        if known is not None and (known.ino == area.inode or not known.ino):
            return known
        key = (path, area.dev, area.inode)
        if area.name == SHARED_ANONYMOUS:
            return self.files.named(path)  # mmap_zero(): each shared area has a file of its own
        if key not in self.by_inode:
            file = self.files.unnamed(path, area.dev, area.inode)
            file.path = area.name
            self.by_inode[key] = file
        return self.by_inode[key]

    def unlink(self, path: str) -> None:
        """A file loses its name; whoever opens the path from now on gets another file."""
        self.files.unlink(path)
        self.of_token.pop(path, None)

    def shmem_mapping(self, machine: MM, step: Step, address: int, file: File) -> None:
        """Shared anonymous memory: how far its file system is with inodes, a snapshot tells."""
        area = self.shown_at(step, address, 0)
        if area is not None and area.name.startswith("/dev/zero"):
            file.dev, file.ino = area.dev, area.inode
            commit_of(machine).next_shmem_ino = area.inode + 1


def snapshot_indexes(recording: Recording) -> list[tuple[str, int]]:
    """The snapshots that show processes, with the number of the event before which their files are
    read: behind the last of the system's. In order.
    """
    done = {marker.text: marker.index for marker in recording.markers}
    found = []
    for name, snapshot in recording.snapshots.items():
        files = [done[text] for text in done if text.startswith(f"SNAPE {name}/")]
        index = max(files) if files else done.get(f"SNAP {name}", done.get(f"SNAPDONE {name}"))
        if index is not None and snapshot.processes:
            found.append((name, index))
    return sorted(found, key=lambda pair: pair[1])

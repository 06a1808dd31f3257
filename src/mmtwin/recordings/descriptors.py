"""The open files and working directories of the processes of a log (fs/file.c, fs/fs_struct.c)."""

import posixpath

CLONE_VM = 0x100
CLONE_FS = 0x200
CLONE_FILES = 0x400
CLONE_VFORK = 0x4000
AT_FDCWD = -100
F_DUPFD, F_SETFD, F_DUPFD_CLOEXEC = 0, 2, 1030
CLOSE_RANGE_CLOEXEC = 4


class _Table(dict[int, tuple[str | None, bool]]):
    """By descriptor: the file's absolute path (None: unknown), and whether execve closes it."""


class Descriptors:
    """Which file each descriptor of each process is."""

    def __init__(self, cwd: str = "/") -> None:
        """`cwd`: where the first process begins."""
        self.first = cwd
        self.tables: dict[int, _Table] = {}
        self.cwd: dict[int, list[str]] = {}

    def table(self, pid: int) -> _Table:
        """A process's descriptors."""
        return self.tables.setdefault(pid, _Table())

    def place(self, pid: int) -> list[str]:
        """A list of one: the working directory, shared by threads."""
        return self.cwd.setdefault(pid, [self.first])

    def path(self, pid: int, name: str, directory: int = AT_FDCWD) -> str:
        """The absolute path of a name that a process uses; symbolic links stay in it."""
        base = self.place(pid)[0]
        if directory != AT_FDCWD:
            base = self.table(pid).get(directory, (None, False))[0] or base
        return posixpath.join(base, name)

    def file(self, pid: int, fd: int) -> str | None:
        """The path behind a descriptor."""
        return self.table(pid).get(fd, (None, False))[0]

    def open(self, pid: int, fd: int, path: str | None, cloexec: bool) -> None:
        """A descriptor is made."""
        self.table(pid)[fd] = (path, cloexec)

    def dup(self, pid: int, fd: int, copy: int, cloexec: bool = False) -> None:
        """A descriptor gets a copy: dup, dup2, dup3, F_DUPFD."""
        self.open(pid, copy, self.file(pid, fd), cloexec)

    def set_cloexec(self, pid: int, fd: int, cloexec: bool) -> None:
        """F_SETFD: whether execve closes a descriptor."""
        self.open(pid, fd, self.file(pid, fd), cloexec)

    def close_range(self, pid: int, first: int, last: int, cloexec: bool = False) -> None:
        """Descriptors are closed, or will be by execve."""
        table = self.table(pid)
        if first == last and not cloexec:
            table.pop(first, None)
            return
        for fd in [fd for fd in table if first <= fd <= last]:
            if cloexec:
                table[fd] = (table[fd][0], True)
            else:
                del table[fd]

    def fork(self, parent: int, child: int, flags: int) -> None:
        """A child shares its parent's table and directory, or has copies (copy_files, copy_fs)."""
        table, place = self.table(parent), self.place(parent)
        self.tables[child] = table if flags & CLONE_FILES else _Table(table)
        self.cwd[child] = place if flags & CLONE_FS else list(place)

    def execve(self, pid: int) -> None:
        """A new program has a table of its own, without what is closed by execve
        (begin_new_exec)."""
        left = {fd: entry for fd, entry in self.table(pid).items() if not entry[1]}
        self.tables[pid] = _Table(left)

    def exit(self, pid: int) -> None:
        """A process ends; its number may come again."""
        self.tables.pop(pid, None)
        self.cwd.pop(pid, None)

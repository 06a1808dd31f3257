"""The driver of processes: what programs asked the kernel for, asked of the twin.

    processes = Processes(machine, files)
    processes.exec_(1, "/init")
    processes.fork(1, 78, 0)
    processes.syscall(78, "mmap", (0, 65536, 3, 0x22, -1, 0))
    processes.fault(78, 0x4018a0, 0x14)
    processes.exit(78)

It knows no recording: process_replay.py feeds it from one, other readers from logs. A process is
one of `by_pid`; its address space is `process.mm`, which threads share.
"""

from collections.abc import Callable, Sequence
from typing import Any

from mmtwin.kernel import (
    brk,
    fork_mm,
    madvise,
    mlock,
    mmap,
    mprotect,
    mremap,
    mseal,
    msync,
    munmap,
)
from mmtwin.kernel import exec as kernel_exec
from mmtwin.kernel import fault as kernel_fault
from mmtwin.kernel.mm import MM
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import EBADF, EINVAL, MAP_ANONYMOUS
from mmtwin.kernel.paging import paging_of
from mmtwin.kernel.rss_stat import TaskRss
from mmtwin.replay.process_files import FileTable

CLONE_VM, CLONE_THREAD = 0x100, 0x10000
U64 = (1 << 64) - 1
PR_SET_VMA, PR_SET_VMA_ANON_NAME = 0x53564D41, 0
ENOSYS = 38
# A user's read and write: x86's error code, arm64's ESR_EL1 of a data abort.
X86_ERROR, ESR = (4, 6), (0x92000006, 0x92000046)


class Process:
    """A task, as far as its memory goes. `mm`: its mm_struct, None of a kernel thread; `tgid`:
    the process it is a thread of; `exited`: it is dead.
    """

    def __init__(self, pid: int, comm: str, tgid: int | None = None) -> None:
        self.pid = pid
        self.tgid = pid if tgid is None else tgid
        self.comm = comm
        self.task_rss = TaskRss(None)
        self.vfork_parent = self.active_mm = None
        self.exited = False
        # it has set limits whose values are not known, one of its stack among them
        self.limited = self.stack_limited = False

    @property
    def mm(self) -> Any:
        """Its mm_struct, or None."""
        return self.task_rss.mm

    @mm.setter
    def mm(self, mm: Any) -> None:
        self.task_rss.mm = mm

    @property
    def exe(self) -> str:
        """The path of the program it runs, "" where it runs none."""
        file = self.mm.exe_file if self.mm is not None else None
        return file.path if file is not None else ""

    def __repr__(self) -> str:
        return f"<Process {self.pid} {self.comm}>"


class Processes:
    """All processes of a machine. `machine`: its MM; `files`: what they execute and map;
    `randomize`: as /proc/sys/kernel/randomize_va_space says, 0 for no ASLR.
    """

    def __init__(self, machine: MM, files: FileTable, randomize: int = 0) -> None:
        self.machine = machine
        paging_of(machine)
        self.files = files
        self.by_pid: dict[int, Process] = {}
        self.context = kernel_exec.ExecContext(self._open_exec, randomize)
        self.calls: dict[str, Callable[..., int]] = CALLS

    def _open_exec(self, path: str) -> File:
        return self.files.executable(path)

    def process(self, pid: int) -> Process:
        """The process of a number; made, without an address space, where it was not seen yet."""
        found = self.by_pid.get(pid)
        if found is None:
            found = self.by_pid[pid] = Process(pid, "")
        return found

    def run(self, pid: int) -> Process:
        """The task runs from now on (current)."""
        process = self.process(pid)
        kernel_fault.set_current(self.machine, process)
        return process

    @property
    def alive(self) -> list[Process]:
        """Those with an address space, by number; threads other than the first left out."""
        return [
            process for _pid, process in sorted(self.by_pid.items())
            if process.mm is not None and process.pid == process.tgid
        ]  # fmt: skip

    def exec_(
        self, pid: int, path: str, argv: Sequence[bytes] = (), envp: Sequence[bytes] = (),
        file: File | None = None, drawn: dict[str, int] | None = None,
    ) -> int:  # fmt: skip
        """execve(): 0, or -errno. `drawn`: see ExecContext. Raises UnknownFile where the ELF head
        of the file is not known.
        """
        process = self.run(pid)
        if path == "/proc/self/exe" and process.mm is not None and file is None:
            file = process.mm.exe_file
        file = file or self.files.executable(path)
        process.tgid = process.pid
        strings = list(argv) or [path.encode()]
        self.context.drawn = drawn or {}
        return int(kernel_exec.do_execve(
            self.machine, process, path, strings, list(envp), self.context, file
        ))  # fmt: skip

    def copy(self, parent: int) -> Any:
        """What a fork's dup_mm() makes of the parent's address space, None without memory."""
        old = self.run(parent)
        return fork_mm.dup_mm(self.machine, Process(0, old.comm), old.mm)

    def fork(
        self, parent: int, child: int, flags: int, comm: str = "", copied: Any = None
    ) -> int:
        """clone() and its like: the child's number, or -errno. `flags`: CLONE_*; `copied`: what
        copy() made for it.
        """
        old = self.run(parent)
        tgid = old.tgid if flags & CLONE_THREAD else child
        new = Process(child, comm or old.comm, tgid)
        new.limited, new.stack_limited = old.limited, old.stack_limited
        if old.mm is not None:
            if flags & CLONE_VM:
                new.mm = fork_mm.mmget(old.mm)
            else:
                new.mm = copied or fork_mm.dup_mm(self.machine, new, old.mm)
                if new.mm is None:
                    return -12
        self.by_pid[child] = new
        return child

    def exit(self, pid: int) -> None:
        """The task is dead: it gives up its address space (exit_mm())."""
        process = self.run(pid)
        process.exited = True
        if process.mm is not None:
            fork_mm.exit_mm(self.machine, process)
            fork_mm.mmdrop(self.machine, process.active_mm)  # another task runs
            process.active_mm = None
        kernel_fault.set_current(self.machine, None)
        del self.by_pid[pid]

    def fault(self, pid: int, address: int, error_code: int) -> kernel_fault.FaultResult:
        """An access that the processor could not do: minor, major or a signal.

        `error_code`: as the processor says it; of x86-64 bit 0 present, 1 write, 2 user, 4
        instruction fetch.
        """
        process = self.run(pid)
        if process.mm is None:
            return kernel_fault.FaultResult()
        return kernel_fault.do_user_addr_fault(process, address, error_code)

    def touch(self, pid: int, address: int, write: bool) -> None:
        """A program reads or writes a byte of its memory, where that faults."""
        read, written = ESR if paging_of(self.machine).arm64 else X86_ERROR
        self.fault(pid, address, written if write else read)

    def access(self, pid: int, address: int, flags: int) -> kernel_fault.FaultResult:
        """A fault as handle_mm_fault() has it. `flags`: FAULT_FLAG_*."""
        write, user, fetch = flags & 0x1, flags & 0x40, flags & 0x100
        if not paging_of(self.machine).arm64:
            return self.fault(pid, address, bool(write) << 1 | bool(user) << 2 | bool(fetch) << 4)
        exception_class = (0x20 if fetch else 0x24) | (not user)
        return self.fault(pid, address, exception_class << 26 | bool(write) << 6 | 0x6)

    def syscall(
        self, pid: int, name: str, args: Sequence[int], file: File | None = None, text: str = ""
    ) -> int:
        """A system call of `CALLS`: its result, below zero an errno.

        `args`: as the call has them, unsigned; `file`: of an mmap, None for a bad descriptor;
        `text`: the name that prctl(PR_SET_VMA) gives.
        """
        process = self.run(pid)
        if process.mm is None:
            return -EINVAL
        if name == "mmap":
            return self._mmap(process.mm, args, file)
        if name == "prctl":
            return _prctl(process.mm, args, text)
        call = self.calls.get(name)
        if call is None:
            return -ENOSYS
        return int(call(process.mm, *args))

    def _mmap(self, mm: Any, args: Sequence[int], file: File | None) -> int:
        address, length, prot, flags, _fd, offset = args
        if flags & MAP_ANONYMOUS:
            file = None
        elif file is None:
            return -EINVAL if offset & (1 << self.machine.page_shift) - 1 else -EBADF
        return int(mmap.sys_mmap(mm, file, address, length, prot, flags, offset))


def _prctl(mm: Any, args: Sequence[int], text: str) -> int:
    if args[0] != PR_SET_VMA:
        return 0
    return int(madvise.set_anon_vma_name(mm, args[2], args[3], text or None))


def _prlimit(mm: Any, *args: int) -> int:
    """prlimit64(pid, resource, soft, hard) of its own: the limit is the soft one."""
    if len(args) == 4 and not args[0]:
        mm.rlimits[args[1]] = args[2]
    return 0


# What each call is in the kernel floor.
CALLS: dict[str, Callable[..., int]] = {
    "brk": brk.sys_brk,
    "munmap": munmap.sys_munmap,
    "mprotect": mprotect.do_mprotect,
    "mremap": mremap.do_mremap,
    "madvise": madvise.do_madvise,
    "mlock": mlock.do_mlock,
    "mlock2": mlock.do_mlock,
    "mseal": mseal.do_mseal,
    "msync": msync.do_msync,
    "remap_file_pages": mmap.remap_file_pages,
    "munlock": mlock.do_munlock,
    "mlockall": mlock.mlockall,
    "munlockall": mlock.munlockall,
    "prlimit64": _prlimit,
}

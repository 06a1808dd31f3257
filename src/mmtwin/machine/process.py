"""Process: a program in the twin, to drive by hand.

    p = k.exec("/bin/cat")
    a = p.malloc(100)
    p.write(a, b"bytes")
    print(p.maps)

System calls raise OSError with the kernel's errno. An access that the kernel answers with a signal
kills the process and raises `Killed`.
"""

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from mmtwin.kernel import (
    brk,
    fork,
    madvise,
    mincore,
    mlock,
    mmap,
    mprotect,
    mremap,
    msync,
    munmap,
    sched,
    task_stack,
)
from mmtwin.kernel import exec as kernel_exec
from mmtwin.kernel import exit as kernel_exit
from mmtwin.kernel.commit import OVERCOMMIT_NEVER, commit_of
from mmtwin.kernel.fault import do_user_addr_fault
from mmtwin.kernel.gup import access_process_vm
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mm_validate import validate_mm
from mmtwin.kernel.mman import (
    MAP_ANONYMOUS,
    MAP_PRIVATE,
    MREMAP_MAYMOVE,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
)
from mmtwin.kernel.rss_stat import get_mm_counter
from mmtwin.kernel.walk import translate, walk
from mmtwin.machine.arguments import Checked
from mmtwin.machine.host_files import open_exec
from mmtwin.machine.libc_malloc import Libc
from mmtwin.machine.task_calls import TaskView
from mmtwin.machine.user_frames import ALIGNMENT, UserFrame

MAPS = "mmtwin.procfs.maps"  # lies above this floor
SIGNALS = {7: "SIGBUS", 9: "SIGKILL", 11: "SIGSEGV"}
SIGSEGV = 11
LETTERS = {"r": PROT_READ, "w": PROT_WRITE, "x": PROT_EXEC, "-": 0}
X86_PROT, X86_WRITE, X86_USER, X86_INSTRUCTION = 1, 2, 4, 0x10
ESR_DATA, ESR_INSTRUCTION, ESR_WRITE = 0x24 << 26, 0x20 << 26, 0x40
ESR_TRANSLATION, ESR_PERMISSION = 0x07, 0x0F


class Killed(Exception):
    """A signal ended the process: `signal` (`"SIGSEGV"`), `address` that was accessed."""

    def __init__(self, signal: str, address: int) -> None:
        super().__init__(f"{signal} at {address:#x}")
        self.signal = signal
        self.address = address


class ProcessSystem:
    """The system calls of a process as its C library makes them: see libc_malloc.System."""

    def __init__(self, process: "Process") -> None:
        self.process = process
        self.page_size = 1 << process.machine.page_shift

    def brk(self, address: int) -> int:
        """brk()."""
        return int(brk.sys_brk(self.process.mm, address))

    def mmap(self, address: int, size: int, prot: int, flags: int) -> int:
        """mmap() of private anonymous memory."""
        return int(mmap.sys_mmap(self.process.mm, None, address, size, prot, flags, 0))

    def munmap(self, address: int, size: int) -> int:
        """munmap()."""
        return int(munmap.sys_munmap(self.process.mm, address, size))

    def mprotect(self, address: int, size: int, prot: int) -> int:
        """mprotect()."""
        return int(mprotect.do_mprotect(self.process.mm, address, size, prot))

    def mremap(self, address: int, old: int, new: int, flags: int) -> int:
        """mremap()."""
        return int(mremap.do_mremap(self.process.mm, address, old, new, flags))

    def madvise(self, address: int, size: int, advice: int) -> int:
        """madvise()."""
        return int(madvise.do_madvise(self.process.mm, address, size, advice))

    def touch(self, address: int) -> None:
        """The library writes a header."""
        self.process.touch(address)

    def copy(self, source: int, to: int, size: int) -> None:
        """memcpy()."""
        self.process.write(to, self.process.read(source, size))


class Process(Checked):
    """A process of a machine: its task and address space, its C library and its stack pointer.

    Make one with `Machine.exec` or `fork`. `mm`: its mm_struct; `sp`: the stack pointer;
    `minor_faults`, `major_faults`: as in /proc/PID/stat.
    """

    def __init__(self, machine: Any, task: Any, libc: str = "2.36", randomize: int = 0) -> None:
        self.machine = machine
        self.task = TaskView(machine, task)
        self.libc = self._new_libc(libc)
        self.randomize = randomize
        self.sp = int(task.mm.start_stack)
        self.depth = 0  # frames that are open
        self.minor_faults = self.major_faults = 0
        self.killed_by = ""

    # ---- what it is

    @property
    def pid(self) -> int:
        """Its number."""
        return self.task.pid

    @property
    def comm(self) -> str:
        """Its name."""
        return self.task.comm

    @property
    def alive(self) -> bool:
        """Whether it has not exited and was not killed."""
        return self.task.state not in ("zombie", "dead")

    @property
    def mm(self) -> Any:
        """Its mm_struct. Raises ValueError if it is dead."""
        if self.task.task.mm is None:
            raise ValueError(f"{self!r} is dead")
        return self.task.task.mm

    @property
    def maps(self) -> str:
        """/proc/PID/maps."""
        shown = import_module(MAPS)
        text: str = shown.format_maps(shown.show(self.mm))
        return text

    @property
    def rss(self) -> int:
        """Resident pages, of files, anonymous and of shared memory, with what the task has not
        told its address space yet: /proc shows fewer before 6.2.
        """
        told = getattr(self.task.task, "task_rss", None)
        waiting = told.counts() if told is not None else [0] * 4
        return sum(int(get_mm_counter(self.mm, kind)) + waiting[kind] for kind in (0, 1, 3))

    def walk(self, address: int) -> list[Any]:
        """The page table entries that translate an address, the top level first."""
        steps: list[Any] = walk(self.mm, address)
        return steps

    def page(self, address: int) -> int:
        """The pfn of the page at an address, -1 if none is there."""
        last = walk(self.mm, address)[-1]
        return int(last.pfn) if last.level == 0 else -1

    def validate(self) -> list[str]:
        """What is wrong with its address space; [] if every invariant holds."""
        return mm_problems(self.mm) if self.alive else []

    # ---- memory

    def touch(self, address: int, write: bool = True, execute: bool = False) -> int:
        """The program accesses a byte; how many page faults that took.

        Raises Killed if the kernel sends a signal: the process is dead then.
        """
        task_stack.run(self.machine, self.task.task)
        faults = 0
        while not self._allowed(address, write, execute):
            result = do_user_addr_fault(
                self.task.task, address, self._error_code(address, write, execute)
            )
            if result.signal:
                self._kill(result.signal, address)
            faults += 1
            self.minor_faults += not result.major
            self.major_faults += result.major
        return faults

    def read(self, address: int, size: int) -> bytes:
        """The program reads bytes; as `touch` in all else."""
        for place in self._pages(address, size):
            self.touch(place, write=False)
        found: bytes = access_process_vm(self.mm, address, size)
        return found

    def write(self, address: int, data: bytes) -> None:
        """The program writes bytes; as `touch` in all else."""
        for place in self._pages(address, len(data)):
            self.touch(place)
        access_process_vm(self.mm, address, bytes(data))

    def _pages(self, address: int, size: int) -> Iterator[int]:
        page = 1 << self.machine.page_shift
        place = address
        while place < address + size:
            yield place
            place = (place & -page) + page

    def _allowed(self, address: int, write: bool, execute: bool) -> bool:
        paging = self.mm.paging
        if not 0 <= address < self.mm.task_size:
            return False
        entry = translate(self.mm, address)
        if entry is None or (write and not entry & paging.write):
            return False
        if execute:
            return bool(self.mm.tree.vma_lookup(address).vm_flags & PROT_EXEC)
        return True

    def _error_code(self, address: int, write: bool, execute: bool) -> int:
        present = 0 <= address < self.mm.task_size and translate(self.mm, address) is not None
        if self.mm.paging.arm64:
            code = ESR_PERMISSION if present else ESR_TRANSLATION
            code |= ESR_INSTRUCTION if execute else ESR_DATA
            return code | (ESR_WRITE if write else 0)
        code = X86_USER | (X86_PROT if present else 0) | (X86_WRITE if write else 0)
        return code | (X86_INSTRUCTION if execute else 0)

    def _kill(self, signal: int, address: int) -> None:
        self.killed_by = SIGNALS.get(signal, f"signal {signal}")
        kernel_exit.do_exit(self.machine, self.task.task)
        raise Killed(self.killed_by, address)

    # ---- the C library

    def _new_libc(self, version: str) -> Libc:
        made = Libc(ProcessSystem(self), version, self.machine.nr_cpus)
        # check_may_shrink_heap() reads /proc/sys/vm/overcommit_memory
        never = commit_of(self.machine).overcommit_memory == OVERCOMMIT_NEVER
        made.may_shrink_heap = never
        return made

    def malloc(self, size: int) -> int:
        """malloc(): an address, 0 for NULL."""
        return self.libc.malloc(size)

    def calloc(self, count: int, size: int) -> int:
        """calloc(): zeroed memory, or 0. What the kernel gave just now is zero already."""
        main = self.libc.main_arena
        top, fresh = main.top, main.top_size
        address = self.libc.calloc(count, size)
        chunk = address - 16
        if address and chunk not in self.libc.mmapped:
            length = self.libc.malloc_usable_size(address)
            self.write(address, bytes(min(length, fresh) if chunk == top else length))
        return address

    def realloc(self, address: int, size: int) -> int:
        """realloc()."""
        return self.libc.realloc(address, size)

    def memalign(self, alignment: int, size: int) -> int:
        """memalign(), aligned_alloc(), posix_memalign()."""
        return self.libc.memalign(alignment, size)

    def free(self, address: int) -> None:
        """free(). Raises Corrupted where glibc would abort."""
        self.libc.free(address)

    @contextmanager
    def frame(self, function: str = "main", **variables: int) -> Iterator[UserFrame]:
        """A function is called that has automatic variables of these sizes in bytes; it returns at
        the end of the block.
        """
        before = self.sp
        frame = UserFrame(self, function, variables)
        self.depth += 1
        try:
            yield frame
        finally:
            self.depth -= 1
            self.sp = before

    def alloca(self, size: int) -> int:
        """Takes `size` bytes off the stack for the function that runs: their address. They live
        until it returns. Raises ValueError where no frame() is open.

        Nothing says no: memory beyond the stack's limit is found out when it is touched.
        """
        if not self.depth:
            raise ValueError("alloca() belongs to a function: with p.frame(): p.alloca(100)")
        if size < 0:
            raise ValueError(f"alloca of {size} bytes")
        self.sp = (self.sp - size) & -ALIGNMENT
        return self.sp

    # ---- system calls

    def mmap(
        self, length: int, prot: str = "rw", flags: int = MAP_PRIVATE | MAP_ANONYMOUS,
        file: File | None = None, offset: int = 0, address: int = 0,
    ) -> int:  # fmt: skip
        """mmap(): the address. `prot`: letters of "rwx"; with a `file`, MAP_ANONYMOUS is not."""
        if file is not None:
            flags &= ~MAP_ANONYMOUS
        return self._result(
            mmap.sys_mmap(self.mm, file, address, length, protection(prot), flags, offset)
        )

    def munmap(self, address: int, length: int) -> None:
        """munmap()."""
        self._result(munmap.sys_munmap(self.mm, address, length))

    def mremap(
        self, address: int, old: int, new: int, flags: int = MREMAP_MAYMOVE, to: int = 0
    ) -> int:
        """mremap(): the address."""
        return self._result(mremap.do_mremap(self.mm, address, old, new, flags, to))

    def mprotect(self, address: int, length: int, prot: str) -> None:
        """mprotect()."""
        self._result(mprotect.do_mprotect(self.mm, address, length, protection(prot)))

    def madvise(self, address: int, length: int, advice: int) -> None:
        """madvise(): MADV_*."""
        self._result(madvise.do_madvise(self.mm, address, length, advice))

    def msync(self, address: int, length: int, flags: int) -> None:
        """msync(): MS_*."""
        self._result(msync.do_msync(self.mm, address, length, flags))

    def mincore(self, address: int, length: int) -> bytes:
        """mincore(): a byte of each page, 1 where it is in memory."""
        error, found = mincore.sys_mincore(self.mm, address, length)
        self._result(error)
        return bytes(found)

    def mlock(self, address: int, length: int) -> None:
        """mlock()."""
        self._result(mlock.do_mlock(self.mm, address, length))

    def munlock(self, address: int, length: int) -> None:
        """munlock()."""
        self._result(mlock.do_munlock(self.mm, address, length))

    def brk(self, address: int = 0) -> int:
        """brk(): the end of the heap then."""
        return int(brk.sys_brk(self.mm, address))

    def sbrk(self, increment: int = 0) -> int:
        """sbrk(): the end of the heap before. Raises OSError (ENOMEM)."""
        end = int(self.mm.brk)
        if increment and self.brk(end + increment) != end + increment:
            raise OSError(12, os.strerror(12))
        return end

    def fork(self, thread: bool = False, vfork: bool = False) -> "Process":
        """fork(): the child, with a copy of the memory; a `thread` or `vfork` shares it.

        Raises OSError: ENOMEM or EAGAIN.
        """
        task_stack.run(self.machine, self.task.task)
        flags = fork.CLONE_OF_THREAD if thread else 0
        flags |= fork.CLONE_VM | fork.CLONE_VFORK if vfork else 0
        task = fork.copy_process(self.machine, self.comm, flags)
        if task is None:
            number = 12 if sched.tasks_of(self.machine).error == "ENOMEM" else 11
            raise OSError(number, os.strerror(number))
        child = copy.copy(self)
        child.task = TaskView(self.machine, task)
        child.minor_faults = child.major_faults = 0
        if not flags & fork.CLONE_VM:
            system = ProcessSystem(child)
            child.libc = copy.deepcopy(self.libc, {id(self.libc.system): system})
        return child

    def exec(
        self, program: Any, argv: Sequence[str | bytes] = (), envp: Sequence[str | bytes] = ()
    ) -> None:
        """execve(): another program in this process; see `Machine.exec`."""
        task_stack.run(self.machine, self.task.task)
        context = kernel_exec.ExecContext(open_exec, self.randomize)
        execute(self.machine, self.task.task, program, argv, envp, context)
        self.libc = self._new_libc(self.libc.version)
        self.sp = int(self.mm.start_stack)

    def exit(self) -> None:
        """_exit(): its memory goes back."""
        if not self.alive:
            raise ValueError(f"{self!r} is dead")
        kernel_exit.do_exit(self.machine, self.task.task)

    def _result(self, value: Any) -> int:
        if isinstance(value, int) and value < 0:
            raise OSError(-value, os.strerror(-value))
        return int(value)

    def __repr__(self) -> str:
        state = "" if self.alive else f" {self.killed_by or self.task.state}"
        return f"<Process {self.pid} {self.comm}{state}>"


def mm_problems(mm: Any) -> list[str]:
    """What is wrong with an mm_struct, as a sentence; [] if every invariant holds."""
    try:
        validate_mm(mm)
    except AssertionError as broken:
        return [f"mm {mm.id}: {broken}"]
    return []


def protection(letters: str) -> int:
    """PROT_* of letters of "rwx". Raises ValueError for others."""
    if set(letters) - set(LETTERS):
        raise ValueError(f"protection {letters!r}: letters of rwx are known")
    return sum(LETTERS[letter] for letter in set(letters))


def execute(
    machine: Any, task: Any, program: Any, argv: Sequence[str | bytes],
    envp: Sequence[str | bytes], context: Any,
) -> None:  # fmt: skip
    """A task executes a path of this machine, a File, or bytes. Raises OSError."""
    if isinstance(program, bytes):
        program = File("/program", "00:01", 1, data=program)
    if isinstance(program, File):
        file, name = program, program.path
    else:
        file, name = None, str(program)
    error = kernel_exec.do_execve(machine, task, name, argv or [name], envp, context, file)
    if error:
        raise OSError(-error, os.strerror(-error), name)

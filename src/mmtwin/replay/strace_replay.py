"""The processes of an strace log in the twin: what they asked is asked again, what they got
compared.

`StraceReplay` drives `Processes` with the steps of recordings/strace.py. The log tells no page
fault, so nothing is resident but what exec and system calls touch themselves, and a stack is as
exec made it. It tells no file's content either: ELF heads come from a FileTable.
"""

from mmtwin.kernel.commit import commit_of
from mmtwin.kernel.mm_types import File
from mmtwin.kernel.mman import MAP_ANONYMOUS, MAP_FIXED, MAP_SHARED, VM_SHARED, VM_WRITE
from mmtwin.kernel.mmap import SHMEM_DEVICE
from mmtwin.machine.boot import boot_mm
from mmtwin.procfs import maps
from mmtwin.recordings.descriptors import CLONE_VM
from mmtwin.recordings.strace import StraceLog
from mmtwin.recordings.strace_steps import Step
from mmtwin.replay.process_files import DELETED, UNKNOWN_SIZE, FileTable
from mmtwin.replay.process_tally import Tally
from mmtwin.replay.processes import CALLS, Processes
from mmtwin.versions.profiles import Profile

MEMORY = 4 << 30
ADDRESSES = ("mmap", "brk", "mremap", "shmat")
# Of a user, writing, no page there: x86's error code, arm64's ESR (a data abort, WnR).
WRITE_FAULTS = {"x86_64": 6, "arm64": 0x92000046}
ADDR_NO_RANDOMIZE = 0x40000
SHM_RDONLY, SHM_EXEC = 0o10000, 0o100000
INT_MAX, LONG_MAX = (1 << 31) - 1, (1 << 63) - 1
MREMAP_MOVE = 3  # MREMAP_MAYMOVE | MREMAP_FIXED
PROT_READ, PROT_WRITE, PROT_EXEC = 1, 2, 4
FIRST_SHMEM_INODE = 2


class StraceReplay:
    """The processes of one log. `files`: what they execute and map; `profile`: the kernel they ran
    on; `shmem_inode`: of the next shared memory made; `tally`: what was compared. ASLR must have
    been off (`setarch -R strace ...`) for the addresses to be the twin's.
    """

    def __init__(
        self, log: StraceLog, files: FileTable, profile: Profile,
        shmem_inode: int = FIRST_SHMEM_INODE,
    ) -> None:  # fmt: skip
        self.log = log
        self.files = files
        self.profile = profile
        self.machine = boot_mm(profile, MEMORY)
        files.page_size = profile.page_size
        commit_of(self.machine).next_shmem_ino = shmem_inode
        self.processes = Processes(self.machine, files, 0)
        self.tally = Tally()
        self.index = 0
        self.dead: dict[int, int] = {}  # pid: the line of the log on which it ended
        self.segments: dict[int, File] = {}  # by shmid
        self.attached: dict[tuple[int, int], int] = {}  # (pid, address): bytes, of shmat

    def run(self) -> None:
        """The whole log. Raises UnknownFile where a program's ELF head is not known."""
        self.run_to(len(self.log.steps))

    def run_to(self, index: int) -> None:
        """All steps before the one of a number (from 0 on). Raises UnknownFile."""
        while self.index < min(index, len(self.log.steps)):
            self.take(self.log.steps[self.index])
            self.index += 1

    def end_of(self, pid: int) -> int:
        """The number of the step with which a process ends; the number of steps if it lives on.

        A number may come again: the last process of that number is meant.
        """
        for index in range(len(self.log.steps) - 1, -1, -1):
            step = self.log.steps[index]
            if step.pid == pid and step.name in ("exit_group", "exited", "exit"):
                before = self.log.steps[index - 1] if index else step
                again = before.pid == pid and before.name == "exit_group"
                return index - 1 if step.name == "exited" and again else index
            if step.pid == pid:
                break
        return len(self.log.steps)

    def before_line(self, line: int) -> int:
        """The number of the first step that ended on a line of the log or behind it."""
        steps = self.log.steps
        return next((n for n, step in enumerate(steps) if step.line >= line), len(steps))

    def take(self, step: Step) -> None:
        """One step."""
        done = step.result is not None and step.result >= 0
        if step.name == "clone":
            if done and step.result:
                if not step.args[0] & CLONE_VM:
                    self._touch(step.pid)
                self.processes.fork(step.pid, step.result, step.args[0])
                self.dead.pop(step.result, None)
        elif step.name == "execve":
            if done:
                self._exec(step)
        elif step.name == "exited":
            if step.pid in self.processes.by_pid:
                self.processes.exit(step.pid)
            self.dead[step.pid] = step.line
        elif step.name == "unlink":
            self.files.unlink(step.file or "")
        elif step.name == "rename":
            self.files.rename(step.file or "", step.text or "")
        elif step.name == "shmget":
            if done:
                self._segment(step)
        elif step.name == "memfd_create":
            file = self._shmem(step.file or "", UNKNOWN_SIZE)
            self.files.files[file.path] = file
        elif step.name in CALLS or step.name in ("mmap", "prctl", "shmat", "shmdt"):
            process = self.processes.by_pid.get(step.pid)
            if process is not None and process.mm is not None and step.result is not None:
                self._call(step, step.result)

    def _touch(self, pid: int, address: int | None = None) -> None:
        # Whether an area has pages (anon_vma) decides what it may merge with after a fork or when
        # it moves, and the log tells no fault: a program is taken to have written to what it may
        # write to. `address`: only the area there.
        process = self.processes.by_pid.get(pid)
        if process is None or process.mm is None:
            return
        writable = [
            vma.vm_start for vma in maps.areas_of(process.mm)
            if vma.vm_flags & VM_WRITE and not vma.vm_flags & VM_SHARED and vma.anon_vma is None
            and (address is None or vma.vm_start <= address < vma.vm_end)
        ]  # fmt: skip
        for address in writable:
            self.processes.fault(pid, address, WRITE_FAULTS[self.profile.arch])

    def _exec(self, step: Step) -> None:
        path = step.file or ""
        envp = [text.encode("utf-8", "surrogateescape") for text in step.envp]
        envp += [b"A=1"] * (step.args[0] - len(envp))
        argv = [text.encode("utf-8", "surrogateescape") for text in step.argv]
        error = self.processes.exec_(step.pid, path, argv, envp)
        if error:
            self.tally.miss("execs that the twin refused", f"line {step.line}: {path}: {error}")

    def _segment(self, step: Step) -> None:
        key, size, _flags = step.args
        shmid = (step.result or 0) & INT_MAX  # an int
        if shmid not in self.segments:
            file = self._shmem(f"/SYSV{key & 0xFFFFFFFF:08x}{DELETED}", min(size, LONG_MAX))
            file.ino = shmid  # newseg()
            self.segments[shmid] = file

    def _shmem(self, path: str, size: int) -> File:
        commit = commit_of(self.machine)
        file = File(path, SHMEM_DEVICE, commit.next_shmem_ino, size, shmem=True)
        commit.next_shmem_ino += 1
        return file

    def _call(self, step: Step, result: int) -> None:
        if step.name == "mremap":
            self._touch(step.pid, step.args[0])
        name, args, file = step.name, step.args, None
        if name == "shmat":
            mapped = self._shmat(step)
            if mapped is None:
                return
            args, file = mapped
            name = "mmap"
        elif name == "shmdt":
            length = self.attached.pop((step.pid, args[0]), 0)
            name, args = "munmap", (args[0], length)
        elif name == "mmap" and not args[3] & MAP_ANONYMOUS:
            file = self._file(step)
        got = self.processes.syscall(step.pid, name, args, file, step.text or "")
        if step.name == "shmat" and got > 0:
            self.attached[step.pid, got] = args[1]
        kind = "addresses" if step.name in ADDRESSES or step.name == "shmat" else "results"
        kind = "errors" if result < 0 else kind
        shown = ", ".join(f"{argument:#x}" for argument in step.args)
        example = f"line {step.line}: {step.name}({shown}) = {result:#x}, twin {got:#x}"
        if not self.tally.compare(kind, got == result, f"{step.name}: {kind}", example):
            self._adopt(step.pid, name, args, result, got, file)

    def _adopt(
        self, pid: int, name: str, args: tuple[int, ...], result: int, got: int, file: File | None
    ) -> None:
        # After a miss the twin has what the kernel had, so that one miss stays one.
        call = self.processes.syscall
        if name == "brk":
            call(pid, "brk", (result,))
        elif name == "mmap":
            if got >= 0:
                call(pid, "munmap", (got, args[1]))
            if result >= 0:
                forced = (result, *args[1:3], args[3] | MAP_FIXED, *args[4:])
                call(pid, "mmap", forced, file)
        elif name == "mremap" and result >= 0 and got >= 0:
            call(pid, "mremap", (got, args[2], args[2], MREMAP_MOVE, result))

    def _file(self, step: Step) -> File | None:
        # None for a descriptor that is not open: the log says so by the call's own error
        if step.file is None:
            return None if step.result is None or step.result < 0 else File("", size=UNKNOWN_SIZE)
        return self.files.named(step.file)

    def _shmat(self, step: Step) -> tuple[tuple[int, ...], File] | None:
        shmid, address, flags = step.args
        file = self.segments.get(shmid)
        if file is None:
            return None
        prot = PROT_READ if flags & SHM_RDONLY else PROT_READ | PROT_WRITE
        prot |= PROT_EXEC if flags & SHM_EXEC else 0
        fixed = MAP_FIXED if address else 0
        return (address, file.size, prot, MAP_SHARED | fixed, 3, 0), file

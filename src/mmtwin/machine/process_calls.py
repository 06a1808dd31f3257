"""A Machine's processes: exec() of programs, and all that were made.

What processes are made of takes 0.05 s to import: the first one does that.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmtwin.kernel.mman import RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK, RLIMIT_STACK
from mmtwin.machine.calls import Calls

if TYPE_CHECKING:
    from mmtwin.machine.process import Process

RLIMITS = {
    "AS": RLIMIT_AS, "DATA": RLIMIT_DATA, "MEMLOCK": RLIMIT_MEMLOCK, "STACK": RLIMIT_STACK,
}  # fmt: skip


class ProcessCalls(Calls):
    """Programs run in processes."""

    def exec(
        self,
        program: Any = None,
        argv: Sequence[str | bytes] = (),
        envp: Sequence[str | bytes] = (),
        randomize: int = 0,
        rlimits: Mapping[str, int] | None = None,
        libc: str = "2.36",
    ) -> "Process":
        """A new process runs a program: its memory is as the kernel leaves it to the program's
        first instruction. fork(), execve().

        `program`: a path of this machine, a File, or the bytes of an ELF file or script; None: a
        small program of the twin's own. `argv`:
        the program's path alone if it is empty; `randomize`: 1 or 2 for random addresses, drawn
        from the machine's seed; `rlimits`: {"STACK": bytes}, also AS, DATA, MEMLOCK; `libc`: the
        release of glibc whose malloc it has. Raises OSError as execve() fails.
        """
        from mmtwin.kernel import exit as kernel_exit
        from mmtwin.kernel import fork, sched
        from mmtwin.kernel.exec import ExecContext
        from mmtwin.machine.elf_image import elf_image
        from mmtwin.machine.host_files import open_exec
        from mmtwin.machine.process import Process, execute

        limits = {}
        for name, value in (rlimits or {}).items():
            if name not in RLIMITS:
                raise ValueError(f"limit {name!r}: {', '.join(RLIMITS)} are known")
            limits[RLIMITS[name]] = value
        if program is None:
            profile = self.mm.profile
            program = elf_image(profile.arch if profile else "x86_64", bss=1 << 14)
        parent = sched.current_task(self.mm)
        flags = fork.CLONE_VM | fork.CLONE_VFORK if parent.mm is not None else 0
        task = fork.copy_process(self.mm, "exec", flags)
        if task is None:
            raise OSError(12, "no memory for a process")
        context = ExecContext(open_exec, randomize, rlimits=limits)
        try:
            execute(self.mm, task, program, argv, envp, context)
        except OSError:
            kernel_exit.do_exit(self.mm, task)
            raise
        return Process(self.mm, task, libc, randomize)


def address_spaces(mm: Any) -> list[Any]:
    """The mm_structs of a machine's tasks, each once."""
    if mm.tasks is None:
        return []
    found = {id(task.mm): task.mm for task in mm.tasks.tasks.values() if task.mm is not None}
    return list(found.values())


def process_problems(mm: Any) -> list[str]:
    """What is wrong with the address spaces of a machine's tasks."""
    spaces = address_spaces(mm)
    if not spaces:
        return []
    from mmtwin.machine.process import mm_problems

    return [problem for each in spaces for problem in mm_problems(each)]


def process_summary(mm: Any) -> str:
    """The address spaces as one text: what `Machine.checksum` hashes."""
    lines = []
    for space in address_spaces(mm):
        lines.append(f"{space.id} {space.brk:x} {space.total_vm} {space.counters()}")
        lines += [
            f"{vma.vm_start:x}-{vma.vm_end:x} {vma.vm_flags:x} {vma.vm_pgoff:x} {vma.vm_name}"
            for vma in space.tree
        ]
    return "\n".join(lines)

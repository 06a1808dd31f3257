"""/proc/PID/status, statm and stat: what they say of a process's memory.

Kernel: fs/proc/task_mmu.c, task_mem and task_statm; fs/proc/array.c, do_task_stat.
"""

from dataclasses import dataclass
from typing import Any

from mmtwin.kernel.mman import MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, MM_SWAPENTS
from mmtwin.kernel.rss_stat import get_mm_counter
from mmtwin.procfs.state import profile_of
from mmtwin.procfs.text import Lines, shortened

FILE = "status"
SIZES = (
    "VmPeak", "VmSize", "VmLck", "VmPin", "VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem",
    "VmData", "VmStk", "VmExe", "VmLib", "VmPTE", "VmSwap", "HugetlbPages",
)  # fmt: skip
STATM = ("size", "resident", "shared", "text", "lib", "data", "dt")
# The fields of stat behind the name, in order; those of memory by the names that proc(5) gives.
STAT = (
    "state", "ppid", "pgrp", "session", "tty_nr", "tpgid", "flags", "minflt", "cminflt", "majflt",
    "cmajflt", "utime", "stime", "cutime", "cstime", "priority", "nice", "num_threads",
    "itrealvalue", "starttime", "vsize", "rss", "rsslim", "startcode", "endcode", "startstack",
    "kstkesp", "kstkeip", "signal", "blocked", "sigignore", "sigcatch", "wchan", "nswap", "cnswap",
    "exit_signal", "processor", "rt_priority", "policy", "delayacct_blkio_ticks", "guest_time",
    "cguest_time", "start_data", "end_data", "start_brk", "arg_start", "arg_end", "env_start",
    "env_end", "exit_code",
)  # fmt: skip


@dataclass(frozen=True)
class Status:
    """A status text: its `lines` by name, in order, without the tab behind the colon."""

    lines: dict[str, str]

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes it shows, in kB; {} of a kernel thread."""
        return {name: int(self.lines[name].split()[0]) for name in SIZES if name in self.lines}

    def __str__(self) -> str:
        """The text as the kernel prints it."""
        return "".join(f"{name}:\t{text}\n" for name, text in self.lines.items())


def size_text(kb: int) -> str:
    """A size as SEQ_PUT_DEC prints it."""
    return f"{kb:>8} kB"


def parse(text: str | bytes) -> Status:
    """A /proc/PID/status text. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    found: dict[str, str] = {}
    while lines.peek() is not None:
        line = lines.take("a line")
        name, tab, rest = line.partition(":\t")
        if not tab or not name:
            lines.fail(f"no 'name: value': {shortened(line)}")
        if name in found:
            lines.fail(f"{name} stands there twice")
        if name in SIZES:
            words = rest.split()
            kb = lines.unsigned(words[0], "size") if words else 0
            if rest != size_text(kb):
                lines.fail(f"no size: {shortened(line)}")
        found[name] = rest
    return Status(found)


def format_status(status: Status) -> str:
    """The text of the file."""
    return str(status)


def parse_statm(text: str | bytes) -> dict[str, int]:
    """A /proc/PID/statm text: pages by name."""
    lines = Lines("statm", text)
    words = lines.take("seven numbers").split(" ")
    if len(words) != len(STATM):
        lines.fail(f"{len(words)} numbers, not {len(STATM)}")
    return {name: lines.unsigned(word, "number") for name, word in zip(STATM, words, strict=True)}


def format_statm(pages: dict[str, int]) -> str:
    """The text of the file."""
    return " ".join(str(pages[name]) for name in STATM) + "\n"


def parse_stat(text: str | bytes) -> dict[str, str]:
    """A /proc/PID/stat text: words by name; `pid` and `comm` first."""
    lines = Lines("stat", text)
    line = lines.take("a process")
    while lines.peek() is not None and not line.rpartition(")")[2]:  # a name may hold a newline
        line += "\n" + lines.take("a process")
    head, _, rest = line.rpartition(") ")
    pid, _, comm = head.partition(" (")
    words = rest.split(" ")
    if len(words) != len(STAT):
        lines.fail(f"{len(words)} words behind the name, not {len(STAT)}")
    lines.unsigned(pid, "pid")
    return {"pid": pid, "comm": comm, **dict(zip(STAT, words, strict=True))}


def format_stat(words: dict[str, str]) -> str:
    """The text of the file."""
    return f"{words['pid']} ({words['comm']}) " + " ".join(words[name] for name in STAT) + "\n"


def counter(mm: Any, member: int) -> int:
    """Pages of a kind, as the kernel shows them."""
    return int(get_mm_counter(mm, member))


def text_and_lib(mm: Any, page_size: int) -> tuple[int, int]:
    """Bytes of the program's own code and of other executable areas (task_mem)."""
    exec_bytes = mm.exec_vm * page_size
    code = -(-mm.end_code // page_size) * page_size - mm.start_code // page_size * page_size
    code = min(code % (1 << 64), exec_bytes)
    return code, exec_bytes - code


def show_sizes(mm: Any) -> dict[str, int]:
    """The sizes in a process's status, in kB by name (task_mem). `mm`: its mm_struct."""
    page_size = profile_of(mm.machine).page_size
    anon, file, shmem, swap = (
        counter(mm, member)
        for member in (MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, MM_SWAPENTS)
    )
    rss = anon + file + shmem
    text, lib = text_and_lib(mm, page_size)
    pages = (
        max(mm.total_vm, mm.hiwater_vm), mm.total_vm, mm.locked_vm, mm.pinned_vm,
        max(rss, mm.hiwater_rss), rss, anon, file, shmem, mm.data_vm, mm.stack_vm,
    )  # fmt: skip
    sizes = [number * page_size for number in pages] + [text, lib, mm.pgtables_bytes]
    sizes += [swap * page_size, 0]
    return {name: size >> 10 for name, size in zip(SIZES, sizes, strict=True)}


def show(mm: Any) -> str:
    """The lines of status about memory, as the kernel prints them: VmPeak to HugetlbPages."""
    return "".join(f"{name}:\t{size_text(kb)}\n" for name, kb in show_sizes(mm).items())


def show_statm(mm: Any) -> dict[str, int]:
    """The numbers of statm of a process of the twin (task_statm)."""
    page_size = profile_of(mm.machine).page_size
    shared = counter(mm, MM_FILEPAGES) + counter(mm, MM_SHMEMPAGES)
    code = -(-mm.end_code // page_size) - mm.start_code // page_size
    numbers = (
        mm.total_vm, shared + counter(mm, MM_ANONPAGES), shared, code, 0,
        mm.data_vm + mm.stack_vm, 0,
    )  # fmt: skip
    return dict(zip(STATM, numbers, strict=True))

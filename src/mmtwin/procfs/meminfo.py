"""/proc/meminfo: totals of the machine (fs/proc/meminfo.c, meminfo_proc_show)."""

from dataclasses import dataclass

from mmtwin.procfs.text import Lines, shortened

FILE = "meminfo"
# These are printed with %5lu behind a name of 19 columns, all others with 8 digits behind 16
# (meminfo_proc_show, hugetlb_report_meminfo, memtest_report_meminfo).
NARROW = (
    "HardwareCorrupted", "EarlyMemtestBad",
    "HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "HugePages_Surp",
)  # fmt: skip


@dataclass(frozen=True)
class MemInfoLine:
    """A line: `value` in kB (1024 bytes) if `unit` is `"kB"`, a plain number if it is empty."""

    name: str
    value: int
    unit: str = "kB"

    def __str__(self) -> str:
        """The line as the kernel prints it, with its newline."""
        unit = f" {self.unit}" if self.unit else ""
        if self.name in NARROW:
            return f"{self.name + ':':<18} {self.value:>5}{unit}\n"
        return f"{self.name + ':':<16}{self.value:>8}{unit}\n"


def parse(text: str | bytes) -> dict[str, MemInfoLine]:
    """The lines by name, in the kernel's order. Raises ProcError with the line."""
    lines = Lines(FILE, text)
    found: dict[str, MemInfoLine] = {}
    while lines.peek() is not None:
        line = lines.take("a line")
        name, colon, rest = line.partition(":")
        words = rest.split()
        if not colon or not name or len(words) not in (1, 2):
            lines.fail(f"no 'name: value kB': {shortened(line)}")
        if name in found:
            lines.fail(f"{name} stands there twice")
        unit = words[1] if len(words) == 2 else ""
        if unit not in ("", "kB"):
            lines.fail(f"unknown unit {shortened(unit)}")
        found[name] = MemInfoLine(name, lines.unsigned(words[0], "value"), unit)
    return found


def format_meminfo(lines: dict[str, MemInfoLine]) -> str:
    """The text of the file."""
    return "".join(str(line) for line in lines.values())

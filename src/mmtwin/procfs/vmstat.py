"""/proc/vmstat: counters of the whole machine, `name value` a line (mm/vmstat.c, vmstat_show)."""

from mmtwin.procfs.text import Lines, shortened

FILE = "vmstat"


def parse(text: str | bytes) -> dict[str, int]:
    """The counters by name, in the kernel's order. Raises ProcError with the line.

    The `nr_` counters are pages unless the kernel says otherwise (`nr_kernel_stack`: KiB), the
    others events since boot. Values are unsigned 64 bit.
    """
    lines = Lines(FILE, text)
    counters: dict[str, int] = {}
    while lines.peek() is not None:
        line = lines.take("a counter")
        words = line.split(" ")
        if len(words) != 2 or not words[0]:
            lines.fail(f"no 'name value': {shortened(line)}")
        if words[0] in counters:
            lines.fail(f"{words[0]} stands there twice")
        counters[words[0]] = lines.unsigned(words[1], "counter")
    return counters


def format_vmstat(counters: dict[str, int]) -> str:
    """The text of the file."""
    return "".join(f"{name} {value}\n" for name, value in counters.items())

"""/proc/vmstat: counters of the whole machine, `name value` a line (mm/vmstat.c, vmstat_show)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mmtwin.kernel.constants import VM_ALLOCSTALL, VM_PGALLOC, VM_PGFREE
from mmtwin.procfs.counters import node_stats, numa_counters, with_base, zone_counters
from mmtwin.procfs.state import mm_of, populated, profile_of
from mmtwin.procfs.text import Lines, shortened
from mmtwin.versions.proc_items import vmstat_names

if TYPE_CHECKING:
    from mmtwin.kernel.mm import MM

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


def show(machine: Any, base: dict[str, int] | None = None) -> dict[str, int]:
    """The twin's counters: a `Machine` or its MM.

    `base`: the kernel's own counters at the moment where the twin began. What the twin does not
    hold is printed as it was there (0 without), and what it counts since is added to events.
    """
    mm = mm_of(machine)
    known: Counter[str] = Counter()
    counted = Counter(event_counters(mm))
    for place in populated(mm):
        known.update(zone_counters(mm, place.number))
        counted.update(numa_counters(mm, place.number))
    for node in range(mm.nr_nodes):
        known.update(node_stats(mm, node, base))
    return with_base(base or vmstat_names(profile_of(mm)), known, counted, base)


def event_counters(mm: MM) -> dict[str, int]:
    """The events of /proc/vmstat that the twin counts, since it began."""
    events = mm.view("vm_event")
    counted = {"pgfree": int(events[VM_PGFREE])}
    for name, number in profile_of(mm).zones:
        counted[f"pgalloc_{name.lower()}"] = int(events[VM_PGALLOC + number])
        counted[f"allocstall_{name.lower()}"] = int(events[VM_ALLOCSTALL + number])
    return counted

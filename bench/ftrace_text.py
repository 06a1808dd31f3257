"""Writes a recording's events as the kernel's `trace` file prints them, to time its reader."""

from pathlib import Path
from typing import Any

from mmtwin.recordings.event import CONSTANTS
from mmtwin.recordings.recording import Recording

HEADER = """\
# tracer: nop
#
# entries-in-buffer/entries-written: {count}/{count}   #P:{cpus}
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
"""
ALLOC = (
    "call_site={site} ptr={address:016x} bytes_req={req} bytes_alloc={given} "
    "gfp_flags=GFP_KERNEL node=-1 accounted=false"
)
PAGE = "page={page:016x} pfn={address:#x} order={order}"
# kind: (event, what stands behind it)
LINES = {
    "KIND_KMALLOC": ("kmalloc", ALLOC),
    "KIND_KMEM_CACHE_ALLOC": ("kmem_cache_alloc", ALLOC),
    "KIND_KFREE": ("kfree", "call_site={site} ptr={address:016x}"),
    "KIND_KMEM_CACHE_FREE": ("kmem_cache_free", "call_site={site} ptr={address:016x} name={name}"),
    "KIND_MM_PAGE_ALLOC": (
        "mm_page_alloc",
        PAGE + " migratetype={migratetype} gfp_flags=GFP_KERNEL",
    ),
    "KIND_MM_PAGE_FREE": ("mm_page_free", PAGE),
    "KIND_MM_PAGE_FREE_BATCHED": ("mm_page_free_batched", PAGE),
    "KIND_MM_PAGE_ALLOC_ZONE_LOCKED": (
        "mm_page_alloc_zone_locked",
        PAGE + " migratetype={migratetype} percpu_refill={extra}",
    ),
    "KIND_MM_PAGE_PCPU_DRAIN": ("mm_page_pcpu_drain", PAGE + " migratetype={migratetype}"),
}
BY_KIND = {CONSTANTS[kind]: line for kind, line in LINES.items()}


def write_ftrace(path: Path, recording: Recording) -> int:
    """Writes a trace file of the events it knows; how many lines that is."""
    count = 0
    with path.open("w", encoding="ascii", errors="replace") as file:
        file.write(HEADER.format(count=recording.nr_events, cpus=recording.machine.cpus))
        for events in recording.chunks():
            for event in events:
                line = BY_KIND.get(int(event["kind"]))
                if line is not None:
                    file.write(format_line(recording, event, *line))
                    count += 1
    return count


def format_line(recording: Recording, event: Any, name: str, rest: str) -> str:
    """One line of a trace file."""
    time, address, cache = int(event["time"]), int(event["address"]), int(event["cache"])
    fields = rest.format(
        site=recording.symbols.name(int(event["call_site"])),
        address=address,
        page=0xFFFFEA0000000000 + 64 * address if address < 1 << 40 else 0,
        req=event["bytes_req"],
        given=event["bytes_alloc"],
        order=event["order"],
        migratetype=event["migratetype"],
        extra=event["extra"],
        name=recording.names[cache] if cache >= 0 else "unknown",
    )
    seconds, micros = divmod(time // 1000, 10**6)
    task = f"task-{event['pid']}"
    return (
        f"{task:>16}{'':<7}[{event['cpu']:03}] ...1. {seconds:>5}.{micros:06}: {name}: {fields}\n"
    )

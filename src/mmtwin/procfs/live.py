"""The memory of a process of this machine, read from its /proc: nothing is written there.

`read_live(PID)` gives the texts of /proc/PID/{maps,smaps,status,statm}, taken one after another:
a process that runs may change between them.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from mmtwin.procfs import maps, smaps
from mmtwin.procfs.errors import ProcError
from mmtwin.procfs.maps import MapsArea
from mmtwin.procfs.text import decode

PROC = Path("/proc")
FILES = ("maps", "smaps", "status", "statm")


@dataclass(frozen=True)
class LiveProcess:
    """`comm`: its name; `texts`: file of /proc/PID -> content, None if it cannot be read."""

    pid: int
    comm: str
    texts: dict[str, str | None]

    @property
    def areas(self) -> list[MapsArea]:
        """Its areas. Raises ProcError for a text that is not as Linux prints it."""
        return maps.parse(self.texts["maps"] or "")

    @property
    def resident_kb(self) -> dict[int, int]:
        """By an area's first address: its resident kB; empty where smaps cannot be read."""
        try:
            areas = smaps.parse(self.texts["smaps"] or "")
        except ProcError:  # a field that no known release prints
            return {}
        return {area.area.start: area.sizes.get("Rss", 0) for area in areas}


def _read(pid: int, file: str) -> str:
    name = f"/proc/{pid}/{file}"
    try:
        return decode((PROC / str(pid) / file).read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        raise ProcError(name, 0, f"no process {pid} (any more)") from None
    except PermissionError:
        message = "no permission to read it: its owner and root may"
        raise ProcError(name, 0, message) from None
    except OSError as error:
        raise ProcError(name, 0, f"cannot be read: {os.strerror(error.errno or 0)}") from None


def read_live(pid: int) -> LiveProcess:
    """Reads a process of this machine. Raises ProcError, which names the file: a process that is
    gone, that may not be read, or that has no memory of its own (a kernel thread, a zombie).
    """
    comm = _read(pid, "comm").rstrip("\n")
    texts: dict[str, str | None] = {"maps": _read(pid, "maps")}
    if not texts["maps"]:
        message = f"{comm} has no memory of its own: a kernel thread, or a process that has ended"
        raise ProcError(f"/proc/{pid}/maps", 0, message)
    for file in FILES[1:]:
        try:
            texts[file] = _read(pid, file)
        except ProcError:
            texts[file] = None
    return LiveProcess(pid, comm, texts)

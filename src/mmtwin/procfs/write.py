"""Lays the twin's /proc out as files, for tools that read the kernel's."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtwin.procfs import (
    buddyinfo,
    kpagecount,
    kpageflags,
    meminfo,
    pagetypeinfo,
    slab_show,
    slabinfo,
    sys_kernel_slab,
    vmallocinfo,
    vmstat,
    zoneinfo,
)
from mmtwin.procfs.state import mm_of
from mmtwin.procfs.text import encode

SLAB_FOLDER = "sys_kernel_slab"


@dataclass(frozen=True)
class Base:
    """The kernel's own texts at the moment where the twin began, parsed.

    They give what the twin does not hold: page cache, stacks, counters of other subsystems.
    """

    zoneinfo: list[zoneinfo.ZoneInfo] | None = None
    meminfo: dict[str, meminfo.MemInfoLine] | None = None
    vmstat: dict[str, int] | None = None
    slab: list[sys_kernel_slab.Entry] | None = None
    # not of the beginning: the areas of a recording at the moment itself
    vmallocinfo: list[vmallocinfo.VmallocArea] | None = None

    @classmethod
    def parse(cls, texts: dict[str, bytes]) -> Base:
        """From texts by file name; those that are missing are left out. Raises ProcError."""
        parsers = {
            "zoneinfo": zoneinfo.parse,
            "meminfo": meminfo.parse,
            "vmstat": vmstat.parse,
            "sys_kernel_slab": sys_kernel_slab.parse,
        }
        found: dict[str, Any] = {
            name: parse(texts[name]) for name, parse in parsers.items() if name in texts
        }
        return cls(
            found.get("zoneinfo"),
            found.get("meminfo"),
            found.get("vmstat"),
            found.get("sys_kernel_slab"),
        )


FILES = (
    "slabinfo", "buddyinfo", "pagetypeinfo", "zoneinfo", "meminfo", "vmstat", "kpageflags",
    "kpagecount", "sys_kernel_slab", "vmallocinfo",
)  # fmt: skip


def proc_file(machine: Any, name: str, base: Base | None = None) -> bytes:
    """One file of the twin's, as the kernel prints it: a `Machine` or its MM.

    `name`: one of FILES; `sys_kernel_slab` is the text form of the folder. Raises KeyError for
    another name.
    """
    mm, base = mm_of(machine), base or Base()
    if name == "kpageflags":
        return kpageflags.format_kpageflags(kpageflags.show(mm))
    if name == "kpagecount":
        return kpagecount.format_kpagecount(kpagecount.show(mm))
    writers = {
        "slabinfo": lambda: slabinfo.format_slabinfo(slabinfo.show(mm)),
        "buddyinfo": lambda: buddyinfo.format_buddyinfo(buddyinfo.show(mm)),
        "pagetypeinfo": lambda: pagetypeinfo.format_pagetypeinfo(pagetypeinfo.show(mm)),
        "zoneinfo": lambda: zoneinfo.format_zoneinfo(zoneinfo.show(mm, base.zoneinfo)),
        "meminfo": lambda: meminfo.format_meminfo(meminfo.show(mm, base.meminfo)),
        "vmstat": lambda: vmstat.format_vmstat(vmstat.show(mm, base.vmstat)),
        "vmallocinfo": lambda: vmallocinfo.format_vmallocinfo(
            vmallocinfo.show(mm, base.vmallocinfo or ())
        ),
        "sys_kernel_slab": lambda: sys_kernel_slab.format_sys_kernel_slab(
            slab_show.show(mm, base.slab)
        ),
    }
    return encode(writers[name]())


def write_proc(
    machine: Any, folder: str | Path, base: Base | None = None, names: Iterable[str] = FILES
) -> list[Path]:
    """Writes every file of `names` and the folder of slab caches; their paths.

    A `Machine` or its MM. Each file is written beside its place and then renamed, so that a reader
    never sees half of one. `folder` is made if it is missing; `psutil.PROCFS_PATH` may name it.
    Raises OSError as the system says.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in names:
        if name == SLAB_FOLDER:
            continue
        paths.append(root / name)
        replace_file(paths[-1], proc_file(machine, name, base))
    slab = root / "sys" / "kernel" / "slab"
    replace_folder(slab, slab_show.show(machine, base.slab if base else None))
    return [*paths, slab]


def replace_folder(path: Path, entries: list[sys_kernel_slab.Entry]) -> None:
    """Lays the slab caches out beside their place, then puts them there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as beside:
        fresh = Path(beside) / "new"
        sys_kernel_slab.write_folder(entries, fresh)
        if path.exists():
            os.replace(path, Path(beside) / "old")
        os.replace(fresh, path)


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file so that it is either the old one or the new one."""
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise

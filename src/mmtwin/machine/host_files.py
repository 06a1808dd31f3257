"""The machine that the twin runs on: its files as the twin's processes map them, its kernel."""

import gzip
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmtwin.kernel.mm_types import GET_AREA_THP, File
from mmtwin.machine.texts import parse_config
from mmtwin.versions.profiles import Profile, profile
from mmtwin.versions.releases import nearest_release, numbers

MOUNTS = "/proc/self/mountinfo"
# File systems whose files are placed for huge pages: .get_unmapped_area is thp_get_unmapped_area.
THP_FILE_SYSTEMS = ("ext4", "xfs", "btrfs", "ext2", "fuse", "bcachefs", "erofs")


def file_system(device: int) -> str:
    """The type of the file system on a device (`st_dev`), "" if nothing says."""
    try:
        mounts = Path(MOUNTS).read_text()
    except OSError:
        return ""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split()[2:3] == [number]:
            return kind.split()[0] if kind else ""
    return ""


def place_as(file: Any, kind: str) -> None:
    """Addresses of a File's areas are chosen as its file system does; `kind`: "ext4" ..."""
    if kind in THP_FILE_SYSTEMS:
        file.get_area = GET_AREA_THP


def host_profile() -> Profile:
    """The kernel of this machine, by uname and its configuration (/proc/config.gz, or
    /boot/config-RELEASE; without either, Debian's of that release). Raises ValueError where the
    twin knows no such kernel.
    """
    about = os.uname()
    arch = {"x86_64": "x86_64", "aarch64": "arm64"}.get(about.machine, about.machine)
    page_size = os.sysconf("SC_PAGESIZE")
    pages = "" if page_size == 4096 else f"-{page_size >> 10}k"
    found = profile(f"{arch}{pages}-{nearest_release(about.release)}")
    found = replace(found, version=".".join(str(part) for part in numbers(about.release)))
    for path in (Path("/proc/config.gz"), Path(f"/boot/config-{about.release}")):
        try:
            data = path.read_bytes()
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
        except (OSError, EOFError, ValueError):
            continue
        return replace(found, config=parse_config(text))
    return found


def open_file(path: str, executable: bool = False) -> Any:
    """A File with the bytes of a path, or -ERRNO; `executable`: as execve() opens it."""
    real = os.path.realpath(path)
    try:
        found = os.stat(real)
        if not os.path.isfile(real) or (executable and not found.st_mode & 0o111):
            return -13  # EACCES
        data = Path(real).read_bytes()
    except OSError as error:
        return -(error.errno or 5)
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
    file = File(real, device, found.st_ino, data=data)
    place_as(file, file_system(found.st_dev))
    return file


def open_exec(path: str) -> Any:
    """The File of a program, or -ERRNO: see `ExecContext`."""
    return open_file(path, True)

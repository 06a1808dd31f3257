"""Files of the machine that the twin runs on, as the twin's processes map them."""

import os
from pathlib import Path
from typing import Any

from mmtwin.kernel.mm_types import GET_AREA_THP, File

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
    if file_system(found.st_dev) in THP_FILE_SYSTEMS:
        file.get_area = GET_AREA_THP
    return file


def open_exec(path: str) -> Any:
    """The File of a program, or -ERRNO: see `ExecContext`."""
    return open_file(path, True)

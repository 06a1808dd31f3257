"""The files of processes: heads from files.json and folders, links by what events tell."""

import base64
import struct

import pytest

from mmtwin.procfs.maps import MapsArea
from mmtwin.recordings.errors import RecordingError
from mmtwin.replay.process_files import ElfHead, FileTable, UnknownFile


def elf(entry, *segments, kind=2):
    """The head of an ELF file with PT_LOAD segments (address, bytes in memory)."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, entry, 64, 0, 0, 64, 56, len(segments), 0,
                        0, 0)  # fmt: skip
    for address, size in segments:
        head += struct.pack("<IIQQQQQQ", 1, 5, 0, address, address, size, size, 4096)
    return head


STATIC = elf(0x4018A0, (0x400000, 0x548), (0x4C8000, 0x2F00))
LIBRARY = elf(0x1000, (0, 0x26000), (0x1D0000, 0x5500), kind=3)


def table(**heads):
    files = FileTable()
    files.add_json(
        {
            f"/{name}": {
                "dev": "00:02", "inode": 7, "size": 10_000,
                "elf_head_base64": base64.b64encode(head).decode(),
            }
            for name, head in heads.items()
        },
        "files.json",
    )  # fmt: skip
    return files


def test_elf_head():
    head = ElfHead.parse(STATIC)
    assert (head.entry, head.first, head.length) == (0x4018A0, 0x400000, 0xCAF00)
    assert not head.relocatable and ElfHead.parse(LIBRARY).relocatable
    assert ElfHead.parse(b"\x7fELF") is None
    assert ElfHead.parse(b"#!/bin/sh\n" + bytes(100)) is None
    assert ElfHead.parse(STATIC[:80]) is None  # the segments are cut off


def test_files_json():
    files = table(init=STATIC)
    file = files.find("/init")
    assert (file.path, file.dev, file.ino, file.size) == ("/init", "00:02", 7, 10_000)
    assert file.shmem and not files.named("/dev/mem").shmem
    assert files.find("/other") is None


@pytest.mark.parametrize(
    "value",
    [[], {"/a": 1}, {"/a": {"inode": "x"}}, {"/a": {"elf_head_base64": "\u00e9"}}, None],
)
def test_files_json_of_another_form(value):
    with pytest.raises(RecordingError, match="here"):
        FileTable().add_json(value, "here")


def test_folder(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_bytes(STATIC)
    (tmp_path / "bin/sh").symlink_to("busybox")
    (tmp_path / "bin/out").symlink_to("/bin/busybox")
    (tmp_path / "bin/up").symlink_to("../../../etc/passwd")
    files = FileTable()
    files.add_root(tmp_path)
    assert files.find("/bin/sh").path == files.find("/bin/out").path == "/bin/busybox"
    assert files.find("/bin/busybox").head == STATIC
    assert files.find("/bin/up") is None and files.find("/bin") is None
    with pytest.raises(RecordingError, match="no folder"):
        files.add_root(tmp_path / "none")


def test_links_by_what_events_tell():
    files = table(busybox=STATIC, libc=LIBRARY)
    with pytest.raises(UnknownFile, match="--root DIR"):
        files.executable("/bin/true")
    assert files.executable("/bin/true", 0x4018A0).path == "/busybox"
    assert files.find("/bin/true").path == "/busybox"
    assert table(busybox=STATIC).executable("/bin/sh", None, 0x4CB000).path == "/busybox"
    assert files.by_length(0x1D6000) == "/libc"
    assert files.by_length(0x1D8000) is None


def test_snapshots_tell_inodes():
    files = FileTable()
    files.add_maps([MapsArea(0x1000, 0x2000, "r--p", 0, "08:01", 55, "/bin/cat (deleted)")])
    assert (files.named("/bin/cat").dev, files.named("/bin/cat").ino) == ("08:01", 55)


def test_unlink():
    files = table(init=STATIC)
    file = files.find("/init")
    files.unlink("/init")
    assert file.path == "/init (deleted)" and files.find("/init") is None
    files.unlink("/init")

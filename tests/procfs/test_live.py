"""Processes of this machine: read as they are, refused in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmtwin.procfs import live
from mmtwin.procfs.errors import ProcError
from mmtwin.procfs.live import read_live

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_process_of_this_machine() -> None:
    sleeper = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert sleeper.stdin is not None and sleeper.stdout is not None
        sleeper.stdin.write(b"there\n")
        sleeper.stdin.flush()
        sleeper.stdout.readline()  # it is loaded, and waits for more
        process = read_live(sleeper.pid)
        assert process.comm == "cat"
        names = [area.name for area in process.areas]
        assert "[stack]" in names
        assert process.texts["maps"] == Path(f"/proc/{sleeper.pid}/maps").read_text()
        resident = process.resident_kb
        assert not resident or sum(resident.values()) > 0
    finally:
        sleeper.kill()
        sleeper.communicate()
    with pytest.raises(ProcError, match=rf"/proc/{sleeper.pid}/comm: no process"):
        read_live(sleeper.pid)


def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PROC", tmp_path)
    place = tmp_path / "7"
    place.mkdir()
    (place / "comm").write_text("kthreadd\n")
    (place / "maps").write_text("")
    with pytest.raises(ProcError, match="kthreadd has no memory of its own"):
        read_live(7)
    (place / "maps").write_text("not a map\n")
    with pytest.raises(ProcError, match="maps, line 1"):
        _ = read_live(7).areas
    (place / "maps").unlink()
    (place / "maps").mkdir()
    with pytest.raises(ProcError, match="cannot be read: Is a directory"):
        read_live(7)

    def forbidden(_path: Path) -> bytes:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(ProcError, match="no permission"):
        read_live(os.getpid())

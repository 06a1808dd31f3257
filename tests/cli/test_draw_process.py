"""mmtwin draw process: pictures of processes of this machine and of saved texts."""

import os
from pathlib import Path

import pytest

from mmtwin.cli.main import main

MAPS = """\
555555554000-555555555000 r-xp 00000000 00:02 11                         /bin/cat
7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]
"""


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["draw", "process", *argv]) == 2
    return capsys.readouterr().err


def test_this_process(tmp_path: Path) -> None:
    path = tmp_path / "map.svg"
    assert main(["draw", "process", "--pid", str(os.getpid()), "-o", str(path)]) == 0
    assert "[stack]" in path.read_text()


def test_a_saved_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "maps"
    path.write_text(MAPS)
    assert main(["draw", "process", str(path), "--scale"]) == 0
    assert "[stack]" in capsys.readouterr().out
    path.write_text("nothing\n")
    assert "maps, line 1" in refused(capsys, str(path))


def test_a_process_of_a_recording(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[1] / "replay/processes/arm64-6.1"
    assert main(["draw", "process", str(folder), "1", "--at", "SNAP end"]) == 0
    picture = capsys.readouterr().out
    assert picture.startswith("<svg") and "[stack]" in picture and "init (1)" in picture
    assert "no process 99999 then" in refused(capsys, str(folder), "99999")


def test_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "give INPUT, --pid PID, --exec PROGRAM or" in refused(capsys)
    assert "'x' is no PID" in refused(capsys, "--pid", "x")
    assert "/proc/999999999/comm: no process" in refused(capsys, "--pid", "999999999")
    assert "does not exist" in refused(capsys, "/nonexistent/maps", "1")

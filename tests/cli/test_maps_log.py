"""mmtwin maps of an strace log and of a process of this machine, and pictures of both."""

import json
import lzma
import os
from pathlib import Path

import pytest

from mmtwin.cli.main import main

DATA = Path(__file__).parents[1] / "programs" / "data" / "x86_64-6.1.json.xz"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """(a log with its files.json beside it, a process of it, that one's maps)."""
    data = json.loads(lzma.decompress(DATA.read_bytes()))
    program = next(each for each in data["programs"] if each["name"] == "dash")
    path = tmp_path_factory.mktemp("log") / "dash.log"
    path.write_text(program["log"])
    path.with_name("dash.log.files.json").write_text(json.dumps(data["files"]))
    pid = max(program["maps"], key=int)
    return str(path), pid, program["maps"][pid]


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_maps_of_a_log(log: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, pid, text = log
    assert main(["maps", path, pid]) == 0
    assert capsys.readouterr().out == text
    assert main(["maps", path]) == 0
    assert "/usr/bin/dash" in capsys.readouterr().out
    assert main(["maps", path, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["processes"]
    assert int(pid) in [row["pid"] for row in rows]
    assert main(["maps", path, "--check"]) == 0
    assert "addresses" in capsys.readouterr().out
    assert main(["maps", path, "--check", "--json", "--profile", "x86_64-6.18"]) == 1
    assert json.loads(capsys.readouterr().out)["missed"]


def test_a_log_at_a_line(log: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, _, _ = log
    first = Path(path).read_text().split(maxsplit=1)[0]
    assert main(["maps", path, first, "--at", "#3", "--status"]) == 0
    assert "VmSize" in capsys.readouterr().out
    assert "no line of the log" in refused(capsys, "maps", path, first, "--at", "soon")
    assert "no process 1 then" in refused(capsys, "maps", path, "1")
    assert "was dead then" in refused(capsys, "maps", path, first, "--at", "#99999999")


def test_what_a_log_cannot_tell(
    log: tuple[str, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = tmp_path / "alone.log"
    alone.write_text('7 execve("/no/such/program", ["x"], 0x7ffc /* 3 vars */) = 0\n')
    assert "/no/such/program is executed" in refused(capsys, "maps", str(alone), "7")
    alone.write_text("7 brk(NULL) = 0x1000\n7 brk(here) = 0x1000\n")
    assert "line 2: 'here' is no number" in refused(capsys, "maps", str(alone), "7")


def test_a_process_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    pid = str(os.getpid())
    assert main(["maps", "--pid", pid]) == 0
    assert "[stack]" in capsys.readouterr().out
    assert main(["maps", "--pid", pid, "--status", "--json"]) == 0
    assert "VmSize" in json.loads(capsys.readouterr().out)["status"]
    assert "no tables" in refused(capsys, "maps", "--pid", pid, "--tables")
    assert "no process" in refused(capsys, "maps", "--pid", "999999999")
    assert "either INPUT or --pid" in refused(capsys, "maps")


def test_pictures(log: tuple[str, str, str], capsys: pytest.CaptureFixture[str]) -> None:
    path, pid, _ = log
    assert main(["draw", "process", path, pid]) == 0
    out = capsys.readouterr().out
    assert "libc.so.6" in out
    assert "resident" not in out
    err = refused(capsys, "draw", "process", "--exec", "/no/such/program")
    assert "no program /no/such/program" in err


def test_a_program_right_after_exec(capsys: pytest.CaptureFixture[str]) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("executes a program of this machine")
    assert main(["draw", "process", "--exec", "/bin/cat", "--profile", "x86_64-6.12"]) == 0
    out = capsys.readouterr().out
    assert "[vdso]" in out
    assert "kB resident" in out
    assert "errno 8" in refused(
        capsys, "draw", "process", "--exec", "/bin/cat", "--profile", "arm64-6.12"
    )

"""The command line's frame: help, errors, exit status, and what it must not import."""

import subprocess
import sys

import pytest

from mmtwin.cli.main import COMMANDS, main

HEAVY = {"numpy", "polars", "rich", "elftools", "cython", "mmtwin.kernel", "mmtwin.recordings"}


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    text = capsys.readouterr().out
    for command, (_, summary) in COMMANDS.items():
        assert command in text
        assert summary[:30] in text


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from mmtwin.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not HEAVY & set(done.stderr.split())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nonsense"], "mmtwin: error: no command 'nonsense'"),
        (["--nonsense"], "mmtwin: error: unrecognized arguments: --nonsense"),
    ],
)
def test_bad_command_line_is_one_clear_error(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert len(err.splitlines()) <= 2


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m mmtwin --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("mmtwin 0.")

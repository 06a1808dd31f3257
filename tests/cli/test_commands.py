"""The commands on small inputs: what they print, their JSON, their errors."""

import json
from pathlib import Path

import pytest

from mmtwin.cli.main import COMMANDS, main

TRACE = """\
# tracer: nop
#
# entries-in-buffer/entries-written: 4/4   #P:1
#
            init-1       [000] d..1.     0.596841: kmalloc: call_site=one+0xf7/0x3f0 \
ptr=ffff8880069f8c00 bytes_req=60 bytes_alloc=64 gfp_flags=GFP_KERNEL node=-1 accounted=false
            init-1       [000] ...1.     0.597000: kfree: call_site=two+0xd0/0x150 \
ptr=ffff8880069f8c00
            init-1       [000] d..1.     0.598000: mm_page_alloc: page=ffffea00001a9480 \
pfn=0x6a52 order=0 migratetype=0 gfp_flags=GFP_KERNEL
            init-1       [000] ...1.     0.599000: mm_page_free: page=ffffea00001a9480 \
pfn=0x6a52 order=0
"""


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace"
    path.write_text(TRACE)
    return str(path)


def output(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 0
    return capsys.readouterr().out


def error(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 2
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "running uncompiled" not in line]
    assert out == ""
    assert lines[0].startswith("mmtwin: error: ")
    assert len(lines) <= 2
    return err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert f"mmtwin {command}" in out
    assert max(len(line) for line in out.splitlines()) <= 100


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    # `import` and `at` miss their arguments first: any of it is one clear error
    assert "--help" in error(capsys, command, "--no-such-option")


def test_info(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    figures = json.loads(output(capsys, "info", trace, "--json"))
    assert figures["schema"] == 1
    assert figures["recording"]["events"] == 4
    assert figures["recording"]["lost"] == 0
    assert figures["events"] == {"kmalloc": 1, "kfree": 1, "mm_page_alloc": 1, "mm_page_free": 1}
    text = output(capsys, "info", trace)
    assert "4 events, 0 lost" in text
    assert "kmalloc" in text


@pytest.mark.parametrize("command", ["info", "replay"])
def test_no_recording(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in error(capsys, command, str(tmp_path / "nothing"))
    (tmp_path / "words").write_text("some words\n")
    assert "words" in error(capsys, command, str(tmp_path / "words"))
    (tmp_path / "folder").mkdir()
    assert "folder" in error(capsys, command, str(tmp_path / "folder"))


def test_replay_expectations_are_checked_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert "WHAT=PERCENT" in error(capsys, "replay", "--expect", "zone")
    assert "WHAT=PERCENT" in error(capsys, "replay", "--expect", "zone=101")
    assert "WHAT=PERCENT" in error(capsys, "replay", "--expect", "moon=1")
    picture = error(capsys, "replay", "--picture", "x.svg", "--no-statistics")
    assert "statistics" in picture


@pytest.mark.parametrize(
    "option", [["--mode", "follow"], ["--from", "truth"], ["--no-statistics"], ["--free-running"]]
)
def test_a_what_if_takes_no_option_of_replays(
    option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replay", "--profile", "x86_64-6.12", *option]
    assert "make a what-if" in error(capsys, *words)


def test_boot_options_with_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    said = output(capsys, "boot", "x86_64-6.1", "--append", "slub-min-order=2", "-c",
                  "print(k.cache('kmalloc-64'))")
    assert "order 2" in said


def test_at_unknown_file(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "slabinfo" in error(capsys, "at", trace, "1", "slabinfos")


def test_boot_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "x86_64-6.1" in output(capsys, "boot", "--list").split()
    assert "x86_64-6.1" in error(capsys, "boot", "x86-6.1")
    assert "much" in error(capsys, "boot", "x86_64-6.1", "--memory", "much")
    assert "SWITCH=VALUE" in error(capsys, "boot", "x86_64-6.1", "--set", "NUMA")
    code = "print(k.cache('dentry').red_left_pad)"
    options = "slub_debug=Z,dentry quiet"
    assert output(capsys, "boot", "x86_64-6.1", "--append", options, "-c", code) == "8\n"
    assert "nothing.py" in error(capsys, "boot", "x86_64-6.1", str(tmp_path / "nothing.py"))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("p = k.kmalloc(9); k.kfree(p); k.kfree(p)", "double free"),
        ("k.kmemleak.scan()", "DEBUG_KMEMLEAK"),
        ("print(", "SyntaxError"),
    ],
)
def test_an_error_of_the_users_code_shows_none_of_mmtwins(
    code: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["boot", "x86_64-6.1", "--memory", "64M", "-c", code]) == 1
    err = capsys.readouterr().err
    assert said in err.splitlines()[-1]
    assert "mmtwin/" not in err

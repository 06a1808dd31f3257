"""docs/deck.md keeps its word: a row for every slide, commands that run, tests that exist."""

import re
import shlex
from pathlib import Path

import pytest

from mmtwin.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
SLIDES = 49
ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.*?) ?\| (.*?) ?\|$")


def rows() -> list[tuple[int, str, str, str, str]]:
    text = (ROOT / "docs" / "deck.md").read_text()
    found = []
    for line in text.splitlines():
        match = ROW.match(line.replace(r"\|", "\0"))
        if match:
            number, *cells = (cell.replace("\0", "|") for cell in match.groups())
            found.append((int(number), *cells))
    return found  # type: ignore[return-value]


def commands() -> list[str]:
    found = [command for row in rows() for command in re.findall(r"`(mmtwin .*?)`$", row[3])]
    return list(dict.fromkeys(found))


def test_every_slide_has_a_row() -> None:
    assert [row[0] for row in rows()] == list(range(1, SLIDES + 1))


def test_what_works_is_shown_and_held() -> None:
    for number, slide, today, command, test in rows():
        if command:
            assert commands(), f"{number} {slide}"
            assert test, f"{number} {slide}: nothing holds it"
            assert not today.startswith("not yet: no "), f"{number} {slide}"


def test_tests_exist() -> None:
    for number, slide, *_, test in rows():
        for path in re.findall(r"`(tests/\S+)`", test):
            assert (ROOT / path).exists(), f"{number} {slide}: {path}"


@pytest.mark.parametrize("command", commands())
def test_command_runs(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(command)[1:]) == 0
    out, err = capsys.readouterr()
    assert out.strip() or "kfree" in command
    assert "error" not in err
    shown = (ROOT / "docs" / "slides.md").read_text(encoding="utf-8")
    if out.startswith("<svg"):
        picture = re.search(rf"    \$ {re.escape(command)} -o (slides/\d+\.svg)", shown)
        assert picture is not None
        assert (ROOT / "docs" / picture[1]).read_text(encoding="utf-8") == out
    else:
        lines = [f"    {line}".rstrip() for line in out.rstrip().splitlines()[:20]]
        assert "\n".join([f"    $ {command}", *lines]) in shown, "`make docs` writes it anew"

"""Makes the parts of the documentation that the program itself writes: `make docs`.

The deck's slides with the twin's output under each (slides.md), from the table of deck.md.
The report, its beginning in README.md and the picture docs/replay.svg, from a replay of the
recording that comes with mmtwin, and what README.md's COMMANDS print: a part stands between
`<!-- NAME -->` and `<!-- /NAME -->`. And what the sessions of
SESSIONS print below their `>>>` lines.
"""

import doctest
import io
import os
import re
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console

from mmtwin.cli.main import run
from mmtwin.draw.replay_picture import replay_svg
from mmtwin.replay import replay
from mmtwin.report.replay_report import print_replay

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 100
DECK_ROW = re.compile(r"^\| (\d+) \| (.+?) \| (.+?) \| (.*?) ?\| (.*?) ?\|$")
TOOK = re.compile(r", all in [\d.]+ m?s \([^)]*\)")
LONGEST = 70  # lines of an output that are shown
SLIDES = """\
# The deck, with the twin's output
Under each slide of "Memory management in Linux" what mmtwin says to it: the command, and what it
printed. `make docs` writes this page out of the table of [deck.md](deck.md), which says for each
slide what works, where the slide is imprecise or has been overtaken, and which test holds it.

"""
ROWS = 8
FIRST_PARTS = 3  # of the report, in README.md
COMMANDS = {
    "walk": ("mmtwin explain kmalloc 100 --state warm --profile x86_64-6.1",),
    "words": (
        "mmtwin explain gfp 0x484020 --kernel 4.19.60",
        "mmtwin explain page-flags 0x17ffffc0010200 --kernel 5.13",
    ),
    "at": ("mmtwin at x86_64-6.1 'phase pipes' buddyinfo",),
}
SESSIONS = (
    "kmalloc-100.md", "kasan.md", "kmemleak.md", "slub-debug.md", "kernel-stacks.md",
    "gfp-and-page-flags.md",
)


def put(path: Path, name: str, text: str) -> None:
    """Replaces one part of a page."""
    page = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
    if not pattern.search(page):
        sys.exit(f"{path.name} has no part {name}")
    path.write_text(pattern.sub(lambda match: match[1] + text + match[2], page), encoding="utf-8")


def run_session(path: Path) -> None:
    """Carries out the `>>>` lines of a page and puts below each what it prints."""
    parts = doctest.DocTestParser().parse(path.read_text(encoding="utf-8"), path.name)
    names: dict[str, object] = {}
    page = ""
    for part in parts:
        if isinstance(part, str):
            page += part
            continue
        screen = io.StringIO()
        with redirect_stdout(screen):
            exec(compile(part.source, path.name, "single"), names)
        first, *rest = part.source.splitlines()
        lines = [f">>> {first}", *(f"... {line}".rstrip() for line in rest)]
        page += "\n".join(lines) + "\n" + screen.getvalue()
    path.write_text(page, encoding="utf-8")


def deck_rows() -> list[tuple[str, ...]]:
    """The cells of deck.md's table: number, slide, what works, command, tests."""
    text = (ROOT / "docs" / "deck.md").read_text(encoding="utf-8")
    found = []
    for line in text.splitlines():
        match = DECK_ROW.match(line.replace(r"\|", "\0"))
        if match:
            found.append(tuple(cell.replace("\0", "|") for cell in match.groups()))
    return found


def output_of(command: str) -> str:
    """What a command of the deck's table prints."""
    screen = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with redirect_stdout(screen):
        run(shlex.split(command)[1:])
    return screen.buffer.getvalue().decode()  # type: ignore[attr-defined]


def slide(number: str, title: str, today: str, command: str) -> str:
    """A slide's section: what works, the command, what it prints or draws."""
    section = f"## {number}. {title}\n{today[:1].upper()}{today[1:]}.\n\n"
    words = command.strip("`")
    if not words:
        return section
    printed = output_of(words)
    if printed.startswith("<svg"):
        (ROOT / "docs" / "slides").mkdir(exist_ok=True)
        (ROOT / "docs" / "slides" / f"{number}.svg").write_text(printed, encoding="utf-8")
        picture = f"slides/{number}.svg"
        return section + f"    $ {words} -o {picture}\n\n![{title}]({picture})\n\n"
    lines = printed.rstrip().splitlines()
    if len(lines) > LONGEST:
        lines = [*lines[:LONGEST], f"... {len(lines) - LONGEST} more lines"]
    body = "\n".join(f"    {line}".rstrip() for line in [f"$ {words}", *lines])
    return section + body + "\n\n"


def write_slides() -> None:
    """docs/slides.md: the deck with the twin's own output."""
    os.chdir(ROOT)  # some commands name files of the project
    page = SLIDES + "".join(slide(*row[:4]) for row in deck_rows())
    (ROOT / "docs" / "slides.md").write_text(page.rstrip() + "\n", encoding="utf-8")


def main() -> None:
    """Writes every part."""
    write_slides()
    for page in SESSIONS:
        run_session(ROOT / "docs" / page)
    figures = replay().to_dict()
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    print_replay(figures, console, ROWS)
    # how long it took depends on the machine and its load: docs/measurements.md says it
    report = TOOK.sub("", console.file.getvalue())  # type: ignore[attr-defined]
    whole = f"```text\n$ mmtwin replay --top {ROWS}\n{report}```\n"
    put(ROOT / "docs" / "report.md", "report", whole)
    beginning = "\n\n".join(report.split("\n\n")[:FIRST_PARTS])
    put(ROOT / "README.md", "report", f"```text\n$ mmtwin replay\n{beginning}\n...\n```\n")
    for name, commands in COMMANDS.items():
        shown = "\n".join(f"$ {each}\n{output_of(each)}" for each in commands)
        put(ROOT / "README.md", name, f"```text\n{shown}```\n")
    run(["draw", "page-flags", "-o", str(ROOT / "docs" / "page-flags.svg")])
    (ROOT / "docs" / "replay.svg").write_text(replay_svg(figures), encoding="utf-8")


if __name__ == "__main__":
    main()

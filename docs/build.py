"""Makes the parts of the documentation that the program itself writes: `make docs`.

README.md's report and the picture docs/replay.svg, from a replay of the recording that comes with
mmtwin: a part stands between `<!-- NAME -->` and `<!-- /NAME -->`. And what the sessions of
SESSIONS print below their `>>>` lines.
"""

import doctest
import io
import re
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
ROWS = 8
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


def main() -> None:
    """Writes every part."""
    for page in SESSIONS:
        run_session(ROOT / "docs" / page)
    figures = replay().to_dict()
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, highlight=False)
    print_replay(figures, console, ROWS)
    report = console.file.getvalue()  # type: ignore[attr-defined]
    put(ROOT / "README.md", "report", f"```text\n$ mmtwin replay --top {ROWS}\n{report}```\n")
    run(["draw", "page-flags", "-o", str(ROOT / "docs" / "page-flags.svg")])
    (ROOT / "docs" / "replay.svg").write_text(replay_svg(figures), encoding="utf-8")


if __name__ == "__main__":
    main()

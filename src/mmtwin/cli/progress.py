"""Progress on stderr: a bar where a person watches, nothing elsewhere."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int | None], None]


@contextmanager
def progress_bar(what: str) -> Iterator[Progress | None]:
    """A function (done, total or None) that moves a bar; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn(what), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)

        def move(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield move


def warn_if_uncompiled() -> None:
    """Says on stderr that the twin runs uncompiled, where nobody asked for that."""
    import mmtwin.kernel.mm as mm

    if (mm.__file__ or "").endswith(".py") and not os.environ.get("MMTWIN_PURE"):
        print("mmtwin: running uncompiled: slowly", file=sys.stderr)

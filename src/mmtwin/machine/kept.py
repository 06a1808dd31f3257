"""Where what was worked out of a recording is kept: $XDG_CACHE_HOME/mmtwin (~/.cache/mmtwin).

A file's name is a hash of the recording's files (names, sizes, times of change), of mmtwin's own
and of what was asked, so nothing that is kept outlives what it was made of. MMTWIN_CACHE names
another folder; empty, it turns this off.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

# Older files than these go when a new one comes.
MOST_BYTES = 512 << 20
PROGRAM = Path(__file__).parents[1]
DOES_NOT_MATTER = {"__pycache__", "cli", "draw", "explain", "report", "data"}


def kept_folder() -> Path | None:
    """The folder, made if need be; None where nothing is to be kept or can be."""
    named = os.environ.get("MMTWIN_CACHE")
    if named == "":
        return None
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(named or os.path.join(base, "mmtwin"))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def kept_place(source: str, *asked: str) -> Path | None:
    """The file for what is asked of a recording (a folder or a file), whether it is there or not.

    None where nothing is kept, and for a recording that is neither.
    """
    folder = kept_folder()
    if folder is None or not os.path.exists(source):
        return None
    digest = hashlib.sha256()
    for text in (os.path.realpath(source), *asked, os.environ.get("MMTWIN_PURE", "")):
        digest.update(text.encode(errors="surrogateescape") + b"\0")
    for line in (*files_of(source, frozenset()), *files_of(str(PROGRAM), DOES_NOT_MATTER)):
        digest.update(line.encode(errors="surrogateescape") + b"\n")
    return folder / digest.hexdigest()[:40]


def files_of(path: str, without: "frozenset[str] | set[str]") -> Iterator[str]:
    """`name size time` of a file, or of every file of a folder in order."""
    if not os.path.isdir(path):
        there = os.stat(path)
        yield f"{path} {there.st_size} {there.st_mtime_ns}"
        return
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.name in without:
                continue
            if entry.is_dir():
                yield from files_of(entry.path, without)
            elif entry.is_file():
                there = entry.stat()
                yield f"{entry.path} {there.st_size} {there.st_mtime_ns}"


def make_room(folder: Path) -> None:
    """Removes the files that were used longest ago while there are more than MOST_BYTES."""
    found = []
    with suppress(OSError):
        for entry in os.scandir(folder):
            there = entry.stat()
            found.append((there.st_mtime_ns, there.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= MOST_BYTES:
            return
        with suppress(OSError):
            os.unlink(path)
        total -= size


def was_used(path: Path) -> None:
    """Notes that a file was used now."""
    with suppress(OSError):
        os.utime(path)


def kept_answer(source: str, asked: tuple[str, ...], work_out: Callable[[], Any]) -> Any:
    """What `work_out` makes of a recording, plain values: kept, else worked out and kept."""
    place = kept_place(source, "answer", *asked)
    if place is not None:
        with suppress(OSError, ValueError):
            found = json.loads(place.read_bytes())
            was_used(place)
            return found
    found = work_out()
    if place is not None:
        part = place.with_name(f"{place.name}.{os.getpid()}.part")
        with suppress(OSError):
            part.write_text(json.dumps(found))
            os.replace(part, place)
            make_room(place.parent)
    return found

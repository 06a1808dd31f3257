"""A second reader of ring-buffer pages, slow and short: what the project's own is held against."""

import re
import struct
from pathlib import Path
from typing import Any

CODES = {1: "bB", 2: "hH", 4: "iI", 8: "qQ"}
LINE = re.compile(r"field:(.*?)(\w+)(\[\d*\])?;\s*offset:(\d+);\s*size:(\d+);\s*signed:(\d);")


def formats(folder: Path) -> dict[int, tuple[str, list[tuple[str, int, int, int, str]]]]:
    """{event id: (name, [(field, offset, size, signed, declaration)])}."""
    found = {}
    for path in folder.glob("trace/events/*/*/format"):
        text = path.read_text()
        fields = [
            (name, int(offset), int(size), int(signed), kind + (array or ""))
            for kind, name, array, offset, size, signed in LINE.findall(text)
        ]
        number = int(re.findall(r"^ID: (\d+)", text, re.M)[0])
        found[number] = (path.parent.name, fields)
    return found


def fields_of(data: bytes, layout: list[tuple[str, int, int, int, str]]) -> dict[str, Any]:
    """The fields of one event."""
    values: dict[str, Any] = {}
    for name, offset, size, signed, kind in layout:
        if "__data_loc" in kind:
            where, length = struct.unpack_from("<HH", data, offset)
            values[name] = data[where : where + length].split(b"\0")[0].decode()
        elif "[" in kind:
            values[name] = data[offset : offset + (size or len(data))].split(b"\0")[0].decode()
        else:
            values[name] = struct.unpack_from("<" + CODES[size][1 - signed], data, offset)[0]
    return values


def events(folder: Path, cpu: int, page_size: int) -> list[tuple[int, str, dict[str, Any]]]:
    """The events of one CPU's pages: (time, name, fields)."""
    known, found = formats(folder), []
    raw = (folder / f"trace/cpu{cpu}.raw").read_bytes()
    for page in range(0, len(raw), page_size):
        time, commit = struct.unpack_from("<QQ", raw, page)
        at, end = page + 16, page + 16 + (commit & 0xFFFFF)
        while at < end:
            word, extra = struct.unpack_from("<II", raw + bytes(8), at)
            kind, delta = word & 31, word >> 5
            if kind == 29 and not delta:
                break
            if kind == 30:
                time += delta + (extra << 27)
            elif kind == 31:
                time = (time >> 59 << 59) | (delta + (extra << 27))
            size = {0: extra + 4, 29: extra + 4, 30: 8, 31: 8}.get(kind, 4 + 4 * kind)
            if kind < 29:
                time += delta
                data = raw[at + (8 if kind == 0 else 4) : at + size]
                name, layout = known[struct.unpack_from("<H", data)[0]]
                found.append((time, name, fields_of(data, layout)))
            at += size
    return found

"""Writes a recording's events as a perf.data file, to time `perf kmem stat` on them.

`perf` reads neither ring-buffer pages nor mmtwin recordings. The file has what `perf kmem
record` would have written for the same allocations and frees: an attribute and a format text for
each event, and the samples. perf.data: tools/perf/Documentation/perf.data-file-format.txt.
"""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from mmtwin.recordings.event import CONSTANTS

Events = npt.NDArray[np.void]
IDENTIFIER, IP, TID, TIME, CPU, PERIOD, RAW = 1 << 16, 1, 2, 4, 1 << 7, 1 << 8, 1 << 10
SAMPLE_TYPE = IDENTIFIER | IP | TID | TIME | CPU | PERIOD | RAW
ATTR_SIZE = 112  # PERF_ATTR_SIZE_VER5
RECORD_MMAP, RECORD_SAMPLE = 1, 9
TRACING_DATA = 1  # the feature's bit
RAW_BYTES = 60  # with its u32 length a multiple of 8

COMMON = (
    ("unsigned short common_type", 0, 2),
    ("unsigned char common_flags", 2, 1),
    ("unsigned char common_preempt_count", 3, 1),
    ("int common_pid", 4, 4),
)
# event: (its kind, {field: (C type, offset, bytes, column of event_t)})
FREE = {
    "call_site": ("unsigned long", 8, 8, "call_site"),
    "ptr": ("const void *", 16, 8, "address"),
}
ALLOC = FREE | {
    "bytes_req": ("size_t", 24, 8, "bytes_req"),
    "bytes_alloc": ("size_t", 32, 8, "bytes_alloc"),
    "gfp_flags": ("unsigned long", 40, 8, "gfp"),
    "node": ("int", 48, 4, "node"),
}
PAGE_FREE = {
    "pfn": ("unsigned long", 8, 8, "address"),
    "order": ("unsigned int", 16, 4, "order"),
}
PAGE_ALLOC = PAGE_FREE | {
    "gfp_flags": ("unsigned long", 24, 8, "gfp"),
    "migratetype": ("int", 32, 4, "migratetype"),
}
Layouts = dict[str, tuple[str, dict[str, tuple[str, int, int, str]]]]
SLAB_EVENTS: Layouts = {
    "kmalloc": ("KIND_KMALLOC", ALLOC),
    "kmem_cache_alloc": ("KIND_KMEM_CACHE_ALLOC", ALLOC),
    "kfree": ("KIND_KFREE", FREE),
    "kmem_cache_free": ("KIND_KMEM_CACHE_FREE", FREE),
}
PAGE_EVENTS: Layouts = {
    "mm_page_alloc": ("KIND_MM_PAGE_ALLOC", PAGE_ALLOC),
    "mm_page_free": ("KIND_MM_PAGE_FREE", PAGE_FREE),
}
FIRST_ID = 400
SAMPLE = np.dtype(
    [
        ("type", "<u4"),
        ("misc", "<u2"),
        ("size", "<u2"),
        ("identifier", "<u8"),
        ("ip", "<u8"),
        ("pid", "<u4"),
        ("tid", "<u4"),
        ("time", "<u8"),
        ("cpu", "<u4"),
        ("reserved", "<u4"),
        ("period", "<u8"),
        ("raw_size", "<u4"),
        ("raw", "u1", (RAW_BYTES,)),
    ]
)
HEADER_PAGE = "".join(
    f"\tfield: {field};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n"
    for field, offset, size, signed in (
        ("u64 timestamp", 0, 8, 0),
        ("local_t commit", 8, 8, 1),
        ("int overwrite", 8, 1, 1),
        ("char data", 16, 4080, 1),
    )
)


def format_text(name: str, number: int) -> str:
    """The format file of one event, as tracefs prints it."""
    _, fields = (SLAB_EVENTS | PAGE_EVENTS)[name]
    lines = [
        f"\tfield:{text};\toffset:{offset};\tsize:{size};\tsigned:{int('int' in text)};"
        for text, offset, size in COMMON
    ]
    lines.append("")
    for field, (c_type, offset, size, _) in fields.items():
        signed = int(c_type == "int")
        lines.append(
            f"\tfield:{c_type} {field};\toffset:{offset};\tsize:{size};\tsigned:{signed};"
        )
    first = next(iter(fields))
    body = "\n".join(lines)
    return f'name: {name}\nID: {number}\nformat:\n{body}\n\nprint fmt: "%lx", REC->{first}\n'


def sized(text: str) -> bytes:
    """A text behind its length as u64."""
    return struct.pack("<Q", len(text)) + text.encode()


def tracing_data(layouts: Layouts) -> bytes:
    """The formats, as perf keeps them (tools/perf/util/trace-event-info.c)."""
    parts = [
        b"\x17\x08\x44tracing0.6\0",
        struct.pack("<BBI", 0, 8, 4096),
        b"header_page\0" + sized(HEADER_PAGE),
        b"header_event\0" + sized("# compressed entry header\n"),
        struct.pack("<I", 0),
        struct.pack("<I", 1) + b"kmem\0" + struct.pack("<I", len(layouts)),
    ]
    parts += [sized(format_text(name, FIRST_ID + place)) for place, name in enumerate(layouts)]
    parts += [struct.pack("<I", 0), struct.pack("<I", 0), sized("")]
    return b"".join(parts)


def attribute(number: int) -> bytes:
    """A struct perf_event_attr for one tracepoint."""
    sample_id_all = 1 << 18
    head = struct.pack("<IIQQQQQ", 2, ATTR_SIZE, number, 1, SAMPLE_TYPE, 0, sample_id_all)
    return head.ljust(ATTR_SIZE, b"\0")


def kernel_text() -> bytes:
    """A PERF_RECORD_MMAP of the kernel's text, without which perf resolves no caller."""
    start, size = 0xFFFFFFFF81000000, 0x40000000
    body = struct.pack("<iIQQQ24s", -1, 0, start, size, start, b"[kernel.kallsyms]_text")
    body += struct.pack("<IIQIIQ", 0, 0, 0, 0, 0, FIRST_ID)  # sample_id_all
    return struct.pack("<IHH", RECORD_MMAP, 1, 8 + len(body)) + body


def samples(events: Events, layouts: Layouts) -> Events:
    """The allocations and frees, as samples."""
    parts = [events["kind"] == CONSTANTS[kind] for kind, _ in layouts.values()]
    keep = np.logical_or.reduce(parts)
    events = events[keep]
    out = np.zeros(len(events), SAMPLE)
    out["type"], out["size"], out["misc"] = RECORD_SAMPLE, SAMPLE.itemsize, 1  # kernel
    out["ip"], out["time"], out["cpu"] = events["call_site"], events["time"], events["cpu"]
    out["pid"] = out["tid"] = events["pid"]
    out["period"], out["raw_size"] = 1, RAW_BYTES
    raw = out["raw"]
    for place, (_kind, fields) in enumerate(layouts.values()):
        rows = np.flatnonzero(parts[place][keep])
        number = FIRST_ID + place
        out["identifier"][rows] = number
        raw[rows, 0], raw[rows, 1] = number & 0xFF, number >> 8
        raw[rows, 4:8] = as_bytes(events["pid"][rows], 4)
        for _type, offset, size, column in fields.values():
            raw[rows, offset : offset + size] = as_bytes(events[column][rows], size)
    return out


def as_bytes(values: npt.NDArray[np.generic], size: int) -> npt.NDArray[np.uint8]:
    """Numbers as rows of little-endian bytes."""
    whole = np.ascontiguousarray(values.astype(f"<i{size}" if size < 8 else "<u8"))
    return whole.view(np.uint8).reshape(-1, size)


def write_perf_data(path: Path, chunks: Iterable[Events], pages: bool = False) -> int:
    """Writes a perf.data file of the slab events, and with `pages` of those of pages; how many."""
    layouts = SLAB_EVENTS | PAGE_EVENTS if pages else SLAB_EVENTS
    count = 0
    with path.open("wb") as file:
        file.write(b"\0" * 104)
        ids = file.tell()
        for place in range(len(layouts)):
            file.write(struct.pack("<Q", FIRST_ID + place))
        attributes = file.tell()
        for place in range(len(layouts)):
            file.write(attribute(FIRST_ID + place) + struct.pack("<QQ", ids + 8 * place, 8))
        data = file.tell()
        file.write(kernel_text())
        for events in chunks:
            block = samples(events, layouts)
            count += len(block)
            file.write(block.tobytes())
        end = file.tell()
        write_features(file, end, tracing_data(layouts))
        file.seek(0)
        file.write(b"PERFILE2" + struct.pack("<QQ", 104, ATTR_SIZE + 16))
        file.write(struct.pack("<QQ", attributes, data - attributes))
        file.write(struct.pack("<QQ", data, end - data))
        file.write(struct.pack("<QQ", 0, 0))
        file.write(struct.pack("<QQQQ", 1 << TRACING_DATA, 0, 0, 0))
    return count


def write_features(file: BinaryIO, end: int, formats: bytes) -> None:
    """The feature sections behind the data: only the formats."""
    file.write(struct.pack("<QQ", end + 16, len(formats)))
    file.write(formats)

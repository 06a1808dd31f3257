"""The `format` files of tracefs: where each field of an event lies, and what becomes of it in an
event record.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from mmtwin.recordings.constants import NUMBERS
from mmtwin.recordings.errors import RecordingError
from mmtwin.recordings.event import CONSTANTS, EVENT, KIND_OF_NAME

FIELD = re.compile(
    r"^\tfield:([^;\n]{1,400});\s*offset:(\d{1,6});\s*size:(\d{1,6});(?:\s*signed:(\d);)?", re.M
)
PAGE_FIELD = re.compile(r"^\s*field:[^;\n]*?(\w+);\s*offset:(\d{1,8});\s*size:(\d{1,8});", re.M)
ARRAY = re.compile(r"\[([^\]]*)\]")
NUMBER_SIZES = (1, 2, 4, 8)

# Field of an event -> field of the event record (event.pxd says what each means).
OBJECT = {
    "call_site": "call_site",
    "ptr": "address",
    "bytes_req": "bytes_req",
    "bytes_alloc": "bytes_alloc",
    "gfp_flags": "gfp",
    "node": "node",
    "accounted": "extra",
}
COMMON = {"common_pid": "pid", "common_flags": "flags", "common_preempt_count": "preempt"}
PAGE = {
    "pfn": "address",
    "order": "order",
    "gfp_flags": "gfp",
    "migratetype": "migratetype",
    "percpu_refill": "extra",
}
FALLBACK = {
    "pfn": "address",
    "alloc_order": "order",
    "fallback_order": "bytes_req",
    "alloc_migratetype": "migratetype",
    "fallback_migratetype": "bytes_alloc",
    "change_ownership": "extra",
}
RSS = {"mm_id": "bytes_req", "curr": "extra", "member": "order", "size": "address"}
FIELDS_OF_KIND = {
    CONSTANTS["KIND_MARKER"]: {},
    CONSTANTS["KIND_MM_PAGE_ALLOC_EXTFRAG"]: FALLBACK,
    CONSTANTS["KIND_RSS_STAT"]: RSS,
    **{CONSTANTS[name]: OBJECT for name in CONSTANTS if name.startswith(("KIND_KM", "KIND_KF"))},
    **{CONSTANTS[f"KIND_MM_PAGE_{name}"]: PAGE for name in ("ALLOC", "FREE", "FREE_BATCHED")},
    **{CONSTANTS[f"KIND_MM_PAGE_{name}"]: PAGE for name in ("ALLOC_ZONE_LOCKED", "PCPU_DRAIN")},
}
PIECES_OF_LAST = 3  # of the record's last word, plan_t
HOW_NUMBER, HOW_NODE = NUMBERS["HOW_NUMBER"], NUMBERS["HOW_NODE"]
HOW_OF_LOCATION = {"data": "HOW_DATA_LOC", "rel": "HOW_REL_LOC", "": "HOW_TEXT"}
# Without one of these an event of the kind says nothing: it is kept as KIND_OTHER.
NEEDED = {"ptr", "pfn", "mm_id"}
# From offset, from size, signed, to offset, to size, HOW_*.
Move = tuple[int, int, int, int, int, int]
EXTRA_NODE_EVENT = 2  # bit of `extra`: the event was kmalloc_node or kmem_cache_alloc_node


@dataclass(frozen=True)
class Field:
    """One field: bytes `offset` to `offset + size` of the event.

    `location` is "data" or "rel" for a u32 that says where the bytes lie (low half the offset,
    high half the length; "rel" counts from behind the u32), else "". `count` is the array's
    length, 0 for the rest of the event, None for a single number.
    """

    name: str
    offset: int
    size: int
    signed: bool
    location: str
    count: int | None
    is_text: bool


@dataclass(frozen=True)
class Format:
    """One event's layout. `common` are the fields every event has, `fields` its own."""

    id: int
    system: str
    name: str
    common: tuple[Field, ...]
    fields: tuple[Field, ...]
    kind: int = field(default=0)

    @property
    def end(self) -> int:
        """Bytes an event must have for all its fixed fields."""
        return max((f.offset + f.size for f in (*self.common, *self.fields)), default=0)


def parse_field(declaration: str, offset: int, size: int, signed: bool) -> Field:
    """A field from what a `field:` line says."""
    array = ARRAY.search(declaration)
    name = ARRAY.sub("", declaration).split()[-1].lstrip("*") if declaration.split() else ""
    location = ""
    for prefix in ("data", "rel"):
        if f"__{prefix}_loc" in declaration and size == 4:
            location = prefix
    is_text = bool(re.search(r"\bchar\b", declaration))
    count: int | None = None
    if array and not location:
        unit = 1 if is_text else element_size(declaration)
        count = size // unit if size else 0
    elif not location and size not in NUMBER_SIZES:
        count = size  # a structure: its bytes
    return Field(name, offset, size, signed, location, count, is_text)


def element_size(declaration: str) -> int:
    """Bytes of one element of an array field."""
    for word, size in (
        ("long", 8),
        ("64", 8),
        ("short", 2),
        ("16", 2),
        ("u8", 1),
        ("s8", 1),
        ("*", 8),
    ):
        if word in declaration:
            return size
    return 4


def parse_format(text: str, system: str, file: str) -> Format:
    """A `format` file as tracefs prints it. Raises RecordingError if it is none."""
    name = re.search(r"^name: (\S{1,200})$", text, re.M)
    number = re.search(r"^ID: (\d{1,5})$", text, re.M)
    if not name or not number or int(number[1]) > 0xFFFF:
        raise RecordingError(file, "not a format file: no name or ID", 0)
    common: list[Field] = []
    own: list[Field] = []
    for match in FIELD.finditer(text.partition("\nprint fmt:")[0]):
        declaration, offset, size, signed = match.groups()
        if int(offset) + int(size) > 0xFFFF:
            raise RecordingError(
                file, f"field {declaration.strip()!r} lies outside any event", match.start()
            )
        item = parse_field(declaration, int(offset), int(size), signed == "1")
        (common if item.name.startswith("common_") else own).append(item)
    if not any(
        item.name == "common_type" and item.offset == 0 and item.size == 2 for item in common
    ):
        raise RecordingError(file, "no common_type at the start of the event", 0)
    kind = kind_of(system, name[1], own)
    return Format(int(number[1]), system, name[1], tuple(common), tuple(own), kind)


def kind_of(system: str, name: str, fields: list[Field]) -> int:
    """KIND_* of an event; KIND_OTHER where it lacks the field that the kind is about."""
    if system == "ftrace":
        found = any(item.name == "buf" for item in fields)
        return CONSTANTS["KIND_MARKER"] if name == "print" and found else 0
    kind = KIND_OF_NAME.get(name, 0) if system == "kmem" else 0
    if kind and not any(item.name in NEEDED and item.size in (4, 8) for item in fields):
        return 0
    return kind


@dataclass(frozen=True)
class PageLayout:
    """A page of the ring buffer: `size` bytes, of which records begin at `data`; `commit_size` 8,
    or 4.
    """

    size: int
    data: int
    commit_size: int


def parse_header_page(text: str, file: str) -> PageLayout:
    """The `header_page` file. Raises RecordingError for a page that no kernel has."""
    fields = {name: (int(offset), int(size)) for name, offset, size in PAGE_FIELD.findall(text)}
    if fields.get("timestamp") != (0, 8) or "commit" not in fields or "data" not in fields:
        raise RecordingError(file, "not a header_page file: no timestamp, commit or data", 0)
    commit, commit_size = fields["commit"]
    data, size = fields["data"]
    if commit != 8 or commit_size not in (4, 8) or data != 8 + commit_size:
        raise RecordingError(file, "a page header of unknown layout", 0)
    if not 16 <= size <= 1 << 20:
        raise RecordingError(file, f"a page with {size} bytes of data", 0)
    return PageLayout(data + size, data, commit_size)


def program_of(layout: Format) -> list[Move]:
    """The moves from an event to its record."""
    moves = []
    places = EVENT.fields
    assert places is not None
    for item in layout.common:
        target = COMMON.get(item.name, "")
        if target in places and item.size in NUMBER_SIZES:
            to, offset = places[target][:2]
            moves.append(
                (item.offset, item.size, int(item.signed), offset, to.itemsize, HOW_NUMBER)
            )
    wanted = FIELDS_OF_KIND.get(layout.kind, {})
    for item in layout.fields:
        if item.name == "name" and wanted is OBJECT:
            how = NUMBERS[HOW_OF_LOCATION[item.location]]
            if item.location or item.count:
                moves.append((item.offset, item.size, 0, places["cache"][1], 4, how))
        elif item.name in wanted and item.count is None and not item.location:
            to, offset = places[wanted[item.name]][:2]
            how = HOW_NODE if wanted[item.name] == "node" else HOW_NUMBER
            moves.append((item.offset, item.size, int(item.signed), offset, to.itemsize, how))
    return moves


def pieces_of(
    program: list[Move],
) -> tuple[dict[int, tuple[int, int]], int | None, list[Move]]:
    """The moves of a program that can be done eight bytes at a time (plan_t of ring_buffer.pxd):
    {piece: (at, mask)}; where the node's number stands that they move; the moves left.
    """
    groups: dict[tuple[int, int], list[Move]] = {}
    left = []
    filled: set[int] = set()
    for move in program:
        start, size, _signed, to, to_size, how = move
        target = set(range(to, to + to_size))
        copied = to_size <= size and (how == HOW_NUMBER or (how == HOW_NODE and size == 4))
        group = (to // 8, start - to % 8)
        full = group not in groups and is_full(groups, to // 8)
        if not copied or full or group[1] < 0 or filled & target:
            left.append(move)
        else:
            filled |= target
            groups.setdefault(group, []).append(move)
    pieces: dict[int, tuple[int, int]] = {}
    nodes = [move[0] for group in groups.values() for move in group if move[5] == HOW_NODE]
    for (word, at), moves in groups.items():
        mask = 0
        for _start, _size, _signed, to, to_size, _how in moves:
            mask |= ((1 << 8 * to_size) - 1) << 8 * (to % 8)
        number = word - 1
        while number in pieces:
            number += 1
        pieces[number] = (at, mask)
    return pieces, nodes[0] if nodes else None, left


def is_full(groups: Iterable[tuple[int, int]], word: int) -> bool:
    """Whether a word of the record has all the pieces that a plan has for it."""
    return sum(group[0] == word for group in groups) >= (PIECES_OF_LAST if word == 7 else 1)

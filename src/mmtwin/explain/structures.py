"""The layout of a structure in words: offsets, sizes, holes, cache lines, nested unions."""

from collections.abc import Iterator, Sequence
from typing import Any

from mmtwin.units import counted
from mmtwin.versions.c_layout import CACHE_LINE, Member, Structure, holes
from mmtwin.versions.struct_page import OWN_STRUCTURE, VIEWS

INDENT = "    "


def size_text(bits: int) -> str:
    """Bytes, and bits where they are no whole bytes."""
    if bits % 8 == 0:
        return str(bits // 8)
    return f"{bits // 8}.{bits % 8}" if bits >= 8 else f"0.{bits}"


def view_of(structure: Structure, view: str) -> Structure:
    """`struct page` as one use of it reads it: unions of uses are replaced by the one that is
    meant. Raises ValueError for a view that this release's struct page does not have.
    """
    if view == "buddy":  # the page cache's fields, read as the page allocator does
        view = "cache"
    found: list[Member] = []
    for member in structure.members:
        if member.kind == "union" and any(":" in one.note for one in member.members):
            inner = [one for one in member.members if one.note.partition(":")[0] == view]
            if not inner:
                known = ", ".join(views_of(structure))
                raise ValueError(f"no view {view!r} in this struct page; it has: {known}")
            for one in inner:
                found.extend(one.members)
        else:
            found.append(member)
    return Structure(structure.kind, structure.name, structure.size, tuple(found), structure.align)


def views_of(structure: Structure) -> list[str]:
    """The names of the uses that a declaration of struct page tells apart."""
    notes = [one.note for member in structure.members for one in member.members]
    named = [name for name, colon, _ in (note.partition(":") for note in notes) if colon]
    return list(dict.fromkeys(named))


def view_names() -> list[str]:
    """Every view of any release."""
    return list(VIEWS)


def own_structure(view: str) -> str:
    """The structure that a view became in later releases, empty for none."""
    return OWN_STRUCTURE.get(view, "")


def lines_of(structure: Structure, expand: Any = None) -> Iterator[str]:
    """The layout as lines of text.

    `expand(member)` gives the members of a named structure that is to be written out, or ().
    """
    yield f"{structure.kind} {structure.name}: {structure.size} bytes, " + counted(
        structure.cache_lines, "cache line"
    )
    yield " offset  size"
    rows = list(rows_of(structure.kind, structure.members, 0, structure.size * 8, 0, expand))
    width = max((len(row[3]) for row in rows if row[4]), default=0)
    line = 0
    for offset, bits, depth, text, note in rows:
        if depth == 0 and offset // (CACHE_LINE * 8) > line:
            line = offset // (CACHE_LINE * 8)
            yield f"        ---- cache line {line} ({line * CACHE_LINE} bytes) ----"
        place = f"{size_text(offset):>7} {size_text(bits):>5}" if bits >= 0 else " " * 13
        yield f"{place}  {text:<{width}}  {note}".rstrip()
    total = sum(bits for _, bits, _, _, note in rows if note.startswith("hole"))
    if total:
        yield f"holes: {size_text(total)} bytes"


Row = tuple[int, int, int, str, str]


def rows_of(
    kind: str, members: Sequence[Member], start: int, bits: int, depth: int, expand: Any
) -> Iterator[Row]:
    """(offset, bits, depth, text, note) of each member and hole; bits -1 ends a structure."""
    gaps = dict(holes(kind, members, start, bits))
    indent = INDENT * depth
    for member in members:
        inner = member.members or (expand(member) if expand else ())
        text = indent + member.declaration
        if inner:
            head = text if member.members else text.rpartition(" ")[0]
            opened = head.rpartition(" ")[0] if member.members and member.name else head
            yield member.offset, member.bits, depth, f"{opened or head} {{", member.note
            inside = member.kind or "struct"
            yield from rows_of(inside, inner, member.offset, member.bits, depth + 1, expand)
            yield member.offset, -1, depth, f"{indent}}} {member.name}".rstrip() + ";", ""
        else:
            yield member.offset, member.bits, depth, f"{text};", member.note
        end = member.offset + member.bits
        if end in gaps:
            yield end, gaps.pop(end), depth, indent + "/* empty */", "hole"


def json_of(structure: Structure) -> dict[str, Any]:
    """The layout in plain values; offsets and sizes in bytes, bit fields in bits."""
    return {
        "kind": structure.kind,
        "name": structure.name,
        "size": structure.size,
        "cache_lines": structure.cache_lines,
        "members": [member_json(member) for member in structure.members],
        "holes": [
            {"offset": offset / 8 if offset % 8 else offset // 8, "bits": bits}
            for offset, bits in holes(structure.kind, structure.members, 0, structure.size * 8)
        ],
    }


def member_json(member: Member) -> dict[str, Any]:
    """One member in plain values."""
    found: dict[str, Any] = {
        "name": member.name,
        "declaration": member.declaration,
        "offset": member.offset // 8,
        "size": -(-member.bits // 8),
    }
    if member.bitfield:
        found["bit_offset"] = member.offset % 8
        found["bits"] = member.bits
    if member.note:
        found["note"] = member.note
    if member.members:
        found["members"] = [member_json(one) for one in member.members]
    return found

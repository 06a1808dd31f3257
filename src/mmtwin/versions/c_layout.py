"""C structures as layouts: which member lies where, with its size, and what is left empty.

A layout comes from a kernel's type information (recordings/btf.py) or from declarations of this
floor (struct_page.py), which `lay_out` places as a C compiler does.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

CACHE_LINE = 64  # bytes, of x86-64 and arm64


@dataclass(frozen=True)
class Member:
    """A member of a structure.

    `name`: empty for an anonymous one; `declaration`: as C writes it, without the semicolon (of an
    anonymous structure only `struct` or `union`); `offset` and `bits`: from the outermost
    structure's start, in bits; `members`: those of a structure that is written out in place;
    `note`: what it is for.
    """

    name: str
    declaration: str
    offset: int
    bits: int
    bitfield: bool = False
    kind: str = ""
    members: tuple["Member", ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Structure:
    """A structure or union: `size` and `align` in bytes."""

    kind: str
    name: str
    size: int
    members: tuple[Member, ...]
    align: int = 0

    @property
    def cache_lines(self) -> int:
        """How many cache lines an aligned one touches."""
        return -(-self.size // CACHE_LINE)

    def flat(self) -> dict[str, tuple[int, int]]:
        """{name: (offset, size)} in bits of every named member, anonymous structures looked
        through; of a name that stands in several views the first.
        """
        found: dict[str, tuple[int, int]] = {}
        for member in named(self.members):
            found.setdefault(member.name, (member.offset, member.bits))
        return found


def named(members: Sequence[Member]) -> Iterator[Member]:
    """The named members, those of anonymous structures too."""
    for member in members:
        if member.name:
            yield member
        else:
            yield from named(member.members)


def holes(kind: str, members: Sequence[Member], start: int, bits: int) -> list[tuple[int, int]]:
    """(offset, bits) that no member of a structure covers, inside it and at its end; in bits.

    `start`, `bits`: where the structure itself lies. A union has none.
    """
    if kind == "union" or not members:
        return []
    found = []
    at = start
    for member in sorted(members, key=lambda one: one.offset):
        if member.offset > at:
            found.append((at, member.offset - at))
        at = max(at, member.offset + member.bits)
    if at < start + bits:
        found.append((at, start + bits - at))
    return found


# ---- laying out declarations

# Sizes in bytes of types by their first words; None is a word of the machine (a pointer).
SIZES: dict[str, int | None] = {
    "unsigned long": None, "long": None, "unsigned int": 4, "int": 4, "unsigned short": 2,
    "short": 2, "unsigned char": 1, "char": 1, "atomic_t": 4, "atomic_long_t": None,
    "pgoff_t": None, "pgtable_t": None, "swp_entry_t": None, "memdesc_flags_t": None,
    "spinlock_t": 4, "gfp_t": 4, "slab_flags_t": 4,
    "dma_addr_t": None, "u8": 1, "u16": 2, "u32": 4,
}  # fmt: skip
HALF_WORDS = ("mm_id_mapcount_t", "mm_id_t")
WORDS = {"struct list_head": 2, "struct rcu_head": 2, "struct llist_node": 1, "freelist_aba_t": 2,
         "freelist_full_t": 2}
DECLARATION = re.compile(
    r"(?P<type>.*?[\w*])\s*(?P<pointer>\*+)?\b(?P<name>\w+)(\[(?P<count>\d+)\])?"
    r"(:(?P<width>\d+))?$"
)


@dataclass
class Line:
    """One line of a declaration that holds for this kernel."""

    text: str
    note: str
    inner: list["Line"] = field(default_factory=list)


def select(text: str, holds: Callable[[str], bool]) -> list[Line]:
    """The lines of a declaration that hold, nested.

    A line is `declaration`, `struct {`, `union {` or `}`; behind a `|` stand conditions that all
    must hold, behind a `#` what it is for. A structure that does not hold takes its lines along.
    """
    outer: list[Line] = []
    stack = [outer]
    skipped = 0
    for raw in text.strip().splitlines():
        body, _, note = raw.strip().partition("#")
        declaration, _, conditions = body.partition("|")
        declaration = declaration.strip()
        if declaration == "}":
            if skipped:
                skipped -= 1
            else:
                stack.pop()
        elif skipped or not all(map(holds, conditions.split())):
            skipped += declaration.endswith("{")
        else:
            line = Line(declaration, note.strip())
            stack[-1].append(line)
            if declaration.endswith("{"):
                stack.append(line.inner)
    return outer


class Compiler:
    """Places members as a C compiler for a machine with words of so many bytes."""

    def __init__(self, word: int, sizes: dict[str, tuple[int, int]] | None = None) -> None:
        self.word = word
        self.sizes = sizes or {}  # size and alignment of further types

    def size_of(self, type_name: str) -> tuple[int, int]:
        """Size and alignment of a type in bytes. Raises KeyError for one it does not know."""
        if type_name.endswith("*"):
            return self.word, self.word
        if type_name in self.sizes:
            return self.sizes[type_name]
        if type_name in WORDS:
            return WORDS[type_name] * self.word, self.word
        if type_name in HALF_WORDS:
            return self.word // 2, self.word // 2
        size = SIZES[type_name] or self.word
        return size, size

    def structure(self, name: str, kind: str, lines: list[Line], align: int = 0) -> Structure:
        """The layout of a structure; `align`: a least alignment in bytes (__aligned)."""
        members, size, natural = self.place(kind, lines, 0)
        align = max(align, natural)
        return Structure(kind, name, -(-size // align) * align, tuple(members), align)

    def place(self, kind: str, lines: list[Line], base: int) -> tuple[list[Member], int, int]:
        """Members from a byte on: they, the size and the alignment in bytes of all together."""
        members: list[Member] = []
        at = end = 0  # bits
        align = 1
        for line in lines:
            at = 0 if kind == "union" else at
            member, place, unit = self.member(line, base * 8, at)
            members.append(member)
            at = place + member.bits
            end, align = max(end, at), max(align, unit)
        size = -(-end // 8)
        return members, -(-size // align) * align, align

    def member(self, line: Line, base: int, at: int) -> tuple[Member, int, int]:
        """One member that may begin at a bit: it, the bit where it begins, its alignment."""
        if line.text.endswith("{"):
            kind = line.text.split()[0]
            # twice: where it lies depends on its alignment
            align = self.place(kind, line.inner, 0)[2]
            place = -(-at // (align * 8)) * align * 8
            inner, size, _ = self.place(kind, line.inner, (base + place) // 8)
            whole = Member("", kind, base + place, size * 8, False, kind, tuple(inner), line.note)
            return whole, place, align
        found = DECLARATION.fullmatch(line.text)
        if found is None:
            raise ValueError(f"not a declaration: {line.text!r}")
        pointer = found["pointer"] or ""
        size, align = self.size_of(found["type"].strip() + pointer)
        if found["width"]:
            width = int(found["width"])
            unit = size * 8
            if at // unit != (at + width - 1) // unit:
                at = -(-at // unit) * unit
            bit_field = Member(found["name"], line.text, base + at, width, True, note=line.note)
            return bit_field, at, align
        place = -(-at // (align * 8)) * align * 8
        bits = size * 8 * int(found["count"] or 1)
        return Member(found["name"], line.text, base + place, bits, note=line.note), place, align

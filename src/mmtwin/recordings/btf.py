"""Reads BTF, the type information of a kernel (/sys/kernel/btf/vmlinux).

The format is described in Documentation/bpf/btf.rst. Any bytes give types or one RecordingError;
nothing is read beyond what was asked for, so that a structure of a whole kernel is found quickly.
"""

import struct
from pathlib import Path

from mmtwin.recordings.errors import RecordingError
from mmtwin.versions.c_layout import Member, Structure

MAGIC = 0xEB9F
HEADER = struct.Struct("<HBBIIIII")
TYPE = struct.Struct("<III")
WORD = struct.Struct("<I")
(INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO,
 VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64) = range(1, 20)  # fmt: skip
# Bytes behind a type's header: for each of its elements, or (FIXED) once.
PER_ELEMENT = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}
FIXED = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
QUALIFIERS = {VOLATILE: "volatile", CONST: "const", RESTRICT: "restrict"}
STANDS_FOR = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)
KIND_NAMES = {STRUCT: "struct", UNION: "union"}
DEEPEST = 64  # of types in types: C of the kernel needs a dozen
LARGEST = 1 << 28  # bytes of a file that is read at all
MOST_MEMBERS = 50_000  # of one structure, all that lie in it counted
VOID = 0


class Btf:
    """The types of one kernel, by number; 0 is void.

    `name`: the file's, for errors. Raises RecordingError if the bytes are not BTF.
    """

    def __init__(self, data: bytes, name: object = "BTF") -> None:
        self.name = name
        self.data = data
        if len(data) < HEADER.size:
            raise self.error("shorter than a BTF header", 0)
        magic, version, _, length, types, types_size, strings, strings_size = HEADER.unpack_from(
            data
        )
        if magic != MAGIC:
            big_endian = magic == int.from_bytes(MAGIC.to_bytes(2, "big"), "little")
            raise self.error("BTF of a big-endian machine" if big_endian else "not BTF", 0)
        if version != 1:
            raise self.error(f"BTF of version {version}, only 1 is known", 2)
        self.first, self.end = length + types, length + types + types_size
        self.strings, self.strings_end = length + strings, length + strings + strings_size
        if max(self.end, self.strings_end) > len(data):
            raise self.error("ends before its last section", len(data))
        self.offsets = self._scan()

    def error(self, message: str, offset: int) -> RecordingError:
        """The error for a byte."""
        return RecordingError(self.name, message, offset)

    def _scan(self) -> list[int]:
        """Where each type stands."""
        offsets = [-1]
        data, at, end = self.data, self.first, self.end
        unpack = WORD.unpack_from
        sizes = [0] * 32
        for kind, size in FIXED.items():
            sizes[kind] = size
        elements = [PER_ELEMENT.get(kind, 0) for kind in range(32)]
        while at + TYPE.size <= end:
            offsets.append(at)
            info = unpack(data, at + 4)[0]
            kind = info >> 24 & 31
            if not 0 < kind <= ENUM64:
                raise self.error(f"type {len(offsets) - 1} is of an unknown kind, {kind}", at)
            at += 12 + sizes[kind] + elements[kind] * (info & 0xFFFF)
        if at != end:
            raise self.error("the last type is cut off", min(at, end))
        return offsets

    def type(self, number: int) -> tuple[int, int, int, int]:
        """Its kind, offset of its name, number of elements, size or type it stands for."""
        if not 0 < number < len(self.offsets):
            raise self.error(f"there is no type {number}", self.first)
        name, info, size = TYPE.unpack_from(self.data, self.offsets[number])
        # a structure's top bit says that its members may be bit fields: see members()
        return info >> 24 & 31, name, info & 0xFFFF, size

    def text(self, offset: int) -> str:
        """A name by its offset."""
        start = self.strings + offset
        if start >= self.strings_end:
            raise self.error(f"there is no name at {offset}", self.strings)
        stop = self.data.find(b"\0", start, self.strings_end)
        stop = stop if stop >= 0 else self.strings_end
        return self.data[start:stop].decode("ascii", "replace")

    # ---- finding

    def find(self, name: str, kinds: tuple[int, ...] = (STRUCT, UNION)) -> int:
        """The number of the first type of a name, 0 if there is none."""
        wanted = self._name_offsets(name)
        if not wanted:
            return VOID
        unpack, data = TYPE.unpack_from, self.data
        for number in range(1, len(self.offsets)):
            found, info, _ = unpack(data, self.offsets[number])
            if found in wanted and (info >> 24 & 31) in kinds:
                return number
        return VOID

    def _name_offsets(self, name: str) -> set[int]:
        """Where a name stands among the strings; a tail of a longer one counts too."""
        needle = name.encode() + b"\0"
        found = set()
        at = self.data.find(needle, self.strings, self.strings_end)
        while at >= 0:
            found.add(at - self.strings)
            at = self.data.find(needle, at + 1, self.strings_end)
        return found

    def names(self, kinds: tuple[int, ...] = (STRUCT, UNION)) -> list[str]:
        """All names of types of these kinds, each once, sorted."""
        found = set()
        for at in self.offsets[1:]:
            name, info, _ = TYPE.unpack_from(self.data, at)
            if name and (info >> 24 & 31) in kinds:
                found.add(name)
        return sorted({self.text(name) for name in found})

    def resolve(self, number: int) -> int:
        """The type behind typedefs and qualifiers; 0 is void."""
        for _ in range(DEEPEST):
            if number == VOID:
                return VOID
            kind, _, _, target = self.type(number)
            if kind not in STANDS_FOR:
                return number
            number = target
        raise self.error(f"type {number} stands for itself", self.offsets[number])

    def size_of(self, number: int, depth: int = 0) -> int:
        """Bytes of a type; 0 where it has none. Pointers have 8."""
        number = self.resolve(number)
        if number == VOID or depth > DEEPEST:
            return 0
        kind, _, _, size = self.type(number)
        if kind == PTR:
            return 8
        if kind == ARRAY:
            element, _, count = TYPE.unpack_from(self.data, self.offsets[number] + 12)
            return self.size_of(element, depth + 1) * count
        return size if kind in (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT) else 0

    # ---- layouts

    def structure(self, name: str) -> Structure | None:
        """The layout of `struct name` or `union name` (or what a typedef of that name stands for),
        None if there is none.
        """
        number = self.find(name) or self.resolve(self.find(name, (TYPEDEF,)))
        if number == VOID:
            return None
        kind, _, _, size = self.type(number)
        if kind not in KIND_NAMES:
            return None
        self.budget = MOST_MEMBERS
        return Structure(KIND_NAMES[kind], name, size, self._members(number, 0, 0))

    def _members(self, number: int, base: int, depth: int) -> tuple[Member, ...]:
        """The members of a structure that begins at a bit."""
        at = self.offsets[number]
        name, info, _ = TYPE.unpack_from(self.data, at)
        count, has_bitfields = info & 0xFFFF, info >> 31
        self.budget -= count
        if depth > DEEPEST or self.budget < 0:
            raise self.error(f"type {number} has too many members", at)
        found = []
        for place in range(at + 12, at + 12 + 12 * count, 12):
            name, target, offset = TYPE.unpack_from(self.data, place)
            width = offset >> 24 if has_bitfields else 0
            offset = offset & 0xFFFFFF if has_bitfields else offset
            bits = width or 8 * self.size_of(target)
            found.append(self._member(self.text(name), target, base + offset, bits, width, depth))
        return tuple(found)

    def _member(
        self, name: str, target: int, offset: int, bits: int, width: int, depth: int
    ) -> Member:
        kind, type_name, _, _ = self.type(target) if target else (VOID, 0, 0, 0)
        # (C with -fms-extensions has anonymous members of named structures, too)
        if kind in KIND_NAMES and not (name and self.text(type_name)):
            word = KIND_NAMES[kind]
            members = self._members(target, offset, depth + 1)
            return Member(name, f"{word} {name}".strip(), offset, bits, False, word, members)
        text = self.declare(target, name) + (f":{width}" if width else "")
        return Member(name, text, offset, bits, width > 0)

    def expanded(self, member: Member) -> tuple[Member, ...]:
        """The members of a named structure that a member is, () if it is none."""
        words = member.declaration.split()
        if len(words) < 3 or words[0] not in KIND_NAMES.values() or "*" in member.declaration:
            return ()
        number = self.find(words[1]) if "[" not in member.declaration else VOID
        self.budget = MOST_MEMBERS
        return self._members(number, member.offset, 0) if number else ()

    def declare(self, number: int, name: str, depth: int = 0) -> str:
        """A variable of a type as C declares it."""
        if number == VOID:
            return f"void {name}".rstrip()
        if depth > DEEPEST:
            raise self.error(f"type {number} is built of itself", self.offsets[number])
        kind, type_name, count, target = self.type(number)
        deeper = depth + 1
        if kind == PTR:
            inner = self.resolve_tags(target)
            wraps = inner and self.type(inner)[0] in (ARRAY, FUNC_PROTO)
            return self.declare(target, f"(*{name})" if wraps else f"*{name}", deeper)
        if kind == ARRAY:
            element, _, length = TYPE.unpack_from(self.data, self.offsets[number] + 12)
            return self.declare(element, f"{name}[{length or ''}]", deeper)
        if kind == FUNC_PROTO:
            taken = self._parameters(number, count, deeper)
            return self.declare(target, f"{name}({taken})", deeper)
        if kind in QUALIFIERS:
            pointer = target and self.type(target)[0] == PTR
            if pointer:
                return self.declare(target, f"{QUALIFIERS[kind]} {name}", deeper)
            return f"{QUALIFIERS[kind]} {self.declare(target, name, deeper)}"
        if kind == TYPE_TAG:
            return self.declare(target, name, deeper)
        prefix = {STRUCT: "struct ", UNION: "union ", ENUM: "enum ", ENUM64: "enum "}.get(kind, "")
        if kind == FWD:
            prefix = "union " if TYPE.unpack_from(self.data, self.offsets[number])[1] >> 31 else (
                "struct "
            )
        word = self.text(type_name) or ("{...}" if prefix else "?")
        return f"{prefix}{word} {name}".rstrip()

    def resolve_tags(self, number: int) -> int:
        """The type behind type tags, which C does not show."""
        for _ in range(DEEPEST):
            if number == VOID or self.type(number)[0] != TYPE_TAG:
                return number
            number = self.type(number)[3]
        return VOID

    def _parameters(self, number: int, count: int, depth: int) -> str:
        texts = []
        start = self.offsets[number] + 12
        for place in range(start, start + 8 * count, 8):
            name, target = struct.unpack_from("<II", self.data, place)
            texts.append("..." if target == VOID else self.declare(target, self.text(name), depth))
            if len(texts) > DEEPEST:
                raise self.error(f"type {number} has too many parameters", place)
        return ", ".join(texts) or "void"


def read_btf(path: str | Path) -> Btf:
    """The BTF of a file. Raises RecordingError if it cannot be read or is none."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise RecordingError(path, "too large for BTF")
        data = path.read_bytes()
    except OSError as error:
        raise RecordingError(path, error.strerror or str(error)) from None
    return Btf(data, path)

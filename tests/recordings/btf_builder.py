"""Makes small BTF for tests: types one after the other, each with a number from 1 on."""

import struct

from mmtwin.recordings import btf


class Builder:
    """`number = builder.add(kind, name, size, extra)`; `builder.data()` is the file."""

    def __init__(self) -> None:
        self.types: list[bytes] = []
        self.strings = b"\0"

    def string(self, text: str) -> int:
        """The offset of a name."""
        if not text:
            return 0
        offset = len(self.strings)
        self.strings += text.encode() + b"\0"
        return offset

    def add(
        self, kind: int, name: str = "", size: int = 0, extra: bytes = b"", count: int = 0,
        flag: int = 0,
    ) -> int:  # fmt: skip
        """A type; `size`: bytes, or the type it stands for."""
        info = flag << 31 | kind << 24 | count
        self.types.append(struct.pack("<III", self.string(name), info, size) + extra)
        return len(self.types)

    def struct(
        self, name: str, size: int, *members: tuple[str, int, int], kind: int = btf.STRUCT,
        widths: tuple[int, ...] = (),
    ) -> int:  # fmt: skip
        """A structure of (name, type, offset in bits); `widths` of bit fields."""
        extra = b""
        for place, (member, target, offset) in enumerate(members):
            if widths:
                offset |= widths[place] << 24
            extra += struct.pack("<III", self.string(member), target, offset)
        return self.add(kind, name, size, extra, len(members), int(bool(widths)))

    def data(self) -> bytes:
        """The whole file."""
        types = b"".join(self.types)
        header = btf.HEADER.pack(
            btf.MAGIC, 1, 0, btf.HEADER.size, 0, len(types), len(types), len(self.strings)
        )
        return header + types + self.strings


def example() -> Builder:
    """A structure with one of everything."""
    build = Builder()
    number = build.add(btf.INT, "int", 4, struct.pack("<I", 32))
    char = build.add(btf.INT, "char", 1, struct.pack("<I", 8))
    const = build.add(btf.CONST, "", char)
    text = build.add(btf.PTR, "", const)
    array = build.add(btf.ARRAY, "", 0, struct.pack("<III", number, number, 3))
    anything = build.add(btf.PTR, "", 0)
    proto = build.add(
        btf.FUNC_PROTO, "", number, struct.pack("<IIII", 0, anything, 0, 0), count=2
    )
    function = build.add(btf.PTR, "", proto)
    pair = build.struct("pair", 8, ("a", number, 0), ("b", number, 32))
    counter = build.struct("", 4, ("counter", number, 0))
    atomic = build.add(btf.TYPEDEF, "atomic_t", counter)
    bits = build.struct("", 4, ("low", number, 0), ("high", number, 5), widths=(5, 20))
    union = build.struct("", 8, ("", bits, 0), ("pair", pair, 0), kind=btf.UNION)
    build.struct(
        "thing", 72, ("name", text, 0), ("count", array, 64), ("", union, 192),
        ("go", function, 256), ("users", atomic, 320), ("flag", char, 352), ("pair", pair, 384),
        ("tail", anything, 512),
    )  # fmt: skip
    return build

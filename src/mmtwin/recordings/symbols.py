"""Kernel symbols: addresses of text to names."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np

from mmtwin.recordings.errors import RecordingError

TEXT_TYPES = frozenset("tTwWiIvVuU")
LINE_LIMIT = 1000
TYPES = "".join(sorted(TEXT_TYPES)).encode()
NAME_AT = 19  # `ffffffff81000000 T _text`
SHIFTS = np.arange(60, -4, -4, dtype=np.uint64)
DIGIT = np.full(256, 255, np.uint8)  # the value of a hexadecimal digit
for digit in b"0123456789abcdefABCDEF":
    DIGIT[digit] = int(chr(digit), 16)
NEWLINE, TAB = b"\n\t"
ADDRESS = re.compile(r"[0-9a-fA-F]{1,16}")


class Symbols:
    """Functions by address, ascending: `names[i]` begins at `addresses[i]` and ends before
    `ends[i]`.

    `pairs` are (address, name); of several names for an address the first counts. Without `ends` a
    function reaches to the next one.
    """

    def __init__(
        self, pairs: Iterable[tuple[int, str]], ends: Iterable[int] | None = None
    ) -> None:
        first = dict(reversed(list(pairs)))
        self.addresses = sorted(first)
        self.names = [first[address] for address in self.addresses]
        self.ends = list(ends) if ends is not None else [*self.addresses[1:], 1 << 64]

    def __len__(self) -> int:
        return len(self.addresses)

    def find(self, address: int) -> tuple[str, int] | None:
        """The function an address lies in and the offset in bytes, or None if it lies in none that
        is known.
        """
        place = bisect_right(self.addresses, address) - 1
        if place < 0 or not self.addresses[place] or address >= self.ends[place]:
            return None
        return self.names[place], address - self.addresses[place]

    def name(self, address: int) -> str:
        """`function+0x1c` as the kernel prints it, less the size; or the bare number in hex."""
        found = self.find(int(address))
        return f"{found[0]}+{found[1]:#x}" if found else f"{int(address):#x}"

    def address(self, name: str) -> int | None:
        """Where a function begins, or None."""
        try:
            return self.addresses[self.names.index(name)]
        except ValueError:
            return None


    @cached_property
    def _lines(self) -> str:
        return "\n" + "\n".join(self.names) + "\n"

    def functions(self, pattern: str) -> Iterator[tuple[int, int, str]]:
        """(start, end, name) of the functions whose name is what a regular expression matches, or
        the compiler's variant of it (`name.isra.0`).
        """
        for found in re.finditer(f"\n({pattern})(\\.\\S+)?(?=\n)", self._lines):
            number = self._lines.count("\n", 0, found.start())
            yield self.addresses[number], self.ends[number], found[1]


def parse_kallsyms(text: str, where: str) -> Symbols:
    """The text symbols of a /proc/kallsyms. Raises RecordingError for lines of another form."""
    return parse_regular(text) or parse_any(text, where)


def parse_regular(text: str) -> Symbols | None:
    """The same where all addresses have 16 digits, as a 64-bit kernel prints them; else None."""
    if not text.isascii():
        return None
    data = np.frombuffer((text.removesuffix("\n") + "\n").encode(), np.uint8)
    stops = np.flatnonzero(data == NEWLINE)
    starts = np.append(0, stops[:-1] + 1)
    lengths = stops - starts
    if lengths.min() < NAME_AT + 1 or lengths.max() > LINE_LIMIT:
        return None
    digits = DIGIT[data[starts[:, None] + np.arange(16)]]
    if digits.max() > 15 or (data[starts + 16] != 32).any() or (data[starts + 18] != 32).any():
        return None
    chosen = np.isin(data[starts + 17], np.frombuffer(TYPES, np.uint8))
    addresses = (digits[chosen].astype(np.uint64) << SHIFTS).sum(axis=1)
    # a module's name stands behind a tab
    blanks = np.append(np.flatnonzero((data == TAB) | (data == NEWLINE)), len(data))
    ends = blanks[np.searchsorted(blanks, starts[chosen] + NAME_AT)]
    places = zip((starts[chosen] + NAME_AT).tolist(), ends.tolist(), strict=True)
    names = [text[start:end] for start, end in places]
    if any(not name or " " in name for name in names):
        return None
    return Symbols(zip(addresses.tolist(), names, strict=True))


def parse_any(text: str, where: str) -> Symbols:
    """parse_kallsyms() line by line."""
    pairs = []
    place = 0
    for line in text.splitlines():
        words = line.split(None, 3)
        if len(words) < 3 or len(words[1]) != 1 or len(line) > LINE_LIMIT:
            raise RecordingError(where, f"no symbol: {line!r:.60}", place)
        if words[1] in TEXT_TYPES:
            if not ADDRESS.fullmatch(words[0]):
                raise RecordingError(where, f"no address: {words[0]!r:.60}", place)
            pairs.append((int(words[0], 16), words[2]))
        place += len(line) + 1
    return Symbols(pairs)

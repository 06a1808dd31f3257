"""Kernel symbols: addresses of text to names."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mmtwin.recordings.errors import RecordingError

TEXT_TYPES = frozenset("tTwWiIvVuU")
LINE_LIMIT = 1000
TYPES = "".join(sorted(TEXT_TYPES)).encode()
NAME_AT = 19  # `ffffffff81000000 T _text`
DIGIT = np.full(256, 255, np.uint8)  # the value of a hexadecimal digit
for digit in b"0123456789abcdefABCDEF":
    DIGIT[digit] = int(chr(digit), 16)
NEWLINE, BLANK = b"\n "
TEXT_TYPE = np.zeros(256, np.bool_)
TEXT_TYPE[np.frombuffer(TYPES, np.uint8)] = True
NAME_ENDS = re.compile(r"[\t\n]")
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

    def function(self, address: int) -> str:
        """The function that an address lies in, without what the compiler added to its name
        (`.isra.0`); "" if none is known. Those asked for once are kept.
        """
        if address not in self._functions:
            found = self.find(address)
            self._functions[address] = found[0].partition(".")[0] if found else ""
        return self._functions[address]

    @cached_property
    def _functions(self) -> dict[int, str]:
        return {}

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


class TextSymbols(Symbols):
    """Symbols whose names are cut out of a text when they are asked for.

    `addresses`: u64, ascending; `places`: where in `text` each name begins. A name ends before a
    tab or at the line's end.
    """

    def __init__(
        self, text: str, addresses: npt.NDArray[np.uint64], places: npt.NDArray[np.int64]
    ) -> None:
        self._text = text
        self._addresses = addresses
        self._places = places

    def __len__(self) -> int:
        return len(self._addresses)

    @cached_property
    def addresses(self) -> list[int]:  # type: ignore[override]
        """Where each begins."""
        return self._addresses.tolist()

    @cached_property
    def names(self) -> list[str]:  # type: ignore[override]
        """The name of each."""
        return [self._name(number) for number in range(len(self))]

    @cached_property
    def ends(self) -> list[int]:  # type: ignore[override]
        """Where each ends."""
        return [*self.addresses[1:], 1 << 64]

    def _name(self, number: int) -> str:
        place = int(self._places[number])
        stop = NAME_ENDS.search(self._text, place)
        return self._text[place : stop.start() if stop else len(self._text)]

    def _end(self, number: int) -> int:
        behind = number + 1
        return int(self._addresses[behind]) if behind < len(self) else 1 << 64

    def find(self, address: int) -> tuple[str, int] | None:
        """As Symbols.find()."""
        if not 0 <= address < 1 << 64:
            return None
        place = int(np.searchsorted(self._addresses, np.uint64(address), "right")) - 1
        if place < 0 or not self._addresses[place]:
            return None
        return self._name(place), address - int(self._addresses[place])

    def functions(self, pattern: str) -> Iterator[tuple[int, int, str]]:
        """As Symbols.functions(); plain names are looked for in the text."""
        words = pattern.split("|")
        if not all(word.isidentifier() for word in words):
            yield from super().functions(pattern)
            return
        found = {}
        for word in words:
            place = self._text.find(f" {word}")
            while place >= 0:
                found[place + 1] = word
                place = self._text.find(f" {word}", place + 1)
        numbers = np.flatnonzero(np.isin(self._places, np.array([*found], np.int64)))
        for number in numbers.tolist():
            word = found[int(self._places[number])]
            if self._name(number).partition(".")[0] == word:
                yield int(self._addresses[number]), self._end(number), word


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
    # two blanks a line and none in a name; a module's name stands behind a tab
    blanks = (data[starts + 16] == BLANK) & (data[starts + 18] == BLANK)
    if not blanks.all() or np.count_nonzero(data == BLANK) != 2 * len(starts):
        return None
    chosen = starts[TEXT_TYPE[data[starts + 17]]]
    digits = DIGIT[data[chosen[:, None] + np.arange(16)]]
    if not len(chosen) or digits.max() > 15 or (data[chosen + NAME_AT] <= BLANK).any():
        return None
    addresses = (digits[:, ::2] << 4 | digits[:, 1::2]).view(">u8").ravel().astype(np.uint64)
    # the first of each address; np.unique() would import numpy.ma, which takes 0.01 s
    order = addresses.argsort(kind="stable")
    addresses = addresses[order]
    first = np.append(True, addresses[1:] != addresses[:-1])
    return TextSymbols(text, addresses[first], chosen[order[first]] + NAME_AT)


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

"""Kernel symbols: addresses of text to names."""

import re
from bisect import bisect_right
from collections.abc import Iterable

from mmtwin.recordings.errors import RecordingError

TEXT_TYPES = frozenset("tTwWiIvVuU")
LINE_LIMIT = 1000
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
        first: dict[int, str] = {}
        for address, name in pairs:
            first.setdefault(address, name)
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


def parse_kallsyms(text: str, where: str) -> Symbols:
    """The text symbols of a /proc/kallsyms. Raises RecordingError for lines of another form."""
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

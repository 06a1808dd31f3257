"""Reading a kernel's text line by line, so that an error can say where it stands.

Numbers are what `printf` of `%lu`, `%ld` and `%d` makes, and nothing else that Python's `int()`
would take. Bytes that are no UTF-8 (a cache or module may be named anyhow) are carried
through unharmed.
"""

import re
from typing import NoReturn

from mmtwin.procfs.errors import ProcError

ENCODING = "utf-8"
UNSIGNED = re.compile(r"[0-9]{1,20}", re.ASCII)
SIGNED = re.compile(r"-?[0-9]{1,19}", re.ASCII)
ULONG_MAX = (1 << 64) - 1
LONG_MAX = (1 << 63) - 1


def decode(text: str | bytes) -> str:
    """A text that was read as bytes as `str`; `encode` gives the same bytes back."""
    return text if isinstance(text, str) else text.decode(ENCODING, "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes of a text to be written to a file."""
    return text.encode(ENCODING, "surrogateescape")


def shortened(text: str) -> str:
    """A piece of somebody's text as an error message shows it."""
    shown = repr(text if len(text) <= 40 else text[:37] + "...")
    return shown if len(shown) <= 60 else f"{shown[:56]}...'"  # of what cannot be printed


class Lines:
    """The lines of one text, one after another.

    `number` is that of the line last taken, from 1 on. A missing newline at the end is forgiven.
    """

    def __init__(self, file: str, text: str | bytes) -> None:
        """`file` names the text in errors."""
        self.file = file
        self.number = 0
        self._lines = decode(text).split("\n")
        if self._lines[-1] == "":
            del self._lines[-1]

    def peek(self) -> str | None:
        """The next line, which stays; None at the end."""
        return self._lines[self.number] if self.number < len(self._lines) else None

    def take(self, what: str) -> str:
        """The next line. Raises ProcError at the end: `what` was expected there."""
        line = self.peek()
        if line is None:
            raise ProcError(self.file, self.number, f"the text ends where {what} should follow")
        self.number += 1
        return line

    def fail(self, message: str) -> NoReturn:
        """Raises the error for the line last taken."""
        raise ProcError(self.file, self.number, message)

    def unsigned(self, word: str, what: str) -> int:
        """A number printed with %u or %lu."""
        if UNSIGNED.fullmatch(word):
            value = int(word)
            if value <= ULONG_MAX:
                return value
        self.fail(f"{shortened(word)} is no {what}")

    def signed(self, word: str, what: str) -> int:
        """A number printed with %d or %ld."""
        if SIGNED.fullmatch(word):
            value = int(word)
            if -LONG_MAX - 1 <= value <= LONG_MAX:
                return value
        self.fail(f"{shortened(word)} is no {what}")

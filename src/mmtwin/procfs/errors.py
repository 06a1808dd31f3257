"""The one error of the readers of /proc and /sys texts."""


class ProcError(ValueError):
    """A text or folder that is not what the kernel prints: names the file and the line."""

    def __init__(self, file: str, line: int, message: str) -> None:
        """`file`: which text (`"slabinfo"`); `line`: from 1 on, 0 for the file as a whole."""
        place = f"{file}, line {line}" if line else file
        super().__init__(f"{place}: {message}")
        self.file = file
        self.line = line
        self.message = message

"""The one error of the readers."""

from mmtwin.machine.blame import CUT


class RecordingError(Exception):
    """A file that cannot be read as a recording.

    `file` names it (a path, or archive/member); `offset` is the byte (of the unpacked content) at
    which reading stopped, None where no single byte is to blame.
    """

    def __init__(self, file: object, message: str, offset: int | None = None) -> None:
        self.file = str(file)
        self.offset = offset
        self.message = message
        place = self.file if offset is None else f"{self.file}, byte {offset}"
        super().__init__(f"{place}: {message}")

    @property
    def remedy(self) -> str:
        """What to do about it; "" where the message says all."""
        return ""

    def __reduce__(self) -> tuple[type, tuple[str, str, int | None]]:
        return (RecordingError, (self.file, self.message, self.offset))


class TextError(RecordingError):
    """A text of a snapshot that is not what the kernel prints: cut, changed, of another kind."""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return CUT

    def __reduce__(self) -> tuple[type, tuple[str, str, int | None]]:
        return (TextError, (self.file, self.message, self.offset))

"""The one error of the readers."""


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

    def __reduce__(self) -> tuple[type, tuple[str, str, int | None]]:
        return (RecordingError, (self.file, self.message, self.offset))

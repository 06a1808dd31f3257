"""What a command ends with: its exit codes, and the one line that bad input gets."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

OK = 0
DIFFERENCE = 1  # a check failed: the twin and the kernel, or a figure and its bound, differ
USAGE = 2  # bad input or a bad command line


class UserError(Exception):
    """Bad input: `mmtwin: error: MESSAGE` on stderr, then the remedy if there is one."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


@contextmanager
def input_errors(remedy: str = "") -> Iterator[None]:
    """Turns what the floors below raise about their input into a UserError.

    They raise RecordingError, ProcError and other ValueErrors for input that cannot be; with
    `MMTWIN_TRACEBACK=1` these come through as they are.
    """
    from mmtwin.recordings.errors import RecordingError

    try:
        yield
    except BrokenPipeError:
        raise  # of standard output: the reader has gone
    except (RecordingError, ValueError, OSError) as error:
        if os.environ.get("MMTWIN_TRACEBACK"):
            raise
        raise UserError(told(error), remedy or getattr(error, "remedy", "")) from error


def told(error: Exception) -> str:
    """An error as one line; of an OSError without the number, with the file's name."""
    if not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"

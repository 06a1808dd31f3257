"""Processes of this machine, for the commands that take --pid."""

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.procfs.live import LiveProcess, read_live

DIGITS = 9  # more than the largest PID has


def parse_pid(text: str) -> int:
    """A PID of the command line. Raises UserError for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        raise UserError(f"{text!r:.40} is no PID", "it is the number of a process")
    return int(text)


def live_process(text: str) -> LiveProcess:
    """The process of a PID as the command line has it. Raises UserError: for what is no PID, and
    for a process that is gone, may not be read or has no memory of its own.
    """
    pid = parse_pid(text)
    with input_errors():
        return read_live(pid)

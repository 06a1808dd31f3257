"""Processes of this machine, for the commands that take --pid."""

from mmtwin.cli.errors import UserError, input_errors
from mmtwin.procfs.live import LiveProcess, read_live

DIGITS = 9  # more than the largest PID has


def live_process(text: str) -> LiveProcess:
    """The process of a PID as the command line has it. Raises UserError: for what is no PID, and
    for a process that is gone, may not be read or has no memory of its own.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        raise UserError(f"{text!r:.40} is no PID", "--pid takes the number of a process")
    with input_errors():
        return read_live(int(text))

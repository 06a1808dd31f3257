"""Machines that nobody has any more.

A machine's parts know each other, so that only Python's collector frees it; and of a machine's
arrays, gigabytes of them, the collector sees a few objects.
"""

import gc

MOST = 16 << 30  # bytes of arrays after which those of forgotten machines are looked for


class Made:
    """Bytes of arrays mapped since the last look."""

    bytes = 0


def made(size):
    """Counts the arrays of a new machine, `size` bytes."""
    Made.bytes += size
    if Made.bytes > MOST:
        Made.bytes = 0
        gc.collect()

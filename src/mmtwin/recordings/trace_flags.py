"""The flags column of ftrace's text (trace_print_lat_fmt() of kernel/trace/trace_output.c)."""

import cython

if not cython.compiled:
    from mmtwin.recordings.constants import DOT


def read_flags(data, at, end):
    """TRACE_FLAG_* of the first three characters (`dNs`): interrupts off, rescheduling, hard or
    soft interrupt.
    """
    flags = 0
    byte = data[at]
    if byte == 68:  # D
        flags = 0x81
    elif byte == 100:  # d
        flags = 0x01
    elif byte == 98:  # b
        flags = 0x80
    elif byte == 88:  # X
        flags = 0x02
    byte = data[at + 1] if at + 1 < end else DOT
    if byte == 78:  # N
        flags |= 0x24
    elif byte == 110:  # n
        flags |= 0x04
    elif byte == 112:  # p
        flags |= 0x20
    elif byte == 66:  # B: lazily, and N
        flags |= 0x26
    elif byte == 98:  # b: lazily, and n
        flags |= 0x06
    elif byte == 76:  # L: lazily, and p
        flags |= 0x22
    elif byte == 108:  # l
        flags |= 0x02
    byte = data[at + 2] if at + 2 < end else DOT
    if byte == 90:  # Z
        flags |= 0x48
    elif byte == 122:  # z
        flags |= 0x40
    elif byte == 72:  # H
        flags |= 0x18
    elif byte == 104:  # h
        flags |= 0x08
    elif byte == 115:  # s
        flags |= 0x10
    return flags

"""What kmemleak prints, and the commands that are written to /sys/kernel/debug/kmemleak.

mm/kmemleak.c: print_unreferenced(), hex_dump_object(), dump_object_info(), kmemleak_write().
"""

import re
import zlib

from mmtwin.kernel.kmemleak_object import OBJECT_PHYS
from mmtwin.kernel.kmemleak_scan import read_bytes
from mmtwin.kernel.mman import EINVAL, EPERM

HEX_ROW_SIZE = 16
HEX_MAX_LINES = 2
ASCII_COLUMN = 49  # of hex_dump_to_buffer(): 16 bytes one by one
NUMBER = re.compile(r"\+?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\n?")
COMMAND_BYTES = 63
U32_MAX = 0xFFFFFFFF


def hex_rows(data):
    """seq_hex_dump() with a row of 16 bytes and their ASCII: lines."""
    lines = []
    for start in range(0, len(data), HEX_ROW_SIZE):
        row = data[start : start + HEX_ROW_SIZE]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"    {row.hex(' '):<{ASCII_COLUMN}}{text}")
    return lines


def type_text(k, object):
    """__object_type_str(): what is said before the address."""
    return " (phys)" if k.has.kmemleak_types and object.flags & OBJECT_PHYS else ""


def trace_line(k, symbol):
    """One function of a backtrace. The kernel hashes its address with a key that it drew while it
    booted (%p); here the number is made from the symbol.
    """
    if not k.has.kmemleak_pointers:
        return f"    {symbol}"
    return f"    [<{zlib.crc32(symbol.encode()):016x}>] {symbol}"


def print_unreferenced(k, object):
    """print_unreferenced(): the report of a leak."""
    size = min(object.size, HEX_MAX_LINES * HEX_ROW_SIZE)
    whose = f'  comm "{object.comm}", pid {object.pid}, jiffies {object.jiffies}'
    if k.has.kmemleak_age:
        msecs = (k.mm.jiffies - object.jiffies) * 1000 // k.hz
        whose += f" (age {msecs // 1000}.{msecs % 1000:03}s)"
    crc = f" (crc {object.checksum:x})" if k.has.kmemleak_crc else ""
    lines = [
        f"unreferenced object{type_text(k, object)} 0x{object.pointer:08x} (size {object.size}):",
        whose,
        f"  hex dump (first {size} bytes):",
        *hex_rows(read_bytes(k.mm, object.pointer, size)),
        f"  backtrace{crc}:",
        *(trace_line(k, symbol) for symbol in object.trace),
    ]
    return "\n".join(lines) + "\n"


def object_info(k, object):
    """dump_object_info(): lines for the kernel's log."""
    lines = [
        f"Object{type_text(k, object)} 0x{object.pointer:08x} (size {object.size}):",
        f'  comm "{object.comm}", pid {object.pid}, jiffies {object.jiffies}',
        f"  min_count = {object.min_count}",
        f"  count = {object.count}",
        f"  flags = 0x{object.flags:x}",
        f"  checksum = {object.checksum}",
        "  backtrace:",
    ]
    return [f"kmemleak: {line}" for line in lines] + [f"     {each}" for each in object.trace]


def stack_lines(mm):
    """dump_stack(): who called, the innermost function first."""
    return ["Call Trace:", *(f" {symbol}" for symbol in reversed(mm.frames))]


def number_of(text):
    """kstrtoul() with base 0; None if the text is no number."""
    if not NUMBER.fullmatch(text):
        return None
    digits = text.strip().lstrip("+")
    octal = digits[:1] == "0" and digits[1:].isdigit()
    return int(digits, 8 if octal else 0)


def dump(k, text):
    """dump_str_object_info(): dump=ADDRESS."""
    address = number_of(text)
    if address is None or address >= 1 << 64:
        return -EINVAL
    trees = [k.tree, k.phys_tree] if k.has.kmemleak_types else [k.tree]
    found = [tree.find(address) for tree in trees]
    if not k.has.kmemleak_types:
        found = [k.lookup(address, False)]
    for object in found:
        if object is not None:
            k.log.extend(object_info(k, object))
    if any(object is not None for object in found):
        return 0
    k.print(f"Unknown object at 0x{address:08x}")
    return -EINVAL


def set_period(k, text):
    """scan=SECONDS: 0 stops the thread."""
    seconds = number_of(text)
    if seconds is None or seconds > U32_MAX:
        return -EINVAL
    k.stop_scan_thread()
    msecs = min(seconds * 1000, U32_MAX)
    if msecs:
        k.jiffies_scan_wait = msecs * k.hz // 1000
        k.start_scan_thread()
    return 0


def kmemleak_write(k, text):
    """kmemleak_write(): carries out one command: off, stack=on, stack=off, scan=on, scan=off,
    scan=SECONDS, scan, clear, dump=ADDRESS. Returns the bytes it took, or -EINVAL (-22) for
    another command, -EPERM (-1) when kmemleak is off.
    """
    size, text = len(text), text[:COMMAND_BYTES]
    result = 0
    if text.startswith("clear"):
        k.clear() if k.enabled else k.forget()
    elif not k.enabled:
        result = -EPERM
    elif text.startswith("off"):
        k.disable()
    elif text.startswith(("stack=on", "stack=off")):
        k.stack_scan = text.startswith("stack=on")
    elif text.startswith("scan=on"):
        k.start_scan_thread()
    elif text.startswith("scan=off"):
        k.stop_scan_thread()
    elif text.startswith("scan="):
        result = set_period(k, text.removeprefix("scan="))
    elif text.startswith("scan"):
        k.scan()
    elif text.startswith("dump="):
        result = dump(k, text.removeprefix("dump="))
    else:
        result = -EINVAL
    return result if result < 0 else size

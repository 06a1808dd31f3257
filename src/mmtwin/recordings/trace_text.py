"""Lines of ftrace's text (`trace`) and of `perf script` to event records.

    <idle>-0       [000] d..1.     0.596841: kmalloc: call_site=f+0xf7/0x3f0 ptr=ffff8880069f8c00
    ... (ftrace) init     1 [000]     5.082450: kmem:kfree: call_site=f+0xd0 ptr=0xffff888006a03500
    (perf)

Sources: trace_print_context() and trace_print_lat_fmt() of kernel/trace/trace_output.c, the
TP_printk of include/trace/events/kmem.h, perf_sample__fprintf_start() of tools/perf/builtin-
script.c.
"""

import cython
import numpy as np

from mmtwin.recordings.constants import NUMBERS
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.formats import FIELDS_OF_KIND
from mmtwin.recordings.interner import Interner

if not cython.compiled:
    from mmtwin.recordings.casts import (
        as_u8,
        as_u32,
        as_u64,
        copy_bytes,
        find_byte,
        get64,
        put_number,
        same_bytes,
        wrap64,
    )
    from mmtwin.recordings.constants import (
        CLOSE,
        COLON,
        DASH,
        DOT,
        EQUALS,
        EVENT_SIZE,
        GREATER,
        HASH,
        KEYS_OF_LINE,
        LAST_NODE,
        LEFT,
        NEWLINE,
        OPEN,
        PLACE_CACHE,
        PLACE_CPU,
        PLACE_EXTRA,
        PLACE_FLAGS,
        PLACE_KIND,
        PLACE_PID,
        PLACE_PREEMPT,
        PLACE_TIME,
        RIGHT,
        SLASH,
        SPACE,
        STYLE_FTRACE,
        STYLE_PERF,
        VALUE_HEX,
        VALUE_NODE,
        VALUE_NUMBER,
        VALUE_TRUTH,
    )
    from mmtwin.recordings.trace_flags import read_flags

UNKNOWN_KEY = NUMBERS["NO_KEY"]
KEYS_BY_LINE = NUMBERS["KEYS_OF_LINE"]
PASSED_OVER = (b"page", b"pageblock_order", b"fragmenting")
if not cython.compiled:
    HEX_DIGIT = bytearray(256)
for _byte in range(256):
    HEX_DIGIT[_byte] = int(chr(_byte), 16) if chr(_byte) in "0123456789abcdefABCDEF" else 255

KMALLOC = CONSTANTS["KIND_KMALLOC"]
RECORD_SIZE = EVENT.itemsize
# Keys whose values are no plain numbers; rss_stat names its member as `type` or, before 5.15,
# `member`.
HOW_OF_KEY = {
    "node": 4,
    "ptr": 1,
    "accounted": 2,
    "call_site": 3,
    "gfp_flags": 3,
    "name": 3,
    "type": 3,
}
INTERNER_OF_KEY = {"call_site": 0, "gfp_flags": 1, "name": 2, "type": 3}
PLACE_OF_KEY = {"name": "cache", "type": "order"}


class LineScanner:
    """Reads lines of one style ("ftrace" or "perf").

    `events`, `sites`, `gfp`, `names`, `types` are Interners: of an event's name (see
    trace_text.pxd), a call site's address, gfp bits, a cache's number, an rss_stat member.
    """

    def __init__(self, style, events, sites, gfp, names, types):
        self.style = ("ftrace", "perf").index(style)
        self.events = events
        self.sites = sites
        self.gfp = gfp
        self.names = names
        self.types = types
        self.nr_payloads = 0
        self.consumed = 0
        self.stopped = False
        self.line_start = 0
        self._lay_out()

    def _lay_out(self):
        """The tables of keys: where the value of each goes, and which kinds have it."""
        targets = {}
        kinds = np.zeros(256, np.uint64)
        for kind, fields in FIELDS_OF_KIND.items():
            names = {**fields, **({"name": "cache"} if "ptr" in fields else {})}
            if "member" in fields:
                names["type"] = "order"
            for key, place in names.items():
                number = targets.setdefault(key, (len(targets), place))[0]
                kinds[kind] |= np.uint64(1 << number)
        # kmalloc prints `accounted` without having recorded it
        kinds[KMALLOC] &= ~np.uint64(1 << targets["accounted"][0])
        target = np.zeros(4 * 64, np.uint32)
        for key, (number, place) in targets.items():
            dtype, offset = EVENT.fields[place]
            how = HOW_OF_KEY.get(key, 0)
            target[4 * number : 4 * number + 4] = (
                offset,
                dtype.itemsize,
                how,
                INTERNER_OF_KEY.get(key, 0),
            )
        blank = np.zeros(1, EVENT)
        blank["cache"] = blank["node"] = blank["migratetype"] = -1
        numbers = {key.encode(): number for key, (number, _place) in targets.items()}
        numbers.update({key: len(targets) + at for at, key in enumerate(PASSED_OVER)})
        self.keys = Interner(lambda key: numbers.get(key, UNKNOWN_KEY))
        self._arrays = {
            "kinds": kinds,
            "target": target,
            "blank": blank,
            "payload": np.zeros(3, np.uint64),
        }
        self.keys_of_kind = as_u64(kinds.ctypes.data, len(kinds))
        self.target = as_u32(target.ctypes.data, len(target))
        self.blank = as_u8(blank.ctypes.data, RECORD_SIZE)
        self.payload = as_u64(self._arrays["payload"].ctypes.data, 3)
        self._lay_out_keys(numbers)

    def payloads(self):
        """(row, start, end) of what follows the name of the last scan()'s carried events, as rows
        of an array.
        """
        return self._arrays["payload"][: 3 * self.nr_payloads].reshape(-1, 3)

    def scan(self, address, size, final, out_address, capacity):
        """Reads whole lines from `size` bytes at an address into records; returns the number of
        records.

        `final`: the last line may lack its newline. Empty lines and those that begin with # are
        passed over. Stops when `capacity` records are full, or behind a line that is no event
        (`stopped`; it began at `line_start`). `consumed` bytes are done with.
        """
        self.nr_payloads = 0
        self.stopped = False
        if len(self._arrays["payload"]) < 3 * capacity:
            self._arrays["payload"] = np.zeros(3 * capacity, np.uint64)
            self.payload = as_u64(self._arrays["payload"].ctypes.data, 3 * capacity)
        data = as_u8(address, size)
        out = as_u8(out_address, capacity * RECORD_SIZE)
        at = 0
        row = 0
        while at < size and row < capacity and not self.stopped:
            end = find_byte(data, at, size, NEWLINE)
            if end == size and not final:
                break
            self.line_start = at
            if at < end and data[at] != HASH:
                if self.line(data, at, end, out, row):
                    row += 1
                else:
                    self.stopped = True
            at = end + 1
        self.consumed = at if at < size else size
        return row

    def line(self, data, at, end, out, row):
        """Reads one line into a record; whether it is an event."""
        here = self.prefix(data, at, end)
        if here == 0:
            return False
        if self.style == STYLE_PERF:
            while here < end and 48 <= data[here] <= 57:  # the sample's period
                here += 1
            here = skip_spaces(data, here, end)
        start = here
        while here < end and data[here] > SLASH and data[here] != COLON:
            here += 1
            if here + 1 < end and data[here] == COLON and data[here + 1] != SPACE:
                start = here + 1  # system:event
                here = start
        if here >= end:
            return False
        stop = here
        if data[here] == OPEN:
            stop += 1
        elif data[here] == SPACE:
            if here + 3 > end or data[here + 1] != DASH or data[here + 2] != GREATER:
                return False
            stop += 3
            here += 2
        elif data[here] != COLON:
            return False
        code = self.events.find(data, start, stop)
        kind = code & 0xFF
        here += 1
        if here < end and data[here] == SPACE:
            here += 1
        if kind > 1:
            here = skip_spaces(data, here, end)
        if here > end:
            here = end
        place = row * EVENT_SIZE
        copy_bytes(out, place, self.blank, 0, EVENT_SIZE)
        put_number(out, place + PLACE_TIME, 8, self.time)
        put_number(out, place + PLACE_PID, 4, self.pid)
        put_number(out, place + PLACE_CPU, 2, self.cpu)
        out[place + PLACE_KIND] = kind
        out[place + PLACE_FLAGS] = self.flags
        out[place + PLACE_PREEMPT] = self.preempt
        out[place + PLACE_EXTRA] = (code >> 8) & 0xFF
        if kind > 1:
            self.fields(data, here, end, kind, out, place)
        elif kind == 0:
            put_number(out, place + PLACE_CACHE, 4, code >> 32)
        if (code >> 16) & 1:
            self.payload[3 * self.nr_payloads] = row
            self.payload[3 * self.nr_payloads + 1] = here
            self.payload[3 * self.nr_payloads + 2] = end
            self.nr_payloads += 1
        return True

    def prefix(self, data, at, end):
        """Reads task, CPU, flags and time; returns where the event's name begins, 0 if the line is
        of another form.
        """
        bracket = at
        while True:
            bracket = find_byte(data, bracket, end, LEFT)
            if bracket + 4 >= end:
                return 0
            here = self.task_and_cpu(data, at, bracket, end)
            if here:
                here = self.flags_and_time(data, here, end)
                if here:
                    return here
            bracket += 1

    def task_and_cpu(self, data, at, bracket, end):
        """`comm-123   [000]` around a bracket; returns the place behind it, 0 if it is none."""
        here = bracket + 1
        value = 0
        while here < end and 48 <= data[here] <= 57 and here < bracket + 6:
            value = value * 10 + data[here] - 48
            here += 1
        if (
            here == bracket + 1
            or here + 1 >= end
            or data[here] != RIGHT
            or data[here + 1] != SPACE
        ):
            return 0
        self.cpu = value
        here += 1
        back = bracket
        while back > at and data[back - 1] == SPACE:
            back -= 1
        if self.style == STYLE_FTRACE and back > at and data[back - 1] == CLOSE:
            while back > at and bracket - back < 24 and data[back - 1] != OPEN:
                back -= 1
            back -= 1
            while back > at and data[back - 1] == SPACE:
                back -= 1
        value = 0
        scale = 1
        stop = back
        while back > at and 48 <= data[back - 1] <= 57 and stop - back < 10:
            value += (data[back - 1] - 48) * scale
            scale *= 10
            back -= 1
        if scale == 1 or back == at:
            return 0
        self.pid = value
        if self.style == STYLE_FTRACE:
            return here if data[back - 1] == DASH else 0
        return here if data[back - 1] == SPACE or data[back - 1] == SLASH else 0

    def flags_and_time(self, data, here, end):
        """` d..1.

            0.596841: `; returns the place behind it, 0 if it is not that. The flags may be
        missing.
        """
        self.flags = 0
        self.preempt = 0
        here = skip_spaces(data, here, end)
        stop = find_byte(data, here, end, SPACE)
        if stop >= end or stop == here:
            return 0
        if data[stop - 1] != COLON:
            if stop - here > 8:
                return 0
            self.flags = read_flags(data, here, stop)
            if stop > here + 3:
                self.preempt = read_hex(data, here + 3, here + 4)
            if stop > here + 4:
                self.preempt |= read_hex(data, here + 4, here + 5) << 4
            here = skip_spaces(data, stop, end)
        return self.stamp(data, here, end)

    def stamp(self, data, here, end):
        """`0.596841: ` or, of a clock that counts, `596841: `; returns the place behind it, 0 if
        it is not that.
        """
        value = 0
        first = here
        while here < end and 48 <= data[here] <= 57 and here < first + 18:
            value = value * 10 + data[here] - 48
            here += 1
        if here == first or here >= end:
            return 0
        if data[here] == DOT:
            if here > first + 10:
                return 0
            here += 1
            fraction = 0
            digits = 0
            while here < end and 48 <= data[here] <= 57 and digits < 9:
                fraction = fraction * 10 + data[here] - 48
                digits += 1
                here += 1
            while digits < 9:
                fraction *= 10
                digits += 1
            value = value * 1000000000 + fraction
        if here + 1 >= end or data[here] != COLON or data[here + 1] != SPACE:
            return 0
        self.time = value
        return skip_spaces(data, here + 1, end)

    def fields(self, data, here, end, kind, out, place):
        """Reads `key=value` pairs.

        A word without `=` belongs to the value before it (`f+0x1/0x2 [module]`). Events of a kind
        print the same keys in the same order: each is first tried where it stood last time.
        """
        turn = KEYS_OF_LINE * kind
        last = turn + KEYS_OF_LINE - 1
        while here < end:
            key = self.next_key[turn]
            if self.is_key(data, here, end, key):
                equals = here + self.key_length[key]
            else:
                equals = find_byte(data, here, end, EQUALS)
                if equals == end:
                    break
                key = self.keys.find(data, here, equals)
                self.next_key[turn] = key
            if turn < last:
                turn += 1
            stop = self.value_end(data, equals + 1, end, turn)
            if (self.keys_of_kind[kind] >> key) & 1:
                self.value(data, equals + 1, stop, key, out, place)
            here = stop + 1
        return 0

    def is_key(self, data, at, end, key):
        """Whether the text at a place is `key=`, for the number of a known key."""
        length = self.key_length[key]
        if at + length >= end or data[at + length] != EQUALS:
            return False
        if at + 8 > end:
            return same_bytes(data, at, self.key_text, 32 * key, length)
        if get64(data, at) & self.key_mask[key] != self.key_head[key]:
            return False
        return length <= 8 or same_bytes(data, at + 8, self.key_text, 32 * key + 8, length - 8)

    def value_end(self, data, at, end, turn):
        """Where a value ends: before a space that another `key=` follows, or at the end."""
        stop = find_byte(data, at, end, SPACE)
        while stop < end:
            ahead = stop + 1
            if self.is_key(data, ahead, end, self.next_key[turn]):
                break
            while ahead < end and data[ahead] != SPACE and data[ahead] != EQUALS:
                ahead += 1
            if ahead < end and data[ahead] == EQUALS:
                break
            stop = ahead
        return stop

    def _lay_out_keys(self, numbers):
        """The texts of known keys by number; 0xFF begins the one that stands for all others."""
        heads, masks = np.full(64, 0xFF, np.uint64), np.full(64, 0xFF, np.uint64)
        lengths, texts = np.zeros(64, np.uint32), np.zeros(64 * 32, np.uint8)
        following = np.full(256 * KEYS_BY_LINE, UNKNOWN_KEY, np.uint8)
        texts[32 * UNKNOWN_KEY] = 0xFF
        for key, number in numbers.items():
            width = min(len(key), 8)
            heads[number] = int.from_bytes(key[:8], "little")
            masks[number] = (1 << 8 * width) - 1
            lengths[number] = len(key)
            texts[32 * number : 32 * number + len(key)] = np.frombuffer(key, np.uint8)
        self._arrays.update(
            heads=heads, masks=masks, lengths=lengths, texts=texts, following=following
        )
        self.key_head = as_u64(heads.ctypes.data, 64)
        self.key_mask = as_u64(masks.ctypes.data, 64)
        self.key_length = as_u32(lengths.ctypes.data, 64)
        self.key_text = as_u8(texts.ctypes.data, 64 * 32)
        self.next_key = as_u8(following.ctypes.data, len(following))

    def value(self, data, at, end, key, out, place):
        """Stores the value of one key."""
        how = self.target[4 * key + 2]
        if how == VALUE_NUMBER:
            value = read_number(data, at, end)
        elif how == VALUE_NODE:
            value = read_number(data, at, end)
            if value >> 63 == 0 and value > LAST_NODE:
                value = LAST_NODE
        elif how == VALUE_HEX:
            value = read_hex(data, at, end)
        elif how == VALUE_TRUTH:
            value = 1 if at < end and (data[at] == 116 or data[at] == 49) else 0
            value |= out[place + PLACE_EXTRA]
        else:
            number = self.target[4 * key + 3]
            if number == 0:
                value = self.sites.find(data, at, end)
            elif number == 1:
                value = self.gfp.find(data, at, end)
            elif number == 2:
                value = self.names.find(data, at, end)
            else:
                value = self.types.find(data, at, end)
        put_number(out, place + self.target[4 * key], self.target[4 * key + 1], value)
        return 0


def skip_spaces(data, at, end):
    """The first place that is no space."""
    while at < end and data[at] == SPACE:
        at += 1
    return at


def read_number(data, at, end):
    """`-1`, `12`, `0x1f`, up to the first other character; as unsigned 64 bits."""
    if at + 1 < end and data[at] == 48 and (data[at + 1] | 32) == 120:
        return read_hex(data, at, end)
    negative = at < end and data[at] == DASH
    if negative:
        at += 1
    value = 0
    while at < end and 48 <= data[at] <= 57:
        value = wrap64(value * 10 + data[at] - 48)
        at += 1
    return wrap64(0 - value) if negative else value


def read_hex(data, at, end):
    """Hexadecimal digits, `0x` before them or not, up to the first other character."""
    if at + 1 < end and data[at] == 48 and (data[at + 1] | 32) == 120:
        at += 2
    value = 0
    while at < end:
        byte = HEX_DIGIT[data[at]]
        if byte > 15:
            break
        value = wrap64((value << 4) | byte)
        at += 1
    return value

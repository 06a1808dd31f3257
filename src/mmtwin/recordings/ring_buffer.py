"""Pages of ftrace's ring buffer to event records, by the `format` files that came with them.

A page (kernel/trace/ring_buffer.c, struct buffer_data_page): u64 time stamp, commit (bits 0-19
bytes of data that follow, bit 31 events were lost before this page, bit 30 their number stands
behind the data), then records. A record begins with u32 `type_len` (5 bits), `time_delta` (27
bits).
"""

from collections import Counter

import cython
import numpy as np

from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.formats import COPIED_SIZES, EXTRA_NODE_EVENT, join_runs, program_of

if not cython.compiled:
    from mmtwin.recordings.casts import (
        as_u8,
        as_u32,
        as_u64,
        copy_bytes,
        get16,
        get32,
        get64,
        get_number,
        put_number,
        wrap64,
    )
    from mmtwin.recordings.constants import (
        EVENT_SIZE,
        HOW_DATA_LOC,
        HOW_NODE,
        HOW_NUMBER,
        HOW_REL_LOC,
        LAST_NODE,
        LAST_SHORT,
        PADDING,
        PLACE_CPU,
        PLACE_TIME,
        TIME_EXTEND,
    )

IDS = 1 << 16
RECORD_SIZE = EVENT.itemsize


class PageDecoder:
    """Decodes pages of one kernel's ring buffers.

    `formats`: {event id: Format}; `layout`: PageLayout; `names`: Interner of cache and event
    names. An event of an id that has no format is kept as KIND_OTHER of the name `event-ID`.
    `carry(name)` says of an event of KIND_OTHER whether the caller wants its bytes besides the
    record (`payloads`); those of markers always are.
    """

    def __init__(self, formats, layout, names, carry):
        self.formats = formats
        self.names = names
        self.layout = layout
        self.page_size = layout.size
        self.page_data = layout.data
        self.losses = []
        self.failure = None
        self.failed_at = 0
        self.nr_payloads = 0
        self.nr_apart = 0
        self.carry = carry
        self._lay_out()

    def _lay_out(self):
        """Tables by event id; the kernel gives what is never touched no memory."""
        arrays = {
            "seen": np.zeros(IDS, np.uint8),
            "apart": np.zeros(IDS, np.uint8),
            "carried": np.zeros(IDS, np.uint8),
            "needs": np.zeros(IDS, np.uint32),
            "first_move": np.zeros(IDS, np.uint32),
            "nr_moves": np.zeros(IDS, np.uint32),
            "first_copy": np.zeros(IDS, np.uint32),
            "end_copy16": np.zeros(IDS, np.uint32),
            "end_copy8": np.zeros(IDS, np.uint32),
            "end_copy4": np.zeros(IDS, np.uint32),
            "end_copy1": np.zeros(IDS, np.uint32),
            "count": np.zeros(IDS, np.uint64),
            "template": np.zeros(IDS * RECORD_SIZE, np.uint8),
            "payload": np.zeros(3, np.uint64),
        }
        self._arrays = arrays
        self.moves = []
        self.copies = []
        self.seen = as_u8(arrays["seen"].ctypes.data, IDS)
        self.apart = as_u8(arrays["apart"].ctypes.data, IDS)
        self.carried = as_u8(arrays["carried"].ctypes.data, IDS)
        self.needs = as_u32(arrays["needs"].ctypes.data, IDS)
        self.first_move = as_u32(arrays["first_move"].ctypes.data, IDS)
        self.nr_moves = as_u32(arrays["nr_moves"].ctypes.data, IDS)
        self.first_copy = as_u32(arrays["first_copy"].ctypes.data, IDS)
        self.end_copy16 = as_u32(arrays["end_copy16"].ctypes.data, IDS)
        self.end_copy8 = as_u32(arrays["end_copy8"].ctypes.data, IDS)
        self.end_copy4 = as_u32(arrays["end_copy4"].ctypes.data, IDS)
        self.end_copy1 = as_u32(arrays["end_copy1"].ctypes.data, IDS)
        self.count = as_u64(arrays["count"].ctypes.data, IDS)
        self.template = as_u8(arrays["template"].ctypes.data, IDS * RECORD_SIZE)
        self.payload = as_u64(arrays["payload"].ctypes.data, 3)

    def _compile(self, number, layout):
        """The moves of an event's fields, behind those of the events met before: first what only
        is copied, in runs as long as both sides have them, then the others.
        """
        program = program_of(layout)
        plain = [m for m in program if not m[5] and m[4] <= m[1]]
        runs = join_runs([(0, PLACE_CPU, 2), *((m[0], m[3], m[4]) for m in plain)])
        arrays = self._arrays
        arrays["first_copy"][number] = 2 * len(self.copies)
        for size in COPIED_SIZES:
            self.copies += [run[:2] for run in runs if run[2] == size]
            arrays[f"end_copy{size}"][number] = 2 * len(self.copies)
        arrays["first_move"][number] = len(self.moves)
        self.moves += [m for m in program if m not in plain]
        arrays["nr_moves"][number] = len(self.moves) - arrays["first_move"][number]
        arrays["needs"][number] = layout.end
        arrays["move"] = np.array(self.moves or [(0,) * 6], np.uint32).ravel()
        self.move = as_u32(arrays["move"].ctypes.data, len(arrays["move"]))
        arrays["copy"] = np.array(self.copies, np.uint32).ravel()
        self.copy = as_u32(arrays["copy"].ctypes.data, len(arrays["copy"]))

    def counts(self):
        """{event name: events decoded}."""
        decoded = Counter()
        for number in np.flatnonzero(self._arrays["count"]):
            decoded[self.event_name(int(number))] += int(self._arrays["count"][number])
        return dict(decoded)

    def event_name(self, number):
        """The name of an event id."""
        return self.formats[number].name if number in self.formats else f"event-{number}"

    def payloads(self):
        """(row, start, end) of the last decode()'s carried events, as rows of an array."""
        return self._arrays["payload"][: 3 * self.nr_payloads].reshape(-1, 3)

    def rows_at_most(self, size):
        """How many events `size` bytes of pages can hold: a record has 8 bytes or more."""
        return size // 8 + 1

    def meet(self, number):
        """First event of an id: its template, and its name where the record needs it."""
        layout = self.formats.get(number)
        kind = layout.kind if layout else CONSTANTS["KIND_OTHER"]
        record = np.zeros(1, EVENT)
        record["kind"] = kind
        record["cache"] = -1
        record["node"] = -1
        record["migratetype"] = -1
        if layout and kind and layout.name.endswith("_node"):
            record["extra"] = EXTRA_NODE_EVENT
        if kind == CONSTANTS["KIND_OTHER"]:
            name = self.event_name(number)
            record["cache"] = self.names.number(name.encode())
            self._arrays["apart"][number] = 1
            self._arrays["carried"][number] = self.carry(name)
        if layout:
            self._compile(number, layout)
        else:
            self._arrays["needs"][number] = 8
        start = number * RECORD_SIZE
        self._arrays["template"][start : start + RECORD_SIZE] = record.view(np.uint8)
        if kind == CONSTANTS["KIND_MARKER"]:
            self._arrays["apart"][number] = 1
            self._arrays["carried"][number] = 1
        self._arrays["seen"][number] = 1

    def decode(self, address, size, cpu, out_address, capacity):
        """Decodes whole pages at an address (`size` bytes) into event records; returns their
        number.

        `capacity` must be at least rows_at_most(size). Stops at a broken record: `failure` says
        what is wrong with the byte `failed_at`; the records before it are there.
        """
        self.failure = None
        self.nr_payloads = 0
        self.nr_apart = 0
        self.losses = []
        if capacity < self.rows_at_most(size) or size % self.page_size:
            raise ValueError("too little room for the events, or no whole pages")
        if len(self._arrays["payload"]) < 3 * capacity:
            self._arrays["payload"] = np.zeros(3 * capacity, np.uint64)
            self.payload = as_u64(self._arrays["payload"].ctypes.data, 3 * capacity)
        data = as_u8(address, size)
        out = as_u8(out_address, capacity * EVENT_SIZE)
        row = 0
        at = 0
        while at < size:
            row = self.page(data, at, cpu, out, row)
            if self.failure is not None:
                break
            at += self.page_size
        return row

    def fail(self, at, message):
        """Notes why decoding stops here."""
        self.failed_at = at
        self.failure = message
        return 0

    def lost(self, data, at, end, commit, row):
        """Notes events that were lost before the page at `at`; -1 where the kernel did not say how
        many.
        """
        number = -1
        if (commit >> 30) & 1 and end + 8 <= at + self.page_size:
            number = get64(data, end)
        self.losses.append((int(row), int(number)))
        return 0

    def page(self, data, at, cpu, out, row):
        """Decodes one page; returns the next row."""
        time = get64(data, at)
        commit = get_number(data, at + 8, self.page_data - 8, 0)
        length = commit & 0xFFFFF
        here = at + self.page_data
        end = here + length
        if length > self.page_size - self.page_data:
            self.fail(at + 8, f"a page that claims {int(length)} bytes of data")
            return row
        if (commit >> 31) & 1:
            self.lost(data, at, end, commit, row)
        while here < end:
            if end - here < 4:
                self.fail(here, "a record cut short by the end of the page")
                return row
            header = get32(data, here)
            kind = header & 31
            step = header >> 5
            if 0 < kind <= LAST_SHORT:
                length = 4 * kind
                time = wrap64(time + step)
                here += 4
            elif kind == PADDING and step == 0:
                break
            else:
                if end - here < 8:
                    self.fail(here, "a record cut short by the end of the page")
                    return row
                length = get32(data, here + 4)
                here += 4
                if kind == 0:
                    if length < 4:
                        self.fail(here, f"an event that claims {int(length)} bytes")
                        return row
                    time = wrap64(time + step)
                    length -= 4
                    here += 4
                elif kind != PADDING:
                    step += length << 27
                    length = 4
                    time = wrap64(time + step) if kind == TIME_EXTEND else time >> 59 << 59 | step
                elif length < 4:
                    self.fail(here, "padding that leads nowhere")
                    return row
            if length > end - here:
                self.fail(
                    here, f"a record of {int(length)} bytes where {int(end - here)} are left"
                )
                return row
            if kind <= LAST_SHORT:
                self.record(data, here, here + length, time, cpu, out, row)
                if self.failure is not None:
                    return row
                row += 1
            here += length
        return row

    def record(self, data, start, end, time, cpu, out, row):
        """Fills the record of one event."""
        if end - start < 2:
            return self.fail(start, "an event without a type")
        number = get16(data, start)
        if not self.seen[number]:
            self.meet(int(number))
        if end - start < self.needs[number]:
            name, needs = self.event_name(int(number)), int(self.needs[number])
            return self.fail(start, f"{name} needs {needs} bytes, has {int(end - start)}")
        place = row * EVENT_SIZE
        copy_bytes(out, place, self.template, number * EVENT_SIZE, EVENT_SIZE)
        copy = self.copy  # a local: no store through `out` can change it
        base = self.first_copy[number]
        end16 = self.end_copy16[number]
        end8 = self.end_copy8[number]
        end4 = self.end_copy4[number]
        end1 = self.end_copy1[number]
        while base < end16:
            copy_bytes(out, place + copy[base + 1], data, start + copy[base], 16)
            base += 2
        while base < end8:
            put_number(out, place + copy[base + 1], 8, get64(data, start + copy[base]))
            base += 2
        while base < end4:
            put_number(out, place + copy[base + 1], 4, get32(data, start + copy[base]))
            base += 2
        while base < end1:
            out[place + copy[base + 1]] = data[start + copy[base]]
            base += 2
        put_number(out, place + PLACE_TIME, 8, time)
        put_number(out, place + PLACE_CPU, 2, cpu)
        last = 6 * (self.first_move[number] + self.nr_moves[number])
        for base in range(6 * self.first_move[number], last, 6):
            move = start + self.move[base]
            how = self.move[base + 5]
            if how == HOW_NUMBER:
                value = get_number(data, move, self.move[base + 1], self.move[base + 2])
            elif how == HOW_NODE:
                value = get_number(data, move, self.move[base + 1], self.move[base + 2])
                if value >> 63 == 0 and value > LAST_NODE:
                    value = LAST_NODE
            else:
                value = self.name(data, start, end, base)
                if self.failure is not None:
                    return 0
            put_number(out, place + self.move[base + 3], self.move[base + 4], value)
        self.count[number] += 1
        if self.apart[number]:
            self.nr_apart += 1
            if self.carried[number]:
                base = 3 * self.nr_payloads
                self.payload[base] = row
                self.payload[base + 1] = start
                self.payload[base + 2] = end
                self.nr_payloads += 1
        return 0

    def name(self, data, start, end, base):
        """The number of the name that a text field holds."""
        first = start + self.move[base]
        stop = first + self.move[base + 1]
        if self.move[base + 5] == HOW_DATA_LOC or self.move[base + 5] == HOW_REL_LOC:
            where = get32(data, first)
            first = (start if self.move[base + 5] == HOW_DATA_LOC else stop) + (where & 0xFFFF)
            stop = first + (where >> 16)
        if stop > end:
            self.fail(start, "a name that lies outside its event")
            return 0
        end = first
        while end < stop and data[end]:
            end += 1
        return self.names.find(data, first, end)

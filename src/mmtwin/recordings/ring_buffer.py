"""Pages of ftrace's ring buffer to event records, by the `format` files that came with them.

A page (kernel/trace/ring_buffer.c, struct buffer_data_page): u64 time stamp, commit (bits 0-19
bytes of data that follow, bit 31 events were lost before this page, bit 30 their number stands
behind the data), then records. A record begins with u32 `type_len` (5 bits), `time_delta` (27
bits).
"""

from collections import Counter

import cython
import numpy as np

from mmtwin.kernel.structs import parse_structs
from mmtwin.package_files import files
from mmtwin.recordings.event import CONSTANTS, EVENT
from mmtwin.recordings.formats import EXTRA_NODE_EVENT, pieces_of, program_of

TEXT = files(__package__).joinpath("ring_buffer.pxd").read_text()
PLAN = parse_structs(TEXT)["plan_t"]

if not cython.compiled:
    from mmtwin.recordings.casts import (
        as_u8,
        as_u32,
        as_u64,
        find_byte,
        get16,
        get32,
        get64,
        get_number,
        put64,
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
        PLACE_NODE,
        REST_APART,
        REST_CARRIED,
        REST_MOVES,
        SLACK,
        TIME_EXTEND,
    )

    def as_plans(address, count):
        """The records at an address."""
        return (PLAN * count).from_address(address)

    def plan_at(plans, number):
        """One record of an array."""
        return plans[number]

    def piece(data, start, plan, number):
        """A piece of a record's word out of the event at `start`."""
        return get64(data, start + plan.at[number]) & plan.mask[number]

IDS = 1 << 16


class PageDecoder:
    """Decodes pages of one kernel's ring buffers.

    `formats`: {event id: Format}; `layout`: PageLayout; `names`: Interner of cache and event
    names. An event of an id that has no format is kept as KIND_OTHER of the name `event-ID`.
    `carry(name)` says of an event of KIND_OTHER whether the caller wants its bytes besides the
    record (`payloads`); those of markers always are.
    """

    def __init__(self, formats, layout, names, carry):
        self.formats = formats
        self.slack = SLACK
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
        """The plans by event id; the kernel gives what is never touched no memory."""
        plans = np.zeros(IDS, np.dtype(PLAN))
        self._arrays = {"plan": plans, "payload": np.zeros(3, np.uint64)}
        self.moves = []
        self.plans = as_plans(plans.ctypes.data, IDS)
        self.payload = as_u64(self._arrays["payload"].ctypes.data, 3)

    def _compile(self, number, layout):
        """The pieces and moves of an event's fields, these behind those of the events met before.
        """
        plan = self._arrays["plan"][number]
        pieces, node, left = pieces_of(program_of(layout))
        for place, (at, mask) in pieces.items():
            plan["at"][place], plan["mask"][place] = at, mask
            plan["base"][min(place + 1, 7)] &= ~np.uint64(mask)
        if node is not None:
            plan["node_at"], plan["node_mask"] = node, 0xFFFFFFFF - LAST_NODE
        plan["first_move"], plan["nr_moves"] = len(self.moves), len(left)
        self.moves += left
        if left:
            plan["rest"] |= REST_MOVES
        plan["needs"] = max(layout.end, 8)
        self._arrays["move"] = np.array(self.moves or [(0,) * 6], np.uint32).ravel()
        self.move = as_u32(self._arrays["move"].ctypes.data, len(self._arrays["move"]))

    def counts(self):
        """{event name: events decoded}."""
        decoded = Counter()
        counts = self._arrays["plan"]["count"]
        for number in np.flatnonzero(counts):
            decoded[self.event_name(int(number))] += int(counts[number])
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
        """First event of an id: its plan, and its name where the record needs it."""
        layout = self.formats.get(number)
        kind = layout.kind if layout else CONSTANTS["KIND_OTHER"]
        plan = self._arrays["plan"][number]
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
            plan["rest"] = REST_APART
            if self.carry(name):
                plan["rest"] |= REST_CARRIED
        if kind == CONSTANTS["KIND_MARKER"]:
            plan["rest"] = REST_APART | REST_CARRIED
        plan["base"] = record.view(np.uint64)
        if layout:
            self._compile(number, layout)
        else:
            plan["needs"] = 8

    def decode(self, address, size, cpu, out_address, capacity):
        """Decodes whole pages at an address (`size` bytes) into event records; returns their
        number.

        SLACK bytes behind the pages must be readable. `capacity` must be at least
        rows_at_most(size). Stops at a broken record: `failure` says what is wrong with the byte
        `failed_at`; the records before it are there.
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
        data = as_u8(address, size + SLACK)
        out = as_u8(out_address, capacity * EVENT_SIZE)
        self.row = 0
        at = 0
        while at < size and not self.page(data, at, cpu, out):
            at += self.page_size
        return self.row

    def fail(self, at, message):
        """Notes why decoding stops here."""
        self.failed_at = at
        self.failure = message
        return 1

    def lost(self, data, at, end, commit):
        """Notes events that were lost before the page at `at`; -1 where the kernel did not say how
        many.
        """
        number = -1
        if (commit >> 30) & 1 and end + 8 <= at + self.page_size:
            number = get64(data, end)
        self.losses.append((int(self.row), int(number)))
        return 0

    def page(self, data, at, cpu, out):
        """Decodes one page; whether it failed."""
        commit = get_number(data, at + 8, self.page_data - 8, 0)
        length = commit & 0xFFFFF
        self.time = get64(data, at)
        self.here = at + self.page_data
        end = self.here + length
        if length > self.page_size - self.page_data:
            return self.fail(at + 8, f"a page that claims {int(length)} bytes of data")
        if (commit >> 31) & 1:
            self.lost(data, at, end, commit)
        while not self.records(data, end, cpu, out):
            if self.here >= end:
                return 0
            if self.other_record(data, end):
                break
        return 1

    def records(self, data, end, cpu, out):
        """Decodes events, up to a record that is none; whether one failed."""
        here = self.here
        time = self.time
        row = self.row
        while end - here >= 8:
            header = get32(data, here)
            start = here + 4
            length = 4 * (header & 31)
            if length == 0:
                length = wrap64(get32(data, start) - 4)
                start += 4
            if header & 31 > LAST_SHORT or length > end - start:
                break
            plan = plan_at(self.plans, get16(data, start))
            new = plan.needs == 0
            if (new or length < plan.needs) and self.new_or_short(data, start, length):
                self.row = row
                return 1
            first = plan.base[1] | piece(data, start, plan, 0) | cpu
            site = plan.base[2] | piece(data, start, plan, 1)
            address = plan.base[3] | piece(data, start, plan, 2)
            req = plan.base[4] | piece(data, start, plan, 3)
            alloc = plan.base[5] | piece(data, start, plan, 4)
            names = plan.base[6] | piece(data, start, plan, 5)
            last = plan.base[7] | piece(data, start, plan, 6)
            last |= piece(data, start, plan, 7) | piece(data, start, plan, 8)
            node = get32(data, start + plan.node_at) & plan.node_mask
            plan.count += 1
            time = wrap64(time + (header >> 5))
            place = row * EVENT_SIZE
            put64(out, place, time)
            put64(out, place + 8, first)
            put64(out, place + 16, site)
            put64(out, place + 24, address)
            put64(out, place + 32, req)
            put64(out, place + 40, alloc)
            put64(out, place + 48, names)
            put64(out, place + 56, last)
            if node != 0 and node >> 31 == 0:
                out[place + PLACE_NODE] = LAST_NODE
            here = start + length
            row += 1
            if plan.rest and self.more(plan, data, start, here, out, row - 1):
                self.row = row - 1
                return 1
        self.here = here
        self.time = time
        self.row = row
        return 0

    def other_record(self, data, end):
        """A record that is no event, or a broken one; whether that."""
        here = self.here
        header = get32(data, here)
        kind = header & 31
        step = header >> 5
        if end - here < 4:
            return self.fail(here, "a record cut short by the end of the page")
        here += 4
        if 0 < kind <= LAST_SHORT:
            length = 4 * kind
        elif kind == PADDING and step == 0:
            length = end - here
        else:
            if end - here < 4:
                return self.fail(self.here, "a record cut short by the end of the page")
            length = get32(data, here)
            if kind == 0:
                here += 4
                if length < 4:
                    return self.fail(here - 4, f"an event that claims {int(length)} bytes")
                length -= 4
            elif kind != PADDING:
                step += length << 27
                length = 4
                if kind == TIME_EXTEND:
                    self.time = wrap64(self.time + step)
                else:
                    self.time = self.time >> 59 << 59 | step
            elif length < 4:
                return self.fail(here, "padding that leads nowhere")
        if length > end - here or kind <= LAST_SHORT:
            left = int(end - here)
            return self.fail(here, f"a record of {int(length)} bytes where {left} are left")
        self.here = here + length
        return 0

    def new_or_short(self, data, start, length):
        """The first event of an id, or one that may be too short; whether it is."""
        if length < 2:
            return self.fail(start, "an event without a type")
        number = int(get16(data, start))
        if self._arrays["plan"]["needs"][number] == 0:
            self.meet(number)
        needs = int(self._arrays["plan"]["needs"][number])
        if length >= needs:
            return 0
        name = self.event_name(number)
        return self.fail(start, f"{name} needs {needs} bytes, has {int(length)}")

    def more(self, plan, data, start, end, out, row):
        """What of an event its pieces cannot do: names, numbers made wider, its bytes kept;
        whether it failed.
        """
        place = row * EVENT_SIZE
        last = 6 * (plan.first_move + plan.nr_moves)
        for base in range(6 * plan.first_move, last, 6):
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
                    return 1
            put_number(out, place + self.move[base + 3], self.move[base + 4], value)
        if plan.rest & REST_APART:
            self.nr_apart += 1
        if plan.rest & REST_CARRIED:
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
        return self.names.find(data, first, find_byte(data, first, stop, 0))

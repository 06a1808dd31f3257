"""The recording's live objects: who asked for each, how large it is, where the twin has it.

One open-addressing table (linear probing, closed up on removal), so that an event costs one
look-up. It grows only between blocks of events: `reserve()` first.
"""

from importlib.resources import files

import cython
import numpy as np

from mmtwin.kernel.constants import parse_constants
from mmtwin.kernel.structs import parse_structs

TEXT = files(__package__).joinpath("objects.pxd").read_text()
STRUCTS = parse_structs(TEXT)
CALLER = np.dtype([
    ("call_site", "u8"), ("allocs", "i8"), ("bytes_req", "i8"), ("bytes_alloc", "i8"),
    ("live_objects", "i8"), ("live_bytes", "i8"),
])  # fmt: skip

if not cython.compiled:
    CALLERS = parse_constants(TEXT)["CALLERS"]

    def as_objects(address, count):
        """The records at an address."""
        return (STRUCTS["object_t"] * count).from_address(address)

    def as_callers(address, count):
        """The records at an address."""
        return (STRUCTS["caller_t"] * count).from_address(address)

    def object_at(objects, place):
        """One record of an array."""
        return objects[place]

    def caller_at(callers, place):
        """One record of an array."""
        return callers[place]

    def hash_address(address):
        """A hash of an address: its high bits are good."""
        return (address * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 20


class Objects:
    """Live objects by their recorded address, and the sums of their callers."""

    def __init__(self):
        callers = np.zeros(CALLERS, dtype=np.dtype(STRUCTS["caller_t"]))
        self._buffers = {"callers": callers}
        self.callers = as_callers(callers.ctypes.data, len(callers))
        self.live = 0
        self.nr_callers = 0
        self.sure = False
        self.epoch = 0
        self.mask = 0
        self.reserve(1 << 15)

    def reserve(self, count):
        """Makes room for `count` more objects."""
        size = max(self.mask + 1, 1 << 10)
        while size < 2 * (self.live + count):
            size *= 2
        if size == self.mask + 1:
            return
        table = np.zeros(size, dtype=np.dtype(STRUCTS["object_t"]))
        old = self._buffers.get("table")
        self._buffers["table"] = table
        self.table = as_objects(table.ctypes.data, size)
        self.mask = size - 1
        if old is not None:
            self._fill(as_objects(old.ctypes.data, len(old)), len(old))

    def _fill(self, old, count):
        """Takes over the objects of a smaller table."""
        for i in range(count):
            object = object_at(old, i)
            if object.address == 0:
                continue
            place = hash_address(object.address) & self.mask
            while self.table[place].address != 0:
                place = (place + 1) & self.mask
            self.table[place].address = object.address
            self.table[place].twin = object.twin
            self.table[place].caller = object.caller
            self.table[place].bytes_req = object.bytes_req
            self.table[place].bytes_alloc = object.bytes_alloc
            self.table[place].epoch = object.epoch

    def add(self, address, twin, call_site, bytes_req, bytes_alloc):
        """An object is given out; one of that address that was there (its free was not seen) is
        replaced.
        """
        place = hash_address(address) & self.mask
        object = object_at(self.table, place)
        while object.address != 0 and object.address != address:
            place = (place + 1) & self.mask
            object = object_at(self.table, place)
        if object.address == 0:
            self.live += 1
        object.address = address
        object.twin = twin
        object.caller = self._caller(call_site)
        object.bytes_req = bytes_req
        object.bytes_alloc = bytes_alloc
        object.epoch = self.epoch
        caller = caller_at(self.callers, object.caller)
        caller.allocs += 1
        caller.bytes_req += object.bytes_req
        caller.bytes_alloc += object.bytes_alloc

    def doubt(self):
        """Slabs were given up or objects not taken over: the twin may not have what it was said to
        have.
        """
        self.epoch += 1

    def remove(self, address):
        """An object is given back: its address in the twin, 0 if nobody knows it.

        `sure` then says that no `doubt()` came since it was given out.
        """
        self.sure = False
        place = hash_address(address) & self.mask
        object = object_at(self.table, place)
        while object.address != address:
            if object.address == 0:
                return 0
            place = (place + 1) & self.mask
            object = object_at(self.table, place)
        twin = object.twin
        self.sure = twin != 0 and object.epoch == self.epoch
        self.live -= 1
        self._close(place)
        return twin

    def call_site_of(self, address):
        """Who asked for a live object, 0 if nobody knows."""
        place = hash_address(address) & self.mask
        while self.table[place].address != address:
            if self.table[place].address == 0:
                return 0
            place = (place + 1) & self.mask
        return caller_at(self.callers, self.table[place].caller).call_site

    def _close(self, hole):
        """Moves up what was probed over a place that is free now."""
        place = (hole + 1) & self.mask
        while self.table[place].address != 0:
            home = hash_address(self.table[place].address) & self.mask
            if ((place - home) & self.mask) >= ((place - hole) & self.mask):
                self.table[hole] = self.table[place]
                hole = place
            place = (place + 1) & self.mask
        self.table[hole].address = 0

    def _caller(self, call_site):
        """The number of a caller, added if it is new and there is room."""
        place = hash_address(call_site + 1) & (CALLERS - 1)
        while self.callers[place].used != 0:
            if self.callers[place].call_site == call_site:
                return place
            place = (place + 1) & (CALLERS - 1)
        if self.nr_callers >= CALLERS - CALLERS // 8:
            return CALLERS - 1
        self.nr_callers += 1
        self.callers[place].used = 1
        self.callers[place].call_site = call_site
        return place

    def caller_records(self):
        """The callers as numpy records: call_site, allocs, bytes_req, bytes_alloc of all their
        objects so far, live_objects, live_bytes of those that are live.
        """
        callers = self._buffers["callers"]
        live = self.records()
        count = np.bincount(live["caller"], minlength=CALLERS)
        size = np.bincount(live["caller"], weights=live["bytes_alloc"], minlength=CALLERS)
        used = np.flatnonzero(callers["allocs"] > 0)
        records = np.zeros(len(used), dtype=CALLER)
        for name in ("call_site", "allocs", "bytes_req", "bytes_alloc"):
            records[name] = callers[name][used]
        records["live_objects"] = count[used]
        records["live_bytes"] = size[used]
        return records

    def records(self):
        """The live objects as numpy records: address, twin, caller, bytes_req, bytes_alloc."""
        table = self._buffers["table"]
        return table[table["address"] != 0]

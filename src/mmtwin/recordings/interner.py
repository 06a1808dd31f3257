"""Short texts to numbers, at the speed of a hash table: names of caches and events, symbols, gfp
flags.
"""

import cython
import numpy as np

if not cython.compiled:
    from mmtwin.recordings.casts import (
        as_u8,
        as_u32,
        as_u64,
        hash_bytes,
        same_bytes,
        take_bytes,
    )
    from mmtwin.recordings.constants import PROBES

FIRST_SLOTS = 1024


class Interner:
    """A function of short texts, each worked out once.

    `make(text: bytes) -> int` gives the number (unsigned 64 bit) of a text met for the first time.
    `values` is the dictionary of all; compiled code looks into a table of its own first.
    """

    def __init__(self, make):
        self.make = make
        self.values = {}
        self._arrays = {}
        self._lay_out(FIRST_SLOTS)

    def _lay_out(self, slots):
        """An empty table of that many slots (a power of two)."""
        self.mask = slots - 1
        self.used = 0
        self.text_end = 0
        self.text_size = slots * 32
        arrays = {
            "hash": np.zeros(slots, np.uint64),
            "start": np.zeros(slots, np.uint64),
            "length": np.zeros(slots, np.uint32),
            "value": np.zeros(slots, np.uint64),
            "text": np.zeros(self.text_size, np.uint8),
        }
        self._arrays = arrays
        self.slot_hash = as_u64(arrays["hash"].ctypes.data, slots)
        self.slot_start = as_u64(arrays["start"].ctypes.data, slots)
        self.slot_length = as_u32(arrays["length"].ctypes.data, slots)
        self.slot_value = as_u64(arrays["value"].ctypes.data, slots)
        self.text = as_u8(arrays["text"].ctypes.data, self.text_size)

    def find(self, data, start, end):
        """The number of the text data[start:end]."""
        if not cython.compiled:
            return self.number(take_bytes(data, start, end))
        hashed = hash_bytes(data, start, end)
        slot = hashed & self.mask
        for _probe in range(PROBES):
            if self.slot_hash[slot] == 0:
                break
            place = self.slot_start[slot]
            if (
                self.slot_hash[slot] == hashed
                and self.slot_length[slot] == end - start
                and same_bytes(data, start, self.text, place, end - start)
            ):
                return self.slot_value[slot]
            slot = (slot + 1) & self.mask
        return self.miss(take_bytes(data, start, end), hashed)

    def miss(self, key, hashed):
        """The number of a text that the table lacks; the table has it afterwards, if there is room
        near.
        """
        value = self.number(key)
        if self.used * 2 > self.mask or self.text_end + len(key) > self.text_size:
            self._lay_out((self.mask + 1) * 2)
            for text, number in self.values.items():
                self._insert(text, number)
        elif hashed:
            self._insert(key, value)
        return value

    def _insert(self, key, value):
        """Puts a text into a free slot near its hash; leaves it to the dictionary if there is
        none.
        """
        if not cython.compiled:
            return 0
        raw = np.frombuffer(key + b"\0", np.uint8)
        size = len(key)
        hashed = hash_bytes(as_u8(raw.ctypes.data, size), 0, size)
        slot = hashed & self.mask
        if self.text_end + size > self.text_size:
            return 0
        for _probe in range(PROBES):
            if self.slot_hash[slot] == 0:
                self._arrays["text"][self.text_end : self.text_end + size] = raw[:size]
                self.slot_hash[slot] = hashed
                self.slot_start[slot] = self.text_end
                self.slot_length[slot] = size
                self.slot_value[slot] = value
                self.text_end += size
                self.used += 1
                return 0
            slot = (slot + 1) & self.mask
        return 0

    def number(self, key):
        """The number of a text, as a Python call."""
        value = self.values.get(key)
        if value is None:
            value = self.make(key)
            self.values[key] = value
        return value

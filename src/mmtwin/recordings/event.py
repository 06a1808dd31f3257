"""The event record of event.pxd as a numpy dtype and a ctypes structure, and its constants."""

import ctypes
import re

import numpy as np

from mmtwin.package_files import files

C_TYPES = {
    "u8": ctypes.c_uint8,
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
    "s8": ctypes.c_int8,
    "s16": ctypes.c_int16,
    "s32": ctypes.c_int32,
}
TEXT = files(__package__).joinpath("event.pxd").read_text()
FIELDS = re.findall(r"^    ([us]\d+) (\w+)(?=[ \n])", TEXT, re.M)


class event_t(ctypes.Structure):
    """The record as ctypes; its fields are event.pxd's."""

    _fields_ = [(name, C_TYPES[c_type]) for c_type, name in FIELDS]


EVENT = np.dtype(event_t)
CONSTANTS = {
    name: int(value, 0)
    for name, value in re.findall(r"^    ((?:KIND|ROLE|EXTRA)_\w+) = (\w+)", TEXT, re.M)
}
globals().update(CONSTANTS)

# The kernel's event names by kind, and the kind of every name a kernel uses.
KIND_NAMES = {
    value: name.removeprefix("KIND_").lower()
    for name, value in CONSTANTS.items()
    if name.startswith("KIND_")
}
KIND_OF_NAME = {
    **{name: value for value, name in KIND_NAMES.items()},
    "kmalloc_node": CONSTANTS["KIND_KMALLOC"],
    "kmem_cache_alloc_node": CONSTANTS["KIND_KMEM_CACHE_ALLOC"],
    "print": CONSTANTS["KIND_MARKER"],
}


def as_events(address: int, count: int) -> ctypes.Array[event_t]:
    """The records at an address, for the uncompiled run."""
    return (event_t * count).from_address(address)


def event_at(events: ctypes.Array[event_t], number: int) -> event_t:
    """One record of an array, for the uncompiled run."""
    return events[number]


def block_is_within(pfn: int, order: int, nr_pages: int) -> bool:
    """Whether a block lies below pfn `nr_pages`, for the uncompiled run; of what was not allocated
    a recording says pfn -1.
    """
    return order < 32 and pfn < nr_pages and nr_pages - pfn >= 1 << order


def wrap64(value: int) -> int:
    """An integer as C's unsigned 64-bit arithmetic leaves it, for the uncompiled run."""
    return value & 0xFFFF_FFFF_FFFF_FFFF

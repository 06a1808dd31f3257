"""The event record of event.pxd as a numpy dtype, and its constants."""

import re
from importlib.resources import files

import numpy as np

TYPES = {"u8": "u1", "u16": "<u2", "u32": "<u4", "u64": "<u8", "s8": "i1", "s16": "<i2", "s32": "<i4"}
TEXT = files(__package__).joinpath("event.pxd").read_text()
FIELDS = re.findall(r"^    ([us]\d+) (\w+)(?=[ \n])", TEXT, re.M)
EVENT = np.dtype([(name, TYPES[c_type]) for c_type, name in FIELDS])
CONSTANTS = {name: int(value) for name, value in re.findall(r"^    ((?:KIND|ROLE)_\w+) = (\d+)", TEXT, re.M)}
globals().update(CONSTANTS)

# The kernel's event names by kind, and the kind of every name a kernel uses.
KIND_NAMES = {
    value: name.removeprefix("KIND_").lower() for name, value in CONSTANTS.items() if name.startswith("KIND_")
}
KIND_OF_NAME = {
    **{name: value for value, name in KIND_NAMES.items()},
    "kmalloc_node": CONSTANTS["KIND_KMALLOC"],
    "kmem_cache_alloc_node": CONSTANTS["KIND_KMEM_CACHE_ALLOC"],
    "print": CONSTANTS["KIND_MARKER"],
}

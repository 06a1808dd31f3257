"""The records of structs.pxd as ctypes structures, for the uncompiled run and for numpy views.

`structs.pxd` is the one text of these records. Compiled code reads it as C; here the same lines
are turned into `ctypes.Structure` classes of the same layout, so that a byte of state means the
same in both runs (a test compares the sizes and the checksums).
"""

import ctypes
import re

from mmtwin.package_files import files

C_TYPES = {
    "u8": ctypes.c_uint8,
    "u16": ctypes.c_uint16,
    "u32": ctypes.c_uint32,
    "u64": ctypes.c_uint64,
    "s32": ctypes.c_int32,
    "s64": ctypes.c_int64,
    "pfn_t": ctypes.c_int64,
    "virt_t": ctypes.c_uint64,
    "gfp_t": ctypes.c_uint32,
}
STRUCT = re.compile(r"^cdef struct (\w+):\n((?:    .*\n|\n)+)", re.M)
FIELD = re.compile(r"^    (\w+) (\w+)(?:\[(\d+)\])?", re.M)


def parse_structs(text):
    """{name: ctypes.Structure class} of every `cdef struct` in the text of a .pxd file."""
    found = {}
    for name, body in STRUCT.findall(text):
        fields = []
        for c_type, field, count in FIELD.findall(body):
            base = C_TYPES[c_type]
            fields.append((field, base * int(count) if count else base))
        found[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return found


def load_structs(file_name):
    """The structures of one .pxd file of this package."""
    return parse_structs(files(__package__).joinpath(file_name).read_text())


STRUCTS = load_structs("structs.pxd")

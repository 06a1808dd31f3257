"""Bytes at an address, for the uncompiled run (casts.pxd has the same as inline C)."""

import ctypes
import re
from importlib.resources import files

MASK64 = (1 << 64) - 1
CONSTANT = re.compile(r"^    ([A-Z]\w+) = (\w+)", re.M)


def load_constants(file_name):
    """{name: int} of every enum constant in one .pxd file of this package."""
    text = files(__package__).joinpath(file_name).read_text()
    return {name: int(value, 0) for name, value in CONSTANT.findall(text)}


def as_u8(address, count):
    """The bytes at an address."""
    return (ctypes.c_uint8 * count).from_address(address)


def as_u16(address, count):
    """An array of 16-bit numbers at an address."""
    return (ctypes.c_uint16 * count).from_address(address)


def as_u32(address, count):
    """An array of 32-bit numbers at an address."""
    return (ctypes.c_uint32 * count).from_address(address)


def as_s32(address, count):
    """An array of signed 32-bit numbers at an address."""
    return (ctypes.c_int32 * count).from_address(address)


def as_u64(address, count):
    """An array of 64-bit numbers at an address."""
    return (ctypes.c_uint64 * count).from_address(address)


def get16(data, at):
    """A 16-bit number."""
    return data[at] | data[at + 1] << 8


def get32(data, at):
    """A 32-bit number."""
    return int.from_bytes(data[at : at + 4], "little")


def get64(data, at):
    """A 64-bit number."""
    return int.from_bytes(data[at : at + 8], "little")


def get_number(data, at, size, is_signed):
    """A number of 1, 2, 4 or 8 bytes as unsigned 64 bits, with its sign carried up where it has one."""
    return int.from_bytes(data[at : at + size], "little", signed=bool(is_signed)) & MASK64


def put_number(data, at, size, value):
    """Stores the low bytes of a number, 1, 2, 4 or 8 of them."""
    data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def copy_bytes(data, at, source, start, size):
    """memcpy()"""
    data[at : at + size] = source[start : start + size]


def take_bytes(data, start, end):
    """Bytes as a Python object."""
    return bytes(data[start:end])


def wrap64(value):
    """What a u64 does by itself."""
    return value & MASK64


def find_byte(data, at, end, byte):
    """Where a byte is found first in data[at:end]; end if nowhere."""
    while at < end:
        piece = bytes(data[at : min(at + 512, end)])
        place = piece.find(byte)
        if place >= 0:
            return at + place
        at += len(piece)
    return end

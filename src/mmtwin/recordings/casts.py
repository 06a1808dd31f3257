"""Bytes at an address, for the uncompiled run (casts.pxd has the same as inline C)."""

import ctypes

import numpy as np

MASK64 = (1 << 64) - 1


def as_u8(address, count):
    """The bytes at an address."""
    return view_of(ctypes.c_uint8, address, count)


def as_u32(address, count):
    """An array of 32-bit numbers at an address."""
    return view_of(ctypes.c_uint32, address, count)


def as_u64(address, count):
    """An array of 64-bit numbers at an address."""
    return view_of(ctypes.c_uint64, address, count)


def view_of(c_type, address, count):
    """An array of numbers at an address; a memoryview is the fastest that plain Python has."""
    return memoryview(np.frombuffer((c_type * count).from_address(address), c_type))


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
    """A number of 1, 2, 4 or 8 bytes as unsigned 64 bits, with its sign carried up where it has
    one.
    """
    return int.from_bytes(data[at : at + size], "little", signed=bool(is_signed)) & MASK64


def put_number(data, at, size, value):
    """Stores the low bytes of a number, 1, 2, 4 or 8 of them."""
    data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


def put64(data, at, value):
    """Stores a 64-bit number."""
    data[at : at + 8] = value.to_bytes(8, "little")


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


def same_bytes(data, at, other, start, size):
    """memcmp() == 0"""
    return data[at : at + size] == other[start : start + size]


def mix(value):
    """A number of 64 bits with its bits spread."""
    value ^= value >> 32
    value = value * 0x9E3779B97F4A7C15 & MASK64
    return value ^ value >> 29


def hash_bytes(data, start, end):
    """A hash of 64 bits, never 0 (another than compiled code's: nothing is stored by it)."""
    return mix(int.from_bytes(data[start:end], "little") & MASK64 ^ end - start) | 1

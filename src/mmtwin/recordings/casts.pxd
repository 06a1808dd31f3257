# Bytes at an address: unaligned little-endian loads and stores. casts.py says the same for the
# uncompiled run.
from libc.string cimport memchr, memcmp, memcpy

from mmtwin.recordings.event cimport s32, u8, u16, u32, u64

cdef inline u8 *as_u8(size_t address, size_t count) noexcept nogil:
    return <u8 *> address

cdef inline u32 *as_u32(size_t address, size_t count) noexcept nogil:
    return <u32 *> address

cdef inline u64 *as_u64(size_t address, size_t count) noexcept nogil:
    return <u64 *> address

cdef inline u16 get16(const u8 *data, u64 at) noexcept nogil:
    cdef u16 value
    memcpy(&value, data + at, 2)
    return value

cdef inline u32 get32(const u8 *data, u64 at) noexcept nogil:
    cdef u32 value
    memcpy(&value, data + at, 4)
    return value

cdef inline u64 get64(const u8 *data, u64 at) noexcept nogil:
    cdef u64 value
    memcpy(&value, data + at, 8)
    return value

# A number of 1, 2, 4 or 8 bytes, with its sign carried up where it has one.
cdef inline u64 get_number(const u8 *data, u64 at, u32 size, u32 is_signed) noexcept nogil:
    if size == 8:
        return get64(data, at)
    if size == 4:
        return <u64> <long long> <s32> get32(data, at) if is_signed else get32(data, at)
    if size == 2:
        return <u64> <long long> <short> get16(data, at) if is_signed else get16(data, at)
    return <u64> <long long> <signed char> data[at] if is_signed else data[at]

cdef inline void put64(u8 *data, u64 at, u64 value) noexcept nogil:
    memcpy(data + at, &value, 8)

# The low bytes of a number, 1, 2, 4 or 8 of them.
cdef inline void put_number(u8 *data, u64 at, u32 size, u64 value) noexcept nogil:
    cdef u32 word
    cdef u16 half
    if size == 8:
        memcpy(data + at, &value, 8)
    elif size == 4:
        word = <u32> value
        memcpy(data + at, &word, 4)
    elif size == 2:
        half = <u16> value
        memcpy(data + at, &half, 2)
    else:
        data[at] = <u8> value

cdef inline void copy_bytes(
    u8 *data, u64 at, const u8 *source, u64 start, u64 size) noexcept nogil:
    memcpy(data + at, source + start, size)

cdef inline bytes take_bytes(const u8 *data, u64 start, u64 end):
    return data[start:end]

# What a u64 does by itself.
cdef inline u64 wrap64(u64 value) noexcept nogil:
    return value

# Where a byte is found first in data[at:end]; end if nowhere.
cdef inline u64 find_byte(const u8 *data, u64 at, u64 end, u8 byte) noexcept nogil:
    cdef const u8 *found = <const u8 *> memchr(data + at, byte, end - at) if at < end else NULL
    return <u64> (found - data) if found != NULL else end

cdef inline bint same_bytes(
    const u8 *data, u64 at, const u8 *other, u64 start, u64 size) noexcept nogil:
    return memcmp(data + at, other + start, size) == 0

# Constants of the hash: odd numbers of 64 bits, made from halves.
cdef inline u64 mix(u64 value) noexcept nogil:
    value ^= value >> 32
    value *= (<u64> 0x9E3779B9 << 32) | 0x7F4A7C15
    return value ^ (value >> 29)

# A hash of 64 bits, never 0.
cdef inline u64 hash_bytes(const u8 *data, u64 start, u64 end) noexcept nogil:
    cdef u64 length = end - start
    cdef u64 value = length
    if length >= 8:
        while end - start > 8:
            value = mix(value ^ get64(data, start))
            start += 8
        return mix(value ^ get64(data, end - 8)) | 1
    if length >= 4:
        return mix((value << 60) ^ (<u64> get32(data, start) << 32) ^ get32(data, end - 4)) | 1
    if length >= 2:
        return mix((value << 60) ^ (<u64> get16(data, start) << 32) ^ get16(data, end - 2)) | 1
    return mix((value << 60) ^ (data[start] if length else 0)) | 1

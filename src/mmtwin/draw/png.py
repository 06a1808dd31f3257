"""PNG files of indexed colours, as bytes: for maps of a pixel a page."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
INDEXED, BITS = 3, 8


def chunk(name: bytes, data: bytes) -> bytes:
    """One chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(pixels: npt.NDArray[np.uint8], palette: Sequence[str | None]) -> bytes:
    """A picture of rows of palette numbers; colours are `#rrggbb`, None is transparent."""
    height, width = pixels.shape
    colours = b"".join(bytes.fromhex((colour or "#000000")[1:]) for colour in palette)
    opaque = bytes(0 if colour is None else 255 for colour in palette)
    rows = np.zeros((height, width + 1), np.uint8)  # each begins with its filter, 0: none
    rows[:, 1:] = pixels
    header = struct.pack(">IIBBBBB", width, height, BITS, INDEXED, 0, 0, 0)
    return b"".join((
        SIGNATURE, chunk(b"IHDR", header), chunk(b"PLTE", colours), chunk(b"tRNS", opaque),
        chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)), chunk(b"IEND", b""),
    ))  # fmt: skip

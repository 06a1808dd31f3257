"""Files of a data set in pieces: the same bytes whether a file's, read or unpacked."""

import io
import random
from pathlib import Path

import pytest

from mmtwin.recordings.archive import pieces

PIECE = 1 << 16


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 7, PIECE + 8, 3 * PIECE + 100])
@pytest.mark.parametrize("piece", [PIECE, 3000])
def test_a_file_in_pieces(tmp_path: Path, size: int, piece: int) -> None:
    data = random.Random(size).randbytes(size)
    path = tmp_path / "cpu0.raw"
    path.write_bytes(data)
    with path.open("rb") as file:
        filled = [bytes(part) for part in pieces(file, piece, 8)]
    read = [bytes(part) for part in pieces(io.BytesIO(data), piece, 8)]
    assert filled == read
    assert b"".join(filled) == data
    assert all(len(part) == piece for part in filled[:-1])


def test_a_file_that_is_cut_short_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cpu0.raw"
    path.write_bytes(bytes(4 * PIECE))
    with path.open("rb", buffering=PIECE) as file:
        parts = pieces(file, PIECE, 8)
        first = next(parts)
        path.write_bytes(b"")
        assert bytes(first) == bytes(PIECE)
        assert list(parts) == []


def test_a_piece_left_early(tmp_path: Path) -> None:
    path = tmp_path / "cpu0.raw"
    path.write_bytes(bytes(4 * PIECE))
    with path.open("rb") as file:
        parts = pieces(file, PIECE, 8)
        assert len(next(parts)) == PIECE
        parts.close()

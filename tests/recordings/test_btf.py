"""BTF: declarations, offsets, holes; and what damaged BTF gets."""

import struct
from pathlib import Path

import pytest
from btf_builder import Builder, example

from mmtwin.recordings import btf
from mmtwin.recordings.btf import Btf, read_btf
from mmtwin.recordings.errors import RecordingError
from mmtwin.versions.c_layout import Member, Structure, holes


def thing() -> Structure:
    found = Btf(example().data()).structure("thing")
    assert found is not None
    return found


def test_members_are_declared_as_c_does() -> None:
    structure = thing()
    assert (structure.kind, structure.size, structure.cache_lines) == ("struct", 72, 2)
    assert [(m.declaration, m.offset // 8, m.bits // 8) for m in structure.members] == [
        ("const char *name", 0, 8),
        ("int count[3]", 8, 12),
        ("union", 24, 8),
        ("int (*go)(void *, ...)", 32, 8),
        ("atomic_t users", 40, 4),
        ("char flag", 44, 1),
        ("struct pair pair", 48, 8),
        ("void *tail", 64, 8),
    ]


def test_bit_fields_and_nesting() -> None:
    union = thing().members[2]
    assert union.kind == "union"
    low, high = union.members[0].members
    assert (low.declaration, low.offset, low.bits) == ("int low:5", 192, 5)
    assert (high.offset, high.bits, high.bitfield) == (197, 20, True)
    assert thing().flat()["high"] == (197, 20)


def test_holes() -> None:
    structure = thing()
    found = holes("struct", structure.members, 0, structure.size * 8)
    assert found == [(160, 32), (360, 24), (448, 64)]
    assert holes("union", structure.members, 0, 576) == []


def test_named_structures_can_be_written_out() -> None:
    reader = Btf(example().data())
    assert [m.offset for m in reader.expanded(thing().members[6])] == [384, 416]
    assert reader.expanded(thing().members[7]) == ()
    assert reader.expanded(Member("x", "struct nowhere x", 0, 0)) == ()


def test_a_typedef_finds_its_structure_and_names_are_listed() -> None:
    build = example()
    assert Btf(build.data()).structure("atomic_t") is not None
    assert Btf(build.data()).structure("int") is None
    assert Btf(build.data()).names() == ["pair", "thing"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "shorter than a BTF header"),
        (b"\x9f\xeb" + bytes(30), "version 0"),
        (b"\xeb\x9f" + bytes(30), "big-endian"),
        (bytes(40), "not BTF"),
        (example().data()[:-200], "ends before"),
    ],
)
def test_damaged_files_are_one_error(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "vmlinux"
    path.write_bytes(data)
    with pytest.raises(RecordingError, match=message) as error:
        read_btf(path)
    assert error.value.file == str(path)


def test_types_built_of_themselves() -> None:
    build = Builder()
    build.add(btf.TYPEDEF, "loop", 1)
    build.add(btf.PTR, "", 2)
    build.struct("both", 16, ("loop", 1, 0), ("pointer", 2, 64))
    build.struct("", 8, ("", 4, 0))
    build.struct("self", 8, ("", 4, 0))
    reader = Btf(build.data())
    for name in ("both", "self"):
        with pytest.raises(RecordingError):
            reader.structure(name)


def test_a_type_that_is_not_there() -> None:
    build = Builder()
    build.struct("lost", 8, ("member", 99, 0))
    with pytest.raises(RecordingError, match="no type 99"):
        Btf(build.data()).structure("lost")
    build.types[0] += struct.pack("<I", 0)
    with pytest.raises(RecordingError):
        Btf(build.data())

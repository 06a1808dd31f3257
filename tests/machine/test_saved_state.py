"""A state in a file is the state; what is kept goes with what it was made of."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mmtwin.kernel
from mmtwin.cli.main import main
from mmtwin.kernel.vmalloc import vmalloc_of
from mmtwin.machine import Machine
from mmtwin.machine.kept import files_of, kept_answer, kept_folder, kept_place, make_room
from mmtwin.machine.saved_state import (
    MAGIC,
    NUMBERS,
    OBJECTS,
    BadState,
    can_save,
    load_state,
    save_state,
)

AREAS = [(0xFFFFC90000000000, 0xFFFFC90000005000, False),
         (0xFFFFC90000005000, 0xFFFFC90000007000, True)]  # fmt: skip


@pytest.fixture
def machine() -> Machine:
    machine = Machine.boot("x86_64-6.1", memory="64M", cpus=2)
    kept = [machine.kmalloc(size) for size in (8, 100, 3000, 20000) for _ in range(50)]
    for address in kept[::3]:
        machine.kfree(address)
    machine.areas = AREAS
    machine.mm.slub_debug = None  # as of a recorded machine
    return machine


@pytest.mark.parametrize("profile", ["x86_64-5.10", "arm64-16k-6.12", "x86_64-7.3"])
def test_a_machine_that_was_saved_goes_on_as_the_other(profile: str, tmp_path: Path) -> None:
    machine = Machine.boot(profile, memory="64M", SLAB_FREELIST_RANDOM=True)
    machine.kmalloc(100)
    save_state(machine, tmp_path / "state")
    again = load_state(tmp_path / "state")
    assert again.checksum() == machine.checksum()
    assert again.profile == machine.profile
    for size in (100, 2000, 100, 40000):
        assert again.kmalloc(size) == machine.kmalloc(size)
    assert again.checksum() == machine.checksum()
    assert again.validate() == []
    assert again.describe() == machine.describe() | {"reserved": []}


def test_a_recorded_machine(recording: Any, tmp_path: Path) -> None:
    machine = Machine.at(recording, "SNAP end")
    assert can_save(machine)
    save_state(machine, tmp_path / "state")
    again = load_state(tmp_path / "state")
    assert again.checksum() == machine.checksum()
    assert machine.areas
    assert [tuple(each) for each in again.areas or ()] == list(machine.areas)
    assert again.vmalloc(100000) == machine.vmalloc(100000)
    assert again.validate() == machine.validate() == []


def test_every_counter_and_object_is_named() -> None:
    text = (Path(mmtwin.kernel.__path__[0]) / "mm.pxd").read_text()
    public = re.findall(r"^    cdef public (\w+) (\w+)", text, re.M)
    numbers = {name for kind, name in public if kind not in ("list", "dict", "object")}
    assert numbers == set(NUMBERS)
    objects = {name for kind, name in public if kind in ("list", "dict", "object")}
    assert objects == {*OBJECTS, "cache_names", "cache_aliases"}


def test_machines_with_more_are_not_saved(machine: Machine) -> None:
    assert can_save(machine)
    machine.vmalloc(5000)
    assert not can_save(machine)


def test_a_file_that_is_no_state(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "state"
    save_state(machine, path)
    whole = path.read_bytes()
    end = whole.index(b"\n", len(MAGIC))
    changed = (
        b"", b"x" + whole, whole[: len(MAGIC)], whole[:end], whole[: end + 1], whole[:-1],
        whole + b"\0", MAGIC + b"{}\n", MAGIC + b"[1]\n", MAGIC + b"\xff\n" + whole[end + 1 :],
        whole[: end + 1] + b"\xff" * (len(whole) - end - 1),
        whole.replace(b'"nr_caches": ', b'"nr_caches": 1e9', 1),
        whole.replace(b'"page": ', b'"page": -1', 1),
    )  # fmt: skip
    for data in changed:
        path.write_bytes(data)
        with pytest.raises(BadState):
            load_state(path)
    with pytest.raises(OSError, match="No such file"):
        load_state(tmp_path / "none")


def test_areas_of_a_recording_are_in_the_way(machine: Machine) -> None:
    assert machine.vmalloc(4096) == 0xFFFFC90000007000  # behind what waits to be purged
    area = machine.vm_area(AREAS[0][0])
    assert area == range(*AREAS[0][:2])
    assert machine.validate() == []
    assert machine.vm_unmap_aliases() == 1
    assert machine.vmalloc(4096) == AREAS[1][0]
    overlapping = Machine.boot("x86_64-6.1", memory="64M")
    overlapping.areas = [AREAS[0], AREAS[0]]
    with pytest.raises(ValueError, match="share 0xffffc90000000000"):
        overlapping.vmalloc(4096)


def test_tables_of_known_areas_are_not_made_again() -> None:
    def tables(areas: list[tuple[int, int, bool]]) -> int:
        machine = Machine.boot("x86_64-6.1", memory="64M")
        machine.areas = areas
        assert machine.vmalloc_to_pfn(machine.vmalloc(4096)) >= 0
        assert machine.validate() == []
        pages: dict[int, list[int]] = vmalloc_of(machine.mm).tables.pages
        return sum(len(each) for each in pages.values())

    assert (tables([]), tables(AREAS)) == (2, 0)


def test_where_things_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "recording"
    source.mkdir()
    (source / "events").write_bytes(b"1")
    monkeypatch.delenv("MMTWIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert kept_folder() == tmp_path / "cache" / "mmtwin"
    first = kept_place(str(source), "state", "SNAP end")
    assert first == kept_place(str(source), "state", "SNAP end")
    assert first != kept_place(str(source), "state", "SNAP start")
    (source / "more").mkdir()
    (source / "more" / "events").write_bytes(b"2")
    assert first != kept_place(str(source), "state", "SNAP end")
    assert len(list(files_of(str(source), frozenset()))) == 2
    assert len(list(files_of(str(source), {"more"}))) == 1
    assert kept_place(str(tmp_path / "nothing"), "state") is None
    monkeypatch.setenv("MMTWIN_CACHE", "")
    assert kept_place(str(source), "state") is None
    monkeypatch.setenv("MMTWIN_CACHE", str(source / "events" / "below"))
    assert kept_folder() is None


def test_answers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer() -> int:
        asked.append(1)
        return 7

    source = tmp_path / "recording"
    source.write_bytes(b"1")
    assert [kept_answer(str(source), ("x",), answer) for _ in range(2)] == [7, 7]
    assert len(asked) == 2  # off
    monkeypatch.setenv("MMTWIN_CACHE", str(tmp_path / "cache"))
    assert [kept_answer(str(source), ("x",), answer) for _ in range(3)] == [7, 7, 7]
    assert len(asked) == 3


def test_the_oldest_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmtwin.machine.kept.MOST_BYTES", 25)
    for age in range(4):
        (tmp_path / str(age)).write_bytes(b"0123456789")
        os.utime(tmp_path / str(age), ns=(age, age))
    make_room(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["2", "3"]


def test_a_command_says_the_same_from_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["explain", "page", "x86_64-6.1@SNAP end", "0x3000"]
    assert main(words) == 0
    without = capsys.readouterr().out
    monkeypatch.setenv("MMTWIN_CACHE", str(tmp_path))
    for _ in range(2):
        assert main(words) == 0
        assert capsys.readouterr().out == without
    for kept in tmp_path.iterdir():
        kept.write_bytes(b"no state")
    assert main(words) == 0
    assert capsys.readouterr().out == without
    for kept in tmp_path.iterdir():  # written anew
        assert kept.read_bytes().startswith((MAGIC, b"{"))


def test_a_profile_is_kept_whole(machine: Machine, tmp_path: Path) -> None:
    profile = machine.profile
    assert profile is not None
    other = Machine.boot(replace(profile, cmdline={"slub_min_order": "1"}), memory="64M")
    save_state(other, tmp_path / "state")
    assert load_state(tmp_path / "state").profile == other.profile

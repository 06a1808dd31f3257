"""Real programs, recorded by record.py in guests: from the strace log alone the twin's maps at
their end are what /proc/PID/maps said, byte for byte (check.py says what is compared).
"""

import json
import lzma
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mmtwin.kernel.mm_validate import validate_mm
from mmtwin.recordings import RecordingError
from mmtwin.replay.process_files import UnknownFile
from mmtwin.versions.profiles import profile
from tests.programs.check import differences, replay_of

DATA = Path(__file__).with_name("data")
WRONG = ("0", "-1", "0xffffffffffffffff", "99999999999999999999999", "4096", "NULL", "MAP_FIXED",
         "0x7ffffffff000", "1", "9223372036854775807", "0x800000000000", "-22", "PROT_READ")
KERNELS = sorted(path.name.removesuffix(".json.xz") for path in DATA.glob("*.json.xz"))


@cache
def recorded(kernel: str) -> dict[str, Any]:
    """The data of one kernel."""
    return dict(json.loads(lzma.decompress((DATA / f"{kernel}.json.xz").read_bytes())))


def cases() -> Iterator[Any]:
    """(kernel, number of the program)."""
    for kernel in KERNELS:
        for number, program in enumerate(recorded(kernel)["programs"]):
            yield pytest.param(kernel, number, id=f"{kernel}-{program['name']}")


def test_enough_programs() -> None:
    for kernel in KERNELS:
        programs = recorded(kernel)["programs"]
        assert len(programs) >= 25
        assert all(program["maps"] for program in programs)
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 3 << 20


@pytest.mark.parametrize(("kernel", "number"), list(cases()))
def test_maps_at_the_end(kernel: str, number: int) -> None:
    program = recorded(kernel)["programs"][number]
    replay = replay_of(program, recorded(kernel)["files"], profile(kernel))
    assert differences(program, replay) == []
    assert sum(compared for compared, _ in replay.tally.pairs.values()) > 0
    assert not replay.tally.missed


def damaged(draw: random.Random, text: str) -> str:
    """A log of which lines are gone, twice there, elsewhere, cut or have other numbers."""
    lines = text.split("\n")
    for _ in range(draw.choice((1, 1, 3, 20))):
        place, kind = draw.randrange(len(lines)), draw.randrange(6)
        line = lines[place]
        if kind == 0:
            lines[place] = ""
        elif kind == 1:
            lines.insert(draw.randrange(len(lines)), line)
        elif kind == 2:
            lines[place] = line[: draw.randrange(len(line) + 1)]
        elif found := list(re.finditer(r"0x[0-9a-f]+|\d+|NULL|[A-Z_]{4,}", line)):
            at = draw.choice(found)
            lines[place] = line[: at.start()] + draw.choice(WRONG) + line[at.end():]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_log_is_replayed_or_refused(seed: int) -> None:
    draw = random.Random(seed)
    kernel = KERNELS[seed % len(KERNELS)]
    programs = [each for each in recorded(kernel)["programs"] if len(each["log"]) < 30000]
    program = dict(draw.choice(programs))
    program["log"] = damaged(draw, program["log"])
    try:
        replay = replay_of(program, recorded(kernel)["files"], profile(kernel))
        replay.run()
    except (RecordingError, UnknownFile):
        return
    for process in replay.processes.by_pid.values():
        if process.mm is not None:
            validate_mm(process.mm)


def test_a_difference_is_told() -> None:
    kernel = KERNELS[0]
    program = dict(recorded(kernel)["programs"][0])
    program["maps"] = {pid: text.replace("[heap]", "") for pid, text in program["maps"].items()}
    found = differences(program, replay_of(program, recorded(kernel)["files"], profile(kernel)))
    assert found and all("[heap]" in line or "kernel" in line for line in found)

"""Real programs, recorded by record.py in guests: from the strace log alone the twin's maps at
their end are what /proc/PID/maps said, byte for byte (check.py says what is compared).
"""

import json
import lzma
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mmtwin.versions.profiles import profile
from tests.programs.check import differences, replay_of

DATA = Path(__file__).with_name("data")
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


def test_a_difference_is_told() -> None:
    kernel = KERNELS[0]
    program = dict(recorded(kernel)["programs"][0])
    program["maps"] = {pid: text.replace("[heap]", "") for pid, text in program["maps"].items()}
    found = differences(program, replay_of(program, recorded(kernel)["files"], profile(kernel)))
    assert found and all("[heap]" in line or "kernel" in line for line in found)

"""Machines with KASAN, and their reports, for its tests."""

from collections.abc import Callable
from typing import Any

import pytest

from mmtwin import Machine
from mmtwin.machine import Complaint

RELEASES = ("5.10", "5.13", "6.1", "6.12", "6.18", "7.3")
NAMES = [f"{arch}-{release}" for arch in ("x86_64", "arm64") for release in RELEASES]
OLD = ("5.10", "5.13", "6.1")  # their reports know the size of the cache only


def boot(name: str, memory: str = "256M", **config: Any) -> Machine:
    options = {"kasan_multi_shot": ""}
    return Machine.boot(name, memory=memory, KASAN=True, cmdline=options, **config)


def report_of(call: Callable[..., object], *arguments: Any) -> str:
    """The report that a call raises."""
    with pytest.raises(Complaint) as caught:
        call(*arguments)
    assert caught.value.name == "KASAN"
    assert caught.value.report
    return caught.value.report


def kind_of(report: str) -> str:
    """"slab-out-of-bounds", "double-free" ..."""
    return report.split("BUG: KASAN: ")[1].split(" in ")[0]


def release_of(k: Machine) -> str:
    assert k.profile is not None
    return k.profile.version


def uaf(k: Machine) -> str:
    return "use-after-free" if release_of(k) in OLD else "slab-use-after-free"

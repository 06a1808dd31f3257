"""/proc/vmallocinfo at any instant of a recording, against what its kernel showed."""

from itertools import pairwise

import pytest

from mmtwin import Machine
from mmtwin.kernel import lists
from mmtwin.procfs import vmallocinfo
from mmtwin.recordings import open_recording

COMPILED = not lists.__file__.endswith(".py")
pytestmark = pytest.mark.skipif(not COMPILED, reason="minutes, uncompiled")


def test_the_areas_at_a_snapshot_are_the_kernels_line_by_line() -> None:
    with open_recording(None) as recording:
        for name in ("start", "end"):
            k = Machine.at(recording, f"SNAPB {name}/vmallocinfo")
            shown = k.proc["vmallocinfo"].decode()
            assert shown == recording.snapshots[name].text("vmallocinfo")
            assert k.validate() == []


def test_between_snapshots_areas_come_and_go() -> None:
    with open_recording(None) as recording:
        first, last = (recording.marker(f"SNAPB {name}/vmallocinfo").index
                       for name in ("start", "end"))
        counts = set()
        for index in range(first, last, (last - first) // 5):
            rows = vmallocinfo.parse(Machine.at(recording, f"#{index}").proc["vmallocinfo"])
            places = sorted(row.addresses or (0, 0) for row in rows)
            assert all(a[1] <= b[0] for a, b in pairwise(places))
            counts.add(len(rows))
        assert len(counts) > 2


def test_a_machine_that_goes_on_shows_the_recorded_areas_and_its_own() -> None:
    with open_recording(None) as recording:
        k = Machine.at(recording, "SNAPB start/vmallocinfo")
        before = vmallocinfo.parse(k.proc["vmallocinfo"])
        new = k.vmalloc(4096)
        after = vmallocinfo.parse(k.proc["vmallocinfo"])
        assert [row for row in after if row.addresses not in ((new, new + 8192),)] == before
        assert len(after) == len(before) + 1

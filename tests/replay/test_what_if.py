"""What-ifs of the shipped recording: nothing changed, and each kind of change."""

import pytest

from mmtwin.kernel import lists
from mmtwin.recordings import default_recording_path, open_recording
from mmtwin.replay import ReplayError, replay, what_if
from mmtwin.replay.changes import changes_of
from mmtwin.versions.profiles import profile

COMPILED = not lists.__file__.endswith(".py")
needs_speed = pytest.mark.skipif(not COMPILED, reason="minutes, uncompiled")
# Its nodes come in bulk, which no event names: the replay and the what-if guess differently.
UNSEEN = "maple_node"


@pytest.fixture(scope="module")
def recording():
    with open_recording(default_recording_path()) as opened:
        yield opened


def totals(rows):
    return {row["name"]: (row["objects"], row["slabs"], row["capacity"]) for row in rows}


@needs_speed
def test_with_nothing_changed_it_is_the_free_running_replay(recording):
    replayed = replay(recording, free_running=True)
    assert replayed.statistics is not None
    caches = totals(replayed.statistics["caches"])
    figures = what_if(recording, start="recorded")
    recorded, changed = figures["machines"]
    assert recorded | {"name": ""} == changed | {"name": ""}
    asked = totals(recorded["caches"])
    assert asked.keys() == caches.keys() and len(caches) > 70
    assert {name for name in caches if asked[name] != caches[name]} <= {UNSEEN}


@needs_speed
@pytest.mark.parametrize("start", ["live", "empty"])
def test_with_nothing_changed_both_machines_are_the_same(recording, start):
    recorded, changed = what_if(recording, start=start)["machines"]
    assert recorded | {"name": ""} == changed | {"name": ""}
    assert recorded["failed"] == {"objects": 0, "pages": 0}


@needs_speed
def test_larger_slabs_and_structures(recording):
    figures = what_if(
        recording, start="empty", slub_min_order=2, struct={"dentry": "+16"}, vmap_stack=False
    )
    recorded, changed = figures["machines"]
    before, after = ({row["name"]: row for row in m["caches"]} for m in (recorded, changed))
    assert changed["slab"]["slabs"] < recorded["slab"]["slabs"]
    # stacks of the direct map need no vm_struct and no vmap_area
    assert changed["slab"]["objects"] < recorded["slab"]["objects"]
    assert after["dentry"]["object_size"] == before["dentry"]["object_size"] + 16
    assert after["dentry"]["objects"] == before["dentry"]["objects"]
    # no stack waits on a CPU for the next task, and none has pages of an area
    assert changed["stacks"] == recorded["stacks"]
    assert figures["changes"] == ["slub_min_order=2", "struct:dentry=+16", "vmap_stack=n"]
    assert len(figures["course"]["changed"]["used"]) == len(figures["course"]["seconds"]) > 100


def test_settings_change_the_profile():
    recorded = profile("arm64-6.1")
    assert changes_of(recorded, None, {"page_size": "16K"}).profile.name == "arm64-16k-6.1"
    assert changes_of(recorded, None, {"kernel": "6.12"}).profile.version == "6.12"
    has = changes_of(recorded, None, {"thread_size": "32K", "NUMA": False}).profile.features
    assert (has["thread_size"], has["thread_align"]) == (32768, 65536)
    made = changes_of(recorded, None, {"cpu_partial": {"dentry": 4}, "min_partial": 9})
    assert made.caches == {("cpu_partial", "dentry"): "4", ("min_partial", ""): "9"}
    assert made.in_place


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"page_size": "16K"}, "--profile arm64-16k-6.1"), ({"cpus": 2}, "events name the CPU"),
        ({"nonsense": 1}, "no such setting"), ({"slub_min_order": "x"}, "an order"),
        ({"kernel": "4.4"}, "5.10"), ({"thread_size": "3K"}, "power of two"),
        ({"memory": "1M"}, "64 MiB"), ({"struct": {"dentry": "x"}}, "bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_changed_is_said(settings, said):
    with pytest.raises(ReplayError, match=said):
        changes_of(profile("x86_64-6.1"), None, settings)


def test_starts_that_cannot_be(recording):
    with pytest.raises(ReplayError, match="choose from"):
        what_if(recording, start="nowhere")
